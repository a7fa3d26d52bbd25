"""Joint futures of the agents of a window."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Batch

from forecast import geometry
from forecast.datasets.windows import Window
from forecast.errors import require
from forecast.graphs import window_graph
from forecast.inference.weights import Training
from forecast.models.calibration.conformal import Calibration
from forecast.models.calibration.fallback import Fallback, with_fallback
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.noise import keyed_noise
from forecast.models.observed import ObservedTracks
from forecast.models.rollout import SceneContext, imagine, settle
from forecast.models.threads import MOST_AT_ONCE, part_size, side_by_side, undivided_operations
from forecast.models.types import Noise, Plan, State
from forecast.planning.ego import ONE_EGO, EgoState
from forecast.planning.plan_poses import EgoMotion, plan_poses
from forecast.scene import AgentKind, Prediction
from forecast.scene.agents import FASTEST_TURN_RADPS, HARDEST_MPS2
from forecast.scene.arguments import sample_count, whole_number, whole_steps
from forecast.scene.modes import ModeSet

_ROUNDING = 1e-6
"""Tolerance of a number of steps."""

_AGENTS_AT_ONCE = 256
"""Highest number of agents of windows that are imagined together. More are not faster."""

_EGO_NEAR_M = 20.0
"""A state of the ego given beside a scene may differ from it in place by as much."""


def observed(cut: Window) -> ObservedTracks:
    """The history of the agents of a window, up to its current step."""
    history = cut.history_steps
    positions = cut.positions_m[:, :history].astype(np.float64)
    return ObservedTracks(positions, cut.valid[:, :history], cut.kinds, cut.dt_s)


@dataclass(frozen=True, eq=False)
class Encoded:
    """An observed window; futures can be imagined from it repeatedly.

    Attributes:
        cut: The window.
        context: The scene's constants.
        state: State after the last observed step, in both chiralities.
    """

    cut: Window
    context: SceneContext
    state: State


@undivided_operations()
def encode(
    model: PedestrianForecaster, cut: Window, poses: NDArray[np.float32] | None = None
) -> Encoded:
    """Filters the history of a window with the network.

    Args:
        model: The network.
        cut: The window; its future is not used.
        poses: Plans ``[..., T, 3]`` that the ego may follow. They add candidates along the plans.
    """
    graph = window_graph(cut, model.config.graph, poses).to(next(model.parameters()).device)
    with torch.inference_mode():
        context = model.context(graph)
        return Encoded(cut, context, model.observe(context, graph))


def horizon_steps(horizon_s: float, step_s: float, dt_s: float) -> int:
    """Number of steps to imagine.

    Args:
        horizon_s: Length of the prediction.
        step_s: The model's step.
        dt_s: Step of the prediction.

    Raises:
        ForecastError: A value is no number, the horizon is not a multiple of the prediction's step,
            or that is not above 0.
    """
    asked = whole_steps("horizon_s", horizon_s, dt_s)
    return math.ceil(asked * dt_s / step_s - _ROUNDING)


def forecast_window(
    model: PedestrianForecaster,
    training: Training,
    cut: Window,
    origin_m: NDArray[np.float64],
    *,
    samples: int,
    seed: int,
    ego_plan: NDArray[Any] | None,
    plan_dt_s: float | None,
    horizon_s: float,
    dt_s: float,
) -> Prediction:
    """`predict_window` with tubes and fallback, at any step; see `Forecaster.predict`.

    Args:
        model: The network.
        training: Training data and settings of its weights.
        cut: The window; its future is not used. It has `horizon_steps` future steps.
        origin_m: World position ``[2]`` of the window's frame.
        samples: Number of samples.
        seed: Seed of the noise.
        ego_plan: Poses ``[T', 3]`` of the ego in the window's frame, or None.
        plan_dt_s: Time between the poses of the plan.
        horizon_s: Length of the prediction.
        dt_s: Step of the prediction.

    Raises:
        ForecastError: ``samples`` is too small, or as `predict_window`.
    """
    samples, seed = sample_count(samples), whole_number("seed", seed)
    finish = _Finish.of(training, cut, seed, horizon_s, dt_s)
    options: dict[str, Any] = {"seed": seed, "ego_plan": ego_plan, "plan_dt_s": plan_dt_s}
    drawn = training.drawn(samples)
    return finish(predict_window(model, cut, origin_m, samples=drawn, **options), samples)


@dataclass(frozen=True, eq=False)
class _Finish:
    """Adds tubes and fallback to the predictions of a window, and resamples them.

    Attributes:
        cut: The window.
        seen: Its history.
        calibration: Fitted tubes or None.
        fallback: The fallback of OOD pedestrians or None.
        steps: Number of steps of the result.
        dt_s: Step of the result.
    """

    cut: Window
    seen: ObservedTracks
    calibration: Calibration | None
    fallback: Fallback | None
    steps: int
    dt_s: float

    @classmethod
    def of(
        cls, training: Training, cut: Window, seed: int, horizon_s: float, dt_s: float
    ) -> _Finish:
        seen, tubes = observed(cut), training.calibration
        fallback = Fallback.of(seen, tubes, training.ood, cut.agent_ids.tolist(), seed)
        return cls(cut, seen, tubes, fallback, whole_steps("horizon_s", horizon_s, dt_s), dt_s)

    def __call__(self, prediction: Prediction, samples: int) -> Prediction:
        made = with_fallback(prediction, self.seen, samples, self.calibration, self.fallback)
        now_m = self.cut.positions_m[:, self.cut.history_steps - 1]
        return made.resampled(self.dt_s, self.steps, now_m)


def forecast_windows(
    model: PedestrianForecaster,
    training: Training,
    cuts: Sequence[Window],
    origins_m: Sequence[NDArray[np.float64]],
    *,
    samples: int,
    seed: int,
    horizon_s: float,
    dts_s: Sequence[float],
) -> list[Prediction]:
    """`forecast_window` for W windows, imagined together; see `Forecaster.predict_many`.

    Args:
        model: The network.
        training: Training data and settings of its weights.
        cuts: The windows ``[W]``, with equally many observed steps.
        origins_m: World positions ``[W, 2]`` of their frames.
        samples: Number of samples.
        seed: Seed of the noise of each window.
        horizon_s: Length of the predictions.
        dts_s: Steps of the predictions ``[W]``.

    Raises:
        ForecastError: As in `forecast_window`.
    """
    samples = sample_count(samples)
    seed, drawn = whole_number("seed", seed), training.drawn(samples)
    made: dict[int, Prediction] = {}
    for batch in _batches(cuts):
        together = _imagined_together(model, [cuts[i] for i in batch], drawn, seed)
        for i, imagined in zip(batch, together, strict=True):
            finish = _Finish.of(training, cuts[i], seed, horizon_s, dts_s[i])
            made[i] = finish(_prediction(*imagined, cuts[i], origins_m[i]), samples)
    return [made[i] for i in range(len(cuts))]


def _batches(cuts: Sequence[Window]) -> Iterator[list[int]]:
    """Indices of windows to imagine together: with one horizon and a limited number of agents."""
    by_horizon: dict[int, list[int]] = {}
    for i, cut in enumerate(cuts):
        by_horizon.setdefault(cut.future_m.shape[1], []).append(i)
    for group in by_horizon.values():
        batch: list[int] = []
        agents = 0
        for i in group:
            if batch and agents + len(cuts[i].kinds) > _AGENTS_AT_ONCE:
                yield batch
                batch, agents = [], 0
            batch.append(i)
            agents += len(cuts[i].kinds)
        yield batch


@undivided_operations()
def _imagined_together(
    model: PedestrianForecaster, cuts: Sequence[Window], samples: int, seed: int
) -> list[tuple[NDArray[np.float32], tuple[ModeSet, ...]]]:
    """Futures ``[2 + K, A, T, 2]``, those of the mode first, and mode sets of each window."""
    graphs = [window_graph(cut, model.config.graph) for cut in cuts]
    batch = Batch.from_data_list(graphs).to(next(model.parameters()).device)
    with torch.inference_mode():
        context = model.context(batch)
        state = model.observe(context, batch)
    steps = cuts[0].future_m.shape[1]
    config, names = model.config.world_model, [cut.agent_ids.tolist() for cut in cuts]
    noise = Noise.joined([keyed_noise(config, each, samples, steps, seed) for each in names])
    futures = _imagined(model, context, state, noise, None)
    sets, rows = mode_sets(model, context, state, steps), np.arange(futures.shape[1])
    parts = np.split(rows, np.cumsum([len(each) for each in names])[:-1])
    return [(futures[:, own], tuple(each.select(own) for each in sets)) for own in parts]


def predict_window(
    model: PedestrianForecaster,
    cut: Window,
    origin_m: NDArray[np.float64],
    *,
    samples: int,
    seed: int,
    ego_plan: NDArray[Any] | None = None,
    plan_dt_s: float | None = None,
) -> Prediction:
    """Imagines joint futures of the agents of a window, over the window's horizon.

    Args:
        model: The network, in any mode and on any device.
        cut: The window; its future is not used.
        origin_m: World position ``[2]`` of the window's frame.
        samples: Number of joint futures K.
        seed: Seed of the noise.
        ego_plan: Poses ``[T', 3]`` of the ego in the window's frame, or None.
        plan_dt_s: Time between these poses; default: the window's step.

    Raises:
        ForecastError: The ego cannot drive ``ego_plan``, the plan does not fit the horizon
            (`plan_poses`), or there is no ego.
    """
    names, steps = cut.agent_ids.tolist(), cut.future_m.shape[1]
    poses = window_plan(cut, ego_plan, plan_dt_s)
    encoded = encode(model, cut, poses)
    context, state = encoded.context, encoded.state
    noise = keyed_noise(model.config.world_model, names, samples, steps, seed)
    plan = plan_of(poses, context.agents.kind)
    futures = _imagined(model, context, state, noise, plan)
    sets = () if plan is not None else mode_sets(model, context, state, steps)
    return _prediction(futures, sets, cut, origin_m)


@undivided_operations()
def mode_sets(
    model: PedestrianForecaster, context: SceneContext, state: State, steps: int
) -> tuple[ModeSet, ...]:
    """The mode sets of all agents of a context; they do not depend on a plan of the ego.

    Args:
        model: The network.
        context: The scene's constants.
        state: State after the last observed step, in both chiralities.
        steps: Number of steps.
    """
    # The chirality with the y axis to the left; in training the sets learn from both.
    state = state.with_mirror(state.mirror.new_ones(1))
    with torch.inference_mode():
        sets = model.mode_sets(context, state, steps)
        found = [(paths[:, 0].swapaxes(0, 1), logits[:, 0].T.softmax(-1)) for paths, logits in sets]
    return tuple(ModeSet.ranked(paths.cpu().numpy(), p.cpu().numpy()) for paths, p in found)


@undivided_operations()
def _imagined(
    model: PedestrianForecaster,
    context: SceneContext,
    state: State,
    noise: Noise,
    plan: Plan | None,
) -> NDArray[np.float32]:
    """Positions ``[S, A, T, 2]`` of all futures, imagined in parts."""
    device, agents = context.agents.dt.device, max(1, len(context.agents.kind))
    size = part_size(len(noise.mirror) * agents, device, MOST_AT_ONCE)
    parts = noise.to(device).split(max(1, -(-size // agents)))
    with torch.inference_mode():
        settled = settle(model.world, context, state)
        futures = side_by_side(
            lambda part: imagine(model.world, context, settled, part, plan).position, parts
        )
        return np.asarray(torch.cat(futures).cpu().numpy())


def _prediction(
    futures: NDArray[np.float32],
    sets: tuple[ModeSet, ...],
    cut: Window,
    origin_m: NDArray[np.float64],
) -> Prediction:
    """A prediction of equally likely samples.

    Args:
        futures: The mode in both chiralities, then the samples ``[2 + K, A, T, 2]`` in metres.
        sets: Mode sets.
        cut: The window.
        origin_m: World position ``[2]`` of its frame.
    """
    samples = len(futures) - 2
    return Prediction(
        positions_m=futures[2:],
        weights=np.full(samples, 1 / samples),
        agent_ids=cut.agent_ids,
        valid=np.ones(len(cut.agent_ids), bool),
        at_us=cut.at_us,
        dt_s=cut.dt_s,
        origin_m=origin_m,
        mode_m=futures[:2].mean(axis=0),
        scene_id=cut.scene_id,
        mode_sets=sets,
        now_m=cut.positions_m[:, cut.history_steps - 1],
    )


def ego_motion(cut: Window, known: EgoState | None = None) -> EgoMotion:
    """The motion of the ego at the current step of a window.

    Args:
        cut: The window.
        known: The ego's state now, if its speed is known better than from the window.

    Raises:
        ForecastError: The window does not have exactly one agent of kind EGO, or the known state
            is that of an ego elsewhere, or impossible after its track.
    """
    egos = np.flatnonzero(cut.kinds == AgentKind.EGO)
    item = f"{cut.scene_id}: number of egos"
    require(len(egos) == 1, item, len(egos), ONE_EGO)
    (ego,), steps = egos, cut.history_steps
    history = cut.positions_m[ego, :steps], cut.valid[ego, :steps]
    motion = EgoMotion.of_history(*history, float(cut.headings_rad[ego, steps - 1]), cut.dt_s)
    if known is None:
        return motion
    off_m = float(np.hypot(*(known.pose - motion.pose)[:2]))
    near = f"a state within {_EGO_NEAR_M:g} m, relative to the scene's origin_m,"
    require(off_m <= _EGO_NEAR_M, "ego: distance from the scene's ego", f"{off_m:.1f} m", near)
    stated = EgoMotion.of_state(known)
    _check_ego(stated, motion, cut.dt_s, turns=bool(cut.heading_known[ego]))
    return stated


def with_ego(cut: Window, ego: EgoState) -> Window:
    """A window with its ego, and the ego's past, moved to where the ego is now.

    People then react to the ego where the plans begin. An unknown heading becomes the stated one;
    a known one, the speed and the size stay those of the track.

    Args:
        cut: The window; it has one agent of kind EGO.
        ego: The ego's state now, checked by `ego_motion`.
    """
    (row,), now = np.flatnonzero(cut.kinds == AgentKind.EGO), cut.history_steps - 1
    off_m = (ego.pose[:2] - cut.positions_m[row, now]).astype(np.float32)
    positions, headings = cut.positions_m.copy(), cut.headings_rad.copy()
    positions[row] += np.where(cut.valid[row, :, None], off_m, 0)
    if not cut.heading_known[row]:
        headings[row] = np.where(cut.valid[row], ego.heading_rad, 0)
    known = cut.heading_known | (np.arange(len(cut.kinds)) == row)
    return replace(cut, positions_m=positions, headings_rad=headings, heading_known=known)


def _check_ego(stated: EgoMotion, observed: EgoMotion, dt_s: float, *, turns: bool) -> None:
    """Refuses a state of the ego that it cannot have after what was observed of it.

    Args:
        stated: The state.
        observed: What was observed.
        dt_s: Step of the observations.
        turns: Whether its heading was observed.
    """
    turn = abs(float(geometry.wrap_angle(stated.pose[2] - observed.pose[2])))
    need = "a heading in radians near that of the scene's ego"
    possible = not turns or turn <= FASTEST_TURN_RADPS * dt_s
    require(possible, "ego heading_rad", float(stated.pose[2]), need)
    if len(observed.velocities_mps):
        change = np.linalg.norm(observed.velocities_mps - stated.velocities_mps[0, 0], axis=-1)
        speed = float(np.linalg.norm(stated.velocities_mps[0, 0]))
        near = f"a velocity that the ego can have {dt_s:g} s after that of its track, in m/s,"
        good = change.min() <= HARDEST_MPS2 * dt_s
        require(good, "ego speed_mps", f"{speed:.1f}, {change.min():.1f} m/s off", near)


def window_plan(
    cut: Window, ego_plan: NDArray[Any] | None, plan_dt_s: float | None
) -> NDArray[np.float32] | None:
    """A plan of the ego as poses ``[T, 3]`` at the future steps of a window; None without a plan.

    Args:
        cut: The window.
        ego_plan: As in `predict_window`.
        plan_dt_s: As in `predict_window`.

    Raises:
        ForecastError: As in `predict_window`.
    """
    if ego_plan is None:
        return None
    steps = cut.future_m.shape[1]
    options: dict[str, Any] = {"dt_s": cut.dt_s, "steps": steps, "plan_dt_s": plan_dt_s}
    return plan_poses(ego_plan, ego_motion(cut), **options).astype(np.float32)


def plan_of(poses: NDArray[np.float32] | None, kind: torch.Tensor) -> Plan | None:
    """A `Plan` of the ego.

    Args:
        poses: Poses ``[T, 3]`` or None.
        kind: `AgentKind` values of the agents ``[A]``.

    Returns:
        The plan, or None without poses.
    """
    if poses is None:
        return None
    return Plan(torch.from_numpy(poses).to(kind.device)[:, None, None], kind == AgentKind.EGO)
