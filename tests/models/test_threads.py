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


def test_parts_do_not_depend_on_the_number_of_threads(threads: int) -> None:
    agents = (0, 3, 512, 513, 1024, 1025, 10_000)
    sizes = (1, 3, 512, 257, 512, 257, 313)
    assert tuple(part_size(each, CPU, most=512) for each in agents) == sizes
    assert part_size(10**6, torch.device("meta"), most=512) == 10**6


def test_operations_are_not_divided_but_parts_are_shared_out(threads: int) -> None:
    @undivided_operations()
    def inside() -> tuple[int, set[int]]:
        seen = side_by_side(lambda part: torch.get_num_threads(), range(6))
        with undivided_operations():
            return torch.get_num_threads(), set(seen)

    assert inside() == (1, {1})
    assert torch.get_num_threads() == threads
    with pytest.raises(ZeroDivisionError), undivided_operations():
        side_by_side(lambda part: 1 / part, [1, 0, 2])
    assert torch.get_num_threads() == threads
