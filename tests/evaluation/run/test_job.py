import hashlib
import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from forecast import ForecastError, Scene, cli
from forecast.datasets.store import SceneStore, prepare
from forecast.datasets.windows import WindowSpec, prediction_times
from forecast.evaluation import EvaluationConfig, EvaluationResult, run_evaluation
from forecast.evaluation.run.provenance import provenance_of
from forecast.evaluation.scoring.rows import QUANTITIES
from forecast.evaluation.scoring.slices import SLICINGS
from forecast.evaluation.verdict.acceptance import EXAMPLE
from forecast.inference import Forecaster, Training, load
from forecast.models.baselines import Kalman
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster
from forecast.parallel import Workers
from forecast.scene.prediction_rows import MODE_SAMPLE
from tests.scenes import street_scene
from tests.streets import StreetSource, street_store


def page(result: EvaluationResult) -> dict[str, str]:
    return {"report.html": f"a page on {result.predictor}"}


class OwnKalman(Kalman):
    """A predictor of one's own with the name of a baseline."""


def evaluated(
    store: SceneStore,
    out: Path,
    predictor: str = "kalman",
    workers: Workers = Workers(),  # noqa: B008 (frozen)
    **options,
) -> dict:
    options = {"split": "val", "horizon_s": 2.0, "samples": 10} | options
    config = EvaluationConfig(store.path, predictor=predictor, **options)
    run_evaluation(config, out, render=page, workers=workers)
    return json.loads((out / "metrics.json").read_text())


def recomputed(path: Path) -> dict[str, float]:
    """The metrics from the Parquet file, with numpy alone."""
    table = pq.read_table(path).to_pydict()
    column = {name: np.array(values) for name, values in table.items()}
    steps, samples = column["step"].max(), len(np.unique(column["sample"]))
    shape = (-1, samples, steps)
    xy = np.stack([column["x_m"], column["y_m"]], -1).reshape(*shape, 2)
    truth = np.stack([column["truth_x_m"], column["truth_y_m"]], -1).reshape(*shape, 2)
    weight, sample = (column[name].reshape(shape)[:, :, 0] for name in ("weight", "sample"))
    error = np.linalg.norm(xy - truth, axis=-1)
    rows = np.arange(len(error))
    mode = np.where((sample == MODE_SAMPLE).any(1), 0, weight.argmax(1))
    drawn = sample[0] != MODE_SAMPLE
    mean = np.einsum("nk,nktd->ntd", weight, xy)
    off_mean = np.linalg.norm(mean - truth[:, 0], axis=-1)
    values = {
        "top1_ade_m": error[rows, mode].mean(-1),
        "top1_fde_m": error[rows, mode, -1],
        "mean_ade_m": off_mean.mean(-1),
        "mean_fde_m": off_mean[:, -1],
        "miss_rate_final_2m": error[:, drawn, -1].min(1) > 2,
    }
    best_first = np.argsort(-weight[:, drawn], axis=1, kind="stable")
    error = np.take_along_axis(error[:, drawn], best_first[:, :, None], axis=1)
    for k in (5, 10, 20):
        if k <= drawn.sum():
            values[f"min_ade_{k}_m"] = error[:, :k].mean(-1).min(1)
            values[f"min_fde_{k}_m"] = error[:, :k, -1].min(1)
    return {name: float(value.mean()) for name, value in values.items()}


def assert_same_files(one: Path, other: Path) -> None:
    for file in ("metrics.json", "rows.parquet", "predictions.parquet"):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file


def rows_of(table: pa.Table, predictor: str) -> dict[str, np.ndarray]:
    """The columns of ``rows.parquet`` of one predictor."""
    mine = table.filter(pc.equal(table["predictor"].cast(pa.string()), predictor))
    return {name: np.array(column) for name, column in mine.to_pydict().items()}


