"""`Forecaster`: trained weights as a `Predictor`.

Needs neither Lightning nor a dataset: a planner hands in a `Scene` of its own.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from forecast.datasets.windows import Window, WindowSpec, window
from forecast.errors import ForecastError, require
from forecast.inference.plans import PlanWorlds
from forecast.inference.stream import Stream
from forecast.inference.weights import PACKAGED, Training, read_model, save_model
from forecast.inference.windows import incremental_predictions, observed
from forecast.inference.world import World
from forecast.models.calibration.fallback import with_fallback
from forecast.models.compile import accelerate
from forecast.models.forecaster import PedestrianForecaster
from forecast.planning import ClearanceConfig, CostConfig, EgoState, Ranking
from forecast.scene import LaneMap, Prediction, Scene

_STEP_TOLERANCE = 0.25
"""A scene's step may differ from one the model was trained with by this share."""
HORIZON_S = 6.0
"""How far to predict where nobody says."""


class Forecaster:
    """A trained model; satisfies `Predictor`.

    Args:
        model: The network with its weights.
        training: What it was trained on.
        name: How tables call it.
    """

    def __init__(self, model: PedestrianForecaster, training: Training, name: str) -> None:
        self.model, self.training, self.name = model.eval().requires_grad_(False), training, name

    def predict(
        self,
        scene: Scene,
        at: int,
        *,
        horizon_s: float = HORIZON_S,
        samples: int = 20,
        seed: int = 0,
        ego_plan: NDArray[Any] | None = None,
    ) -> Prediction:
        """Imagines joint futures; see `Predictor.predict`.

        Sample noise belongs to agents by name (`forecast.models.noise`): with the same seed,
        predictions that differ in one agent or in the ego's plan share their random numbers.

        Calibrated weights add tubes, whatever the number of samples, and put constant velocity in
        place of people whose past is unfamiliar (`Prediction.fallback`).

        Raises:
            ForecastError: ``samples`` or ``horizon_s`` is too small, ``horizon_s`` beyond what the
                tubes are calibrated for, ``ego_plan`` too short, or the scene's step length not
                one the model knows.
        """
        options: dict[str, Any] = {"horizon_s": horizon_s, "seed": seed, "ego_plan": ego_plan}
        return next(self.predict_incremental(scene, at, samples=[samples], **options))

    def predict_incremental(
        self,
        scene: Scene,
        at: int,
        *,
        horizon_s: float = HORIZON_S,
        samples: Sequence[int],
        seed: int = 0,
        ego_plan: NDArray[Any] | None = None,
    ) -> Iterator[Prediction]:
        """`predict` for rising numbers of samples; see `IncrementalPredictor`."""
        steps = round(horizon_s / scene.dt_s) if math.isfinite(horizon_s) else 0
        if min(samples) < 1 or steps < 1:
            raise ForecastError(
                f"samples is {min(samples)} and horizon_s {horizon_s}; at least 1 sample and one "
                f"step of {scene.dt_s} s are needed"
            )
        cut = self.window(scene, at, steps)
        calibration, ood_model = self.training.calibration, self.training.ood
        least = calibration.samples if calibration else 0
        drawn = [max(count, least) for count in samples]
        rising = incremental_predictions(
            self.model, cut, scene.origin_m, samples=drawn, seed=seed, ego_plan=ego_plan
        )
        for count, prediction in zip(samples, rising, strict=True):
            yield with_fallback(prediction, observed(cut), count, calibration, ood_model)

    def imagine(self, scene: Scene, at: int, *, samples: int = 64, seed: int = 0) -> World:
        """Copies of the world at a step, to move on and to meddle with.

        Args:
            scene: The world so far.
            at: Index of the current step.
            samples: Number of joint futures K.
            seed: Seed of the noise.

        Raises:
            ForecastError: ``samples`` is too small, or the scene's step length not one the model
                knows.
        """
        steps = round(HORIZON_S / scene.dt_s)
        return World(self.model, self.window(scene, at, steps), scene.origin_m, samples, seed)

    def stream(
        self,
        lane_map: LaneMap | None = None,
        *,
        dt_s: float = 0.5,
        origin_m: ArrayLike = (0.0, 0.0),
        forget_s: float | None = None,
    ) -> Stream:
        """Takes in frame after frame of live traffic, and predicts at any time.

        Args:
            lane_map: The map relative to ``origin_m``.
            dt_s: Time between frames.
            origin_m: World position ``[2]`` of the frames' positions.
            forget_s: Who was not seen for so long is forgotten; default: the length of the history
                the model was trained with.

        Raises:
            ForecastError: The step length is not one the model knows.
        """
        self.check_step("stream", dt_s)
        forget_s = self.training.history_steps * dt_s if forget_s is None else forget_s
        origin = np.asarray(origin_m, np.float64)
        return Stream(self.model, self.training, lane_map, dt_s, origin, forget_s)

    def rank_plans(
        self,
        scene: Scene,
        at: int,
        plans: NDArray[Any],
        *,
        samples: int = 20,
        seed: int = 0,
        react: int = 50,
        ego: EgoState | None = None,
        cost: CostConfig | None = None,
        limits: ClearanceConfig | None = None,
    ) -> Ranking:
        """Ranks plans of the ego by what they cost, people's reactions included.

        All plans meet the futures of `predict` without an ego plan: the same for all, the ego
        driving on as the model imagines it. The cheapest ``react`` of them are then imagined
        again, each with people who see that plan unfold, and come first in the ranking. All plans
        meet the same random numbers, so what is left between two plans is their own doing.

        Args:
            scene: The world so far.
            at: Index of the current step.
            plans: Poses ``[P, T, 3]`` of the ego's centre in the scene's frame, every ``dt_s``.
            samples: Number of joint futures K.
            seed: Seed of the noise.
            react: How many plans people react to; 0: none, P or more: all of them.
            ego: The ego now; default: the scene's agent of kind EGO.
            cost: Prices; default `CostConfig`.
            limits: Limits of what is measured; default `ClearanceConfig`.

        Raises:
            ForecastError: Plans are no finite ``[P, T, 3]``, ``samples`` or ``react`` is too
                small, there is no ego, or the scene's step length is not one the model knows.
        """
        poses = np.asarray(plans, np.float64)
        good = poses.ndim == 3 and poses.shape[2] == 3 and 0 not in poses.shape
        require(good, "shape of plans", list(poses.shape), "[P, T, 3]")
        require(bool(np.isfinite(poses).all()), "a pose of plans", "not finite", "a finite number")
        require(samples >= 1, "samples", samples, "at least 1")
        require(react >= 0, "react", react, "at least 0")
        cut = self.window(scene, at, poses.shape[1])
        ego = EgoState.of(scene, at) if ego is None else ego
        worlds = PlanWorlds(self.model, cut, poses, samples, seed, self.training.ood)
        return worlds.rank(ego, min(react, len(poses)), cost, limits)

    def window(self, scene: Scene, at: int, steps: int) -> Window:
        """What the model sees at a step of a scene, nobody scored; raises `ForecastError`.

        Args:
            scene: The world so far.
            at: Index of the current step.
            steps: Steps to imagine.
        """
        self.check_step(scene.id, scene.dt_s)
        spec = WindowSpec(self.training.history_steps, steps, min_history_steps=1)
        nobody = np.zeros(len(scene.tracks), bool)
        return window(scene.between(0, at + 1), at, spec, scored=nobody)

    def check_step(self, item: str, dt_s: float) -> None:
        """Refuses a step length that was not learnt; raises `ForecastError`.

        Args:
            item: What has that step, such as the name of a scene.
            dt_s: Step length.
        """
        known = self.training.dts_s
        if not any(abs(dt_s / known_s - 1) <= _STEP_TOLERANCE for known_s in known):
            raise ForecastError(
                f"{item}: its step is {dt_s} s, the model learnt steps of "
                f"{', '.join(map(str, known))} s; resample the scene"
            )

    def provenance(self) -> dict[str, Any]:
        """What the model is and learnt from, as plain values, with a hash of its weights."""
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode() + value.cpu().numpy().tobytes())
        return {"weights_sha256": digest.hexdigest(), **asdict(self.training)}

    def save(self, path: str | Path) -> None:
        """Writes weights and configuration as one safetensors file."""
        save_model(path, self.model, self.training)


def load(path: str | Path, device: str | torch.device = "cpu") -> Forecaster:
    """Loads trained weights.

    Args:
        path: A name of `PACKAGED`, a ``.safetensors`` file of `Forecaster.save`, or a ``.ckpt``
            of ``forecast fit``; loading one never runs code from the file. Or a folder of
            ``forecast export``, whose programs then do the work.
        device: Where to imagine; the programs of a folder run on the processor.

    Raises:
        ForecastError: The file is missing, unreadable, or not of this package.
    """
    if str(path) not in PACKAGED and Path(path).is_dir():
        from forecast import export  # its compilers are needed for this alone

        require(str(device) == "cpu", f"{path}: device", device, "cpu")
        return Forecaster(*export.read(Path(path)))
    model, training, name = read_model(path)
    model = model.to(device).eval()
    accelerate(model.world)
    return Forecaster(model, training, name)
