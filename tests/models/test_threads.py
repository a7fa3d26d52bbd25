"""Parts of a rollout side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from forecast.models.threads import part_size, side_by_side, undivided_operations

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest):
    usual = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(usual)


def test_results_come_in_order_and_without_gradients(threads: int) -> None:
    weight = torch.ones(2, requires_grad=True)
    found = side_by_side(lambda part: part * weight, [float(n) for n in range(7)])
    assert [values[0].item() for values in found] == list(range(7))
    assert not any(values.requires_grad for values in found)
    assert side_by_side(lambda part: part, []) == []


def test_what_one_part_raises_is_raised_and_threads_stay_as_many(threads: int) -> None:
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda part: 1 / part, [1, 0, 2])
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(torch.get_num_threads).result()
    assert torch.get_num_threads() == later == threads


def test_parts_are_shares_of_threads_within_limits(threads: int) -> None:
    assert part_size(3000, CPU, most=4096) == 3000 // threads
    assert part_size(3, CPU, most=4096) == 256
    assert 4000 < part_size(10**6, CPU, most=4096) <= 4096
    assert part_size(10**6, torch.device("meta"), most=4096) == 10**6
    parts = 10**6 / part_size(10**6, CPU, most=4096)
    assert parts == pytest.approx(threads * round(parts / threads), abs=0.1)


def test_operations_are_not_divided_but_parts_are_shared_out(threads: int) -> None:
    @undivided_operations()
    def inside() -> tuple[int, int, set[int]]:
        seen = side_by_side(lambda part: torch.get_num_threads(), range(6))
        with undivided_operations():
            return torch.get_num_threads(), part_size(3072, CPU, 4096), set(seen)

    assert inside() == (1, 3072 // threads, {1})
    assert torch.get_num_threads() == threads
    with pytest.raises(ZeroDivisionError), undivided_operations():
        side_by_side(lambda part: 1 / part, [1, 0, 2])
    assert torch.get_num_threads() == threads
