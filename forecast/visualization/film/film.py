"""`Film`: what a film shows, as scenes and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast import geometry
from forecast.datasets.progress import with_progress
from forecast.errors import ForecastError, require
from forecast.inference import Forecaster
from forecast.scene import AgentKind, Prediction, Predictor, Scene
from forecast.visualization.film.plans import TITLES, ego_plan

RENEWED_S = 0.5
"""A film of a recording shows a new prediction this often, or at every step of a coarser one."""

HORIZON_S = 6.0
"""Length of the futures."""

_ON_TIME_S = 0.05
"""A step this much too early for a new prediction is late enough."""


@dataclass(frozen=True)
class Question:
    """What is asked of the predictor.

    Attributes:
        horizon_s: Length of the futures.
        samples: Number of joint futures K.
        seed: Seed of the futures.
        modes: Number of modes of each agent that are shown in place of the samples; None: the
            samples are shown. See `Prediction.modes`.
    """

    horizon_s: float = HORIZON_S
    samples: int = 20
    seed: int = 0
    modes: int | None = None


@dataclass(frozen=True, eq=False)
class Panel:
    """One of the pictures side by side.

    Attributes:
        title: What is shown, if there are several.
        scene: The agents that are shown moving.
        predictions: What is predicted, by ascending time, all in the scene's frame.
        plan: Poses of the ego ``[T, 3]`` after the only prediction; None without a plan.
        is_true: Whether the recorded future can be compared with the predicted one.
    """

    title: str
    scene: Scene
    predictions: tuple[Prediction, ...]
    plan: NDArray[np.float64] | None = None
    is_true: bool = True


@dataclass(frozen=True, eq=False)
class Film:
    """A film of a scene and its futures.

    Attributes:
        scene: The recorded scene.
        panels: One picture, or several side by side.
        start_us: First time.
        stop_us: Last time.
        predictor: Name of the predictor.
        is_imagined: Whether agents move as one prediction imagines them; else as recorded, with a
            new prediction every `RENEWED_S`.
        modes: As in `Question`.
    """

    scene: Scene
    panels: tuple[Panel, ...]
    start_us: int
    stop_us: int
    predictor: str
    is_imagined: bool
    modes: int | None = None

    @property
    def duration_s(self) -> float:
        """Time from the first to the last picture."""
        return (self.stop_us - self.start_us) / 1e6

    @property
    def samples(self) -> int:
        """Number of joint futures K."""
        return self.panels[0].predictions[0].samples

    def effect_m(self) -> tuple[str, float] | None:
        """The person on whom the other plan has the largest effect at the end, and the effect.

        It is the mean distance between the same samples of the first two panels. They share their
        random numbers. None where there are not two panels or no people.
        """
        if len(self.panels) < 2:
            return None
        one, other = (panel.predictions[0] for panel in self.panels[:2])
        people = np.flatnonzero(shown(self.scene, one))
        if not len(people):
            return None
        apart = one.positions_m[:, people, -1] - other.positions_m[:, people, -1]
        moved = np.linalg.norm(apart, axis=-1).mean(axis=0)
        most = int(moved.argmax())
        return str(one.agent_ids[people[most]]), float(moved[most])


def shown(scene: Scene, prediction: Prediction) -> NDArray[np.bool_]:
    """The agents of a prediction whose futures are shown ``[A]``: pedestrians; else everybody."""
    tracks = scene.tracks
    walkers = tracks.agent_ids[tracks.kinds == AgentKind.PEDESTRIAN]
    people = prediction.valid & np.isin(prediction.agent_ids, walkers)
    return people if people.any() else prediction.valid


def recorded_film(
    predictor: Predictor, name: str, scene: Scene, start_s: float, stop_s: float, asked: Question
) -> Film:
    """A film of a recording, with new futures every `RENEWED_S`.

    Args:
        predictor: Anything that predicts.
        name: Its name.
        scene: The recording.
        start_s: First time in seconds from the scene's start.
        stop_s: Last time.
        asked: What is asked of the predictor.

    Raises:
        ForecastError: The times are not in the scene, or the predictor refuses.
    """
    steps = _prediction_steps(scene, start_s, stop_s)
    predictions = tuple(
        _predict(predictor, scene, at, asked)
        for at in with_progress(steps, len(steps), "predict", unit="step")
    )
    start_us, stop_us = (scene.start_us + round(s * 1e6) for s in (start_s, stop_s))
    panel = Panel("", scene, predictions)
    return Film(scene, (panel,), start_us, stop_us, name, False, asked.modes)


def imagined_film(
    predictor: Predictor,
    name: str,
    scene: Scene,
    at_s: float,
    asked: Question,
    plans: Sequence[str] = (),
) -> Film:
    """A film of the futures that are imagined from one time on, for each of some plans of the ego.

    Args:
        predictor: Anything that predicts.
        name: Its name.
        scene: The recording.
        at_s: Time of the prediction in seconds from the scene's start.
        asked: What is asked of the predictor.
        plans: Names of plans, see `forecast.visualization.film.plans`; without any, the ego moves
            as imagined.

    Raises:
        ForecastError: The time is not that of a step, the ego cannot have a plan, the predictor
            refuses, or modes are to be shown with plans, of which they know nothing.
    """
    if plans and asked.modes is not None:
        raise ForecastError("modes know nothing of the ego's plan; leave out the modes or the plan")
    at = _step_at(scene, at_s)
    dt_s = predictor.step_s(scene.id, scene.dt_s) if isinstance(predictor, Forecaster) else None
    panels = []
    for plan in plans or [""]:
        poses = None
        if plan:
            poses = ego_plan(plan, scene, at, asked.horizon_s, dt_s or scene.dt_s)
        made = _predict(predictor, scene, at, asked, ego_plan=poses)
        title = TITLES.get(plan, "")
        is_true = plan not in TITLES or plan == "recorded"
        panels.append(Panel(title, imagined(scene, at, made, poses), (made,), poses, is_true))
    start_us = int(scene.timestamps_us[at])
    stop_us = start_us + round(asked.horizon_s * 1e6)
    return Film(scene, tuple(panels), start_us, stop_us, name, True, asked.modes)


def imagined(
    scene: Scene, at: int, prediction: Prediction, plan: NDArray[np.float64] | None
) -> Scene:
    """The scene up to a step, and then as its most probable future goes on.

    Args:
        scene: The scene.
        at: Index of the last recorded step.
        prediction: The prediction at that step.
        plan: The ego's poses ``[T, 3]``, or None. Its headings are used.
    """
    past, steps = scene.between(0, at + 1), prediction.steps
    names = scene.tracks.agent_ids.tolist()
    row_of = {name: row for row, name in enumerate(names)}
    rows = np.array([row_of[name] for name in prediction.agent_ids.tolist()], np.int64)
    agents, tracks = len(names), past.tracks
    ahead = np.zeros((agents, steps, 2), np.float32)
    known = np.zeros((agents, steps), bool)
    ahead[rows], known[rows] = prediction.most_probable(), prediction.valid[:, None]
    still = (tracks.kinds == AgentKind.STATIC) & tracks.valid[:, -1]
    ahead[still], known[still] = tracks.positions_m[still, -1:], True
    positions = np.concatenate([tracks.positions_m, ahead], axis=1)
    valid = np.concatenate([tracks.valid, known], axis=1)
    turned = np.concatenate([tracks.headings_rad, _headings(past, ahead, known, plan)], axis=1)
    after_us = np.round(np.arange(1, steps + 1) * prediction.dt_s * 1e6).astype(np.int64)
    return replace(
        scene,
        timestamps_us=np.concatenate([past.timestamps_us, past.timestamps_us[-1] + after_us]),
        tracks=replace(
            tracks,
            positions_m=positions,
            headings_rad=turned,
            valid=valid,
            visibility=None,
            decisions=None,
        ),
        frame_ids=np.full(positions.shape[1], "", np.str_),
        interpolated=None,
    )


def _headings(
    past: Scene,
    ahead_m: NDArray[np.float32],
    known: NDArray[np.bool_],
    plan: NDArray[np.float64] | None,
) -> NDArray[np.float32]:
    """Headings ``[A, T]`` of imagined positions: those of the movement, and of the ego's plan."""
    tracks = past.tracks
    path = np.concatenate([tracks.positions_m[:, -1:], ahead_m], axis=1)
    seen = np.concatenate([tracks.valid[:, -1:], known], axis=1)
    moved, moves = geometry.motion_headings(path, seen)
    now = np.broadcast_to(tracks.headings_rad[:, -1:], moved.shape)
    headings = np.where(moves, moved, now)[:, 1:].astype(np.float32)
    if plan is not None:
        headings[tracks.kinds == AgentKind.EGO] = plan[:, 2]
    return headings


