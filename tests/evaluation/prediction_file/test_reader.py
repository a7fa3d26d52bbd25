import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forecast import ForecastError
from forecast.datasets.crowds.eth_ucy import EthUcySource
from forecast.datasets.nuscenes import NuScenesSource
from forecast.datasets.windows import WindowSpec
from forecast.evaluation import evaluate
from forecast.evaluation.prediction_file.reader import _FASTEST_MPS, _fastest, read_predictions
from forecast.evaluation.prediction_file.writer import PredictionsWriter, predictions_table
from forecast.evaluation.scoring.sample import EvaluationSample
from forecast.models.baselines import Kalman, KMeansResiduals
from forecast.scene import AgentKind

SPEC = WindowSpec(history_steps=5, horizon_steps=12)
VAL = ["street-3", "street-4"]


def written(store, folder: Path, predictor=None, scenes=VAL) -> Path:
    """A file of predictions as an evaluation writes it."""
    path = folder / "theirs.parquet"
    with PredictionsWriter(path) as writer:
        evaluate(
            predictor or Kalman(),
            store,
            scenes,
            SPEC,
            samples=5,
            seed=0,
            sink=lambda sample, futures: writer.write_tables([predictions_table(sample, futures)]),
        )
    return path


def read(store, path: Path):
    return read_predictions(path, store, VAL, SPEC.horizon_steps)


@pytest.fixture(scope="module")
def nuscenes_source(nuscenes_root):
    return NuScenesSource(nuscenes_root, "v1.0-mini", with_map=False)


@pytest.fixture(scope="module")
def eth_ucy_source(eth_ucy_root):
    return EthUcySource(eth_ucy_root)


@pytest.fixture(scope="module")
def rows(store, tmp_path_factory) -> dict[str, list]:
    return pq.read_table(written(store, tmp_path_factory.mktemp("filed"))).to_pydict()


