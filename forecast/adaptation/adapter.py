"""`Adapter`: a model that goes on learning from scenes, one after the other."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from forecast import __version__
from forecast.adaptation.config import AdaptConfig
from forecast.adaptation.gate import Change
from forecast.adaptation.learner import Learner
from forecast.adaptation.ledger import (
    HELD_OUT,
    LEARNT,
    REFUSED,
    ROLLED_BACK,
    Entry,
    Header,
    Ledger,
    Undone,
)
from forecast.adaptation.lessons import Lesson, loss_on, scene_sha256
from forecast.adaptation.memory import covering
from forecast.adaptation.plausible import implausible
from forecast.adaptation.testing import Rows, recalibrated, tested
from forecast.datasets.learnt_from import Source, merged_sources
from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec
from forecast.errors import require
from forecast.inference.forecaster import Forecaster
from forecast.inference.weights import Training, weights_sha256
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.threads import undivided_operations
from forecast.scene import Scene

_IN_MEMORY = "in memory"
"""Where a scene without a store is said to be from."""


@dataclass(frozen=True)
class _Kept:
    """Numbers of the scenes that a state depends on, besides the weights.

    Attributes:
        memory: Learnt scenes that are replayed.
        held_out: Held-out scenes that the gate scores.
        fitted: Scenes that tubes are fitted on.
    """

    memory: list[int] = field(default_factory=list)
    held_out: list[int] = field(default_factory=list)
    fitted: list[int] = field(default_factory=list)


class Adapter:
    """Learns from scenes in the order in which they are given.

    Every scene is scored before it is learnt from. Then the weights make a few small steps on its
    windows, on windows of earlier scenes and on windows of the old data. The gate scores held-out
    scenes of the stream and of the old data before and after. If they got worse by more than their
    noise, all is as before the scene. Every eighth scene (`AdaptConfig.held_out_every`) is held
    out. Tubes and OOD detector are fitted on the scores that scenes had before they were learnt
    from.

    What is written to the folder lets it go on after a stop, go back to any scene, and be repeated
    bit for bit on the same machine.

    Args:
        forecaster: The model that it comes from; it is not changed.
        old: The old data: stores, and a split of each.
        folder: Folder of the ledger and the states. An adaptation in it is continued.
        config: How it learns.

    Attributes:
        config: How it learns.
        ledger: What it did.

    Raises:
        ForecastError: The old data has too few scenes with pedestrians or another step length than
            the model, or the folder is that of another adaptation.
    """

    def __init__(
        self,
        forecaster: Forecaster,
        old: Sequence[tuple[SceneStore, str]],
        folder: Path | str,
        config: AdaptConfig | None = None,
    ) -> None:
        self.config = config or AdaptConfig()
        self._came_from = forecaster
        self._old_stores = [(store, store.scenes_of(split)) for store, split in old]
        self._learner = Learner(forecaster.model, self.config)
        self._start_model = copy.deepcopy(self._learner.average)
        self._old, self._held_out_old = self._divided()
        self._start = self._losses(self._held_out_old)
        self.ledger = Ledger(Path(folder), self._header())
        if not self.ledger.lines:
            self._write_state(0, _Kept())
        self._kept, self._training = _Kept(), forecaster.training
        self._lessons: dict[int, Lesson] = {}
        self._rows: dict[int, Rows] = {}
        self._fitted: list[int] = []
        self._now_old, self._now_new = self._start, list[float]()
        self._go_to(len(self.entries))

    def __repr__(self) -> str:
        done = [entry.done for entry in self.entries]
        counts = ", ".join(f"{done.count(each)} {each}" for each in sorted(set(done)))
        return f"Adapter({self._came_from.name!r}: {len(done)} scenes, {counts or 'none yet'})"

    @property
    def entries(self) -> list[Entry]:
        """What was done with each scene; undone scenes are left out."""
        return self.ledger.entries

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """Copies of the weights as adapted up to now, by name."""
        return {name: value.clone() for name, value in self._learner.weights().items()}

    @property
    def forecaster(self) -> Forecaster:
        """The model as adapted up to now, with its tubes and what it was learnt from."""
        return self._forecaster(self._with_sources(self._training))

    def save(self, path: Path | str) -> None:
        """Writes a weights file that `forecast.load` reads; see `Forecaster.save`."""
        self.forecaster.save(path)

    @undivided_operations()
    def observe(self, scene: Scene, store: SceneStore | None = None) -> Entry:
        """Scores a scene, then learns from it, or holds it out.

        Args:
            scene: The next scene of the stream.
            store: The store that it comes from, for the record of what was learnt from.

        Returns:
            What was done, as it is in the ledger.

        Raises:
            ForecastError: The scene has a step that the model was not trained with, or something
                cannot be written. Then all is as before.
        """
        began, number = time.process_time(), len(self.entries) + 1
        lesson = Lesson(scene, self._spec(scene))
        before, digest = weights_sha256(self._learner.weights()), scene_sha256(scene)
        try:
            found = self._tried(number, lesson, digest)
            self._write_state(number, self._kept)
            entry = Entry(
                number=number,
                scene=scene.id,
                sha256=digest,
                store="" if store is None else str(store.path),
                fingerprint=digest if store is None else store.fingerprint,
                **found,
                before_sha256=before,
                after_sha256=weights_sha256(self._learner.weights()),
                calibrated_on=len(self._fitted),
                seconds=round(time.process_time() - began, 3),
            )
            self.ledger.append(entry)
        except BaseException:
            self._go_to(number - 1)
            raise
        return entry

    def undo(self, to: int) -> None:
        """Goes back to the state after an earlier scene; the ledger says so.

        Args:
            to: Number of that scene; 0 for the weights that the model came from.

        Raises:
            ForecastError: There is no such scene.
        """
        count = len(self.entries)
        require(0 <= to <= count, "scene to go back to", to, f"0 to {count}")
        if to < count:
            self.ledger.append(Undone(undone_to=to))
            self._go_to(to)

    def _tried(self, number: int, lesson: Lesson, digest: str) -> dict[str, Any]:
        """Tests a scene and learns from it; returns what the ledger says of it."""
        if not len(lesson.times):
            return {"done": REFUSED, "why": "it has no pedestrian with a history and a future"}
        if digest in self._old_sha256:
            return {"done": REFUSED, "why": "it is one of the scenes of the old data"}
        taken = {each.sha256: each for each in self.entries if each.done in (LEARNT, HELD_OUT)}
        if digest in taken:
            return {"done": REFUSED, "why": f"it is scene {taken[digest].number} once more"}
        impossible = implausible(lesson.scene)
        if impossible:
            return {"done": REFUSED, "why": impossible}
        config = self.config
        test, rows = tested(self._forecaster(self._training), self._start_model, lesson, config)
        if test.ood > config.most_ood:
            why = f"{test.ood:.0%} of its histories are out of distribution"
            return {"done": REFUSED, "why": f"{why}, more than {config.most_ood:.0%}", "test": test}
        if number % config.held_out_every == 0:
            self._keep(number, lesson, rows, held_out=True)
            return {"done": HELD_OUT, "test": test}
        changes, why = self._step(number, lesson)
        if why:
            return {"done": ROLLED_BACK, "why": why, "test": test, **changes}
        self._keep(number, lesson, rows, held_out=False)
        return {"done": LEARNT, "test": test, **changes}

    def _step(self, number: int, lesson: Lesson) -> tuple[dict[str, Change | None], str]:
        """Learns from a scene, unless the gate says no; the changes, and why not."""
        state = self._learner.state()
        remembered = [self._lessons[each] for each in self._kept.memory]
        self._learner.learn(lesson, remembered, self._old, [self.config.seed, number])
        held_out = [self._lessons[each] for each in self._kept.held_out]
        old, new = self._losses(self._held_out_old), self._losses(held_out)
        changes = {
            "old": Change.of(self._now_old, old),
            "new": Change.of(self._now_new, new),
            "since_start": Change.of(self._start, old),
        }
        why = self._objection(changes)
        if why:
            self._learner.restore(state)
        else:
            self._now_old, self._now_new = old, new
        return changes, why

    def _objection(self, changes: dict[str, Change | None]) -> str:
        """Why the gate rolls a step back; "" if it does not."""
        config = self.config
        old, new, since = changes["old"], changes["new"], changes["since_start"]
        if old is not None and old.worse(config, config.margin):
            return old.sentence("old data")
        if new is not None and new.worse(config, config.margin):
            return new.sentence("stream")
        if since is not None and since.worse(config, config.forgotten):
            return since.sentence("old data", " since the start")
        return ""

    def _keep(self, number: int, lesson: Lesson, rows: Rows, *, held_out: bool) -> None:
        """Adds a scene to what is kept, and fits tubes and OOD detector again."""
        self.ledger.write_scene(number, lesson.scene, rows)
        self._lessons[number], self._rows[number] = lesson, rows
        config, kept = self.config, self._kept
        fitted = [*kept.fitted, number][-config.calibration_scenes :]
        if held_out:
            gate = [*kept.held_out, number][-config.gate_scenes :]
            self._kept = replace(kept, held_out=gate, fitted=fitted)
            self._now_new = self._losses(self._lessons[each] for each in gate)
        else:
            memory = [*kept.memory, number]
            chosen = covering([self._lessons[i].place for i in memory], config.memory_scenes)
            self._kept = replace(kept, memory=[memory[i] for i in chosen], fitted=fitted)
        self._forget()
        self._recalibrate()

    def _forget(self) -> None:
        """Leaves what is not kept any more, so that the memory is bounded."""
        needed = {*self._kept.memory, *self._kept.held_out}
        self._lessons = {i: each for i, each in self._lessons.items() if i in needed}
        fitted = set(self._kept.fitted)
        self._rows = {i: each for i, each in self._rows.items() if i in fitted}

    def _recalibrate(self) -> None:
        """Fits tubes and OOD detector, where there is enough to fit them on."""
        rows, numbers = self._rows, self._kept.fitted
        alike = [i for i in numbers if rows[i].dt_s == rows[numbers[-1]].dt_s]
        fitted = recalibrated(self._came_from.training, [rows[each] for each in alike])
        self._training = self._came_from.training if fitted is None else fitted
        self._fitted = [] if fitted is None else alike

    def _go_to(self, number: int) -> None:
        """Reads the state after a scene."""
        state = self.ledger.read_state(number)
        self._kept = _Kept(**state.pop("kept"))
        self._learner.restore(state)
        read = self.ledger.read_scene
        needed = sorted({*self._kept.memory, *self._kept.held_out})
        self._lessons = {i: Lesson(scene, self._spec(scene)) for i in needed for scene in [read(i)]}
        self._rows = {i: self.ledger.read_rows(i) for i in self._kept.fitted}
        self._now_old = self._losses(self._held_out_old)
        self._now_new = self._losses(self._lessons[each] for each in self._kept.held_out)
        self._recalibrate()

    def _write_state(self, number: int, kept: _Kept) -> None:
        self.ledger.write_state(number, {**self._learner.state(), "kept": asdict(kept)})

    @undivided_operations()
    def _losses(self, lessons: Iterable[Lesson]) -> list[float]:
        """The loss on each of some scenes, of the weights that predict."""
        config = self.config
        return [
            loss_on(self._learner.average, lesson.spread(config.gate_windows), config.loss)
            for lesson in lessons
        ]

    def _spec(self, scene: Scene) -> WindowSpec:
        """The windows of a scene; raises `ForecastError` for a step unknown to the model."""
        training = self._came_from.training
        step_s = self._came_from.step_s(scene.id, scene.dt_s)
        expected = f"{step_s} s, a step that the model was trained with,"
        require(step_s == scene.dt_s, f"{scene.id}: dt_s", scene.dt_s, expected)
        history = training.history_steps
        return WindowSpec(history, training.horizon_steps, min(2, history), full_future=False)

    def _divided(self) -> tuple[list[Lesson], list[Lesson]]:
        """The scenes of the old data to replay and those held out, each a bounded number."""
        scenes = (store[name] for store, names in self._old_stores for name in names)
        every = [Lesson(scene, self._spec(scene)) for scene in scenes]
        useful = [lesson for lesson in every if len(lesson.times)]
        count, apart = len(useful), self.config.old_held_out_every
        expected = f"{2 * apart} or more"
        require(count >= 2 * apart, "scenes of the old data with pedestrians", count, expected)
        held_out = useful[apart - 1 :: apart]
        replayed = [each for i, each in enumerate(useful) if (i + 1) % apart]
        limits = ((replayed, self.config.memory_scenes), (held_out, self.config.gate_scenes))
        kept, tests = (
            [some[i] for i in covering([each.place for each in some], most)]
            for some, most in limits
        )
        return kept, tests

    @cached_property
    def _old_sha256(self) -> list[str]:
        """Hashes of the scenes of the old data that are used."""
        return [scene_sha256(each.scene) for each in (*self._old, *self._held_out_old)]

    def _header(self) -> Header:
        return Header(
            weights_sha256=weights_sha256(self._learner.weights()),
            old=self._old_sha256,
            config=asdict(self.config),
            version=__version__,
            torch=str(torch.__version__),
        )

    def _forecaster(self, training: Training) -> Forecaster:
        model = PedestrianForecaster(training.config)
        model.load_state_dict(self._learner.weights())
        return Forecaster(model, training, self._came_from.name)

    def _with_sources(self, training: Training) -> Training:
        """Adds what was learnt from and fitted on."""
        before = self._came_from
        earlier = {f"{before.name}: {k}": v for k, v in before.training.learnt_from.items()}
        # The weights depend on the scenes that were held out, too: the gate chose by them.
        used = {lesson.scene.id for lesson in (*self._old, *self._held_out_old)}
        old = [
            {str(store.path): Source(store.fingerprint, [name for name in names if name in used])}
            for store, names in self._old_stores
        ]
        stream = _sources(self.entries, lambda entry: entry.done in (LEARNT, HELD_OUT))
        learnt = merged_sources(earlier, *old, stream)
        if not self._fitted:
            return replace(training, learnt_from=learnt, version=__version__)
        fitted = {*self._fitted, *self._kept.held_out}
        tubes = _sources(self.entries, lambda entry: entry.number in fitted)
        return replace(training, learnt_from=learnt, calibrated_on=tubes, version=__version__)


def _sources(entries: Iterable[Entry], chosen: Callable[[Entry], bool]) -> dict[str, Source]:
    """The stores and names of some scenes."""
    found: dict[str, Source] = {}
    for entry in filter(chosen, entries):
        key = entry.store or f"{_IN_MEMORY}: {entry.scene}"
        source = found.setdefault(key, Source(entry.fingerprint, []))
        source.scenes.append(entry.scene)
    return found
