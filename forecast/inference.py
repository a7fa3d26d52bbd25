"""`Forecaster`: trained weights as a `Predictor`.

Needs neither Lightning nor a dataset: a planner hands in a `Scene` of its own.
"""

from __future__ import annotations

import hashlib
import json
import math
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray

from forecast.datasets.windows import Window, WindowSpec, window
from forecast.errors import ForecastError
from forecast.graphs import window_graph
from forecast.models.calibration import Calibration
from forecast.models.familiarity import Familiarity
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster
from forecast.models.guard import guarded
from forecast.models.noise import keyed_noise
from forecast.models.observed import Observed
from forecast.models.state import Plan
from forecast.scene import AgentKind, Prediction, Scene

PACKAGED = {"town": Path(__file__).parent / "weights" / "town.safetensors"}
"""Weights that come with the package: ``town`` has learnt from the simulated city alone."""

_LIGHTNING_PREFIX = "forecaster."
_STEP_TOLERANCE = 0.25
"""A scene's step may differ from one the model was trained with by this share."""


@dataclass(frozen=True)
class Source:
    """A store that a model learnt from.

    Attributes:
        fingerprint: Of the store's source.
        scenes: Names of the scenes.
    """

    fingerprint: str
    scenes: list[str]


@dataclass(frozen=True)
class Training:
    """What a model was trained on; carried with the weights.

    Attributes:
        config: The model's configuration.
        history_steps: Observed steps it was trained with, the current one included.
        horizon_steps: Imagined steps it was trained with.
        dts_s: Step lengths it was trained with.
        learnt_from: The stores it learnt from, by path.
        version: Version of this package that trained it.
        calibrated_on: The stores its tubes were fitted on, by path.
        calibration: Its tubes, once fitted.
        familiarity: What is familiar to it, once fitted.
    """

    config: ForecasterConfig
    history_steps: int
    horizon_steps: int
    dts_s: list[float]
    learnt_from: dict[str, Source] = field(default_factory=dict)
    version: str = ""
    calibrated_on: dict[str, Source] = field(default_factory=dict)
    calibration: Calibration | None = None
    familiarity: Familiarity | None = None


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
        horizon_s: float = 6.0,
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
        self.check_step(scene.id, scene.dt_s)
        steps = round(horizon_s / scene.dt_s) if math.isfinite(horizon_s) else 0
        if samples < 1 or steps < 1:
            raise ForecastError(
                f"samples is {samples} and horizon_s {horizon_s}; at least 1 sample and one step "
                f"of {scene.dt_s} s are needed"
            )
        spec = WindowSpec(self.training.history_steps, steps, min_history_steps=1)
        nobody = np.zeros(len(scene.tracks), bool)
        cut = window(scene.between(0, at + 1), at, spec, scored=nobody)
        calibration, familiarity = self.training.calibration, self.training.familiarity
        drawn = max(samples, calibration.samples if calibration else 0)
        prediction = predict_window(
            self.model, cut, scene.origin_m, samples=drawn, seed=seed, ego_plan=ego_plan
        )
        return guarded(prediction, observed(cut), samples, calibration, familiarity)

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
        metadata = {"forecast": json.dumps(asdict(self.training))}
        safetensors.torch.save_file(self.model.state_dict(), path, metadata)


def observed(cut: Window) -> Observed:
    """The observed part of a window."""
    history = cut.history_steps
    positions = cut.positions_m[:, :history].astype(np.float64)
    return Observed(positions, cut.valid[:, :history], cut.kinds, cut.dt_s)


def predict_window(
    model: PedestrianForecaster,
    cut: Window,
    origin_m: NDArray[np.float64],
    *,
    samples: int,
    seed: int,
    ego_plan: NDArray[Any] | None = None,
) -> Prediction:
    """Imagines joint futures of the agents of a window, over the window's horizon.

    Args:
        model: The network, in any mode and on any device.
        cut: The window; what follows its current step is not looked at.
        origin_m: World position of the window's frame.
        samples: Number of joint futures K.
        seed: Seed of the noise.
        ego_plan: Poses ``[T, 3]`` of the ego in the window's frame.
    """
    names = cut.agent_ids.tolist()
    steps = cut.future_m.shape[1]
    device = next(model.parameters()).device
    poses = _checked_plan(ego_plan, cut, steps)
    noise = keyed_noise(model.config.world_model, names, samples, steps, seed).to(device)
    graph = window_graph(cut, model.config.graph, poses).to(device)
    with torch.inference_mode():
        futures = model(graph, noise, _plan(poses, graph["agent"].kind)).cpu().numpy()
    return Prediction(
        positions_m=futures[1:],
        weights=np.full(samples, 1 / samples),
        agent_ids=cut.agent_ids,
        valid=np.ones(len(names), bool),
        at_us=cut.at_us,
        dt_s=cut.dt_s,
        origin_m=origin_m,
        mode_m=futures[0],
    )


