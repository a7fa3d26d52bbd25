"""Joint futures of the agents of a window."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forecast.datasets.windows import Window
from forecast.errors import require
from forecast.graphs import window_graph
from forecast.inference.weights import Training
from forecast.models.calibration.fallback import Fallback, with_fallback
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.noise import keyed_noise
from forecast.models.observed import ObservedTracks
from forecast.models.rollout import SceneContext, imagine
from forecast.models.threads import WHOLE_SCENE, part_size, side_by_side
from forecast.models.types import Noise, Plan, State
from forecast.planning import EgoState
from forecast.planning.plan_poses import EgoMotion, plan_poses
from forecast.scene import AgentKind, Prediction

_ROUNDING = 1e-6
"""Tolerance of a number of steps."""

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
        ForecastError: The horizon is shorter than a step, or a step is not above 0.
    """
    require(0 < dt_s < np.inf, "dt_s", dt_s, "a finite step above 0")
    asked = round(horizon_s / dt_s) if np.isfinite(horizon_s) else 0
    require(asked >= 1, "horizon_s", horizon_s, f"at least one step of {dt_s} s")
    return math.ceil(asked * dt_s / step_s - _ROUNDING)


def forecast_window(
    model: PedestrianForecaster,
    training: Training,
    cut: Window,
    origin_m: NDArray[np.float64],
    *,
    samples: Sequence[int],
    seed: int,
    ego_plan: NDArray[Any] | None,
    plan_dt_s: float | None,
    horizon_s: float,
    dt_s: float,
) -> Iterator[Prediction]:
    """`incremental_predictions` with tubes and fallback, at any step; see `Forecaster.predict`.

    Args:
        model: The network.
        training: Training data and settings of its weights.
        cut: The window; its future is not used. It has `horizon_steps` future steps.
        origin_m: World position ``[2]`` of the window's frame.
        samples: Numbers of samples, none smaller than the one before.
        seed: Seed of the noise.
        ego_plan: Poses ``[T', 3]`` of the ego in the window's frame, or None.
        plan_dt_s: Time between the poses of the plan.
        horizon_s: Length of the prediction.
        dt_s: Step of the prediction.

    Yields:
        A prediction for each number of samples.

    Raises:
        ForecastError: ``samples`` is too small, or as `incremental_predictions`.
    """
    require(min(samples) >= 1, "samples", min(samples), "at least 1")
    calibration, seen = training.calibration, observed(cut)
    least = calibration.samples if calibration else 0
    drawn = [max(count, least) for count in samples]
    fallback = Fallback.of(seen, calibration, training.ood, cut.agent_ids.tolist(), seed)
    options: dict[str, Any] = {"seed": seed, "ego_plan": ego_plan, "plan_dt_s": plan_dt_s}
    predictions = incremental_predictions(model, cut, origin_m, samples=drawn, **options)
    now_m = cut.positions_m[:, cut.history_steps - 1]
    for count, prediction in zip(samples, predictions, strict=True):
        made = with_fallback(prediction, seen, count, calibration, fallback)
        yield made.resampled(dt_s, round(horizon_s / dt_s), now_m)


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
    options: dict[str, Any] = {"seed": seed, "ego_plan": ego_plan, "plan_dt_s": plan_dt_s}
    return next(incremental_predictions(model, cut, origin_m, samples=[samples], **options))


