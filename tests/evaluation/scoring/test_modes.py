from dataclasses import replace

import numpy as np
import pytest

from forecast.datasets.windows import WindowSpec
from forecast.evaluation import evaluate
from forecast.evaluation.scoring.modes import definitions, mode_scores
from forecast.models.baselines import ConstantVelocity
from forecast.models.modes import MODE_COUNTS
from forecast.scene.modes import ModeSet
from tests.scenes import street_scene


def straight(count: int):
    """A prediction of 3 steps at rest at the origin, with modes that end at 0, 1, 2 … m."""
    made = ConstantVelocity().predict(street_scene(), 5, horizon_s=1.5)
    agents = len(made.valid)
    ends = np.arange(count, dtype=np.float32)[:, None, None] * [[0, 0], [0.5, 0], [1, 0]]
    paths = np.broadcast_to(ends, (agents, count, 3, 2)).astype(np.float32)
    return replace(made, mode_sets=(ModeSet(paths, np.full(paths.shape[:2], 1 / count)),))


def test_the_best_mode_counts():
    prediction = straight(5)
    agents = np.arange(len(prediction.valid)) < 1
    truth = np.array([[[0, 0], [1.6, 0], [3.2, 0]]], np.float32)
    scores = mode_scores(prediction, agents, truth)
    assert scores["modes_min_fde_5_m"] == pytest.approx([0.2])
    assert scores["modes_min_ade_5_m"] == pytest.approx([0.1])  # errors of 0, 0.1 and 0.2 m
    assert list(scores) == list(definitions())
    assert np.isnan(scores["modes_min_ade_20_m"]).all()


def test_the_log_loss_is_that_of_the_nearest_mode():
    prediction = straight(20)
    shares = np.full((len(prediction.valid), 20), 0.5 / 19, np.float32)
    shares[:, 0] = 0.5
    modes = replace(prediction.modes(20), probabilities=shares)
    agents = np.arange(len(prediction.valid)) < 2
    truth = np.array([[[0, 0], [0.1, 0], [0.2, 0]], [[0, 0], [9, 0], [19, 0]]], np.float32)
    scores = mode_scores(replace(prediction, mode_sets=(modes,)), agents, truth)
    np.testing.assert_allclose(scores["modes_nll_20_nats"], -np.log([0.5, 0.5 / 19]), rtol=1e-5)


def test_sets_of_other_sizes_have_no_score():
    prediction = straight(7)
    agents = np.arange(len(prediction.valid)) < 1
    scores = mode_scores(prediction, agents, np.zeros((1, 3, 2), np.float32))
    assert all(np.isnan(values).all() for values in scores.values())


def test_a_predictor_without_modes_has_no_scores_of_modes(store):
    spec = WindowSpec(history_steps=5, horizon_steps=4)
    result = evaluate(ConstantVelocity(), store, ["street-3"], spec, 4, 0)
    for count in MODE_COUNTS:
        assert result.means()[f"modes_min_ade_{count}_m"].n == 0
    assert result.means()["top1_ade_m"].n == len(result.rows)
