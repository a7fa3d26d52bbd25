from dataclasses import replace

import numpy as np
import pytest

from forecast.datasets.windows import WindowSpec, prediction_times
from forecast.evaluation.scoring.sample import EvaluationSample
from forecast.evaluation.scoring.stability import flicker_scores
from forecast.evaluation.scoring.subject import Subject
from forecast.models.baselines import ConstantVelocity, Kalman
from tests.scenes import street_scene

SPEC = WindowSpec(history_steps=3, horizon_steps=4)


def predicted(at: int, predictor=None):
    scene = street_scene()
    sample = EvaluationSample.at(scene, at, SPEC, prediction_times(scene, SPEC).scored[:, at])
    return sample, sample.predict(Subject.of(predictor or ConstantVelocity()), 5, 0)


def test_is_the_mean_distance_of_predictions_for_the_same_times():
    before, (sample, prediction) = predicted(9), predicted(10)
    found = flicker_scores(before, sample, prediction)
    names = sample.window.agent_ids[sample.window.scored].tolist()
    for row, name in enumerate(names):
        old = before[1].positions_m[0, before[1].agent_ids.tolist().index(name), 1:]
        new = prediction.positions_m[0, prediction.agent_ids.tolist().index(name), :-1]
        expected = np.linalg.norm(new - old, axis=-1).mean()
        assert found["flicker_top1_m"][row] == pytest.approx(expected)
    np.testing.assert_allclose(found["flicker_top1_m"], found["flicker_mean_m"], rtol=1e-5)


def test_the_mean_and_the_best_guess_flicker_apart():
    before, (sample, prediction) = predicted(9, Kalman()), predicted(10, Kalman())
    found = flicker_scores(before, sample, prediction)
    assert (found["flicker_top1_m"] != found["flicker_mean_m"]).all()


def test_is_not_defined_without_the_step_before():
    sample, prediction = predicted(10)
    for before in (None, predicted(8)):
        assert np.isnan(flicker_scores(before, sample, prediction)["flicker_top1_m"]).all()


def test_a_pedestrian_not_scored_one_step_before_has_no_value():
    (old, earlier), (sample, prediction) = predicted(9), predicted(10)
    first = sample.window.agent_ids[sample.window.scored][0]
    others = old.window.scored & (old.window.agent_ids != first)
    fewer = replace(old, window=replace(old.window, scored=others))
    found = flicker_scores((fewer, earlier), sample, prediction)["flicker_top1_m"]
    assert np.isnan(found).tolist() == [True] + [False] * (len(found) - 1)
