"""Tests which guarantees a predictor gives: no leak from the future, and the protocol's rules.

The audit works on any `Predictor`, also a third party's. The predictor gets changed copies of
recorded scenes, and its predictions are compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast import geometry
from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec, prediction_times
from forecast.errors import ForecastError
from forecast.models.baselines import NamedPredictor
from forecast.scene import AgentKind, ModeSet, Prediction, Scene
from forecast.scene.turning import turned

WINDOWS = 6
"""Number of windows that are tested by default."""

SAMPLES = 4
TOLERANCE_M = 0.02
"""Allowed difference of best guesses that should agree up to rounding."""

_FAR_M = 50.0
_SPEED_UP_MPS2 = 3.0


@dataclass(frozen=True)
class Guarantee:
    """One property that a predictor may guarantee.

    Attributes:
        id: Stable name.
        words: The property in words.
        required: Whether scores mean little without it.
        exact: Whether predictions must agree bit for bit, or best guesses within `TOLERANCE_M`.
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
        held: Whether it held in every window; None where it could not be tested.
        windows: Number of windows it was tested in.
        worst_m: Largest difference of two positions that should agree.
        note: The first failure, "" if there is none.
    """

    guarantee: Guarantee
    held: bool | None
    windows: int
    worst_m: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class Probe:
    """A window in which a predictor is tested.

    Attributes:
        predictor: The predictor.
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
        """The prediction in the unchanged scene."""
        return self.predict()

    @cached_property
    def cut(self) -> Prediction:
        """The prediction in the scene cut off after the current step."""
        return self.predict(self.scene.between(0, self.at + 1))

    @cached_property
    def recent(self) -> Prediction:
        """The prediction from the protocol's history alone, in the cut scene."""
        return self.since(self.spec.history_steps)

    def since(self, steps: int) -> Prediction:
        """The prediction from the last steps alone."""
        first = max(0, self.at + 1 - steps)
        return self.predict(self.scene.between(first, self.at + 1), self.at - first)

    def predict(
        self,
        scene: Scene | None = None,
        at: int | None = None,
        plan: NDArray[np.float32] | None = None,
    ) -> Prediction:
        """The prediction in the scene, or in a changed copy of it."""
        return self.predictor.predict(
            self.scene if scene is None else scene,
            self.at if at is None else at,
            horizon_s=self.spec.horizon_steps * self.scene.dt_s,
            samples=SAMPLES,
            seed=self.seed,
            ego_plan=plan,
        )


Pair = tuple[Prediction, Prediction] | None
"""Two predictions that should agree; None where the guarantee cannot be tested in a window."""


def _future(probe: Probe) -> Pair:
    """All later steps replaced by noise."""
    generator = np.random.default_rng(probe.seed)
    tracks, later = probe.scene.tracks, slice(probe.at + 1, None)
    positions, headings = tracks.positions_m.copy(), tracks.headings_rad.copy()
    valid = tracks.valid.copy()
    positions[:, later] = generator.normal(0, 100, positions[:, later].shape)
    headings[:, later] = generator.uniform(-3, 3, headings[:, later].shape)
    valid[:, later] = generator.random(valid[:, later].shape) < 0.5
    noisy = replace(tracks, positions_m=positions, headings_rad=headings, valid=valid)
    return probe.usual, probe.predict(replace(probe.scene, tracks=noisy))


def _cut(probe: Probe) -> Pair:
    """All later steps removed."""
    return probe.usual, probe.cut


def _repeat(probe: Probe) -> Pair:
    return probe.usual, probe.predict()


def _order(probe: Probe) -> Pair:
    """The agents in another order; the prediction put back in order."""
    shuffle = np.random.default_rng(probe.seed).permutation(len(probe.scene.tracks))
    changed = replace(probe.scene, tracks=probe.scene.tracks.select(shuffle))
    usual, other = probe.usual, probe.predict(changed)
    place = {name: index for index, name in enumerate(other.agent_ids.tolist())}
    return usual, _picked(other, np.array([place[name] for name in usual.agent_ids.tolist()]))


