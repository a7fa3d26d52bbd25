import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from forecast import ForecastError, inference, save_predictions
from forecast.cli import main
from forecast.datasets.crowds.eth_ucy import EthUcySource
from forecast.datasets.nuscenes import NuScenesSource
from forecast.datasets.store import prepare
from forecast.datasets.windows import WindowSpec, prediction_times, window_seed
from forecast.evaluation import evaluate
from forecast.evaluation.prediction_file.reader import _fastest, read_predictions
from forecast.evaluation.prediction_file.writer import PredictionsWriter, predictions_table
from forecast.evaluation.scoring.sample import EvaluationSample
from forecast.evaluation.scoring.scores import JOINT_METRICS
from forecast.models.baselines import ConstantVelocity, Kalman, KMeansResiduals
from forecast.scene import AgentKind
from forecast.scene.agents import FASTEST_MPS
from tests.streets import StreetSource

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
    assert usual.tolist() == [FASTEST_MPS[AgentKind(kind)] + 0.5 for kind in scene.tracks.kinds]
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
    assert all(top < 0.6 * FASTEST_MPS[kind] for kind, top in fastest.items())


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
        if not name.startswith("modes"):
            np.testing.assert_allclose(two.values[name], values, atol=1e-4, err_msg=name)


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


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A store whose frames have names."""

    class Named(StreetSource):
        def read(self, name):
            scene, dropped = super().read(name)
            tokens = np.array([f"{name}/{step}" for step in range(scene.steps)])
            return replace(scene, frame_ids=tokens), dropped

    return prepare(Named(), tmp_path_factory.mktemp("challenge") / "named")


@pytest.fixture(scope="module")
def equal(named) -> list[dict]:
    """The records of four samples of equal weights."""
    return record_form(named, lambda place: [0.25] * 4)


def modes_of(record: dict, weights: list[float]) -> dict:
    """The record with as many modes as weights: its first one, each shifted by its own metre."""
    first = np.array(record["prediction"][0])
    steps = np.linspace(0, 1, len(first))[:, None]
    modes = [first + steps * [number, number**2 / 4] for number in range(len(weights))]
    return record | {"prediction": np.array(modes).tolist(), "probabilities": weights}


class TestChallenge:
    """The JSON of the nuScenes prediction challenge."""

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
            ({"probabilities": [0.2425] * 4}, "weights sum to 0.970000; 1 is needed, give or take"),
            ({"probabilities": [[0.25] * 4] * 2}, "probabilities [2, 4]; [K, T, 2] and [K] are"),
            ({"probabilities": [0.5] * 3}, "probabilities [3]; [K, T, 2] and [K] are needed"),
            ({"prediction": [[[0, 0]]]}, "prediction has shape [1, 1, 2] and probabilities [4]"),
            ({"prediction": "far"}, "prediction and probabilities must be numbers"),
            ({"sample": None}, "record 1: sample is None; a name is needed"),
            ({"instance": ["a"]}, "record 1: instance is ['a']; a name is needed"),
            ({"instance": True}, "record 1: instance is True; a name is needed"),
            ({"instance": "ghost"}, "ghost, "),
            ({"instance": "ghost"}, "the scene has no such agent"),
        ],
    )
    def test_bad_records_are_named(self, named, equal, tmp_path, change, message):
        records = [equal[0], equal[1] | change, *equal[2:]]
        with pytest.raises(ForecastError) as error:
            read(named, self.file(tmp_path, records))
        assert message in str(error.value)
        assert "\n" not in str(error.value)

    def test_agents_with_different_numbers_of_modes_have_the_scores_of_each_alone(
        self, named, equal, tmp_path
    ):
        """Modes of 3 and 5 in turn, equally or unequally probable, beside all with 3 or all 5."""
        three, five = [1 / 3] * 3, [0.1, 0.3, 0.2, 0.3, 0.1]
        mixed = [modes_of(record, [three, five][row % 2]) for row, record in enumerate(equal)]
        theirs = read(named, self.file(tmp_path, mixed))
        assert theirs.is_marginal
        with_five = {record["sample"] for record in mixed[1::2]}
        padded = sum(record["sample"] in with_five for record in mixed[::2])
        counts = {"read": len(equal), "skipped": 0, "renormalised": 0, "padded": padded}
        assert theirs.counts == counts
        assert padded > 0
        found = evaluate(theirs, named, VAL, SPEC, 5, 0).values
        for start, weights in enumerate((three, five)):
            alike = [modes_of(record, weights) for record in equal]
            alone = read(named, self.file(tmp_path, alike))
            assert not alone.is_marginal
            expected = evaluate(alone, named, VAL, SPEC, 5, 0).values
            flicker = [name for name in expected if name.startswith("flicker")]
            for name in expected.keys() - {*JOINT_METRICS, *flicker}:
                values = [each[name][start::2] for each in (found, expected)]
                np.testing.assert_allclose(*values, atol=1e-9, err_msg=name)
            assert np.isnan(found["min_ade_5_m"][start::2]).all() == (len(weights) < 5)
        assert np.isfinite(found["energy_score_m"]).all()

    def test_padding_repeats_a_mode_with_weight_0(self, named, equal, tmp_path):
        pair = [record for record in equal if record["sample"] == equal[-1]["sample"]][:2]
        records = [modes_of(pair[0], [0.5, 0.5]), modes_of(pair[1], [0.6, 0.3, 0.1])]
        theirs = read(named, self.file(tmp_path, records))
        (window,) = theirs.windows.values()
        assert window.samples.tolist() == [2, 3]
        np.testing.assert_allclose(window.weights, [[0.5, 0.5, 0], [0.6, 0.3, 0.1]])
        np.testing.assert_array_equal(window.positions_m[0, 2], window.positions_m[0, 1])
        scene = named["street-4"]
        at = scene.frame_ids.tolist().index(pair[0]["sample"])
        alone = [theirs.alone(record["instance"]).predict(scene, at) for record in records]
        assert [prediction.samples for prediction in alone] == [2, 3]

    def test_rounded_probabilities_are_divided_by_their_sum(self, named, equal, tmp_path):
        """0.333 for each of three, and sums of 0.98 and 1.02 as the last that are taken."""
        sums = ([0.333] * 3, [0.48, 0.3, 0.2], [0.52, 0.3, 0.2], [0.5, 0.3, 0.2])
        records = [modes_of(record, sums[row % 4]) for row, record in enumerate(equal)]
        theirs = read(named, self.file(tmp_path, records))
        exact = len(range(3, len(equal), 4))
        assert theirs.counts["renormalised"] == len(equal) - exact
        weights = np.concatenate([window.weights for window in theirs.windows.values()])
        np.testing.assert_allclose(weights[0], [1 / 3] * 3, rtol=1e-12)
        assert any(np.allclose(each, np.array([48, 30, 20]) / 98) for each in weights)
        assert any(np.allclose(each, np.array([52, 30, 20]) / 102) for each in weights)
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-12)

    def test_records_of_other_scenes_are_skipped_and_counted(self, named, equal, tmp_path):
        """Of another scene of the store, of none, and broken where nobody looks."""
        others = [
            equal[0] | {"sample": "street-0/9"},
            equal[0] | {"sample": "b3a1", "prediction": "far"},
            equal[1] | {"sample": "b3a1"},
        ]
        theirs = read(named, self.file(tmp_path, [others[0], *equal, *others[1:]]))
        plain = read(named, self.file(tmp_path, equal))
        assert theirs.counts == plain.counts | {"skipped": 3}
        assert theirs.windows.keys() == plain.windows.keys()
        with pytest.raises(ForecastError) as error:
            read(named, self.file(tmp_path, others))
        assert str(error.value).endswith(
            f"none of its 3 predictions is in a scored scene: 1 are in other scenes of {named.path}"
            ", 2 in none of it, such as 'street-0/9'; score the split that they are of"
        )

    def test_who_is_not_scored_may_be_predicted(self, named, equal, tmp_path):
        """A vehicle, and a pedestrian at the last keyframe, which nobody can be scored at."""
        scene = named["street-3"]
        last = scene.steps - 1
        more = []
        for kind, at in ((AgentKind.VEHICLE, 5), (AgentKind.PEDESTRIAN, last)):
            agent = np.flatnonzero(scene.tracks.valid[:, at] & (scene.tracks.kinds == kind))[0]
            place = scene.tracks.positions_m[agent, at] + scene.origin_m
            more.append(
                {
                    "instance": str(scene.tracks.agent_ids[agent]),
                    "sample": f"street-3/{at}",
                    "prediction": np.broadcast_to(place, (4, 12, 2)).tolist(),
                    "probabilities": [0.25] * 4,
                }
            )
        theirs = read(named, self.file(tmp_path, [*equal, *more]))
        assert theirs.counts["read"] == len(equal) + 2
        evaluate(theirs, named, VAL, SPEC, 4, 0)

    def test_a_repeated_record_is_called_that(self, named, equal, tmp_path):
        records = [*equal[:7], equal[3], *equal[7:]]
        with pytest.raises(ForecastError) as error:
            read(named, self.file(tmp_path, records))
        who, when = equal[3]["instance"], equal[3]["sample"]
        assert str(error.value).endswith(
            f"record 7 repeats record 3 (instance '{who}', sample '{when}'): keep one"
        )

    @pytest.mark.parametrize(
        "write",
        [
            lambda path, records: path.write_text(json.dumps(records), "utf-8-sig"),
            lambda path, records: path.write_text(json.dumps(records), "utf-16"),
            lambda path, records: path.write_text(json.dumps({"predictions": records})),
            lambda path, records: path.write_text(json.dumps({"meta": {}, "results": records})),
            lambda path, records: path.write_text(
                json.dumps([each | {"probabilities": [each["probabilities"]]} for each in records])
            ),
            lambda path, records: path.write_text(
                json.dumps([each | {"prediction": [each["prediction"]]} for each in records])
            ),
            lambda path, records: path.write_text(
                json.dumps([each | {"instance": int(each["instance"])} for each in records])
            ),
        ],
        ids=["bom", "utf-16", "predictions", "results", "nested", "batch", "whole numbers"],
    )
    def test_the_same_in_another_dress(self, named, equal, tmp_path, write):
        path = tmp_path / "submission.json"
        write(path, equal)
        theirs, plain = read(named, path), read(named, self.file(tmp_path, equal))
        assert theirs.counts == plain.counts
        for place, window in plain.windows.items():
            np.testing.assert_array_equal(theirs.windows[place].positions_m, window.positions_m)

    @pytest.mark.parametrize("text", ["{", "{}", '[{"instance": "a"}]', "[]", '{"results": {}}'])
    def test_a_broken_file_is_one_line(self, named, tmp_path, text):
        path = tmp_path / "submission.json"
        path.write_text(text)
        with pytest.raises(ForecastError) as error:
            read(named, path)
        assert str(error.value).startswith(str(path))
        assert "\n" not in str(error.value)

    def test_a_file_nested_without_end_is_one_line(self, named, tmp_path):
        (tmp_path / "deep.json").write_text("[" * 100_000)
        with pytest.raises(ForecastError, match=r"deep\.json: not JSON that can be read: maximum"):
            read(named, tmp_path / "deep.json")

    @pytest.mark.parametrize(
        "change",
        [
            {"instance": {"a": 1}},
            {"instance": [1]},
            {"sample": {"a": 1}},
            {"prediction": [[[10**400, 0]]]},
            {"prediction": {"a": 1}},
            {"probabilities": [{}]},
            {"probabilities": None},
        ],
        ids=str,
    )
    def test_a_record_with_something_else_in_it_is_one_line(self, named, equal, tmp_path, change):
        path = self.file(tmp_path, [{**equal[0], **change}, *equal[1:]])
        with pytest.raises(ForecastError, match=r"submission\.json: record 0: ") as error:
            read(named, path)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 300 + len(str(path))


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

    def test_a_repeated_row_is_called_that(self, store, tmp_path, rows):
        def change(changed):
            for column in changed.values():
                column.insert(50, column[40])

        said = self.refused(store, tmp_path, rows, change)
        assert said.endswith(
            "row 50 (street-3, 2, 500000 us, sample 2, step 5): repeats row 40 (scene_id to step): "
            "keep one"
        )

    def test_a_best_guess_of_some_agents_alone(self, store, tmp_path, rows):
        table = pa.table(rows)
        last = {name: pc.equal(table[name], rows[name][-1]) for name in ("at_us", "agent_id")}
        guess = pc.and_(pc.and_(*last.values()), pc.equal(table["sample"], -1))
        path = tmp_path / "bad.parquet"
        pq.write_table(table.filter(pc.invert(guess)), path)
        with pytest.raises(ForecastError, match=r"some agents have a best guess \(sample -1\)"):
            read(store, path)

    def test_no_parquet_file(self, store, tmp_path):
        path = tmp_path / "bad.parquet"
        path.write_text("words")
        with pytest.raises(ForecastError, match="not a Parquet file that can be read"):
            read(store, path)


class TestRowsOfOthers:
    """What other programs write, and what is mended."""

    def file(self, tmp_path, table: pa.Table) -> Path:
        pq.write_table(table, tmp_path / "theirs.parquet")
        return tmp_path / "theirs.parquet"

    def test_rows_of_other_scenes_are_skipped_and_counted(self, store, tmp_path):
        """Scenes of the store that are not scored, and one that is not there."""
        table = pq.read_table(written(store, tmp_path, scenes=[*VAL, "street-0"]))
        names = table["scene_id"].cast(pa.string())
        other = table.filter(pc.equal(names, "street-0"))
        absent = other.set_column(0, "scene_id", pa.array(["scene-1100"] * len(other)))
        absent = absent.set_column(6, "x_m", pa.array([np.nan] * len(other)))
        theirs = read(
            store,
            self.file(
                tmp_path,
                pa.concat_tables(
                    [absent, table.set_column(0, "scene_id", names)], promote_options="permissive"
                ),
            ),
        )
        plain = read(store, written(store, tmp_path))
        times = prediction_times(store["street-0"], SPEC).scored.sum()
        assert theirs.counts == plain.counts | {"skipped": 2 * times}
        assert theirs.windows.keys() == plain.windows.keys()
        with pytest.raises(ForecastError) as error:
            read(store, self.file(tmp_path, other))
        assert str(error.value).endswith(
            f"none of its {times} predictions is in a scored scene: {times} are in other scenes of "
            f"{store.path}, 0 in none of it, such as 'street-0'; score the split that they are of"
        )

    def test_a_window_that_only_other_scenes_have_says_so(self, store, tmp_path):
        theirs = read(store, written(store, tmp_path, scenes=["street-0", "street-3"]))
        with pytest.raises(
            ForecastError, match=r"pedestrian \(its \d+ predictions in other scenes"
        ):
            evaluate(theirs, store, VAL, SPEC, 5, 0)

    def test_a_row_is_named_by_its_place_in_the_file(self, store, tmp_path):
        table = pq.read_table(written(store, tmp_path, scenes=["street-0", "street-3"]))
        first = table["scene_id"].to_pylist().index("street-3")
        x_m = table["x_m"].to_pylist()
        x_m[first + 2] = np.nan
        bad = self.file(tmp_path, table.set_column(6, "x_m", pa.array(x_m)))
        with pytest.raises(ForecastError, match=f": row {first + 2} \\(street-3, "):
            read(store, bad)

    def test_rounded_weights_are_divided_by_their_sum(self, store, tmp_path):
        table = pq.read_table(written(store, tmp_path))
        weight = pc.multiply(table["weight"], 0.985)
        theirs = read(store, self.file(tmp_path, table.set_column(4, "weight", weight)))
        assert theirs.counts["renormalised"] == theirs.counts["read"]
        for window in theirs.windows.values():
            np.testing.assert_allclose(window.weights, 0.2)

    def test_agents_with_different_numbers_of_samples_have_the_scores_of_each_alone(
        self, store, tmp_path
    ):
        """Kalman's samples for one half of the agents, fewer of k-means for the other."""
        residuals = np.random.default_rng(0).normal(0, 0.3, (3, 12, 2)).cumsum(1)
        kmeans = KMeansResiduals(residuals, np.array([0.5, 0.3, 0.2]), 0.5)
        parts, alone = [], []
        for half, predictor in enumerate((Kalman(), kmeans)):
            table = pq.read_table(written(store, tmp_path, predictor))
            table = table.filter(pc.not_equal(table["sample"], -1))
            alone.append(evaluate(read(store, self.file(tmp_path, table)), store, VAL, SPEC, 5, 0))
            numbers = pc.cast(table["agent_id"].cast(pa.string()), pa.int64()).to_numpy()
            parts.append(table.filter(numbers % 2 == half))
        theirs = read(store, self.file(tmp_path, pa.concat_tables(parts)))
        assert theirs.is_marginal
        assert theirs.counts["padded"] > 0
        path = tmp_path / "again.parquet"
        with PredictionsWriter(path) as writer:
            found = evaluate(
                theirs,
                store,
                VAL,
                SPEC,
                5,
                0,
                sink=lambda sample, futures: writer.write_tables(
                    [predictions_table(sample, futures)]
                ),
            )
        again = evaluate(read(store, path), store, VAL, SPEC, 5, 0)
        halves = found.rows.agent_ids.astype(int) % 2
        for name in found.values.keys() - {*JOINT_METRICS}:
            for half in (0, 1):
                mine = halves == half
                values = [each.values[name][mine] for each in (found, alone[half], again)]
                np.testing.assert_allclose(values[0], values[1], atol=1e-6, err_msg=name)
                np.testing.assert_allclose(values[0], values[2], atol=1e-6, err_msg=name)


