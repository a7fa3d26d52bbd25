import numpy as np
import pytest

from forecast.models.sobol import scrambled_pairs

KEYS = np.random.default_rng(0).integers(2**32, size=(50, 3), dtype=np.uint64)


@pytest.mark.parametrize(("rows", "columns"), [(1, 16), (2, 8), (4, 4), (8, 2), (16, 1)])
@pytest.mark.parametrize("block", [0, 1, 2])
def test_every_16_points_lie_one_in_each_part_of_the_square(
    rows: int, columns: int, block: int
) -> None:
    points = scrambled_pairs(KEYS, 48)[:, 16 * block : 16 * (block + 1)]
    part = (points * [rows, columns]).astype(int) @ [columns, 1]
    assert (np.sort(part, axis=1) == np.arange(16)).all()


def test_more_points_leave_the_first_as_they_are() -> None:
    assert np.array_equal(scrambled_pairs(KEYS, 100)[:, :7], scrambled_pairs(KEYS, 7))


def test_points_are_uniform_whatever_their_index() -> None:
    keys = np.random.default_rng(1).integers(2**32, size=(20_000, 3), dtype=np.uint64)
    points = scrambled_pairs(keys, 3)
    assert (points > 0).all()
    assert (points < 1).all()
    counts = (points[..., None] < np.linspace(0.1, 0.9, 9)).mean(axis=0)
    assert counts == pytest.approx(np.broadcast_to(np.linspace(0.1, 0.9, 9), (3, 2, 9)), abs=0.02)


def test_they_integrate_better_than_independent_points() -> None:
    keys = np.random.default_rng(2).integers(2**32, size=(2_000, 3), dtype=np.uint64)
    spread = scrambled_pairs(keys, 20).prod(axis=-1).mean(axis=-1)
    drawn = np.random.default_rng(3).random((2_000, 20, 2)).prod(axis=-1).mean(axis=-1)
    assert spread.mean() == pytest.approx(0.25, abs=0.005)
    assert spread.std() < 0.3 * drawn.std()