def load(path: str | Path, device: str | torch.device = "cpu") -> Forecaster:
    """Loads trained weights.

    Args:
        path: A name of `PACKAGED`, a ``.safetensors`` file of `Forecaster.save`, or a ``.ckpt``
            of ``forecast fit``. Loading never runs code from the file.
        device: Where to imagine.

    Raises:
        ForecastError: The file is missing, unreadable, or not of this package.
    """
    path = PACKAGED.get(str(path), Path(path))
    described, weights = read_weights(path)
    training = _training(path, described)
    model = PedestrianForecaster(training.config)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:160]
        raise ForecastError(
            f"{path}: the weights do not fit the configuration they carry ({detail}); train again"
        ) from None
    return Forecaster(model.to(device), training, name=_name(path))


def _name(path: Path) -> str:
    """A checkpoint is called after its run, another file after itself."""
    path = path.resolve()
    return path.parent.parent.name if path.parent.name == "checkpoints" else path.stem


def read_weights(path: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    """What a weights file says of itself, and its tensors; raises `ForecastError`."""
    if not path.is_file():
        names = ", ".join(PACKAGED)
        raise ForecastError(
            f"{path}: there is no such weights file; give a .ckpt, a .safetensors or {names}"
        )
    return _read_checkpoint(path) if path.suffix == ".ckpt" else _read_safetensors(path)


def _read_checkpoint(path: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        weights = checkpoint["state_dict"]
        described = checkpoint["forecast"]
    except (RuntimeError, pickle.UnpicklingError, KeyError, EOFError, TypeError) as error:
        raise ForecastError(
            f"{path}: not a checkpoint of 'forecast fit' ({type(error).__name__}); "
            "give one from its checkpoints folder"
        ) from None
    start = len(_LIGHTNING_PREFIX)
    return described, {
        name[start:]: value for name, value in weights.items() if name.startswith(_LIGHTNING_PREFIX)
    }


def _read_safetensors(path: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            described = json.loads(file.metadata()["forecast"])
            return described, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError):
        raise ForecastError(
            f"{path}: not a weights file of this package; give one that Forecaster.save wrote"
        ) from None


def _training(path: Path, described: Any) -> Training:
    """Builds `Training` from plain values and refuses what it does not know."""
    try:
        training = msgspec.convert(described, Training)
    except msgspec.ValidationError as error:
        raise ForecastError(f"{path}: its configuration is not understood: {error}") from None
    known = asdict(training)
    if known != {**known, **described}:
        changed = sorted(key for key in known if known[key] != described.get(key, known[key]))
        raise ForecastError(
            f"{path}: its configuration ({', '.join(changed) or 'an unknown key'}) is from another "
            "version of this package; use that version or train again"
        )
    return training


def _checked_plan(
    ego_plan: NDArray[Any] | None, cut: Window, steps: int
) -> NDArray[np.float32] | None:
    if ego_plan is None:
        return None
    poses = np.asarray(ego_plan, np.float32)
    if poses.ndim != 2 or poses.shape[1] != 3 or len(poses) < steps or not np.isfinite(poses).all():
        raise ForecastError(
            f"ego_plan has shape {list(poses.shape)}; finite poses [T, 3] for at least {steps} "
            "steps are needed"
        )
    if not (cut.kinds == AgentKind.EGO).any():
        raise ForecastError("ego_plan is given but no agent of the scene is of kind EGO; add it")
    return poses[:steps]


def _plan(poses: NDArray[np.float32] | None, kind: torch.Tensor) -> Plan | None:
    if poses is None:
        return None
    return Plan(torch.from_numpy(poses).to(kind.device)[:, None, None], kind == AgentKind.EGO)
