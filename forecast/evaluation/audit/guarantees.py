"""Which guarantees a predictor gives: an audit for leaks and for the protocol.

Works on any `Predictor`, a third party's too: it is asked about changed copies of recorded scenes,
and what it answers is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast import geometry
from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec, origins
from forecast.errors import ForecastError
from forecast.models.baselines import NamedPredictor
from forecast.scene import AgentKind, Prediction, Scene
from forecast.scene.turning import turned

WINDOWS = 6
"""Windows that are looked at unless said otherwise."""

SAMPLES = 4
TOLERANCE_M = 0.02
"""Best guesses that should agree, but for rounding, may differ by so much."""

_FAR_M = 50.0
_TURN_RAD = 1.0


@dataclass(frozen=True)
class Guarantee:
    """One thing a predictor may be relied on for.

    Attributes:
        id: Stable name.
        words: What is guaranteed.
        required: Whether scores mean little without it.
        exact: Whether answers must agree bit for bit, or best guesses within `TOLERANCE_M`.
    """

    id: str
    words: str
    required: bool
    exact: bool


@dataclass(frozen=True)
class Finding:
    """Whether a guarantee held.

    Attributes:
        guarantee: Which.
        held: Whether it held in every window; None where it could not be tried.
        windows: Windows it was tried in.
        worst_m: Largest difference of two positions that should agree.
        note: What went wrong first, "" if nothing did.
    """

    guarantee: Guarantee
    held: bool | None
    windows: int
    worst_m: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class Probe:
    """A window that a predictor is asked about.

    Attributes:
        predictor: Who is asked.
        scene: The whole scene.
        at: Current step.
        spec: Window lengths.
        seed: Seed of the prediction and of the changes.
    """

    predictor: NamedPredictor
    scene: Scene
    at: int
    spec: WindowSpec
    seed: int

    @cached_property
    def usual(self) -> Prediction:
        """What is predicted in the scene as it is."""
        return self.ask()

    @cached_property
    def cut(self) -> Prediction:
        """What is predicted where nothing is later."""
        return self.ask(self.scene.between(0, self.at + 1))

    @cached_property
    def recent(self) -> Prediction:
        """What is predicted where nothing is later, nor older than the protocol's history."""
        return self.since(self.spec.history_steps)

    def since(self, steps: int) -> Prediction:
        """What is predicted from the last steps alone."""
        first = max(0, self.at + 1 - steps)
        return self.ask(self.scene.between(first, self.at + 1), self.at - first)

    def ask(
        self,
        scene: Scene | None = None,
        at: int | None = None,
        plan: NDArray[np.float32] | None = None,
    ) -> Prediction:
        """What is predicted in the scene, or in a changed copy of it."""
        return self.predictor.predict(
            self.scene if scene is None else scene,
            self.at if at is None else at,
            horizon_s=self.spec.horizon_steps * self.scene.dt_s,
            samples=SAMPLES,
            seed=self.seed,
            ego_plan=plan,
        )


Answer = tuple[Prediction, Prediction] | None
"""Two predictions that should agree; None where the guarantee cannot be tried in a window."""


def _future(probe: Probe) -> Answer:
    """Everything later replaced by noise."""
    generator = np.random.default_rng(probe.seed)
    tracks, later = probe.scene.tracks, slice(probe.at + 1, None)
    positions, headings = tracks.positions_m.copy(), tracks.headings_rad.copy()
    valid = tracks.valid.copy()
    positions[:, later] = generator.normal(0, 100, positions[:, later].shape)
    headings[:, later] = generator.uniform(-3, 3, headings[:, later].shape)
    valid[:, later] = generator.random(valid[:, later].shape) < 0.5
    noisy = replace(tracks, positions_m=positions, headings_rad=headings, valid=valid)
    return probe.usual, probe.ask(replace(probe.scene, tracks=noisy))


def _cut(probe: Probe) -> Answer:
    """Nothing later at all."""
    return probe.usual, probe.cut


def _repeat(probe: Probe) -> Answer:
    return probe.usual, probe.ask()


def _order(probe: Probe) -> Answer:
    """The agents in another order; the answer put back."""
    shuffle = np.random.default_rng(probe.seed).permutation(len(probe.scene.tracks))
    changed = replace(probe.scene, tracks=probe.scene.tracks.select(shuffle))
    usual, other = probe.usual, probe.ask(changed)
    place = {name: index for index, name in enumerate(other.agent_ids.tolist())}
    return usual, _picked(other, np.array([place[name] for name in usual.agent_ids.tolist()]))


