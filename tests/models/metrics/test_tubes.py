import numpy as np
import torch

from forecast.models.metrics import tube_areas, tube_coverage
from forecast.scene import Tubes

TRUTH = torch.tensor([[[0.9, 0.0], [0.0, 1.5]], [[0.0, 0.0], [0.0, 0.0]]])


def circles() -> Tubes:
    """Circles of radius 1 at 50 % and 2 at 90 % around the origin; the second agent has none."""
    return Tubes(
        np.zeros((2, 2, 2)),
        np.broadcast_to(np.eye(2), (2, 2, 2, 2)),
        np.broadcast_to([1.0, 2.0], (2, 2, 2)),
        (0.5, 0.9),
        np.array([True, False]),
    )


def test_by_hand():
    nan = torch.full((2,), torch.nan)
    assert_equal(tube_coverage(circles(), TRUTH, 0.5), [torch.tensor([1.0, 0.0]), nan])
    assert_equal(tube_coverage(circles(), TRUTH, 0.9), [torch.tensor([1.0, 1.0]), nan])
    assert_equal(tube_areas(circles(), TRUTH, 0.9), [torch.full((2,), 4 * torch.pi), nan])


def test_nothing_is_known_without_tubes_or_such_a_level():
    for function in (tube_coverage, tube_areas):
        assert function(None, TRUTH, 0.5).isnan().all()
        assert function(circles(), TRUTH, 0.8).isnan().all()


def assert_equal(found: torch.Tensor, rows: list[torch.Tensor]) -> None:
    assert found.dtype == TRUTH.dtype
    torch.testing.assert_close(found, torch.stack(rows), rtol=1e-6, atol=0, equal_nan=True)