def _predict(
    predictor: Predictor, scene: Scene, at: int, asked: Question, **more: Any
) -> Prediction:
    """A prediction in the scene's frame, of a predictor that may be anybody's."""
    made = predictor.predict(
        scene, at, horizon_s=asked.horizon_s, samples=asked.samples, seed=asked.seed, **more
    )
    good = isinstance(made, Prediction)
    require(good, "what the predictor returned", type(made).__name__, "a Prediction")
    if asked.modes is not None:
        made.modes(asked.modes)  # refuses a number that there is not
    shift = (made.origin_m - scene.origin_m).astype(np.float32)
    unknown = np.setdiff1d(made.agent_ids, scene.tracks.agent_ids)
    require(not len(unknown), "predicted agents", unknown[:3].tolist(), f"agents of {scene.id}")
    if not shift.any():
        return made
    tubes = made.tubes
    return replace(
        made,
        origin_m=scene.origin_m,
        positions_m=made.positions_m + shift,
        mode_m=None if made.mode_m is None else made.mode_m + shift,
        now_m=None if made.now_m is None else made.now_m + shift,
        tubes=None if tubes is None else replace(tubes, centre_m=tubes.centre_m + shift),
        mode_sets=tuple(
            replace(each, positions_m=each.positions_m + shift) for each in made.mode_sets
        ),
    )