def _frame(probe: Probe) -> Answer:
    """The scene turned about its origin; the answer turned back."""
    usual, other = probe.usual, probe.ask(turned(probe.scene, _TURN_RAD))
    back = np.asarray(-_TURN_RAD)
    best: NDArray[np.float32] = geometry.rotate(other.most_probable(), back)
    futures: NDArray[np.float32] = geometry.rotate(other.positions_m, back)
    return usual, replace(other, positions_m=futures, mode_m=best)


def _history(probe: Probe) -> Answer:
    """Shorter and shorter histories: an answer must come, whatever it is."""
    for steps in (2, 1):
        probe.since(steps)
    return probe.recent, probe.recent


def _older(probe: Probe) -> Answer:
    """Nothing older than the protocol's history."""
    return (probe.cut, probe.recent) if probe.at >= probe.spec.history_steps else None


def _placebo(probe: Probe) -> Answer:
    """Without the agent that is farthest from all pedestrians."""
    tracks, present = probe.scene.tracks, probe.scene.present(probe.at)
    here = tracks.positions_m[present, probe.at]
    people = here[tracks.kinds[present] == AgentKind.PEDESTRIAN]
    movable = np.isin(tracks.kinds[present], (AgentKind.VEHICLE, AgentKind.CYCLIST))
    gaps = np.hypot(*np.moveaxis(here[:, None] - people, -1, 0)).min(axis=1)
    farthest = int(np.where(movable, gaps, -np.inf).argmax())
    if not movable.any() or gaps[farthest] < _FAR_M:
        return None
    rest = np.delete(np.arange(len(tracks)), present[farthest])
    kept = np.delete(np.arange(len(present)), farthest)
    return _picked(probe.usual, kept), probe.ask(replace(probe.scene, tracks=tracks.select(rest)))


def _plan(probe: Probe) -> Answer:
    """Another plan of the ego from the middle on; what comes before must not change."""
    scene, at, steps = probe.scene, probe.at, probe.spec.horizon_steps
    egos = np.flatnonzero(scene.tracks.kinds == AgentKind.EGO)
    if len(egos) == 0 or at + steps >= scene.steps or steps < 2:
        return None
    later = slice(at + 1, at + 1 + steps)
    if not scene.tracks.valid[egos[0], at : at + 1 + steps].all():
        return None
    headings = scene.tracks.headings_rad[egos[0], later, None]
    plan = np.concatenate([scene.tracks.positions_m[egos[0], later], headings], axis=-1)
    half = steps // 2
    other = plan.copy()
    other[half:, :2] += np.array([30.0, -20.0], np.float32)
    first, second = probe.ask(plan=plan), probe.ask(plan=other)
    return _until(first, half), _until(second, half)


CHECKS: tuple[tuple[Guarantee, Callable[[Probe], Answer]], ...] = (
    (
        Guarantee("future", "no later frame changes a bit of the prediction", True, True),
        _future,
    ),
    (
        Guarantee("cut", "the prediction is the same where there is no later frame", True, True),
        _cut,
    ),
    (Guarantee("repeat", "the same seed gives the same bits", True, True), _repeat),
    (
        Guarantee("history", "a prediction comes for histories down to one frame", True, True),
        _history,
    ),
    (
        Guarantee("plan", "a plan of the ego is revealed step by step", True, True),
        _plan,
    ),
    (
        Guarantee("order", "the best guess does not depend on the order of agents", False, False),
        _order,
    ),
    (
        Guarantee("frame", "the best guess turns with the scene", False, False),
        _frame,
    ),
    (
        Guarantee("older", "frames older than the protocol's history do not matter", False, False),
        _older,
    ),
    (
        Guarantee(
            "placebo",
            f"a vehicle more than {_FAR_M:g} m from everybody does not change best guesses",
            False,
            False,
        ),
        _placebo,
    ),
)
"""What is tried, the required guarantees first."""


