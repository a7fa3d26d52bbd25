"""The LightningModule: one step for training, validation and test."""

from __future__ import annotations

import gc
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch_geometric.data import HeteroData

from forecast import __version__
from forecast.datasets.learnt_from import Source, merged_sources
from forecast.errors import ForecastError, require
from forecast.inference.weights import CHECKPOINT_KEY, read_model
from forecast.models.compile import accelerate
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster
from forecast.models.losses import LossConfig
from forecast.models.metrics.classes import collection
from forecast.models.metrics.scored import Scored
from forecast.models.noise import window_noise
from forecast.models.types import Noise, Plan
from forecast.training.known_paths import known_paths

WORTH_COMPILING_STEPS = 1000
"""Runs with fewer steps are not compiled: a compiled step takes about half of the time, and a short
run saves less than compiling takes."""

_MEANS = {"decision": "decisions", "effect": "pairs", "placebo": "pairs"}
"""What some parts of the loss are means over; the others are means over weighted agents."""
_COUNTS = ("weight", "decisions", "pairs")

_METRICS = (
    "top1_ade_m",
    "top1_fde_m",
    "mean_fde_m",
    "min_ade_20_m",
    "min_fde_20_m",
    "energy_score_m",
    "kde_nll_nats",
)
"""Metrics logged in validation. A batch mixes scenes, so metrics of joint futures are not among
them."""


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a one-cycle schedule (Smith and Topin 2018).

    Attributes:
        lr: Highest learning rate.
        weight_decay: Decoupled weight decay.
        warmup: Share of the training in which the rate rises to ``lr``.
    """

    lr: float = 2e-3
    weight_decay: float = 1e-2
    warmup: float = 0.1

    def __post_init__(self) -> None:
        """Checks the values; raises `ForecastError`."""
        require(self.lr > 0, "optimizer.lr", self.lr, "a positive rate")
        require(self.weight_decay >= 0, "optimizer.weight_decay", self.weight_decay, "0 or more")
        require(0 < self.warmup < 1, "optimizer.warmup", self.warmup, "a share between 0 and 1")


class OneCycle(torch.optim.lr_scheduler.OneCycleLR):
    """One cycle of the learning rate, which a resumed run may continue with other settings.

    Args:
        optimizer: The optimiser.
        config: Highest rate and warm-up.
        steps: Steps of the whole training.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, config: OptimizerConfig, steps: int
    ) -> None:
        least = math.ceil(2 / config.warmup)  # fewer have no warm-up step
        super().__init__(
            optimizer,
            max_lr=config.lr,
            total_steps=max(steps, least),
            pct_start=config.warmup,
        )
        kept = ("initial_lr", "max_lr", "min_lr", "weight_decay")
        self._settings = [{key: group[key] for key in kept} for group in optimizer.param_groups]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes to the step at which a run stopped, in the schedule of the present settings.

        With the settings of that run, the rate of every further step is the same to the last bit.

        Args:
            state_dict: State of the schedule of that run. The optimiser has loaded its own before.

        Raises:
            ForecastError: The present schedule ends before that step.
        """
        done = state_dict["last_epoch"]
        expected = f"fewer than the {self.total_steps} of the whole training"
        require(done < self.total_steps, "--ckpt_path: steps done", done, expected)
        for group, settings in zip(self.optimizer.param_groups, self._settings, strict=True):
            group.update(settings)
        count = {"_step_count": state_dict["_step_count"]}
        super().load_state_dict({"last_epoch": done - 1, **count})
        self.step()  # sets rate and momentum


class ForecastModule(pl.LightningModule):
    """Trains a `PedestrianForecaster` on its own imagined futures.

    Args:
        forecaster: Sizes and ranges of the model.
        loss: Weights of the loss terms.
        optimizer: Optimiser and schedule.
        samples: Imagined futures per window while training.
        val_samples: Imagined futures per window while validating.
        plan_share: Probability that vehicles of a training batch follow their recorded paths. Half
            of the time these are all vehicles, otherwise the egos only. People reacted to the
            recorded paths, so the model can learn reactions only with vehicles on them.
        start_from: Weights to start from (a name or file, see `forecast.load`). None starts from
            random weights.

    Raises:
        ForecastError: ``samples`` is too small, or ``start_from`` has another configuration.
    """

    def __init__(
        self,
        forecaster: ForecasterConfig = ForecasterConfig(),  # noqa: B008 (frozen)
        loss: LossConfig = LossConfig(),  # noqa: B008
        optimizer: OptimizerConfig = OptimizerConfig(),
        samples: int = 8,
        val_samples: int = 20,
        plan_share: float = 0.5,
        start_from: str | None = None,
    ) -> None:
        super().__init__()
        require(samples >= 4, "samples", samples, "for two energy scores 4 or more")
        require(val_samples >= 20, "val_samples", val_samples, "for the best of 20, 20 or more")
        self.config, self.loss_config, self.optimizer_config = forecaster, loss, optimizer
        self.samples, self.val_samples, self.plan_share = samples, val_samples, plan_share
        self.forecaster = PedestrianForecaster(forecaster)
        self.learnt_before: dict[str, Source] = self._start(start_from) if start_from else {}
        self.val_metrics = collection(_METRICS, prefix="val/")
        self.test_metrics = collection(_METRICS, prefix="test/")

    def _start(self, name: str) -> dict[str, Source]:
        """Loads weights of the same configuration; returns the data they were trained on."""
        model, training, _ = read_model(name)
        different = _differences(asdict(training.config), asdict(self.config))
        if different:
            raise ForecastError(
                f"start_from {name}: its model has {', '.join(different)}; "
                "use the configuration it was trained with"
            )
        self.forecaster.load_state_dict(model.state_dict())
        return {f"{name}: {store}": source for store, source in training.learnt_from.items()}

    def on_fit_start(self) -> None:
        """Stores the seed of this run, and compiles the network if the run is long."""
        self._seed = torch.initial_seed()
        if self.trainer.estimated_stepping_batches >= WORTH_COMPILING_STEPS:
            accelerate(self.forecaster.world, training=True)
        # Compiling makes many objects, and each collection would visit those of all opened scenes.
        gc.collect()
        gc.freeze()

    def on_fit_end(self) -> None:
        """Lets the garbage collector visit all objects again."""
        gc.unfreeze()

    def on_train_batch_start(self, batch: HeteroData, batch_index: int) -> None:
        """Seeds every step separately, so that a resumed run equals an uninterrupted one.

        All processes use the same seed here, because these draws concern the whole step. The noise
        of futures has the seeds of the windows.
        """
        place = [self._seed, self.current_epoch, batch_index]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def training_step(self, batch: HeteroData, batch_index: int) -> Tensor:
        """Loss of one training batch."""
        loss, _ = self._step(batch, "train")
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Logs the learning rate of a step and the norm of its gradient before clipping."""
        gradients = [each.grad for each in self.parameters() if each.grad is not None]
        self.log("step/gradient_norm", torch.nn.utils.get_total_norm(gradients))
        self.log("step/learning_rate", optimizer.param_groups[0]["lr"])

    def validation_step(self, batch: HeteroData, batch_index: int) -> dict[str, Scored]:
        """Logs losses and metrics of one validation batch; callbacks get what was scored."""
        _, futures = self._step(batch, "val")
        return {"scored": _scored(batch, futures)}

    def test_step(self, batch: HeteroData, batch_index: int) -> None:
        """Logs losses and metrics of one test batch."""
        self._step(batch, "test")

    def _step(self, batch: HeteroData, stage: str) -> tuple[Tensor, Tensor]:
        """Loss and futures ``[1 + K, N, T, 2]`` of a batch, the mode first; logs both."""
        agent, training = batch["agent"], stage == "train"
        plan = self._known_paths(batch) if training else None
        counted = agent.future_valid if training else agent.future_valid & agent.scored[:, None]
        noise = self._noise(batch, self.samples if training else self.val_samples)
        parts, futures = self.forecaster.loss(batch, noise, self.loss_config, counted, plan)
        counts = torch.stack([parts.pop(name).detach() for name in _COUNTS])
        if training:
            parts = self._shared(parts, counts)
        self._log(stage, parts, counts[0], batch, futures)
        return parts["loss"], futures

    def _known_paths(self, batch: HeteroData) -> Plan | None:
        """See `known_paths`."""
        return known_paths(batch, self.plan_share, float(torch.rand(())))

    def _noise(self, batch: HeteroData, samples: int) -> Noise:
        agent, size = batch["agent"], self.config.world_model
        seeds, agents = batch.seed.tolist(), agent.ptr.diff().tolist()
        noise = window_noise(size, seeds, agents, samples, agent.future.shape[1])
        return noise.to(agent.position.device)

    def _shared(self, parts: dict[str, Tensor], counts: Tensor) -> dict[str, Tensor]:
        """Turns this process's means into its parts of the means over all processes.

        Lightning averages gradients over processes with equal weights, but what the parts are means
        over differs: the summed weights of agents, decisions, pairs of agents.

        Args:
            parts: The loss and its parts.
            counts: What they are means over, in the order of `_COUNTS`.
        """
        every: Any = self.all_gather(counts)
        every = every.reshape(-1, len(_COUNTS))
        shares = dict(zip(_COUNTS, counts * len(every) / every.sum(0).clamp(min=1e-6), strict=True))
        scaled = {name: value * shares[_MEANS.get(name, "weight")] for name, value in parts.items()}
        for name, over in _MEANS.items():
            missing = getattr(self.loss_config, name) * parts[name]
            scaled["loss"] = scaled["loss"] + missing * (shares[over] - shares["weight"])
        return scaled

    def _log(
        self,
        stage: str,
        parts: dict[str, Tensor],
        weight: Tensor,
        batch: HeteroData,
        futures: Tensor,
    ) -> None:
        losses = {f"{stage}/{name}": value.detach() for name, value in parts.items()}
        # A float, because Lightning rounds integers down when it combines those of processes.
        size: Any = float(batch.num_graphs if stage == "train" else weight)
        self.log_dict(losses, batch_size=size, on_epoch=True, on_step=False, sync_dist=True)
        if stage == "train":
            self.log("step/loss", losses["train/loss"], prog_bar=True, sync_dist=True)
        else:
            metrics = self.val_metrics if stage == "val" else self.test_metrics
            metrics.update(_scored(batch, futures))
            self.log_dict(metrics, on_epoch=True, batch_size=size)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, one cycle over the whole training."""
        config = self.optimizer_config
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        schedule = OneCycle(optimizer, config, int(self.trainer.estimated_stepping_batches))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds configuration and training data to a checkpoint, as plain values."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        learnt = merged_sources(self.learnt_before, data.learnt_from())
        checkpoint[CHECKPOINT_KEY] = {
            "config": asdict(self.config),
            "history_steps": data.train_spec.history_steps,
            "horizon_steps": data.train_spec.horizon_steps,
            "dts_s": data.dts_s(),
            "noise_m": data.augment.noise_m,
            "learnt_from": {path: asdict(source) for path, source in learnt.items()},
            "version": __version__,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a model with another configuration; remembers what the model was trained on."""
        known = checkpoint.get(CHECKPOINT_KEY, {})
        different = _differences(known.get("config", {}), asdict(self.config))
        if different:
            raise ForecastError(
                f"--ckpt_path: its model has {', '.join(different)}; "
                "use the configuration it was trained with"
            )
        before = {path: Source(**each) for path, each in known.get("learnt_from", {}).items()}
        self.learnt_before = merged_sources(self.learnt_before, before)


def _differences(found: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> list[str]:
    """The values in which two nested configurations differ, as text."""
    different: list[str] = []
    for key in {**wanted, **found}:
        one, other = found.get(key), wanted.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            different += _differences(one, other, f"{prefix}{key}.")
        elif one != other:
            different.append(f"{prefix}{key} {one} instead of {other}")
    return different


def _scored(batch: HeteroData, futures: Tensor) -> Scored:
    """Mode and samples ``[1 + K, N, T, 2]`` of a batch's scored pedestrians, for the metrics."""
    agent, count = batch["agent"], len(futures) - 1
    futures = futures[:, agent.scored]
    return Scored(
        samples_m=futures[1:],
        weights=futures.new_full((count,), 1 / count),
        mode_m=futures[0],
        truth_m=agent.future[agent.scored],
        dt_s=float(agent.dt[0]),
    )