def weights(path: Path, **training) -> Path:
    config = ForecasterConfig()
    known = Training(config, history_steps=5, horizon_steps=4, dts_s=[0.5], **training)
    Forecaster(PedestrianForecaster(config), known, path.stem).save(path)
    return path


class Paces(StreetSource):
    """Streets under the protocol of ETH/UCY."""

    protocol = "eth-ucy-v1"
    dt_s = 0.4

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        return replace(street_scene(seed=int(name[-1]), steps=30, dt_s=0.4), id=name), {}


class TestFiles:
    @pytest.mark.slow
    @pytest.mark.parametrize("predictor", ["constant_velocity", "kalman", "kmeans"])
    def test_predictions_give_the_metrics_again(self, store, tmp_path, predictor):
        metrics = evaluated(store, tmp_path / "out", predictor)
        again = recomputed(tmp_path / "out" / "predictions.parquet")
        assert len(again) == (5 if predictor == "constant_velocity" else 9)
        for name, value in again.items():
            assert metrics["all"][name] == pytest.approx(value, abs=1e-6), name

    @pytest.mark.slow
    def test_predictions_are_in_the_worlds_frame(self, store, tmp_path):
        evaluated(store, tmp_path / "out", "stationary")
        table = pq.read_table(tmp_path / "out" / "predictions.parquet")
        row = table.slice(0, 1).to_pylist()[0]
        scene = store[row["scene_id"]]
        agent = scene.tracks.agent_ids.tolist().index(row["agent_id"])
        at = scene.timestamps_us.tolist().index(row["at_us"])
        here = scene.tracks.positions_m[agent, at] + scene.origin_m
        then = scene.tracks.positions_m[agent, at + 1] + scene.origin_m
        assert (row["sample"], row["weight"], row["step"]) == (0, 1.0, 1)
        assert [row["x_m"], row["y_m"]] == here.tolist()
        assert [row["truth_x_m"], row["truth_y_m"]] == then.tolist()

    @pytest.mark.slow
    def test_a_mode_outside_the_samples_has_rows_of_its_own(self, store, tmp_path):
        evaluated(store, tmp_path / "out", "kalman")
        table = pq.read_table(tmp_path / "out" / "predictions.parquet")
        pairs = zip(*table.select(["sample", "weight"]).to_pydict().values(), strict=True)
        assert {*pairs} == {(MODE_SAMPLE, 0.0)} | {(sample, 0.1) for sample in range(10)}

    def test_counts_what_preparing_the_scored_scenes_dropped_or_mended(self, tmp_path):
        class Mended(StreetSource):
            def read(self, name):
                scene, counts = super().read(name)
                return scene, {**counts, "heading_from_motion": 2, "no_box": 1, "nothing": 0}

        made = prepare(Mended(), tmp_path / "store")
        metrics = evaluated(made, tmp_path / "out", "constant_velocity")
        assert metrics["counts"]["prepared"] == {"heading_from_motion": 4, "no_box": 2}

    def test_metrics_have_counts_baselines_and_null_where_undefined(self, store, tmp_path):
        metrics = evaluated(store, tmp_path / "out", "constant_velocity")
        assert metrics["predictor"] == "constant_velocity"
        label = "nuscenes-ped-v1 (off-protocol)"  # of 2 s ahead
        assert (metrics["protocol"], metrics["split"]) == (label, "val")
        assert (metrics["model"], metrics["scenes_learnt_from"]) == (None, [])
        assert (metrics["horizon_s"], metrics["history_s"]) == (2.0, 2.0)
        assert (metrics["samples"], metrics["seed"]) == (10, 0)
        counts = metrics["counts"]
        assert counts["scenes"] == 2
        assert counts["origins"] > counts["movers"] > 0
        assert set(counts["dropped"]) == {"history_too_short", "future_incomplete"}
        assert metrics["all"]["min_ade_10_m"] is None
        assert metrics["n"]["all"]["min_ade_10_m"] == 0
        assert metrics["n"]["movers"]["top1_ade_m"] == counts["movers"]
        names = [
            "constant_velocity",
            "smoothed_velocity",
            "companions",
            "kalman",
            "stationary",
            "kmeans_5",
            "kmeans_10",
        ]
        assert list(metrics["floors"]) == names
        assert metrics["floors"]["constant_velocity"]["movers"] == metrics["movers"]
        assert metrics["floors"]["kmeans_10"]["all"]["min_fde_10_m"] > 0
        assert metrics["floors_left_out"] == {}
        assert metrics["store"]["fingerprint"] == store.fingerprint

    @pytest.mark.slow
    def test_the_same_bytes_come_again_and_from_several_processes(self, store, tmp_path):
        path = str(weights(tmp_path / "walker.safetensors"))
        for name, workers in (("one", 1), ("two", 1), ("three", 2)):
            evaluated(store, tmp_path / name, path, samples=5, workers=Workers(workers))
        for name in ("two", "three"):
            assert_same_files(tmp_path / "one", tmp_path / name)

    @pytest.mark.slow
    def test_ray_scores_the_same_bytes(self, store, tmp_path, ray_workers):
        path = str(weights(tmp_path / "walker.safetensors"))
        for name, workers in (("here", Workers()), ("ray", ray_workers)):
            evaluated(store, tmp_path / name, path, samples=5, workers=workers)
        assert_same_files(tmp_path / "here", tmp_path / "ray")

    @pytest.mark.slow
    def test_rows_hold_what_the_means_are_of(self, store, tmp_path):
        metrics = evaluated(store, tmp_path / "out")
        table = pq.read_table(tmp_path / "out" / "rows.parquet")
        rows = rows_of(table, "kalman")
        assert len(rows["at"]) == metrics["counts"]["origins"]
        assert rows["mover"].sum() == metrics["counts"]["movers"]
        for name in ("top1_fde_m", "energy_score_m", "plan_regret_m"):
            assert rows[name].mean() == pytest.approx(metrics["all"][name])
        assert rows["error_top1_2s_m"].mean() == pytest.approx(metrics["all"]["top1_fde_m"])
        assert {f"slice.{name}" for name in SLICINGS} | {*QUANTITIES} < {*rows}
        scene = store[rows["scene_id"][0]]
        assert scene.timestamps_us[rows["at"][0]] == rows["at_us"][0]

    def test_the_baselines_have_rows_too(self, store, tmp_path):
        metrics = evaluated(store, tmp_path / "out", "constant_velocity")
        table = pq.read_table(tmp_path / "out" / "rows.parquet")
        names = {"constant_velocity", *metrics["floors"]}
        assert len(table) == len(names) * metrics["counts"]["origins"]
        ours = rows_of(table, "constant_velocity")
        for name in names:
            rows = rows_of(table, name)
            for metric in ("top1_fde_m", "energy_score_m", "flicker_top1_m"):
                mean = metrics["floors"][name]["all"][metric]
                assert np.nanmean(rows[metric]) == pytest.approx(mean), (name, metric)
            for column in ("agent_id", "at_us", "slice.speed"):
                np.testing.assert_array_equal(rows[column], ours[column])

    @pytest.mark.slow
    def test_the_command_names_the_teams_criteria(self, store, tmp_path):
        ours = tmp_path / "ours.yaml"
        ours.write_bytes(EXAMPLE.read_bytes() + b"# ours\n")
        config = EvaluationConfig(store.path, "val", "stationary", horizon_s=2.0)
        results = {
            file: run_evaluation(config, tmp_path / "out", render=page, acceptance=file)
            for file in (None, ours)
        }
        assert results[ours].command == f"{results[None].command} --acceptance {ours}"
        hashes = {file: result.acceptance_sha256 for file, result in results.items()}
        assert hashes[ours] == hashlib.sha256(ours.read_bytes()).hexdigest() != hashes[None]

    @pytest.mark.slow
    def test_the_command_names_the_workers(self, store, tmp_path):
        config = EvaluationConfig(store.path, "val", "stationary", horizon_s=2.0)
        results = {
            count: run_evaluation(config, tmp_path / "out", render=page, workers=Workers(count))
            for count in (None, 2)
        }
        assert results[2].command == f"{results[None].command} --workers 2"
        said = cli._parser().parse_args(shlex.split(results[2].command)[1:])
        assert (said.workers, said.ray, said.split) == (2, "", "val")

    @pytest.mark.slow
    def test_the_report_is_what_is_rendered_from_the_whole_result(self, store, tmp_path):
        results = []

        def render(result):
            results.append(result)
            return {"report.html": "a page — made"}

        config = EvaluationConfig(store.path, "val", "kalman", samples=6, horizon_s=2.0)
        returned = run_evaluation(config, tmp_path / "out dir", render=render)
        assert results == [returned]
        assert (tmp_path / "out dir" / "report.html").read_text(encoding="utf-8") == "a page — made"
        assert len(returned.pictures) > 2
        assert returned.command == (
            f"forecast evaluate --store {store.path} --split val --predictor kalman "
            f"--out '{tmp_path}/out dir' --samples 6 --horizon-s 2.0 --history-s 2.0 --seed 0"
        )


