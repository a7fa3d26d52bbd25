import numpy as np
import pytest

from forecast.datasets.windows import WindowSpec
from forecast.evaluation import evaluate
from forecast.evaluation.output.pictures import TYPICAL, WORST, pictures
from forecast.evaluation.prediction_file.writer import PredictionsWriter, predictions_table
from forecast.models.baselines import Kalman

SPEC = WindowSpec(history_steps=5, horizon_steps=4)


@pytest.fixture(scope="module")
def shown(store, tmp_path_factory):
    seen = {}
    path = tmp_path_factory.mktemp("pictures") / "predictions.parquet"

    def keep(case, prediction):
        seen[case.scene.id, case.window.at] = prediction
        writer.write_tables([predictions_table(case, prediction)])

    with PredictionsWriter(path) as writer:
        result = evaluate(Kalman(), store, store.splits["val"], SPEC, 6, 3, sink=keep)
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