def test_an_agent_recorded_faster_may_be_predicted_faster(store):
    scene = store[VAL[0]]
    usual = _fastest(scene.tracks, scene.dt_s)
    assert usual.tolist() == [_FASTEST_MPS[AgentKind(kind)] for kind in scene.tracks.kinds]
    quick = replace(scene.tracks, positions_m=scene.tracks.positions_m * 30)
    step = np.hypot(*np.moveaxis(np.diff(quick.positions_m, axis=1), -1, 0)) / scene.dt_s
    recorded = np.nanmax(np.where(quick.valid[:, 1:] & quick.valid[:, :-1], step, 0), axis=1)
    expected = np.maximum(usual, 2 * recorded)
    assert (expected > usual).any()
    np.testing.assert_allclose(_fastest(quick, scene.dt_s), expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nuscenes", "eth_ucy"])
def test_nobody_in_real_data_is_near_the_bounds(name, request):
    """The bounds have room: what is recorded stays below 0.6 of them."""
    source = request.getfixturevalue(f"{name}_source")
    fastest = dict.fromkeys(AgentKind, 0.0)
    for scene in (source.read(scene)[0] for scene in source.scene_names()):
        tracks = scene.tracks
        both = tracks.valid[:, 1:] & tracks.valid[:, :-1]
        step = np.hypot(*np.moveaxis(np.diff(tracks.positions_m, axis=1), -1, 0)) / scene.dt_s
        for kind in np.unique(tracks.kinds):
            top = np.where(both, step, 0)[tracks.kinds == kind].max()
            fastest[AgentKind(kind)] = max(fastest[AgentKind(kind)], float(top))
    assert fastest[AgentKind.PEDESTRIAN] > 3
    assert all(top < 0.6 * _FASTEST_MPS[kind] for kind, top in fastest.items())


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
def test_a_file_scores_as_its_predictor(store, tmp_path, weighted):
    residuals = np.random.default_rng(0).normal(0, 0.3, (3, 12, 2)).cumsum(1)
    kmeans = KMeansResiduals(residuals, np.array([0.5, 0.3, 0.2]), 0.5)
    predictor = kmeans if weighted else Kalman()
    theirs = read(store, written(store, tmp_path, predictor))
    assert not theirs.is_marginal
    one, two = (evaluate(each, store, VAL, SPEC, 5, 0) for each in (predictor, theirs))
    for name, values in one.values.items():
        if not name.startswith("selected"):
            np.testing.assert_allclose(two.values[name], values, atol=1e-4, err_msg=name)
    assert np.isnan(two.values["selected_min_ade_5_m"]).all()


def record_form(store, weights) -> list[dict]:
    """Constant futures around everybody in the nuScenes form, with weights by agent."""
    records = []

    def keep(sample: EvaluationSample, prediction):
        for place, agent in enumerate(prediction.agent_ids[sample.window.scored].tolist()):
            futures = prediction.world_positions_m()[:, prediction.agent_ids == agent][:, 0]
            records.append(
                {
                    "instance": agent,
                    "sample": f"{sample.scene.id}/{sample.window.at}",
                    "prediction": futures.tolist(),
                    "probabilities": weights(place),
                }
            )

    evaluate(Kalman(), store, VAL, SPEC, 4, 0, sink=keep)
    return records


class TestChallenge:
    """The JSON of the nuScenes prediction challenge."""

    @pytest.fixture
    def named(self, tmp_path):
        """A store whose frames have names."""
        from forecast.datasets.store import prepare
        from tests.streets import StreetSource

        class Named(StreetSource):
            def read(self, name):
                scene, dropped = super().read(name)
                tokens = np.array([f"{name}/{step}" for step in range(scene.steps)])
                return replace(scene, frame_ids=tokens), dropped

        return prepare(Named(), tmp_path / "named")

    def file(self, tmp_path, records) -> Path:
        path = tmp_path / "submission.json"
        path.write_text(json.dumps(records))
        return path

    @pytest.mark.slow
    def test_equal_weights_are_joint_futures(self, named, tmp_path):
        records = record_form(named, lambda place: [0.25] * 4)
        theirs = read(named, self.file(tmp_path, records))
        one, two = (evaluate(each, named, VAL, SPEC, 4, 0) for each in (Kalman(), theirs))
        for name in ("mean_fde_m", "joint_ade_m", "brier_min_fde_m", "energy_score_m"):
            np.testing.assert_allclose(two.values[name], one.values[name], atol=1e-4, err_msg=name)

    def test_agents_with_weights_of_their_own_are_scored_one_by_one(self, named, tmp_path):
        own = [[0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7], [0.25] * 4]
        records = record_form(named, lambda place: own[place % 3])
        theirs = read(named, self.file(tmp_path, records))
        assert theirs.is_marginal
        result = evaluate(theirs, named, VAL, SPEC, 4, 0)
        assert np.isnan(result.values["joint_ade_m"]).all()
        for row, record in enumerate(records):
            scene = named[result.rows.scene_ids[row]]
            assert result.rows.agent_ids[row] == record["instance"]
            agent = scene.tracks.agent_ids.tolist().index(record["instance"])
            at = result.rows.at[row]
            truth = scene.tracks.positions_m[agent, at + 1 : at + 13] + scene.origin_m
            futures, weights = np.array(record["prediction"]), np.array(record["probabilities"])
            error = np.linalg.norm(futures - truth, axis=-1)[:, -1]
            assert result.values["top1_fde_m"][row] == pytest.approx(
                error[weights.argmax()], abs=1e-4
            )
            brier = error.min() + (1 - weights[error.argmin()]) ** 2
            assert result.values["brier_min_fde_m"][row] == pytest.approx(brier, abs=1e-4)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"probabilities": [0.5] * 4}, "record 1 (street-3, "),
            ({"probabilities": [0.5] * 4}, "the agent's weights sum to 2.000000; 1 is needed"),
            ({"probabilities": [0.5] * 3}, "probabilities [3]; [K, T, 2] and [K] are needed"),
            ({"prediction": [[[0, 0]]]}, "prediction has shape [1, 1, 2] and probabilities [4]"),
            ({"prediction": "far"}, "prediction and probabilities must be numbers"),
            ({"sample": "b3a1"}, "record 1: sample 'b3a1' is no keyframe of the scored scenes"),
            ({"instance": "ghost"}, "ghost, "),
            ({"instance": "ghost"}, "the scene has no such agent"),
        ],
    )
    def test_bad_records_are_named(self, named, tmp_path, change, message):
        records = record_form(named, lambda place: [0.25] * 4)
        records[1] |= change
        with pytest.raises(ForecastError) as error:
            read(named, self.file(tmp_path, records))
        assert message in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("text", ["{", "{}", '[{"instance": "a"}]', "[]"])
    def test_a_broken_file_is_one_line(self, named, tmp_path, text):
        path = tmp_path / "submission.json"
        path.write_text(text)
        with pytest.raises(ForecastError) as error:
            read(named, path)
        assert str(error.value).startswith(str(path))
        assert "\n" not in str(error.value)


def set_to(column: str, row: int, value):
    def change(rows):
        rows[column][row] = value

    return change


def without(row: int):
    def change(rows):
        for column in rows.values():
            del column[row]

    return change


