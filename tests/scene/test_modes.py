from dataclasses import replace

import numpy as np
import pytest

from forecast import ForecastError, Prediction
from forecast.scene.modes import ModeSet
from tests.scene.test_prediction_rows import made

PATHS = np.array([[[[1, 0], [2, 0]], [[0, 1], [0, 2]], [[1, 1], [2, 2]]]], np.float32)
"""One agent, three modes of two steps."""
SHARES = np.array([[0.5, 0.3, 0.2]], np.float32)


def sets(*counts: int) -> tuple[ModeSet, ...]:
    """Mode sets for the four agents of `made`, with five steps."""
    rng = np.random.default_rng(3)
    return tuple(
        ModeSet.ranked(rng.normal(0, 9, (4, count, 5, 2)), rng.dirichlet(np.ones(count), 4))
        for count in counts
    )


def test_modes_are_ranked_for_each_agent():
    found = ModeSet.ranked(PATHS, np.array([[0.2, 0.5, 0.3]]))
    np.testing.assert_allclose(found.probabilities, SHARES)
    np.testing.assert_array_equal(found.positions_m[0], PATHS[0, [1, 2, 0]])
    assert (found.count, repr(found)) == (3, "ModeSet(3 modes of 1 agents, 2 steps)")


def test_modes_between_steps():
    found = ModeSet(PATHS, SHARES).resampled(np.array([0.5, 1.5]), np.array([[-1.0, 0.0]]))
    np.testing.assert_allclose(found.positions_m[0, 0], [[0, 0], [1.5, 0]])
    np.testing.assert_array_equal(found.probabilities, SHARES)


@pytest.mark.parametrize(
    ("paths", "shares", "message"),
    [
        (PATHS[0], SHARES, r"modes: positions_m's shape is \[3, 2, 2\]; \[A, M, T, 2\]"),
        (PATHS, SHARES[:, :2], r"modes: probabilities' shape is \[1, 2\]; \[1, 3\]"),
        (PATHS, SHARES[:, ::-1], "modes: probabilities is rising; those of ModeSet.ranked"),
        (PATHS, SHARES * 2, "modes: probabilities is off by 1; 0 or more with a sum of 1"),
        (PATHS, SHARES - [[0.6, -0.6, 0]], "modes: probabilities is off by"),
    ],
)
def test_impossible_modes_are_refused(paths, shares, message):
    with pytest.raises(ForecastError, match=message):
        ModeSet(paths, np.asarray(shares, np.float32))


def test_a_prediction_gives_the_set_of_a_size():
    prediction = made(mode_sets=sets(5, 20))
    assert prediction.modes(5).count == 5
    assert prediction.modes_m.shape == (4, 20, 5, 2)
    np.testing.assert_array_equal(prediction.mode_probabilities, sets(5, 20)[1].probabilities)
    with pytest.raises(ForecastError, match="number of modes is 7; 5 or 20"):
        prediction.modes(7)
    with pytest.raises(ForecastError, match="number of modes is 5; a predictor with modes"):
        made().modes(5)
    assert made().modes_m is None
    assert made().mode_probabilities is None


def test_sets_are_in_the_order_of_their_sizes():
    with pytest.raises(ForecastError, match=r"mode_sets: numbers of modes is \[20, 5\]; rising"):
        made(mode_sets=sets(20, 5))
    with pytest.raises(ForecastError, match=r"numbers of modes is \[5, 5\]"):
        made(mode_sets=sets(5, 5))


def test_modes_of_agents_that_are_not_predicted_may_be_undefined():
    (modes,) = sets(5)
    paths = modes.positions_m.copy()
    paths[1] = np.nan
    broken = (ModeSet(paths, modes.probabilities),)
    assert not made(mode_sets=broken, valid=np.array([True, False, True, True])).valid[1]
    with pytest.raises(ForecastError, match="agent 'a': a predicted position is not finite"):
        made(mode_sets=broken)


def test_modes_of_other_agents_are_refused():
    few = sets(5)[0].select(np.array([True, True, False, True]))
    with pytest.raises(ForecastError, match=r"mode_sets: positions_m's shape is \[3, 5, 5, 2\]"):
        made(mode_sets=(few,))


def test_modes_are_saved_and_resampled(tmp_path):
    prediction = made(mode_sets=sets(5, 10))
    prediction.save(tmp_path / "one.parquet")
    again = Prediction.load(tmp_path / "one.parquet")
    for one, other in zip(prediction.mode_sets, again.mode_sets, strict=True):
        np.testing.assert_array_equal(one.positions_m, other.positions_m)
        np.testing.assert_array_equal(one.probabilities, other.probabilities)
    now = np.zeros((4, 2))
    finer = replace(prediction, tubes=None).resampled(0.2, 10, now)
    np.testing.assert_allclose(
        finer.modes(5).positions_m[:, :, 1::2], prediction.modes(5).positions_m, atol=1e-6
    )
