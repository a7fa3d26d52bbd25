import hashlib
import json
from dataclasses import dataclass, field, replace

import pytest

from forecast.datasets.store import SceneStore, prepare
from forecast.datasets.windows import WindowSpec
from forecast.evaluation import EvaluationResult, evaluate
from forecast.evaluation.output.console import table
from forecast.evaluation.output.writers import metrics_document
from forecast.evaluation.prediction_file.predictor import PredictionFilePredictor
from forecast.evaluation.run.provenance import (
    changed_predictions,
    counts_of_file,
    provenance_of,
    scenes_learnt_from,
    train_test_leakage,
)
from forecast.models.baselines import ConstantVelocity
from forecast.report.sections.provenance import provenance
from tests.scenes import street_scene
from tests.streets import StreetSource

SPEC = WindowSpec(history_steps=5, horizon_steps=12)
VAL = ["street-3", "street-4"]


@dataclass(frozen=True)
class Damped:
    """Constant velocity times a factor; knows where the factor comes from."""

    factor: float = 0.9
    learnt_from: dict = field(default_factory=dict)

    name = "damped"

    def predict(self, scene, at, **arguments):
        prediction = ConstantVelocity().predict(scene, at, **arguments)
        here = scene.tracks.positions_m[scene.present(at), at][:, None]
        return replace(prediction, positions_m=here + self.factor * (prediction.positions_m - here))

    def provenance(self):
        return {
            "weights_sha256": hashlib.sha256(str(self.factor).encode()).hexdigest(),
            "config": {"factor": self.factor},
            "learnt_from": self.learnt_from,
            "version": "0.1.0",
        }


class Recordings(StreetSource):
    """Two recordings, each also cut in two."""

    def scene_names(self):
        return ["a", "b", "a_train", "a_val", "b_train", "b_val", "lone_val"]

    def splits(self):
        return {"train": ["a_train", "b_train"], "val": ["a_val", "b_val"]}

    def read(self, name):
        return replace(street_scene(), id=name), {}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> SceneStore:
    return prepare(Recordings(), tmp_path_factory.mktemp("recordings") / "store")


def learnt(store: SceneStore, *scenes: str, fingerprint: str | None = None) -> dict:
    return {"elsewhere": {"fingerprint": fingerprint or store.fingerprint, "scenes": [*scenes]}}


def scored(store: SceneStore, predictor) -> EvaluationResult:
    return evaluate(predictor, store, VAL, SPEC, samples=1, seed=0, split="val")


class TestScenesLearntFrom:
    @pytest.mark.parametrize(
        ("known", "found"),
        [
            (["a"], ["a", "a_train", "a_val"]),
            (["a_train"], ["a", "a_train"]),
            (["a_train", "a_val"], ["a", "a_train", "a_val"]),
            (["b_val"], ["b", "b_val"]),
            (["lone_val"], ["lone_val"]),
            ([], []),
            (["c"], []),
        ],
    )
    def test_are_those_that_overlap_what_was_learnt(self, recordings, known, found):
        model = Damped(learnt_from=learnt(recordings, *known)).provenance()
        assert {*scenes_learnt_from(recordings, recordings.scene_names, model)} == {*found}

    def test_keep_the_order_of_what_is_scored(self, recordings):
        model = Damped(learnt_from=learnt(recordings, "a", "b")).provenance()
        assert scenes_learnt_from(recordings, ["b", "a"], model) == ("b", "a")

    def test_are_none_in_a_store_of_other_content(self, recordings):
        model = Damped(learnt_from=learnt(recordings, "a", fingerprint="other")).provenance()
        assert scenes_learnt_from(recordings, ["a"], model) == ()

    def test_are_none_where_nothing_is_known(self, recordings):
        assert provenance_of(ConstantVelocity()) is None
        assert scenes_learnt_from(recordings, ["a"], None) == ()


class TestResult:
    def test_says_what_the_predictor_was_made_from(self, store):
        predictor = Damped(learnt_from=learnt(store, "street-0"))
        result = scored(store, predictor)
        assert result.model == provenance_of(predictor)
        assert {*result.model} - {*predictor.provenance()} == {"config_sha256"}
        assert result.scenes_learnt_from == ()
        document = json.loads(json.dumps(metrics_document(result)))
        assert document["model"] == provenance_of(predictor)
        assert document["scenes_learnt_from"] == []
        assert "red flag" not in table(result)

    def test_tells_of_scored_scenes_that_were_learnt_from(self, store):
        result = scored(store, Damped(learnt_from=learnt(store, "street-0", "street-4")))
        assert metrics_document(result)["scenes_learnt_from"] == ["street-4"]
        assert table(result).splitlines()[-1] == (
            "red flag: damped has learnt from 1 of the 2 scored scenes (street-4); these scores "
            "say how well it remembers, not how well it predicts"
        )

    def test_says_what_was_done_with_a_file_of_predictions(self, store):
        model = scored(store, ConstantVelocity())
        assert metrics_document(model)["predictions_file"] is None
        assert changed_predictions(model) == ""
        counts = {"read": 40, "skipped": 3, "renormalised": 0, "padded": 2}
        file = PredictionFilePredictor("theirs", {}, counts=counts)
        result = replace(model, predictions_file=counts_of_file(file))
        assert metrics_document(result)["predictions_file"] == counts
        line = (
            "40 predictions of the file read; 3 in scenes that are not scored, skipped; 2 with "
            "fewer samples than others of their window, scored with their own alone: joint metrics "
            "are not defined, nor best-of-k ones for fewer than k"
        )
        assert line in table(result).splitlines()
        assert ("File of predictions", line) in provenance(result).blocks[0].facts
        as_it_stands = replace(model, predictions_file={"read": 40, "skipped": 0})
        assert changed_predictions(as_it_stands) == ""

    def test_a_long_list_of_scenes_is_cut_in_the_line(self, store):
        result = scored(store, Damped())
        known = tuple(f"scene-{number}" for number in range(7))
        line = train_test_leakage(replace(result, scenes_learnt_from=known))
        assert "(scene-0, scene-1, scene-2, scene-3, scene-4, …)" in line

    def test_a_baseline_has_no_model(self, store):
        document = metrics_document(scored(store, ConstantVelocity()))
        assert document["model"] is None
        assert document["scenes_learnt_from"] == []