class TestBadRows:
    """Row 40 is a step of a sample in the first window."""

    def refused(self, store, tmp_path, rows, change) -> str:
        changed = {name: list(column) for name, column in rows.items()}
        change(changed)
        path = tmp_path / "bad.parquet"
        pq.write_table(pa.table(changed), path)
        with pytest.raises(ForecastError) as error:
            read(store, path)
        assert "\n" not in str(error.value)
        assert str(error.value).startswith(str(path))
        return str(error.value)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (
                set_to("x_m", 40, float("nan")),
                "row 40 (street-3, 2, 500000 us, sample 2, step 5): ",
            ),
            (set_to("x_m", 40, float("nan")), "finite metres are needed"),
            (set_to("x_m", 40, None), "row 40: x_m is missing"),
            (set_to("weight", 40, -0.1), "the weight is -0.1"),
            (set_to("weight", 40, 0.3), "its weight changes from step to step"),
            (set_to("scene_id", 40, "street-9"), "has no such scene"),
            (set_to("agent_id", 40, "ghost"), "the scene has no such agent"),
            (set_to("at_us", 40, 123), "that is no step of the scene"),
            (set_to("step", 40, 99), "steps 1 to 12, each once, are needed"),
            (without(40), "steps 1 to 12, each once, are needed"),
            (set_to("x_m", 12, 9999.0), "metres in the world's frame and steps in their order"),
        ],
    )
    def test_are_named(self, store, tmp_path, rows, change, words):
        assert words in self.refused(store, tmp_path, rows, change)

    def test_a_last_step_that_nobody_can_reach(self, store, tmp_path, rows):
        last = rows["step"].index(12)
        said = self.refused(store, tmp_path, rows, set_to("x_m", last, rows["x_m"][last] + 5000))
        assert f": row {last} (" in said
        assert "step 12): the position lies 500" in said
        assert " m from the step before: " in said
        assert "more than the 12.5 m/s that such an agent is held to" in said

    @pytest.mark.parametrize("column", ["x_m", "y_m"])
    @pytest.mark.parametrize("shift_m", [10.0, -10.0])
    def test_everything_shifted_as_in_another_frame(self, store, tmp_path, rows, column, shift_m):
        def change(changed):
            changed[column] = [place + shift_m for place in changed[column]]

        said = self.refused(store, tmp_path, rows, change)
        assert " m from the agent, where it is when predicted: " in said
        assert "step 1): " in said

    def test_steps_out_of_order(self, store, tmp_path, rows):
        def change(changed):
            changed["step"] = [13 - step if step in (1, 12) else step for step in changed["step"]]
            changed["x_m"] = [
                x + 3.0 * step for x, step in zip(changed["x_m"], rows["step"], strict=True)
            ]

        assert "than the 12.5 m/s" in self.refused(store, tmp_path, rows, change)

    def test_weights_that_do_not_sum_to_1(self, store, tmp_path, rows):
        def change(changed):
            changed["weight"] = [w * 0.9 for w in changed["weight"]]

        assert "the agent's weights sum to 0.9" in self.refused(store, tmp_path, rows, change)

    def test_another_dt(self, store, tmp_path, rows):
        def change(changed):
            changed["dt_s"] = [0.4] * len(changed["step"])

        assert "dt_s is 0.4; the store's 0.5 s is needed" in self.refused(
            store, tmp_path, rows, change
        )

    def test_too_short_a_horizon(self, store, tmp_path, rows):
        def change(changed):
            keep = [row for row, step in enumerate(changed["step"]) if step <= 6]
            for name, column in changed.items():
                changed[name] = [column[row] for row in keep]

        assert "steps 1 to 12" in self.refused(store, tmp_path, rows, change)

    @pytest.mark.parametrize("column", ["scene_id", "weight", "y_m"])
    def test_a_missing_column(self, store, tmp_path, rows, column):
        message = self.refused(store, tmp_path, rows, lambda changed: changed.pop(column))
        assert f"has no column '{column}'" in message

    def test_a_column_of_another_type(self, store, tmp_path, rows):
        def change(changed):
            changed["step"] = [str(step) for step in changed["step"]]

        assert "column step is string; int64 is needed" in self.refused(
            store, tmp_path, rows, change
        )

    def test_a_scored_pedestrian_without_prediction_is_named(self, store, tmp_path, rows):
        path = written(store, tmp_path, scenes=VAL[:1])
        with pytest.raises(ForecastError, match="nothing is predicted in street-4 at "):
            evaluate(read(store, path), store, VAL, SPEC, 5, 0)

    def test_no_parquet_file(self, store, tmp_path):
        path = tmp_path / "bad.parquet"
        path.write_text("words")
        with pytest.raises(ForecastError, match="not a Parquet file that can be read"):
            read(store, path)
