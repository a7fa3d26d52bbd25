"""`Forecaster`: trained weights as a `Predictor`.

It needs neither Lightning nor a dataset: a planner passes its own `Scene`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from forecast.datasets.windows import Window, WindowSpec, window
from forecast.errors import ForecastError, require
from forecast.inference.paths import is_folder
from forecast.inference.plans import PlanWorlds
from forecast.inference.stream import Stream
from forecast.inference.weights import (
    PACKAGED,
    Training,
    read_model,
    save_model,
    warn_not_calibrated,
    weights_sha256,
)
from forecast.inference.windows import (
    ego_motion,
    forecast_window,
    forecast_windows,
    horizon_steps,
    with_ego,
)
from forecast.inference.world import World
from forecast.models.compile import accelerate
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.threads import side_by_side, undivided_operations
from forecast.planning import ClearanceConfig, CostConfig, EgoState, Ranking
from forecast.planning.plan_poses import plan_poses, plan_steps
from forecast.planning.road import road_use
from forecast.scene import AgentKind, LaneMap, Prediction, Scene
from forecast.scene.arguments import parse_list, real_number, sample_count, whole_number
from forecast.scene.parsing import parse_origin, require_map_near
from forecast.scene.resampling import history

if TYPE_CHECKING:
    from typing_extensions import Unpack

_STEP_TOLERANCE = 0.25
"""A scene's step may differ by this share from a step that the model was trained with."""
HORIZON_S = 6.0
"""Default horizon."""


class PlanDetails(TypedDict, total=False):
    """What else `Forecaster.rank_plans` takes by keyword.

    Attributes:
        plan_dt_s: Time between the poses of a plan; default: the model's step. Plans are
            interpolated at the model's steps.
        ego: The ego now; default: the scene's agent of kind EGO.
        limits: Limits of the measured distances and times; default `ClearanceConfig`.
        route: The lanes and the drivable area that the cost holds the ego to; default: the scene's
            map. With the lanes of the ego's route alone, another turn costs as much as leaving the
            lane.
    """

    plan_dt_s: float | None
    ego: EgoState | None
    limits: ClearanceConfig | None
    route: LaneMap | None


