"""How a model learns from a stream of scenes."""

from __future__ import annotations

from dataclasses import dataclass, field

from forecast.errors import require
from forecast.graphs.augment import AugmentConfig
from forecast.models.losses import LossConfig


def as_tracked() -> AugmentConfig:
    """Little is varied: a new tracker's noise and a new city's pace are what is to be learnt."""
    return AugmentConfig(far_m=15, noise_m=0.05, drop_pieces=0.1, shift_map_m=0.5)


@dataclass(frozen=True)
class AdaptConfig:
    """How a model learns from a stream of scenes.

    Attributes:
        steps: Training steps after each scene.
        lr: Learning rate.
        new: Windows of the newest scene in a training step.
        remembered: Windows of earlier new scenes in a training step.
        old: Windows of the old data in a training step.
        samples: Imagined futures of a window in a training step.
        plan_share: Share of the training steps in which vehicles follow their recorded paths.
        average: Decay of the running mean of the weights, per step; that mean is what predicts.
        memory_scenes: Most scenes that the replay memory holds, of the new and of the old data.
        held_out_every: Each such scene of the stream is held out: never learnt from, and used by
            the gate.
        old_held_out_every: The same of the old data.
        gate_scenes: Most held-out scenes of each that the gate scores.
        gate_windows: Windows of a scene that the gate scores.
        tested_windows: Windows of a scene that are scored before it is learnt from.
        calibration_scenes: Most scenes of the stream that tubes and OOD detector are fitted on: the
            latest ones.
        noise: The gate rolls back a change for the worse of more standard errors than this.
        margin: It also rolls back only what is worse by more than this share.
        limit: It always rolls back what is worse by more than this share.
        forgotten: The same share as `margin`, for the held-out old data since the weights that
            the model came from.
        most_ood: A scene with a larger share of out-of-distribution histories is refused.
        seed: Seed of everything that is drawn.
        loss: Weights of the terms of the loss.
        augment: How training windows are varied.
    """

    steps: int = 8
    lr: float = 1e-3
    new: int = 2
    remembered: int = 3
    old: int = 5
    samples: int = 5
    plan_share: float = 0.5
    average: float = 0.98
    memory_scenes: int = 32
    held_out_every: int = 8
    old_held_out_every: int = 4
    gate_scenes: int = 16
    gate_windows: int = 2
    tested_windows: int = 6
    calibration_scenes: int = 64
    noise: float = 2.0
    margin: float = 0.005
    limit: float = 0.02
    forgotten: float = 0.01
    most_ood: float = 0.3
    seed: int = 0
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=as_tracked)

    def __post_init__(self) -> None:
        """Checks the values; raises `ForecastError`."""
        positive = ("steps", "new", "remembered", "old", "memory_scenes", "gate_windows")
        for name in (*positive, "tested_windows", "calibration_scenes"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        every = ("held_out_every", "old_held_out_every", "gate_scenes")
        for name, least in (("samples", 4), *((name, 2) for name in every)):
            require(getattr(self, name) >= least, name, getattr(self, name), f"{least} or more")
        for name in ("noise", "margin", "limit", "forgotten"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("plan_share", "average", "most_ood"):
            good = 0 <= getattr(self, name) <= 1
            require(good, name, getattr(self, name), "a share between 0 and 1")
        require(self.lr > 0, "lr", self.lr, "a positive rate")