def _prediction_steps(scene: Scene, start_s: float, stop_s: float) -> list[int]:
    """The steps of new predictions, the first at the start or before; raises `ForecastError`."""
    times_s = (scene.timestamps_us - scene.start_us) / 1e6
    last_s = float(times_s[-1])
    for name, value in (("from", start_s), ("to", stop_s)):
        require(0 <= value <= last_s, f"{scene.id}: {name}", f"{value:g} s", f"0 to {last_s:g} s")
    require(start_s < stop_s, f"{scene.id}: from", f"{start_s:g} s", f"a time before {stop_s:g} s")
    between = scene.interpolated
    usable = np.ones(scene.steps, bool) if between is None else ~between
    usable &= scene.tracks.valid.any(axis=0)
    steps: list[int] = []
    for at in np.flatnonzero(usable & (times_s <= stop_s)).tolist():
        if not steps or times_s[at] - times_s[steps[-1]] >= RENEWED_S - _ON_TIME_S:
            steps.append(at)
    first = max((i for i, at in enumerate(steps) if times_s[at] <= start_s), default=0)
    if not steps:
        raise ForecastError(f"{scene.id}: nobody is observed up to {stop_s:g} s; give a later --to")
    return steps[first:]


def _step_at(scene: Scene, at_s: float) -> int:
    """The step nearest to a time; raises `ForecastError` if a prediction cannot start there."""
    times_s = (scene.timestamps_us - scene.start_us) / 1e6
    good = 0 <= at_s <= times_s[-1] + scene.dt_s / 2
    require(good, f"{scene.id}: at", f"{at_s:g} s", f"a time from 0 to {times_s[-1]:g} s")
    return scene.prediction_step(int(np.abs(times_s - at_s).argmin()))
