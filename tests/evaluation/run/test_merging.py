from dataclasses import replace

import numpy as np
import pytest

from forecast import ForecastError
from forecast.datasets.windows import WindowSpec
from forecast.evaluation import evaluate
from forecast.evaluation.run.merging import merge, setting_of
from forecast.evaluation.scoring.scores import score_scene
from forecast.models.baselines import ConstantVelocity, Kalman

SPEC = WindowSpec(history_steps=5, horizon_steps=4)
SCENES = [f"street-{number}" for number in range(5)]
PREDICTORS = {"kalman": Kalman(), "constant_velocity": ConstantVelocity()}


@pytest.fixture(scope="module")
def parts(store):
    return [score_scene(PREDICTORS, store[name], SPEC, 6, 3) for name in SCENES]


def merged(store, parts):
    return merge(parts, PREDICTORS, setting_of(store, "all", tuple(SCENES), SPEC, 6, 3), store)


def assert_same(one, two):
    for name in ("values", "errors_m", "ground_truth"):
        for key, values in getattr(one, name).items():
            np.testing.assert_array_equal(values, getattr(two, name)[key], err_msg=key)
    np.testing.assert_array_equal(one.coverage, two.coverage)
    np.testing.assert_array_equal(one.rows.agent_ids, two.rows.agent_ids)
    for name, labels in one.rows.labels.items():
        np.testing.assert_array_equal(labels, two.rows.labels[name])
    assert one.dropped == two.dropped


def test_order_does_not_matter(store, parts):
    shuffled = [parts[index] for index in (3, 0, 4, 2, 1)]
    one, two = merged(store, parts), merged(store, shuffled)
    for name in PREDICTORS:
        assert_same(one[name], two[name])


@pytest.mark.slow
def test_together_as_alone(store, parts):
    for name, predictor in PREDICTORS.items():
        alone = evaluate(predictor, store, SCENES, SPEC, 6, 3, split="all")
        assert_same(merged(store, parts)[name], alone)


def test_a_scene_with_nobody_adds_its_counts(store, parts):
    empty = replace(parts[0], rows=None, ground_truth={}, scores={})
    result = merged(store, [empty, *parts[1:]])["kalman"]
    assert SCENES[0] not in result.rows.scene_ids
    assert result.dropped == merged(store, parts)["kalman"].dropped


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda parts: parts[1:], "merge: street-0 is missing"),
        (lambda parts: [*parts, parts[0]], "merge: street-0 is there twice"),
        (lambda parts: [replace(parts[0], scene_id="x"), *parts[1:]], "merge: x is there twice or"),
    ],
)
def test_every_scene_once(store, parts, change, message):
    with pytest.raises(ForecastError, match=message):
        merged(store, change(parts))