def _frame(probe: Probe) -> Pair:
    """The scene rotated about its origin by a random angle; the prediction rotated back."""
    angle = float(np.random.default_rng([abs(probe.seed), probe.at]).uniform(-np.pi, np.pi))
    usual, other = probe.usual, probe.predict(turned(probe.scene, angle))
    back = np.asarray(-angle)
    best: NDArray[np.float32] = geometry.rotate(other.most_probable(), back)
    futures: NDArray[np.float32] = geometry.rotate(other.positions_m, back)
    modes = tuple(
        replace(each, positions_m=geometry.rotate(each.positions_m, back))
        for each in other.mode_sets
    )
    now = None if other.now_m is None else geometry.rotate(other.now_m, back)
    found = replace(other, positions_m=futures, mode_m=best, mode_sets=modes, now_m=now)
    return usual, found


def _history(probe: Probe) -> Pair:
    """Shorter histories: any prediction counts, an error does not."""
    for steps in (2, 1):
        probe.since(steps)
    return probe.recent, probe.recent


def _older(probe: Probe) -> Pair:
    """All steps older than the protocol's history removed."""
    return (probe.cut, probe.recent) if probe.at >= probe.spec.history_steps else None


def _placebo(probe: Probe) -> Pair:
    """The vehicle or cyclist that stays farthest from everybody removed."""
    scene, tracks, present = probe.scene, probe.scene.tracks, probe.scene.present(probe.at)
    movable = np.isin(tracks.kinds[present], (AgentKind.VEHICLE, AgentKind.CYCLIST))
    if not movable.any():
        return None
    gaps = np.where(movable, _closest_ahead_m(scene, probe.at, probe.spec.horizon_steps), -np.inf)
    farthest = int(gaps.argmax())
    if gaps[farthest] < _FAR_M:
        return None
    rest = np.delete(np.arange(len(tracks)), present[farthest])
    kept = np.delete(np.arange(len(present)), farthest)
    return _picked(probe.usual, kept), probe.predict(replace(scene, tracks=tracks.select(rest)))


def _closest_ahead_m(scene: Scene, at: int, steps: int) -> NDArray[np.float64]:
    """How near each present agent comes to any other, now or later, if all keep their velocity.

    Returns:
        ``[A]`` in metres; inf for an agent that is alone.
    """
    tracks, present = scene.tracks, scene.present(at)
    here = tracks.positions_m[present, at].astype(np.float64)
    before = tracks.positions_m[present, max(at - 1, 0)]
    known = tracks.valid[present, max(at - 1, 0)]
    step = np.where(known[:, None], here - before, 0.0)
    paths = here[:, None] + step[:, None] * np.arange(steps + 1)[:, None]  # [A, T, 2]
    gaps = np.linalg.norm(paths[:, None] - paths, axis=-1).min(axis=-1)
    np.fill_diagonal(gaps, np.inf)
    closest: NDArray[np.float64] = gaps.min(axis=-1, initial=np.inf)
    return closest


def _plan(probe: Probe) -> Pair:
    """Two plans of the ego that differ in their second half; the first half must agree."""
    scene, at, steps = probe.scene, probe.at, probe.spec.horizon_steps
    egos = np.flatnonzero(scene.tracks.kinds == AgentKind.EGO)
    if len(egos) == 0 or at + steps >= scene.steps or steps < 2:
        return None
    path = slice(at, at + 1 + steps)
    if not scene.tracks.valid[egos[0], path].all():
        return None
    headings = scene.tracks.headings_rad[egos[0], path, None]
    poses = np.concatenate([scene.tracks.positions_m[egos[0], path], headings], axis=-1)
    plan, half = poses[1:], steps // 2
    # From the middle on, the ego goes straight on and speeds up. A jump might be refused.
    since = np.arange(1, steps - half + 1)[:, None]
    ahead = np.concatenate([np.cos(headings[half]), np.sin(headings[half])])
    way = poses[half, :2] - poses[half - 1, :2] + _SPEED_UP_MPS2 * scene.dt_s**2 * since * ahead
    other = plan.copy()
    other[half:] = np.append(poses[half, :2], headings[half])
    other[half:, :2] += way.cumsum(axis=0)
    first, second = probe.predict(plan=plan), probe.predict(plan=other)
    return _until(first, half), _until(second, half)