# --- predictions that were saved


def saved(predictor, store, folder: Path) -> Path:
    """The predictions of the scored windows, as a user saves them."""
    made = (
        predictor.predict(scene, at, samples=5, seed=window_seed(0, scene.id, at))
        for scene in map(store.__getitem__, VAL)
        for at in prediction_times(scene, SPEC).steps.tolist()
    )
    save_predictions(folder / "saved.parquet", made)
    return folder / "saved.parquet"


def test_saved_predictions_are_read_as_they_were(store, tmp_path):
    predictor = ConstantVelocity()
    again = read(store, saved(predictor, store, tmp_path))
    assert again.counts["renormalised"] == again.counts["padded"] == 0
    for name in VAL:
        for at in prediction_times(store[name], SPEC).steps.tolist():
            one, other = (each.predict(store[name], at) for each in (predictor, again))
            assert other.valid.all()
            for field in ("positions_m", "weights", "agent_ids", "at_us", "scene_id"):
                np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


@pytest.mark.slow
def test_saved_predictions_are_scored_as_their_predictor(store, tmp_path):
    found = []
    path = saved(inference.load("town"), store, tmp_path)
    for given, out in (("town", "own"), (str(path), "saved")):
        words = ["--store", str(store.path), "--split", "val", "--samples", "5"]
        words += ["--predictor", given, "--out", str(tmp_path / out)]
        assert main(["evaluate", *words]) == 0
        found.append(json.loads((tmp_path / out / "metrics.json").read_text()))
    own, again = found
    assert again["counts"]["origins"] == own["counts"]["origins"] > 0
    known = [key for key, value in again["all"].items() if value is not None]
    assert {"top1_fde_m", "min_ade_5_m", "energy_score_m"} <= set(known)
    for key in known:
        assert again["all"][key] == pytest.approx(own["all"][key], rel=1e-5, abs=1e-6), key
