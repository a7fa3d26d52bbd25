"""Learning from scenes, with a real (small) network, real steps and a real gate."""

from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest
import torch

from forecast import ForecastError, load
from forecast.adaptation import Adapter, Entry
from forecast.adaptation.lessons import Lesson, loss_on
from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec
from forecast.inference import Source
from forecast.inference.calibrate import calibrated
from forecast.inference.weights import weights_sha256
from tests.adaptation.conftest import QUICK, scaled
from tests.scenes import street_scene

SPEC = WindowSpec(5, 4, 2, full_future=False)


def feed(adapter: Adapter, store: SceneStore, count: int) -> None:
    """Observes the next scenes of a store."""
    done = len(adapter.entries)
    for name in store.scene_names[done : done + count]:
        adapter.observe(store[name], store)


def timeless(entries: list[Entry]) -> list[Entry]:
    return [msgspec.structs.replace(entry, seconds=0.0) for entry in entries]


def hash_of(adapter: Adapter) -> str:
    return weights_sha256(adapter.weights)


class TestObserve:
    def test_learns_what_is_new(self, learnt, start):
        unseen = [Lesson(scaled(street_scene(seed=60 + i), 1.6), SPEC).spread(4) for i in range(4)]
        losses = [
            np.mean([loss_on(model, cuts, QUICK.loss) for cuts in unseen])
            for model in (start.model, learnt.forecaster.model)
        ]
        assert losses[1] < 0.97 * losses[0]

    def test_scores_a_scene_before_it_learns_from_it(self, learnt, start, stream):
        first = Lesson(stream[stream.scene_names[0]], SPEC).spread(QUICK.tested_windows)
        assert learnt.entries[0].test.loss == loss_on(start.model, first, QUICK.loss)

    def test_every_third_scene_is_held_out(self, learnt):
        done = [entry.done for entry in learnt.entries]
        assert done[2::3] == ["held out"] * 3
        assert "held out" not in done[0::3] + done[1::3]
        for before, after in pairwise(learnt.entries):
            assert before.after_sha256 == after.before_sha256
        for entry in learnt.entries:
            assert (entry.before_sha256 != entry.after_sha256) == (entry.done == "learnt")
        assert learnt.entries[-1].after_sha256 == hash_of(learnt)

    def test_the_mode_sets_are_learnt_too(self, learnt, start):
        name = "modes.curves.weight"
        assert not torch.equal(learnt.weights[name], start.model.state_dict()[name])

    def test_what_it_came_from_is_not_changed(self, learnt, start):
        assert weights_sha256(start.model.state_dict()) == learnt.entries[0].before_sha256

    def test_tubes_are_fitted_once_there_are_enough_scenes(self, learnt):
        fitted = [entry.calibrated_on for entry in learnt.entries]
        assert fitted[0] == 0
        assert learnt.entries[0].test.coverage_90 is None
        assert fitted[-1] == learnt.forecaster.training.calibration.scenes > 0
        assert learnt.forecaster.training.ood is not None

    def test_a_scene_at_an_unknown_step_changes_nothing(self, adapter):
        before = hash_of(adapter)
        with pytest.raises(ForecastError, match=r"street: .*0.7"):
            adapter.observe(street_scene(dt_s=0.7))
        assert hash_of(adapter) == before
        assert adapter.entries == []

    def test_a_scene_that_cannot_be_kept_changes_nothing(self, adapter, stream):
        """Here a file is where the folder of the scenes has to be."""
        before = hash_of(adapter)
        (adapter.ledger.folder / "scenes").write_text("")
        with pytest.raises(ForecastError, match="a folder is needed"):
            feed(adapter, stream, 1)
        assert hash_of(adapter) == before
        assert adapter.entries == []

    def test_a_scene_without_people_is_refused(self, adapter):
        scene = street_scene()
        entry = adapter.observe(replace(scene, tracks=scene.tracks.select(np.array([4, 5]))))
        assert entry.done == "refused"
        assert "no pedestrian" in entry.why