class Forecaster:
    """A trained model; satisfies `Predictor`.

    Args:
        model: The network with its weights.
        training: Training data and settings of the weights.
        name: Name in tables.
    """

    def __init__(self, model: PedestrianForecaster, training: Training, name: str) -> None:
        self.model, self.training, self.name = model.eval().requires_grad_(False), training, name

    def __repr__(self) -> str:
        known, parameters = self.training, sum(p.numel() for p in self.model.parameters())
        calibrated = "not calibrated" if known.calibration is None else "calibrated"
        steps = ", ".join(f"{dt_s:g}" for dt_s in known.dts_s)
        return (
            f"Forecaster({self.name!r}: {parameters} parameters, steps of {steps} s, "
            f"{known.history_steps} observed, {calibrated})"
        )

    def predict(
        self,
        scene: Scene,
        at: int,
        *,
        horizon_s: float = HORIZON_S,
        samples: int = 20,
        seed: int = 0,
        ego_plan: NDArray[Any] | None = None,
        dt_s: float | None = None,
        plan_dt_s: float | None = None,
    ) -> Prediction:
        """Imagines joint futures; see `Predictor.predict`.

        Random numbers depend on the names of agents (`forecast.models.noise`). With the same seed,
        predictions that differ in one agent or in the ego's plan share their random numbers.

        Without a plan of the ego there are mode sets too: 5, 10 and 20 futures of each agent with
        probabilities (`Prediction.modes`). Calibrated weights add tubes, for any number of samples.
        Pedestrians with an out-of-distribution history get constant velocity
        (`Prediction.fallback`).

        A scene with a finer time grid than the model's is resampled, so it may be at a planner's
        10 Hz: the model gets the positions at its own steps back from ``at``.

        Args:
            scene: The scene; steps after ``at`` are not used.
            at: Index of the current step; below 0 it is counted from the end.
            horizon_s: Length of the prediction, a multiple of its step.
            samples: Number of joint futures K.
            seed: Seed of the noise.
            ego_plan: Poses ``[T', 3]`` of the ego in the scene's frame up to the horizon, or None.
            plan_dt_s: Time between the poses of the plan; default: the model's step. The plan is
                interpolated at the model's steps.
            dt_s: Step of the prediction; default: the model's. Positions between imagined steps
                are interpolated.

        Raises:
            ForecastError: ``samples`` is too small, ``horizon_s`` is no multiple of the step or is
                beyond the last calibrated time, ``ego_plan`` is shorter or longer than the horizon,
                the ego cannot drive it (`forecast.planning.plan_poses`), or the scene's step is
                longer than the model's.
        """
        step_s = self.step_s(scene.id, scene.dt_s)
        dt_s = step_s if dt_s is None else dt_s
        cut = self.window(scene, at, horizon_steps(horizon_s, step_s, dt_s))
        options: dict[str, Any] = {"seed": seed, "ego_plan": ego_plan, "plan_dt_s": plan_dt_s}
        options |= {"horizon_s": horizon_s, "dt_s": dt_s, "samples": samples}
        return forecast_window(self.model, self.training, cut, scene.origin_m, **options)

    def predict_many(
        self,
        scenes: Iterable[Scene | tuple[Scene, int]],
        *,
        horizon_s: float = HORIZON_S,
        samples: int = 20,
        seed: int = 0,
        dt_s: float | None = None,
    ) -> list[Prediction]:
        """`predict` for many scenes at once, which takes less time than one after the other.

        The results are those of `predict` up to rounding: positions differ by less than 1 mm.

        Args:
            scenes: Pairs of a scene and a step of it, as in `predict`; a scene alone stands for its
                last step. They may be of different datasets and step lengths.
            horizon_s: As in `predict`.
            samples: As in `predict`.
            seed: As in `predict`; the same for every scene.
            dt_s: As in `predict`; default: that of the model in each scene.

        Returns:
            A prediction for each of the scenes, in their order.

        Raises:
            ForecastError: As in `predict`, or ``scenes`` is no list of them.
        """
        asked = [_scene_and_step(item) for item in parse_list("scenes", scenes)]
        steps_s = [self.step_s(scene.id, scene.dt_s) for scene, _ in asked]
        dts_s = [step_s if dt_s is None else dt_s for step_s in steps_s]
        cuts = [
            self.window(scene, at, horizon_steps(horizon_s, step_s, step))
            for (scene, at), step_s, step in zip(asked, steps_s, dts_s, strict=True)
        ]
        origins = [scene.origin_m for scene, _ in asked]
        options: dict[str, Any] = {"samples": samples, "seed": seed, "horizon_s": horizon_s}
        return forecast_windows(self.model, self.training, cuts, origins, **options, dts_s=dts_s)

    def imagine(self, scene: Scene, at: int, *, samples: int = 64, seed: int = 0) -> World:
        """An interactive world that starts at a step of a scene.

        Args:
            scene: The scene; steps after ``at`` are not used.
            at: Index of the current step; below 0 it is counted from the end.
            samples: Number of joint futures K.
            seed: Seed of the noise.

        Raises:
            ForecastError: ``samples`` is too small, or the scene's step is longer than the model's.
        """
        steps = round(HORIZON_S / self.step_s(scene.id, scene.dt_s))
        return World(self.model, self.window(scene, at, steps), scene.origin_m, samples, seed)

    def stream(
        self,
        lane_map: LaneMap | None = None,
        *,
        dt_s: float | None = None,
        origin_m: ArrayLike = (0.0, 0.0),
        forget_s: float | None = None,
        hold_s: float = 0.3,
        adapt: bool = False,
    ) -> Stream:
        """A stream that takes frames of live traffic and predicts after any frame.

        With ``adapt``, the stream checks what it predicted in the last 3 s against what it has
        seen since. Where the truth was outside the tubes too often, they grow, and where it was
        inside too often, they shrink: by one factor for people who stand, one for those who walk,
        and so on (`forecast.inference.live_tubes`). Samples, modes and everything else stay as
        they are. Predictions with an ``ego_plan`` have adapted tubes, but are not checked. Until
        something was checked, predictions equal those without ``adapt``, bit for bit. Later they
        depend on which predictions were asked for, so audits and evaluations do without.

        Args:
            lane_map: The map relative to ``origin_m``.
            dt_s: Step of the predictions; default: the model's. Frames may come at any rate.
            origin_m: World position ``[2]`` of the frames' origin.
            forget_s: Agents not observed for this time are dropped. Default: the length of the
                history that the model was trained with.
            hold_s: An agent missing from the last frames for up to this time goes straight on
                (`Stream.held_ids`). So whom a tracker misses for a moment stays predicted.
            adapt: Whether the tubes adapt to this recording, without labels.

        Raises:
            ForecastError: ``dt_s`` is longer than the model's step, ``forget_s`` or ``hold_s`` is
                too small or too large, ``lane_map`` is something else, or the weights that are to
                adapt have no tubes.
        """
        good = lane_map is None or isinstance(lane_map, LaneMap)
        require(good, "lane_map", type(lane_map).__name__, "a LaneMap, such as that of a scene,")
        step_s = max(self.training.dts_s) if dt_s is None else self.step_s("stream", dt_s)
        forget_s = self.training.history_steps * step_s if forget_s is None else forget_s
        origin = parse_origin("stream", origin_m)
        dt_s = step_s if dt_s is None else dt_s
        scale = step_s, dt_s, origin, forget_s, hold_s
        return Stream(self.model, self.training, lane_map, *scale, adapt)

    @undivided_operations()
    def rank_plans(
        self,
        scene: Scene,
        at: int,
        plans: NDArray[Any],
        *,
        samples: int = 20,
        seed: int = 0,
        react: int = 50,
        cost: CostConfig | None = None,
        **details: Unpack[PlanDetails],
    ) -> Ranking:
        """Ranks plans of the ego by cost, with people's reactions to the best of them.

        First, plans are compared with the same futures: those of `predict` without an ego plan, in
        which the ego drives as the model imagines. Then the ``react`` cheapest plans, the one of
        the lowest risk among them, are compared with futures in which people near the plan, and
        near the ego as imagined, react to that plan. These plans come first in the ranking. All
        futures share their random numbers, so plans differ by their own effects only.

        Both comparisons go by sequential halving (`forecast.planning.halving`). All plans are
        compared with 4 futures, the cheaper ones with more, and the last ones with all ``samples``.
        `Ranking.samples` says how many each plan's figures rest on. Up to 25 plans (16 with
        reactions), or up to 7 samples, there is one round. So more ``samples``, which lower
        `Ranking.collision_high`, cost time for the last plans only.

        Args:
            scene: The scene; steps after ``at`` are not used.
            at: Index of the current step; below 0 it is counted from the end.
            plans: Poses ``[P, T', 3]`` of the ego's centre in the scene's frame.
            samples: Number of joint futures K.
            seed: Seed of the noise.
            react: Number of plans with reactions; 0 for none, P or more for all.
            cost: Weights of the cost; default `CostConfig`.
            details: ``plan_dt_s``, ``ego``, ``limits`` and ``route``; see `PlanDetails`. In a scene
                without an agent of kind EGO at that step, ``ego`` is put into it
                (`EgoState.joined`).

        Raises:
            ForecastError: ``plans`` is not finite of shape ``[P, T', 3]``; ``plan_dt_s`` is not
                given though predictions have another step than in training, near the scene's; they
                take no whole number of the model's steps, or are longer than 6 s and the horizon of
                training; the ego cannot drive a plan (`forecast.planning.plan_poses`); ``samples``
                or ``react`` is too small; there is no ego and none is given, or ``ego`` is
                elsewhere; or the scene's step is longer than the model's.
            TypeError: A keyword is unknown.
        """
        whole_number("seed", seed)
        _check_arguments(samples, react, cost, details)
        ego, route = details.get("ego"), details.get("route")
        cut, poses, ego = self._plan_window(scene, at, plans, details.get("plan_dt_s"), ego)
        require_map_near("route", route, ego.pose[None, :2])
        lane_map = scene.lane_map if route is None else route
        # Neither of the two makes good use of more than one thread.
        jobs: list[Callable[[], Any]] = [
            lambda: PlanWorlds(self.model, cut, poses, samples, seed, self.training),
            lambda: road_use(poses, lane_map, ego),
        ]
        worlds, road = side_by_side(lambda job: job(), jobs)
        found: Ranking = worlds.rank(ego, min(react, len(poses)), road, cost, details.get("limits"))
        return found

    def _plan_window(
        self,
        scene: Scene,
        at: int,
        plans: NDArray[Any],
        plan_dt_s: float | None,
        ego: EgoState | None,
    ) -> tuple[Window, NDArray[np.float64], EgoState]:
        """The window for plans, their poses ``[P, T, 3]`` at its steps, and the ego now."""
        step_s = self.step_s(scene.id, scene.dt_s)
        longest_s = max(HORIZON_S, self.training.horizon_steps * step_s)
        usual = any(math.isclose(step_s, each, rel_tol=1e-3) for each in self.training.dts_s)
        good = plan_dt_s is not None or usual
        need = f"the time between poses, as predictions in {scene.id} have steps of {step_s:g} s,"
        require(good, "plan_dt_s", plan_dt_s, need)
        every: dict[str, Any] = {"dt_s": step_s, "plan_dt_s": plan_dt_s}
        steps = plan_steps(plans, longest_s=longest_s, **every)
        kinds = scene.tracks.kinds
        if ego is not None and not (kinds[scene.present(at)] == AgentKind.EGO).any():
            scene = ego.joined(scene, at)
        cut = self.window(scene, at, steps)
        if ego is None:
            ego = EgoState.of(scene, at)
            cut = with_ego(cut, ego)
            motion = ego_motion(cut)
        else:
            motion = ego_motion(cut, ego)
            cut = with_ego(cut, ego)
        return cut, plan_poses(plans, motion, steps=steps, item="plans", **every), ego

    def window(self, scene: Scene, at: int, steps: int) -> Window:
        """The model's input at a step of a scene; no agent is marked as scored.

        Args:
            scene: The scene; steps after ``at`` are not used.
            at: Index of the current step; below 0 it is counted from the end.
            steps: Steps to imagine.

        Raises:
            ForecastError: The scene's step is longer than the model's, the scene has no step
                ``at``, or that lies between two records.
        """
        step_s = self.step_s(scene.id, scene.dt_s)
        at = scene.prediction_step(at)
        past = scene.between(0, at + 1)
        if step_s != scene.dt_s:
            past = history(past, step_s, self.training.history_steps)
        spec = WindowSpec(self.training.history_steps, steps, min_history_steps=1)
        nobody = np.zeros(len(scene.tracks), bool)
        return window(past, past.steps - 1, spec, scored=nobody)

    def step_s(self, item: str, dt_s: float) -> float:
        """The step at which the model predicts data of a step length.

        Args:
            item: Item with that step length, such as the name of a scene; for the message.
            dt_s: Its step length.

        Returns:
            The same, if it is near one of training; else a longer one of training.

        Raises:
            ForecastError: The step is longer than those of training.
        """
        known, dt_s = self.training.dts_s, real_number(f"{item}: dt_s", dt_s, "a step in seconds")
        if any(abs(dt_s / known_s - 1) <= _STEP_TOLERANCE for known_s in known):
            return dt_s
        if not 0 < dt_s < max(known):
            raise ForecastError(
                f"{item}: its step is {dt_s} s, the model was trained with steps of "
                f"{', '.join(map(str, known))} s; this or a shorter step is needed"
            )
        return max(known)

    def provenance(self) -> dict[str, Any]:
        """Configuration and training data as plain values, with a hash of the weights."""
        digest = weights_sha256(self.model.state_dict())
        return {"weights_sha256": digest, **asdict(self.training)}

    def save(self, path: str | Path) -> None:
        """Writes weights and configuration as one safetensors file; see `save_model`."""
        save_model(path, self.model, self.training)