def audit(
    predictor: NamedPredictor,
    store: SceneStore,
    scenes: Sequence[str],
    spec: WindowSpec,
    seed: int = 0,
    windows: int = WINDOWS,
) -> tuple[Finding, ...]:
    """Tries every guarantee in some windows.

    Args:
        predictor: Anybody's.
        store: Where the scenes are.
        scenes: Scenes to take windows from, evenly.
        spec: Window lengths.
        seed: Seed of the predictions and of what is changed.
        windows: How many windows to look at.

    Raises:
        ForecastError: No scene has a window.
    """
    probes = _probes(predictor, store, scenes, spec, seed, windows)
    return tuple(_finding(guarantee, check, probes) for guarantee, check in CHECKS)


def _probes(
    predictor: NamedPredictor,
    store: SceneStore,
    scenes: Sequence[str],
    spec: WindowSpec,
    seed: int,
    windows: int,
) -> list[Probe]:
    places = []
    for name in scenes:
        steps = origins(store[name], spec).steps
        places += [(name, int(at)) for at in steps]
    if not places:
        raise ForecastError(f"{store.path}: no pedestrian can be scored; choose another split")
    chosen = np.unique(np.linspace(0, len(places) - 1, windows).round().astype(int))
    return [
        Probe(predictor, store[places[index][0]], places[index][1], spec, seed) for index in chosen
    ]


def _finding(
    guarantee: Guarantee, check: Callable[[Probe], Answer], probes: Sequence[Probe]
) -> Finding:
    tried, worst = 0, 0.0
    for probe in probes:
        where = f"{probe.scene.id} step {probe.at}"
        try:
            answer = check(probe)
        except Exception as error:  # a third party's code may raise anything
            words = " ".join(str(error).split())[:160]
            return Finding(guarantee, False, tried + 1, float("inf"), f"{where}: {words}")
        if answer is None:
            continue
        tried += 1
        worst = max(worst, difference(*answer, guarantee.exact))
        if worst > (0.0 if guarantee.exact else TOLERANCE_M):
            return Finding(guarantee, False, tried, worst, where)
    return Finding(guarantee, True if tried else None, tried, worst)


def difference(one: Prediction, two: Prediction, exact: bool) -> float:
    """Largest distance of two predictions that should agree; inf if they are not comparable.

    Args:
        one: A prediction.
        two: Another of the same agents.
        exact: Whether samples, weights and tubes count as well; else the best guesses alone.
    """
    if one.agent_ids.tolist() != two.agent_ids.tolist():
        return float("inf")
    pairs: list[tuple[NDArray[Any], NDArray[Any]]] = [(one.most_probable(), two.most_probable())]
    if exact:
        if one.weights.tobytes() != two.weights.tobytes():
            return float("inf")
        pairs += [
            (one.positions_m, two.positions_m),
            *zip(_tubes_m(one), _tubes_m(two), strict=True),
        ]
    if any(a.shape != b.shape for a, b in pairs):
        return float("inf")
    return max(float(np.abs(a - b).max(initial=0.0)) for a, b in pairs)


def _tubes_m(prediction: Prediction) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres ``[A, T, 2]`` and axes ``[A, T, Q, 2, 2]`` of the tubes; empty without any."""
    if prediction.tubes is None:
        return np.zeros(0), np.zeros(0)
    tubes = prediction.tubes.select(prediction.tubes.valid)
    axes = tubes.scale[..., None, None] * np.linalg.cholesky(tubes.shape_m2)[:, :, None]
    return tubes.centre_m, axes


def _picked(prediction: Prediction, agents: NDArray[np.int64]) -> Prediction:
    """Some agents of a prediction, in that order."""
    return replace(
        prediction,
        positions_m=prediction.positions_m[:, agents],
        agent_ids=prediction.agent_ids[agents],
        valid=prediction.valid[agents],
        mode_m=prediction.most_probable()[agents],
        spread_m=None,
        tubes=None,
        fallback=None,
    )


def _until(prediction: Prediction, steps: int) -> Prediction:
    """The first steps of a prediction."""
    tubes = prediction.tubes
    return replace(
        prediction,
        positions_m=prediction.positions_m[:, :, :steps],
        mode_m=prediction.most_probable()[:, :steps],
        spread_m=None,
        tubes=tubes
        and replace(
            tubes,
            centre_m=tubes.centre_m[:, :steps],
            shape_m2=tubes.shape_m2[:, :steps],
            scale=tubes.scale[:, :steps],
        ),
    )