class TestGate:
    def test_a_step_that_makes_all_worse_is_rolled_back_and_leaves_no_trace(
        self, start, city, stream, tmp_path
    ):
        wild = replace(QUICK, lr=2.0)
        adapter = Adapter(start, [(city, "all")], tmp_path / "kept", wild)
        before, state = hash_of(adapter), adapter._learner.state()
        feed(adapter, stream, 1)
        (entry,) = adapter.entries
        assert entry.done == "rolled back"
        assert "held-out scenes of the old data" in entry.why
        assert hash_of(adapter) == entry.before_sha256 == entry.after_sha256 == before
        assert adapter._learner.state()["optimizer"]["state"] == state["optimizer"]["state"]
        assert adapter._kept.memory == adapter._kept.fitted == []
        assert adapter.forecaster.training.learnt_from.keys() == {str(city.path)}

    def test_a_scene_in_feet_is_refused(self, start, city, stream, tmp_path):
        known = calibrated(start, city, "all")
        careful = replace(QUICK, most_ood=0.3)
        adapter = Adapter(known, [(city, "all")], tmp_path / "kept", careful)
        entry = adapter.observe(scaled(stream[stream.scene_names[0]], 3.28))
        assert entry.done == "refused"
        assert "out of distribution, more than 30%" in entry.why
        assert adapter.observe(stream[stream.scene_names[0]], stream).done == "learnt"

    def test_a_scene_that_was_taken_before_is_refused(self, adapter, city, stream):
        feed(adapter, stream, 1)
        before = hash_of(adapter)
        for store, why in ((stream, "it is scene 1 once more"), (city, "scenes of the old data")):
            entry = adapter.observe(store[store.scene_names[0]], store)
            assert (entry.done, entry.test) == ("refused", None)
            assert why in entry.why
        assert hash_of(adapter) == before

    def test_a_scene_that_cannot_have_happened_is_refused_unscored(self, adapter, stream):
        before, scene = hash_of(adapter), stream[stream.scene_names[0]]
        entry = adapter.observe(scaled(scene, 1e-3))
        assert (entry.done, entry.test) == ("refused", None)
        assert "another unit than metres" in entry.why
        assert hash_of(adapter) == before
        assert adapter._kept.fitted == []


class TestStates:
    def test_a_stopped_run_goes_on_bit_for_bit(self, start, city, stream, learnt, tmp_path):
        feed(Adapter(start, [(city, "all")], tmp_path, QUICK), stream, 3)
        again = Adapter(start, [(city, "all")], tmp_path, QUICK)
        feed(again, stream, 1)
        assert timeless(again.entries) == timeless(learnt.entries[:4])
        assert hash_of(again) == learnt.entries[3].after_sha256

    def test_undo_goes_back_to_any_scene_bit_for_bit(self, adapter, stream, learnt):
        feed(adapter, stream, 2)
        adapter.undo(1)
        assert hash_of(adapter) == learnt.entries[0].after_sha256
        feed(adapter, stream, 1)
        assert timeless(adapter.entries) == timeless(learnt.entries[:2])
        adapter.undo(0)
        assert hash_of(adapter) == learnt.entries[0].before_sha256
        assert adapter.entries == []

    def test_there_is_no_way_back_to_a_scene_that_was_not(self, adapter):
        with pytest.raises(ForecastError, match="scene to go back to is 1; 0 to 0 is needed"):
            adapter.undo(1)

    def test_memory_is_bounded(self, learnt):
        kept = learnt._kept
        assert len(kept.memory) == QUICK.memory_scenes < 6
        assert len(kept.held_out) == QUICK.gate_scenes < 3
        assert set(learnt._lessons) == {*kept.memory, *kept.held_out}

    def test_another_adaptation_in_the_folder_is_refused(self, learnt, start, city, stream):
        folder = learnt.ledger.folder
        with pytest.raises(ForecastError, match="began with other settings"):
            Adapter(start, [(city, "all")], folder, replace(QUICK, seed=1))
        with pytest.raises(ForecastError, match="began with other old data"):
            Adapter(start, [(stream, "all")], folder, QUICK)


class TestWeights:
    def test_they_are_ordinary_weights_that_say_what_was_learnt_from(
        self, learnt, city, stream, tmp_path
    ):
        learnt.save(tmp_path / "w.safetensors")
        found = load(tmp_path / "w.safetensors")
        assert weights_sha256(found.model.state_dict()) == hash_of(learnt)
        used = [each.scene for each in learnt.entries if each.done in ("learnt", "held out")]
        names = [entry.scene for entry in learnt.entries if entry.done == "learnt"]
        sources = found.training.learnt_from
        assert sources[str(stream.path)] == Source(stream.fingerprint, sorted(used))
        held_out = {lesson.scene.id for lesson in learnt._held_out_old}
        assert held_out < {*sources[str(city.path)].scenes}, "the gate chose by them"
        assert sources[str(city.path)].fingerprint == city.fingerprint
        prediction = found.predict(stream[names[0]], 10, horizon_s=2.0)
        assert prediction.tubes is not None

    def test_a_scene_in_memory_is_named_by_its_content(self, adapter):
        entry = adapter.observe(replace(street_scene(seed=40), id="live"))
        assert entry.fingerprint == entry.sha256
        assert "in memory: live" in adapter.forecaster.training.learnt_from


def test_too_little_old_data_is_refused(start, stream, tmp_path):
    with pytest.raises(ForecastError, match="scenes of the old data with pedestrians is 2; 6"):
        Adapter(start, [(stream, "val")], tmp_path, QUICK)