def incremental_predictions(
    model: PedestrianForecaster,
    cut: Window,
    origin_m: NDArray[np.float64],
    *,
    samples: Sequence[int],
    seed: int,
    ego_plan: NDArray[Any] | None = None,
    plan_dt_s: float | None = None,
) -> Iterator[Prediction]:
    """`predict_window` for several numbers of samples; only additional samples are imagined.

    Args:
        model: As in `predict_window`.
        cut: As in `predict_window`.
        origin_m: As in `predict_window`.
        samples: Numbers of samples, none smaller than the one before.
        seed: As in `predict_window`.
        ego_plan: As in `predict_window`.
        plan_dt_s: As in `predict_window`.

    Yields:
        A prediction for each number; it repeats the samples of the one before.

    Raises:
        ForecastError: As in `predict_window`.
    """
    names, steps = cut.agent_ids.tolist(), cut.future_m.shape[1]
    poses = window_plan(cut, ego_plan, plan_dt_s)
    encoded = encode(model, cut, poses)
    plan = plan_of(poses, encoded.context.agents.kind)
    futures = np.zeros((0, len(names), steps, 2), np.float32)
    for count in samples:
        if len(futures) < 2 + count:
            noise = keyed_noise(model.config.world_model, names, count, steps, seed)
            more = _imagined(model, encoded, noise, len(futures), plan)
            futures = np.concatenate([futures, more])
        mode = futures[:2].mean(axis=0, keepdims=True)
        drawn = np.concatenate([mode, futures[2:]])
        yield predicted(drawn, cut.agent_ids, cut.at_us, cut.dt_s, origin_m)


def _imagined(
    model: PedestrianForecaster, encoded: Encoded, noise: Noise, first: int, plan: Plan | None
) -> NDArray[np.float32]:
    """Positions ``[S, A, T, 2]`` of the futures from index ``first`` on, imagined in parts."""
    context, state = encoded.context, encoded.state
    device, agents = context.agents.dt.device, max(1, len(context.agents.kind))
    size = part_size((len(noise.mirror) - first) * agents, device, WHOLE_SCENE)
    parts = noise.to(device).split(first, max(1, -(-size // agents)))
    with torch.inference_mode():
        futures = side_by_side(
            lambda part: imagine(model.world, context, state, part, plan).position, parts
        )
        return np.asarray(torch.cat(futures).cpu().numpy())


def predicted(
    futures: NDArray[np.float32],
    agent_ids: NDArray[np.str_],
    at_us: int,
    dt_s: float,
    origin_m: NDArray[np.float64],
) -> Prediction:
    """A prediction from a mode and K equally likely samples.

    Args:
        futures: The mode, then the samples ``[1 + K, A, T, 2]`` in metres.
        agent_ids: Names of the agents ``[A]``.
        at_us: Time of the prediction in microseconds.
        dt_s: Step length.
        origin_m: World position ``[2]`` of the futures' frame.
    """
    samples = len(futures) - 1
    return Prediction(
        positions_m=futures[1:],
        weights=np.full(samples, 1 / samples),
        agent_ids=agent_ids,
        valid=np.ones(len(agent_ids), bool),
        at_us=at_us,
        dt_s=dt_s,
        origin_m=origin_m,
        mode_m=futures[0],
    )


def ego_motion(cut: Window, known: EgoState | None = None) -> EgoMotion:
    """The motion of the ego at the current step of a window.

    Args:
        cut: The window.
        known: The ego's state now, if its speed is known better than from the window.

    Raises:
        ForecastError: The window does not have exactly one agent of kind EGO, or the known state
            is that of an ego elsewhere.
    """
    egos = np.flatnonzero(cut.kinds == AgentKind.EGO)
    item = f"{cut.scene_id}: number of egos"
    require(len(egos) == 1, item, len(egos), "exactly 1 agent of kind EGO")
    (ego,), steps = egos, cut.history_steps
    history = cut.positions_m[ego, :steps], cut.valid[ego, :steps]
    motion = EgoMotion.of_history(*history, float(cut.headings_rad[ego, steps - 1]), cut.dt_s)
    if known is None:
        return motion
    off_m = float(np.hypot(*(known.pose - motion.pose)[:2]))
    near = f"a state within {_EGO_NEAR_M:g} m, relative to the scene's origin_m,"
    require(off_m <= _EGO_NEAR_M, "ego: distance from the scene's ego", f"{off_m:.1f} m", near)
    return EgoMotion.of_state(known)


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
