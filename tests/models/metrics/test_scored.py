from dataclasses import replace

import numpy as np
import pytest
import torch

from forecast.errors import ForecastError
from forecast.models.metrics import Scored, credibility
from forecast.scene import Prediction


@pytest.fixture
def prediction():
    return Prediction(
        positions_m=np.random.default_rng(0).normal(size=(5, 3, 4, 2)).astype(np.float32),
        weights=np.array([0.1, 0.4, 0.2, 0.2, 0.1]),
        agent_ids=np.array(["a", "b", "c"]),
        valid=np.ones(3, bool),
        at_us=0,
        dt_s=0.5,
        origin_m=np.zeros(2),
    )


@pytest.fixture
def scored(prediction):
    return Scored.of(prediction, np.array([2, 0]), np.zeros((2, 4, 2), np.float32))


def test_of_a_prediction(prediction, scored):
    assert scored.samples_m.dtype == torch.float64
    assert np.allclose(scored.samples_m, prediction.positions_m[:, [2, 0]])
    assert np.allclose(scored.mode_m, prediction.positions_m[1, [2, 0]])
    assert scored.dt_s == 0.5
    assert scored.weights.sum().item() == pytest.approx(1, abs=1e-12)


def test_of_takes_a_mask_a_named_mode_and_the_surroundings(prediction):
    mode = np.full((3, 4, 2), 7, np.float32)
    scored = Scored.of(
        replace(prediction, mode_m=mode),
        np.array([True, False, False]),
        np.zeros((1, 4, 2)),
        ego=np.zeros((4, 3)),
        ego_size_m=(4.1, 1.75),
    )
    assert (scored.mode_m == 7).all()
    assert scored.ego.shape == (4, 3)


def test_weights_are_normalised(prediction):
    nearly = replace(prediction, weights=prediction.weights * (1 + 5e-5))
    scored = Scored.of(nearly, np.arange(3), np.zeros((3, 4, 2)))
    assert scored.weights.sum().item() == pytest.approx(1, abs=1e-12)


def test_credibility_is_computed_once(scored):
    expected = credibility(scored.samples_m, scored.truth_m, scored.weights)
    assert torch.equal(scored.credibility, expected)
    assert scored.credibility is scored.credibility


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples_m": torch.zeros(5, 2, 4)}, r"samples_m has shape \[5, 2, 4\]; \[K, N, T, 2\]"),
        ({"weights": torch.ones(4)}, r"weights has shape \[4\]; \[5\] is needed"),
        ({"truth_m": torch.zeros(2, 3, 2)}, r"truth_m has shape \[2, 3, 2\]; \[2, 4, 2\]"),
        ({"mode_m": torch.zeros(1, 4, 2)}, r"mode_m has shape \[1, 4, 2\]; \[2, 4, 2\]"),
        ({"ego": torch.zeros(4, 2)}, r"ego has shape \[4, 2\]; \[4, 3\]"),
        ({"ego": torch.zeros(4, 3)}, "ego has no ego_size_m; give its length and width"),
    ],
)
def test_wrong_shapes_are_named(scored, change, message):
    with pytest.raises(ForecastError, match=message):
        replace(scored, **change)


def test_no_sample_at_all(scored):
    with pytest.raises(ForecastError, match="samples_m is empty; at least 1 sample and 1 step"):
        replace(scored, samples_m=scored.samples_m[:0], weights=scored.weights[:0])


def test_an_incomplete_truth_is_refused(scored):
    truth = scored.truth_m.clone()
    truth[1, 3, 0] = float("nan")
    with pytest.raises(ForecastError, match="truth_m of agent 1 is not finite; score only"):
        replace(scored, truth_m=truth)