CHECKS: tuple[tuple[Guarantee, Callable[[Probe], Pair]], ...] = (
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
            f"a vehicle that stays {_FAR_M:g} m from everybody does not change best guesses",
            False,
            False,
        ),
        _placebo,
    ),
)
"""All tests, those of required guarantees first."""


def audit(
    predictor: NamedPredictor,
    store: SceneStore,
    scenes: Sequence[str],
    spec: WindowSpec,
    seed: int = 0,
    windows: int = WINDOWS,
) -> tuple[Finding, ...]:
    """Tests every guarantee in some windows.

    Args:
        predictor: Any predictor.
        store: Where the scenes are.
        scenes: Scenes to take windows from, evenly.
        spec: Window lengths.
        seed: Seed of the predictions and of the changes.
        windows: Number of windows to test.

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
        steps = prediction_times(store[name], spec).steps
        places += [(name, int(at)) for at in steps]
    if not places:
        raise ForecastError(f"{store.path}: no pedestrian can be scored; choose another split")
    chosen = np.unique(np.linspace(0, len(places) - 1, windows).round().astype(int))
    return [
        Probe(predictor, store[places[index][0]], places[index][1], spec, seed) for index in chosen
    ]


def _finding(
    guarantee: Guarantee, check: Callable[[Probe], Pair], probes: Sequence[Probe]
) -> Finding:
    tested, worst = 0, 0.0
    for probe in probes:
        where = f"{probe.scene.id} step {probe.at}"
        try:
            pair = check(probe)
        except (Exception, SystemExit) as error:  # a third party's code may raise anything
            words = " ".join(str(error).split())[:160]
            return Finding(guarantee, False, tested + 1, float("inf"), f"{where}: {words}")
        if pair is None:
            continue
        tested += 1
        worst = max(worst, difference(*pair, guarantee.exact))
        if worst > (0.0 if guarantee.exact else TOLERANCE_M):
            return Finding(guarantee, False, tested, worst, where)
    return Finding(guarantee, True if tested else None, tested, worst)


def difference(one: Prediction, two: Prediction, exact: bool) -> float:
    """Largest distance of two predictions that should agree; inf if they are not comparable.

    Args:
        one: A prediction.
        two: Another of the same agents.
        exact: Whether samples, weights, tubes and modes are compared too, not only the best
            guesses.
    """
    if one.agent_ids.tolist() != two.agent_ids.tolist():
        return float("inf")
    pairs: list[tuple[NDArray[Any], NDArray[Any]]] = [(one.most_probable(), two.most_probable())]
    if exact:
        pairs += _modes(one, two)
        if one.weights.tobytes() != two.weights.tobytes():
            return float("inf")
        pairs += [
            (one.positions_m, two.positions_m),
            *zip(_tubes_m(one), _tubes_m(two), strict=True),
        ]
    if any(a.shape != b.shape for a, b in pairs):
        return float("inf")
    return max(float(np.abs(a - b).max(initial=0.0)) for a, b in pairs)


def _modes(one: Prediction, two: Prediction) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Positions and probabilities of the mode sets, pair by pair."""
    found = [
        [getattr(each, name) for each in made.mode_sets for name in ModeSet.__annotations__]
        for made in (one, two)
    ]
    return list(itertools.zip_longest(*found, fillvalue=np.zeros(0)))


def _tubes_m(prediction: Prediction) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres ``[A, T, 2]`` and axes ``[A, T, Q, 2, 2]`` of the tubes; empty without tubes."""
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
        now_m=None if prediction.now_m is None else prediction.now_m[agents],
        mode_sets=tuple(each.select(agents) for each in prediction.mode_sets),
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
        mode_sets=tuple(each.until(steps) for each in prediction.mode_sets),
    )