def _scene_and_step(item: Any) -> tuple[Scene, int]:
    """An item of `Forecaster.predict_many` as a scene and a step."""
    pair = item if isinstance(item, tuple | list) else (item, -1)
    if len(pair) != 2 or not isinstance(pair[0], Scene):
        named = type(item).__name__
        if pair is item:
            named += f" of {', '.join(type(part).__name__ for part in pair)}"
        raise ForecastError(f"scenes: an item is {named}; a Scene or a pair (scene, at) is needed")
    return pair[0], pair[1]


_KINDS = {"cost": CostConfig, "ego": EgoState, "limits": ClearanceConfig, "route": LaneMap}
"""Types of arguments of `Forecaster.rank_plans`."""


def _check_arguments(
    samples: int, react: int, cost: CostConfig | None, details: PlanDetails
) -> None:
    """Checks arguments of `Forecaster.rank_plans`; raises `ForecastError` or TypeError."""
    unknown = sorted(details.keys() - PlanDetails.__annotations__.keys())
    if unknown:
        raise TypeError(f"rank_plans got an unexpected keyword argument '{unknown[0]}'")
    sample_count(samples)
    whole_number("react", react, least=0)
    given: dict[str, Any] = {"cost": cost, **details}
    for name, kind in _KINDS.items():
        value = given.get(name)
        good = value is None or isinstance(value, kind)
        require(good, name, type(value).__name__, f"a value of type {kind.__name__}")


