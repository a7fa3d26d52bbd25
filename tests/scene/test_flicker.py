from dataclasses import replace

import numpy as np
import pytest

from forecast import ForecastError, Prediction
from forecast.scene.flicker import flicker, path_flicker_m

DT_US = 500_000


def prediction(at: int = 0, **changes) -> Prediction:
    """Agent "a" walks 1 m per step along x, from x = ``at`` + 1 on; "b" stands at the origin."""
    positions = np.zeros((1, 2, 4, 2), np.float32)
    positions[0, 0, :, 0] = at + 1 + np.arange(4)
    made = Prediction(
        positions_m=positions,
        weights=np.ones(1),
        agent_ids=np.array(["a", "b"]),
        valid=np.ones(2, bool),
        at_us=at * DT_US,
        dt_s=0.5,
        origin_m=np.zeros(2),
    )
    return replace(made, **changes)


def test_paths_are_compared_at_the_same_times():
    path = np.zeros((1, 4, 2))
    path[0, :, 0] = [1, 2, 3, 4]
    later = path + np.array([1.0, 0.0])  # the same walk, predicted one step later
    assert path_flicker_m(path, later, steps_passed=1).tolist() == [0.0]
    # Without the step in between, all four times are 1 m apart.
    assert path_flicker_m(path, later, steps_passed=0).tolist() == [1.0]


def test_paths_of_different_lengths_are_compared_over_the_shorter():
    path = np.zeros((2, 5, 2))
    moved = np.full((2, 2, 2), [3.0, 4.0])
    assert path_flicker_m(path, moved, steps_passed=1).tolist() == [5.0, 5.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_paths_keep_their_precision(dtype):
    assert path_flicker_m(np.zeros((1, 3, 2), dtype), np.ones((1, 3, 2), dtype), 1).dtype == dtype


def test_an_unchanged_forecast_does_not_flicker():
    assert flicker(prediction(0), prediction(2)) == {"a": 0.0, "b": 0.0}


def test_is_the_mean_distance_of_the_best_guesses():
    best = prediction(1).positions_m[0] + np.array([[[0, 0]], [[0, 0.5]]], np.float32)
    assert flicker(prediction(0), prediction(1, mode_m=best)) == {"a": 0.0, "b": 0.5}


def test_frames_of_different_origins_are_compared_in_the_world():
    earlier = prediction(0, origin_m=np.array([10.0, 0.0]))
    assert flicker(earlier, prediction(1)) == {"a": 10.0, "b": 10.0}


def test_only_agents_of_both_predictions_have_a_value():
    earlier = prediction(0, agent_ids=np.array(["b", "c"]))
    assert set(flicker(earlier, prediction(1))) == {"b"}
    assert set(flicker(prediction(0), prediction(1, valid=np.array([True, False])))) == {"a"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"at_us": 4 * DT_US}, "steps in common is 0; at least 1"),
        ({"at_us": -DT_US}, "steps in common is 4; at least 1"),
        ({"dt_s": 0.4}, "dt_s of the later prediction is 0.4; 0.5 is needed"),
    ],
)
def test_refuses_predictions_without_common_times(changes, message):
    with pytest.raises(ForecastError, match=message):
        flicker(prediction(0), prediction(0, **changes))
