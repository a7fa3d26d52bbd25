"""From weights to calibrated weights, on a small store, with the real model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from forecast import ForecastError, inference
from forecast.cli import main
from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec
from forecast.evaluation import EvaluationResult, evaluate
from forecast.evaluation.audit.guarantees import audit
from forecast.evaluation.output.writers import metrics_document
from forecast.evaluation.run.provenance import scenes_learnt_from
from forecast.evaluation.scoring.scores import TUBE_LEVELS
from forecast.inference import Forecaster, Source, Training
from forecast.inference.calibrate import calibrated, summary
from forecast.models.calibration.ood import FEATURES
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster
from forecast.models.world_model import WorldModelConfig
from forecast.report.section import Facts, Table
from forecast.report.sections import calibration, provenance, scores
from forecast.scene import AgentKind, Scene
from tests.full_disk import full_disk
from tests.scenes import street_scene
from tests.streets import street_store

CONFIG = ForecasterConfig(world_model=WorldModelConfig(hidden=16, messages=8, map=8))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> SceneStore:
    return street_store(tmp_path_factory.mktemp("streets") / "store")


@pytest.fixture(scope="module")
def plain() -> Forecaster:
    torch.manual_seed(0)
    model = PedestrianForecaster(CONFIG)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return Forecaster(model, Training(CONFIG, 5, 4, [0.5]), name="plain")


@pytest.fixture(scope="module")
def fitted(plain: Forecaster, store: SceneStore) -> Forecaster:
    return calibrated(plain, store, "train")


@pytest.fixture
def few(tmp_path) -> str:
    """A split of one scene."""
    (tmp_path / "few.txt").write_text("street-0\n")
    return str(tmp_path / "few.txt")


@pytest.fixture(scope="module")
def result(fitted: Forecaster, store: SceneStore) -> EvaluationResult:
    return evaluate(fitted, store, ["street-3", "street-4"], WindowSpec(5, 4), 5, 0, split="val")


class TestCalibrated:
    def test_remembers_where_it_was_fitted(self, fitted, store):
        source = Source(store.fingerprint, ["street-0", "street-1", "street-2"])
        assert fitted.training.calibrated_on == {str(store.path): source}
        assert fitted.training.calibration.scenes == 3
        assert fitted.training.calibration.times_s == [0.5, 1.0, 1.5, 2.0]

    def test_keeps_what_a_predictor_must_keep_tubes_and_all(self, fitted, store):
        findings = audit(fitted, store, ["street-3"], WindowSpec(5, 4), windows=2)
        required = {each.guarantee.id: each.held for each in findings if each.guarantee.required}
        assert set(required.values()) == {True}, findings

    def test_counts_every_pedestrian_with_what_is_known_of_the_future(self, fitted, store):
        """Someone seen at a step counts at each later time at which the scene still shows them."""
        scenes = [store[f"street-{i}"] for i in range(3)]
        people = [s.tracks.valid[s.tracks.kinds == AgentKind.PEDESTRIAN] for s in scenes]
        windows = [sum(int((v[:, :-t] & v[:, t:]).sum()) for v in people) for t in (1, 2, 3, 4)]
        counted = fitted.training.calibration.constant_velocity.windows
        assert counted[0] == windows[0]
        assert all(found <= most for found, most in zip(counted, windows, strict=True))
        assert fitted.training.ood.windows == windows[0]

    def test_the_seed_decides_and_an_earlier_calibration_does_not(self, fitted, plain, few, store):
        one, same = (calibrated(each, store, few).training for each in (plain, fitted))
        other = calibrated(plain, store, few, seed=1).training
        assert one == same
        assert one.ood == other.ood
        assert one.calibration != other.calibration

    def test_histories_with_the_noise_of_training_are_in_distribution(self, plain, few, store):
        noisy = replace(plain.training, noise_m=0.2)
        shaken = calibrated(Forecaster(plain.model, noisy, "noisy"), store, few).training.ood
        steady = calibrated(plain, store, few).training.ood
        at = FEATURES.index("acceleration_mps2")
        assert shaken.covariance[at][at] > 2 * steady.covariance[at][at]
        assert shaken.windows == steady.windows

    @pytest.mark.parametrize("learnt", [["street-1"], ["street-0", "street-2", "absent"]])
    def test_scenes_that_were_learnt_from_are_refused(self, plain, store, learnt):
        source = {"elsewhere": Source(store.fingerprint, learnt)}
        biased = Forecaster(plain.model, replace(plain.training, learnt_from=source), "biased")
        with pytest.raises(ForecastError, match=r"trained on [12] of its 3 scenes \("):
            calibrated(biased, store, "train")

    def test_scenes_of_the_same_name_in_another_store_may_be_used(self, plain, store, few):
        source = {"elsewhere": Source("another store", ["street-0"])}
        other = Forecaster(plain.model, replace(plain.training, learnt_from=source), "other")
        assert calibrated(other, store, few).training.calibration is not None

    def test_a_step_the_model_does_not_know_is_refused(self, plain, store):
        other = Forecaster(plain.model, replace(plain.training, dts_s=[0.1]), "other")
        with pytest.raises(ForecastError, match=r"store: its step is 0.5 s, the model was trained"):
            calibrated(other, store, "train")

    def test_the_summary_says_what_to_trust(self, fitted, plain):
        lines = summary(fitted).splitlines()
        assert lines[0].endswith("windows of a pedestrian in 3 scenes, up to 2 s")
        assert lines[2].endswith("so pooled: new, standing, walking, fast")
        assert summary(plain) == ""


class TestPredict:
    def test_tubes_come_with_the_prediction(self, fitted, plain):
        scene = street_scene(seed=9)
        prediction = fitted.predict(scene, 10, horizon_s=2.0, samples=3)
        people = scene.tracks.kinds[scene.present(10)] == AgentKind.PEDESTRIAN
        assert prediction.tubes.valid.tolist() == people.tolist()
        assert prediction.tubes.scale.shape == (len(people), 4, 4)
        assert prediction.region("0", 1.5, 0.9).shape == (32, 2)
        before = plain.predict(scene, 10, horizon_s=2.0, samples=3)
        np.testing.assert_array_equal(prediction.positions_m, before.positions_m)
        assert before.tubes is None
        assert before.fallback is None

    def test_beyond_the_calibrated_times_is_one_line(self, fitted):
        with pytest.raises(ForecastError, match=r"horizon_s is 2.5; at most 2 s, as far as the"):
            fitted.predict(street_scene(), 10, horizon_s=2.5)

    def test_who_is_unlike_anybody_goes_on_at_constant_velocity(self, fitted):
        scene = street_scene(seed=9)
        positions = scene.tracks.positions_m.copy()
        positions[0, 10:] += [5.0, 0.0]  # 5 m within a step, after walking
        unusual = replace(scene, tracks=replace(scene.tracks, positions_m=positions))
        prediction = fitted.predict(unusual, 10, horizon_s=2.0)
        assert prediction.fallback.tolist() == [True] + [False] * (len(prediction.valid) - 1)
        steps, kept = np.diff(positions[0, 6:11], axis=0), 0.4 ** np.arange(4)[::-1]
        step = np.average(steps, axis=0, weights=kept)
        expected = positions[0, 10] + step * np.arange(1, 5)[:, None]
        np.testing.assert_allclose(prediction.most_probable()[0], expected, 1e-4)
        assert (prediction.positions_m[:, 0].std(axis=0) > 0.01).all()
        np.testing.assert_allclose(prediction.tubes.centre_m[0], expected, atol=1e-3)


class TestFile:
    def test_the_command_writes_weights_with_everything(
        self, plain, fitted, store, tmp_path, capsys
    ):
        weights, out = tmp_path / "plain.safetensors", tmp_path / "made" / "fitted.safetensors"
        plain.save(weights)
        words = ["calibrate", "--weights", weights, "--store", store.path, "--split", "train"]
        assert main([*map(str, words), "--out", str(out)]) == 0
        assert capsys.readouterr().out.startswith("calibrated on ")
        loaded = inference.load(out)
        assert loaded.training == fitted.training
        assert loaded.predict(street_scene(), 10, horizon_s=2.0).tubes is not None
        provenance = loaded.provenance()
        assert provenance["calibrated_on"][str(store.path)]["scenes"][0] == "street-0"

    @pytest.mark.parametrize(
        ("out", "message"),
        [
            ("fitted.ckpt", "a name that ends in .safetensors is needed"),
            ("file/fitted.safetensors", "file: is a file, and a folder is needed; check the path"),
            ("folder", "a name that ends in .safetensors is needed"),
            ("folder.safetensors", "is a folder; give a file to write"),
            ("dangling.safetensors", "is a link to nowhere, which is not there; make that, or"),
        ],
    )
    def test_a_file_that_cannot_be_written(self, plain, store, tmp_path, capsys, out, message):
        plain.save(tmp_path / "plain.safetensors")
        (tmp_path / "file").write_text("")
        (tmp_path / "folder.safetensors").mkdir()
        (tmp_path / "dangling.safetensors").symlink_to("nowhere")
        before = sorted(tmp_path.iterdir())
        words = ["calibrate", "--weights", tmp_path / "plain.safetensors", "--store", store.path]
        words += ["--split", "train", "--out", tmp_path / out]
        assert main([*map(str, words)]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert sorted(tmp_path.iterdir()) == before

    def test_a_full_disk_is_one_line(self, plain, store, tmp_path, capsys):
        plain.save(tmp_path / "plain.safetensors")
        words = ["calibrate", "--weights", tmp_path / "plain.safetensors", "--store", store.path]
        words += ["--split", "train", "--out", tmp_path / "fitted.safetensors"]
        with full_disk():
            assert main([*map(str, words)]) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith(f"error: {tmp_path / 'fitted.safetensors'}: File too large; check")
        assert [path.name for path in tmp_path.iterdir()] == ["plain.safetensors"]

    def test_weights_from_before_there_were_tubes_still_load(self, plain, tmp_path):
        described = {
            key: value
            for key, value in plain.provenance().items()
            if key not in ("weights_sha256", "calibrated_on", "calibration", "ood")
        }
        state = {f"forecaster.{name}": v for name, v in plain.model.state_dict().items()}
        torch.save({"state_dict": state, "forecast": described}, tmp_path / "old.ckpt")
        assert inference.load(tmp_path / "old.ckpt").training == plain.training


class TestEvaluation:
    def test_coverage_and_area_are_those_of_the_tubes(self, result):
        assert result.tube_coverage.shape == (len(result.rows), 4, len(TUBE_LEVELS))
        for place, percent in enumerate((50, 80, 90, 95)):
            np.testing.assert_allclose(
                result.values[f"tube_coverage_{percent}"],
                result.tube_coverage[..., place].mean(axis=1),
            )
        np.testing.assert_allclose(
            result.values["tube_area_90_m2"], result.tube_area_m2[..., 2].mean(axis=1), rtol=1e-6
        )
        assert (np.diff(result.tube_coverage, axis=-1) >= 0).all()

    def test_metrics_json_has_them_by_time(self, result):
        by_time = metrics_document(result)["per_step"]
        assert by_time["times_s"] == [0.5, 1.0, 1.5, 2.0]
        movers = result.rows.movers
        for which, subset in (("all", slice(None)), ("movers", movers)):
            np.testing.assert_allclose(
                by_time[which]["tube_area_m2"]["95"],
                result.tube_area_m2[subset, :, 3].mean(axis=0, dtype=float),
            )
            np.testing.assert_allclose(
                by_time[which]["coverage"]["80"],
                result.coverage[subset, :, 7].mean(axis=0, dtype=float),
            )

    def test_the_report_shows_them(self, result):
        tables = [block for block in calibration(result).blocks if isinstance(block, Table)]
        rows = {row[0].text: row[1:] for row in tables[-1].rows}
        covered = result.tube_coverage[:, 3, 2].mean()
        assert rows["90% tubes"][-1].text == f"{covered:.3f}"
        assert len(rows) == 12
        listed = [row[0].text for row in scores(result).blocks[0].rows]
        assert "tube_coverage_90" in listed

    def test_the_report_says_where_they_were_fitted(self, result, store):
        facts = [block for block in provenance(result).blocks if isinstance(block, Facts)]
        said = dict(facts[1].facts)
        assert said["Tubes calibrated on"] == f"{store.path}, {store.fingerprint}: 3 scenes"

    def test_scoring_what_was_calibrated_on_is_flagged(self, fitted, store):
        seen = scenes_learnt_from(store, ["street-2", "street-3"], fitted.provenance())
        assert seen == ("street-2",)


def test_a_scene_of_ones_own_needs_no_store(fitted):
    positions = np.cumsum(np.full((1, 6, 2), 0.5), axis=1)
    scene = Scene.from_arrays(positions, [AgentKind.PEDESTRIAN], dt_s=0.5)
    prediction = fitted.predict(scene, 5, horizon_s=2.0, samples=1)
    assert prediction.samples == 1
    assert prediction.tubes.contains(prediction.tubes.centre_m).all()
