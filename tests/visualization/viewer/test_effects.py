import numpy as np
import pytest

from forecast import Prediction, Scene
from forecast.visualization.viewer.effects import displacement_errors, effects


def prediction(paths, names, dt_s=0.5, **more) -> Prediction:
    paths = np.asarray(paths, np.float32)
    weights = more.pop("weights", np.full(len(paths), 1 / len(paths)))
    return Prediction(
        paths, weights, np.array(names), np.ones(len(names), bool), 0, dt_s, np.zeros(2), **more
    )


def test_an_effect_is_measured_between_the_same_samples():
    before = prediction([[[[0, 0]], [[5, 5]]], [[[1, 0]], [[5, 5]]]], ["a", "b"])
    # sample 0 of a is 3 m away and sample 1 stays; c is new; b is gone
    after = prediction([[[[0, 3]], [[9, 9]]], [[[1, 0]], [[9, 9]]]], ["a", "c"])
    assert effects(before, after) == {"a": {"mean_m": 1.5, "largest_m": 3.0, "share": 0.5}}


def test_agents_in_another_order_are_matched_by_name():
    before = prediction([[[[0, 0]], [[5, 5]]]], ["a", "b"])
    after = prediction([[[[5, 6]], [[0, 0]]]], ["b", "a"])
    assert effects(before, after)["b"]["mean_m"] == 1
    assert effects(before, after)["a"]["mean_m"] == 0


def test_errors_are_those_at_each_horizon_and_of_the_best_sample():
    steps = np.arange(8) * 0.5
    walks = np.stack([steps, 0 * steps], -1)
    scene = Scene.from_arrays(walks[None], ["pedestrian"], 0.5, agent_ids=["a"])
    # from step 1 (0.5 m): truth 1.0, 1.5, ... ; one sample is 1 m aside, one exact
    truth = walks[2:8]
    made = prediction([[truth + np.array([0, 1])], [truth]], ["a"])
    still = prediction([[np.tile(walks[1], (6, 1))]], ["a"])
    found = displacement_errors(scene, 1, made, {"stationary": still}, [1.0, 3.0])["a"]
    assert [row["horizon_s"] for row in found] == [1.0, 3.0]
    assert found[0]["fde_m"] == found[0]["ade_m"] == pytest.approx(1)
    assert found[0]["min_fde_m"] == found[0]["min_ade_m"] == pytest.approx(0, abs=1e-6)
    assert found[0]["baselines"]["stationary"] == pytest.approx(1.0)
    assert found[1]["baselines"]["stationary"] == pytest.approx(3.0)


def test_without_a_recorded_future_there_are_no_errors():
    scene = Scene.from_arrays(np.zeros((1, 3, 2)), ["pedestrian"], 0.5, agent_ids=["a"])
    assert displacement_errors(scene, 1, prediction(np.zeros((1, 1, 6, 2)), ["a"]), {}, [3.0]) == {}


def test_a_finer_recording_is_compared_at_the_steps_of_the_prediction():
    at_10_hz = np.arange(21) * 0.1
    walks = np.stack([at_10_hz, 0 * at_10_hz], -1)
    scene = Scene.from_arrays(walks[None], ["pedestrian"], 0.1, agent_ids=["a"])
    made = prediction([[[[0.5, 0], [1.0, 2.0]]]], ["a"])  # at 0.5 and 1 s; the truth is 0.5, 1.0
    still = prediction([[np.zeros((10, 2))]], ["a"], dt_s=0.1)
    (found,) = displacement_errors(scene, 0, made, {"stationary": still}, [1.0])["a"]
    assert (found["fde_m"], found["ade_m"]) == pytest.approx((2, 1))
    assert found["baselines"]["stationary"] == pytest.approx(1)