class TestRun:
    @pytest.mark.slow
    def test_evaluates_trained_weights(self, store, tmp_path):
        path = weights(tmp_path / "walker.safetensors")
        metrics = evaluated(store, tmp_path / "out", str(path), samples=5)
        assert metrics["predictor"] == "walker"
        assert metrics["all"]["modes_min_ade_5_m"] > 0
        assert "walker" not in metrics["floors"]

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("file", "listed"),
        [
            ("kalman", "kalman (weights)"),
            ("recorded", "recorded (weights)"),
            ("walker", "walker"),
        ],
    )
    def test_weights_named_like_a_baseline_are_marked(self, store, tmp_path, file, listed):
        path = weights(tmp_path / f"{file}.safetensors")
        ours = evaluated(store, tmp_path / "weights", str(path), samples=5)
        baseline = evaluated(store, tmp_path / "baseline", "kalman", samples=5)
        assert ours["predictor"] == listed
        assert ours["floors"] == baseline["floors"]
        assert ours["floors"]["kalman"]["all"] == baseline["all"] != ours["all"]

    def test_own_code_named_like_a_baseline_is_marked(self, store, tmp_path):
        ours = evaluated(store, tmp_path / "out", f"{__name__}:OwnKalman", samples=5)
        assert ours["predictor"] == "kalman (own)"
        assert "kalman" in ours["floors"]

    def test_an_evaluated_baseline_is_scored_once(self, store, tmp_path, capsys):
        evaluated(store, tmp_path / "out", "kmeans")
        said = capsys.readouterr().err.splitlines()
        assert said == [f"evaluate kmeans_10: {n} of 2 scenes" for n in (1, 2)]

    @pytest.mark.slow
    def test_says_what_weights_were_made_from_and_that_they_know_the_answers(
        self, store, tmp_path, capsys
    ):
        learnt = {"a": {"fingerprint": store.fingerprint, "scenes": ["street-0", "street-4"]}}
        path = weights(tmp_path / "walker.safetensors", learnt_from=learnt)
        metrics = evaluated(store, tmp_path / "out", str(path), samples=5)
        assert metrics["model"] == json.loads(json.dumps(provenance_of(load(path))))
        assert metrics["model"]["learnt_from"] == learnt
        assert metrics["scenes_learnt_from"] == ["street-4"]
        assert "red flag: walker has learnt from 1 of the 2 scored" in capsys.readouterr().out

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("horizon_s", "history_s", "label"),
        [
            (None, None, "nuscenes-ped-v1"),
            (3.0, None, "nuscenes-ped-v1"),
            (6.0, 2.0, "nuscenes-ped-v1"),
            (4.0, None, "nuscenes-ped-v1 (off-protocol)"),
            (None, 1.5, "nuscenes-ped-v1 (off-protocol)"),
        ],
    )
    def test_says_where_lengths_are_not_the_protocols(
        self, store, tmp_path, horizon_s, history_s, label
    ):
        metrics = evaluated(
            store, tmp_path / "out", "stationary", horizon_s=horizon_s, history_s=history_s
        )
        assert metrics["protocol"] == label
        assert (metrics["horizon_s"], metrics["history_s"]) == (horizon_s or 6.0, history_s or 2.0)

    @pytest.mark.slow
    def test_has_the_protocols_lengths_by_default(self, tmp_path):
        store = prepare(Paces(), tmp_path / "store")
        metrics = evaluated(store, tmp_path / "out", "stationary", horizon_s=None)
        assert metrics["protocol"] == "eth-ucy-v1"
        assert (metrics["horizon_s"], metrics["history_s"]) == (4.8, 2.8)
        spec = WindowSpec(history_steps=8, horizon_steps=12, min_history_steps=8)
        scored = [prediction_times(store[name], spec).scored.sum() for name in store.splits["val"]]
        assert metrics["counts"]["origins"] == sum(scored) > 0

    @pytest.mark.slow
    def test_one_observed_step_leaves_kmeans_out(self, store, tmp_path):
        metrics = evaluated(store, tmp_path / "out", history_s=0.0)
        assert metrics["history_s"] == 0.0
        assert metrics["floors_left_out"]["kmeans_10"] == (
            "kmeans: history_steps is 1; at least 2 are needed, for a last step"
        )

    def test_baselines_that_cannot_be_fitted_are_left_out_with_the_reason(
        self, store, tmp_path, capsys
    ):
        metrics = evaluated(store, tmp_path / "out", split="all")
        assert list(metrics["floors"]) == [
            "constant_velocity",
            "smoothed_velocity",
            "companions",
            "kalman",
            "stationary",
        ]
        assert "no tracks to fit it on" in metrics["floors_left_out"]["kmeans_10"]
        assert "left out: kmeans_10: kmeans: there are no tracks" in capsys.readouterr().out

    @pytest.mark.slow
    def test_prints_the_table_and_plain_progress(self, store, tmp_path, capsys):
        evaluated(store, tmp_path / "out")
        printed = capsys.readouterr()
        assert "▸ kalman" in printed.out
        assert "evaluate kalman: 2 of 2 scenes" in printed.err.splitlines()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"split": "test"}, "split 'test' is unknown"),
            ({"predictor": "lstm"}, "predictor 'lstm' is unknown"),
            ({"samples": 0}, "samples is 0; at least 1 is needed"),
            ({"seed": -1}, "seed is -1; a whole number from 0 to 4294967295 is needed"),
            ({"horizon_s": 2.2}, "horizon_s is 2.2; a multiple of the store's step of 0.5 s"),
            ({"horizon_s": 60.0}, "no pedestrian is seen for all of the 60 s"),
            ({"horizon_s": float("nan")}, "horizon_s is nan; a multiple of the store's step"),
            ({"horizon_s": float("inf")}, "horizon_s is inf; a multiple of the store's step"),
            ({"horizon_s": 1e300}, "horizon_s is 1e+300; a multiple of the store's step"),
            ({"horizon_s": 0.0}, "step of 0.5 s is needed, from 1 to 120 steps"),
            ({"history_s": float("inf")}, "history_s is inf; a multiple of the store's step"),
            ({"history_s": 0.0, "predictor": "kmeans"}, "kmeans: history_steps is 1; at least 2"),
            ({"history_s": 0.7}, "history_s is 0.7; a multiple of the store's step of 0.5 s"),
            ({"history_s": -1.0}, "history_s is -1.0; a multiple of the store's step of 0.5 s"),
            ({"predictor": "kmeans", "split": "all"}, "kmeans: there are no tracks to fit it on"),
        ],
    )
    def test_refuses_in_one_line_and_writes_nothing(self, store, tmp_path, options, message):
        with pytest.raises(ForecastError) as error:
            evaluated(store, tmp_path / "out", **options)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.slow
    def test_counts_what_it_skips_of_predictions_of_others(self, store, tmp_path, capsys):
        of_all = evaluated(store, tmp_path / "ours", split="all")["counts"]["origins"]
        theirs = str(tmp_path / "ours" / "predictions.parquet")
        metrics = evaluated(store, tmp_path / "out", theirs)
        used = metrics["counts"]["origins"]
        counts = {"read": used, "skipped": of_all - used, "renormalised": 0, "padded": 0}
        assert metrics["predictions_file"] == counts
        assert len(metrics["predictions_sha256"]) == 64
        said = f"{used} predictions of the file read; {of_all - used} in scenes that are not"
        assert said in capsys.readouterr().out

    @pytest.mark.slow
    def test_bad_predictions_of_others_leave_nothing_behind(self, store, tmp_path):
        evaluated(store, tmp_path / "ours")
        columns = pq.read_table(tmp_path / "ours" / "predictions.parquet").to_pydict()
        columns["y_m"][7] = float("inf")
        path = tmp_path / "theirs.parquet"
        pq.write_table(pa.table(columns), path)
        with pytest.raises(ForecastError, match=r"theirs\.parquet: row 7 \(street-3, "):
            evaluated(store, tmp_path / "out", str(path))
        assert not (tmp_path / "out").exists()

    @pytest.mark.slow
    @pytest.mark.parametrize("workers", [1, 2])
    def test_a_scene_that_cannot_be_scored_is_left_out_and_named(self, tmp_path, capsys, workers):
        store = street_store(tmp_path / "store")
        (store.path / "scenes" / "street-3.arrow").write_bytes(b"damaged")
        with pytest.raises(ForecastError) as error:
            evaluated(store, tmp_path / "out", "stationary", workers=Workers(workers))
        said = "1 of 2 scenes could not be scored: street-3 ("
        assert str(error.value).startswith(said)
        assert str(error.value).endswith(f"; {tmp_path / 'out'} is about the others")
        assert f"red flag: {said}" in capsys.readouterr().out
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert list(metrics["counts"]["failed_scenes"]) == ["street-3"]
        assert metrics["counts"]["scenes"] == 1
        (tmp_path / "ours.txt").write_text("street-4\n")
        whole, split = street_store(tmp_path / "whole"), str(tmp_path / "ours.txt")
        alone = evaluated(whole, tmp_path / "alone", "stationary", split=split)
        assert metrics["all"] == alone["all"]

    def test_without_a_single_good_scene_nothing_is_written(self, tmp_path):
        store = street_store(tmp_path / "store")
        for scene in store.splits["val"]:
            (store.path / "scenes" / f"{scene}.arrow").write_bytes(b"damaged")
        with pytest.raises(ForecastError, match="no scene can be scored: street-3 "):
            evaluated(store, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.slow
    def test_an_error_in_the_report_leaves_nothing_behind(self, store, tmp_path):
        def fails(result: EvaluationResult) -> dict[str, str]:
            raise RuntimeError(result.predictor)

        config = EvaluationConfig(store.path, "val", "kalman", horizon_s=2.0)
        with pytest.raises(RuntimeError):
            run_evaluation(config, tmp_path / "out", render=fails)
        assert list(tmp_path.iterdir()) == []


class TestMiniVal:
    """nuScenes v1.0-mini, official split: baselines fitted on mini_train, scored on mini_val."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("horizon_s", "origins", "movers", "everyone", "only_movers", "kmeans"),
        [
            (3.0, 905, 655, (0.262, 0.520), (0.303, 0.610), {20: (0.117, 0.197)}),
            (
                6.0,
                594,
                478,
                (0.673, 1.474),
                (0.773, 1.708),
                {5: (0.456, 0.906), 20: (0.299, 0.552)},
            ),
        ],
    )
    def test_check_values(
        self, mini, tmp_path, horizon_s, origins, movers, everyone, only_movers, kmeans
    ):
        metrics = evaluated(
            mini,
            tmp_path / "out",
            "constant_velocity",
            split="mini_val",
            horizon_s=horizon_s,
            samples=20,
        )
        counts = metrics["counts"]
        assert (counts["origins"], counts["movers"]) == (origins, movers)
        for means, expected in ((metrics["all"], everyone), (metrics["movers"], only_movers)):
            found = (means["top1_ade_m"], means["top1_fde_m"])
            assert found == pytest.approx(expected, abs=1e-3)
        for k, expected in kmeans.items():
            means = metrics["floors"][f"kmeans_{k}"]["all"]
            found = (means[f"min_ade_{k}_m"], means[f"min_fde_{k}_m"])
            assert found == pytest.approx(expected, rel=0.07)
            assert np.less_equal(found, np.multiply(expected, 1.03)).all()


class TestSlices:
    """``--slices`` through the command line."""

    WORDS = ("--split", "val", "--predictor", "kalman", "--samples", "5", "--horizon-s", "2")

    def run(self, store: SceneStore, out: Path, slices: str) -> int:
        words = ["--store", str(store.path), *self.WORDS, "--out", str(out), "--slices", slices]
        return cli.main(["evaluate", *words])

    def test_the_worst_of_a_combination_is_in_the_report_and_on_the_console(
        self, store, tmp_path, capsys
    ):
        assert self.run(store, tmp_path / "out", "change,speed") == 0
        printed = " ".join(capsys.readouterr().out.split())
        report = json.loads((tmp_path / "out" / "report.json").read_text())["sections"]
        found = report["slices"]["data"]["combinations"]
        name, worst = max(
            (
                (name, float(row[1]))
                for table in report["slices"]["blocks"]
                if table.get("header", [""])[0] == "Change of motion × Speed"  # noqa: RUF001
                for name, *row in ([row[0], *row] for row in table["rows"])
            ),
            key=lambda each: each[1],
        )
        assert name in found
        assert f"worst of {name}: {worst:.2f} m off after 2 s: went " in printed
        captions = [each for block in report["gallery"]["blocks"] for each in block["figures"]]
        (caption,) = (c for c in captions if f"worst of {name}: {c}" in printed)
        assert "change of motion: " in caption
        assert "--slices change,speed" in report["provenance"]["data"]["command"]

    def test_an_unknown_slicing_is_refused_before_anything_runs(self, store, tmp_path, capsys):
        assert self.run(store, tmp_path / "out", "change,lihgt") == 1
        line = capsys.readouterr().err
        assert line.startswith("error: slices: 'lihgt' is unknown; one or more of ego_distance, ")
        assert line.count("\n") == 1
        assert not (tmp_path / "out").exists()

    def test_merged_shards_show_them_too(self, store, tmp_path, capsys):
        place = ["--store", str(store.path)]
        for part in ("1/2", "2/2"):
            out = ["--out", str(tmp_path / part[0]), "--shard", part]
            assert cli.main(["evaluate", *place, *self.WORDS, *out]) == 0
        shards = [str(tmp_path / "1"), str(tmp_path / "2")]
        words = [*place, "--predictor", "kalman", "--out", str(tmp_path / "merged")]
        assert cli.main(["merge", *shards, *words, "--slices", "change,speed"]) == 0
        merged = capsys.readouterr().out
        assert self.run(store, tmp_path / "whole", "change,speed") == 0
        assert capsys.readouterr().out in merged