def load(path: str | Path, device: str | torch.device = "cpu") -> Forecaster:
    """Loads trained weights.

    On a processor, the network is compiled when weights of its configuration are first loaded on a
    machine. This takes about a minute and needs a C++ compiler; see `forecast.models.compile`.

    Where every call has a deadline, call ``gc.freeze()`` once everything is loaded. Otherwise a
    full pass of Python's garbage collector, 0.1 to 0.2 s, may fall into any call.

    Args:
        path: A name of `PACKAGED`, a ``.safetensors`` file of `Forecaster.save`, or a ``.ckpt`` of
            ``forecast fit``; code in these files is never run. Or a folder of ``forecast export``,
            with programs that are then run instead of the network. AOTInductor programs are machine
            code, so load such a folder only from a source that you trust.
        device: Device of the network. The programs of a folder run on the processor only.

    Warns:
        ForecastWarning: The weights are not calibrated.

    Raises:
        ForecastError: The file is missing, unreadable, or not of this package.
    """
    if str(path) not in PACKAGED and is_folder(Path(path)):
        from forecast import export  # imported here, because other weights do not need it

        require(str(device) == "cpu", f"{path}: device", device, "cpu")
        forecaster = Forecaster(*export.read(Path(path)))
    else:
        model, training, name = read_model(path)
        model = _moved(model, device).eval()
        accelerate(model.world)
        forecaster = Forecaster(model, training, name)
    if forecaster.training.calibration is None:
        warn_not_calibrated(path)
    return forecaster


def _moved(model: PedestrianForecaster, device: torch.device | str) -> PedestrianForecaster:
    """The model on a device; raises `ForecastError` if there is none of that name."""
    try:
        return model.to(device)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ForecastError(
            f"device is '{device}'; one of this machine is needed, such as cpu: {reason}"
        ) from error
