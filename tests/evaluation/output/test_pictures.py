from dataclasses import replace

import numpy as np
import pytest

from forecast.datasets.windows import WindowSpec
from forecast.evaluation import evaluate
from forecast.evaluation.output.pictures import TYPICAL, WORST, pictures
from forecast.evaluation.prediction_file.writer import PredictionsWriter, predictions_table
from forecast.models.baselines import Kalman

SPEC = WindowSpec(history_steps=5, horizon_steps=4)


class Unsure(Kalman):
    """Gives a fallback for the first agent of every window."""

    def predict(self, scene, at, **options):
        made = super().predict(scene, at, **options)
        return replace(made, fallback=np.arange(len(made.valid)) == 0)


@pytest.fixture(scope="module")
def shown(store, tmp_path_factory):
    seen = {}
    path = tmp_path_factory.mktemp("pictures") / "predictions.parquet"

    def keep(case, prediction):
        seen[case.scene.id, case.window.at] = prediction
        writer.write_tables([predictions_table(case, prediction)])

    with PredictionsWriter(path) as writer:
        result = evaluate(Unsure(), store, store.splits["val"], SPEC, 6, 3, sink=keep)
    return result, pictures(result, store, SPEC, path), seen


def test_the_worst_come_first_and_each_pedestrian_once(shown):
    result, chosen, _ = shown
    worst = [picture.row for picture in chosen if picture.why == "worst"]
    error = result.values["top1_fde_m"]
    assert worst[0] == error.argmax()
    assert (np.diff(error[worst]) <= 0).all()
    people = {(result.rows.scene_ids[row], result.rows.agent_ids[row]) for row in worst}
    assert len(people) == len(worst) <= WORST


def test_the_typical_are_movers_near_the_median(shown):
    result, chosen, _ = shown
    rows = [picture.row for picture in chosen if picture.why == "typical"]
    assert len(rows) == TYPICAL
    assert result.rows.movers[rows].all()
    movers = result.values["top1_fde_m"][result.rows.movers]
    off = np.abs(movers - np.median(movers))
    assert abs(result.values["top1_fde_m"][rows[0]] - np.median(movers)) == off.min()


def test_they_show_the_very_prediction_that_was_scored(shown):
    result, chosen, seen = shown
    for picture in chosen:
        window = picture.window
        scored = seen[window.scene_id, window.at]
        shown_m = picture.prediction.positions_m[:, picture.agent]
        np.testing.assert_array_equal(shown_m, scored.positions_m[:, picture.agent])
        mode = picture.prediction.most_probable()[picture.agent]
        np.testing.assert_array_equal(mode, scored.most_probable()[picture.agent])
        assert window.agent_ids[picture.agent] == result.rows.agent_ids[picture.row]
        assert window.scored[picture.agent]


def test_a_fallback_is_known_though_the_file_of_predictions_does_not_say(shown):
    result, chosen, seen = shown
    assert 0 < result.fallback.sum() < len(result.rows)
    for picture in chosen:
        rows, row = result.rows, picture.row
        mask = seen[str(rows.scene_ids[row]), int(rows.at[row])].fallback
        there = picture.prediction.fallback
        assert there[picture.agent] == mask[picture.agent] == result.fallback[row]
        assert there.sum() == mask[picture.agent]


def test_the_worst_of_every_asked_slice_is_shown(shown, store, tmp_path):
    result, *_ = shown
    asked = replace(result, slices=("change", "speed"))
    path = tmp_path / "predictions.parquet"
    with PredictionsWriter(path) as writer:
        evaluate(
            Unsure(),
            store,
            store.splits["val"],
            SPEC,
            6,
            3,
            sink=lambda case, made: writer.write_tables([predictions_table(case, made)]),
        )
    drawn = {picture.row for picture in pictures(asked, store, SPEC, path)}
    error, labels = asked.values["top1_fde_m"], asked.rows.labels
    pairs = set(zip(labels["change"].tolist(), labels["speed"].tolist(), strict=True))
    assert len(pairs) == 3
    assert int(np.where(asked.fallback, error, -1).argmax()) in drawn
    for change, speed in pairs:
        inside = (labels["change"] == change) & (labels["speed"] == speed)
        assert int(np.where(inside, error, -1).argmax()) in drawn
