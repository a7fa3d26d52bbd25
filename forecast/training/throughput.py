"""How fast training is."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl


class Throughput(pl.Callback):
    """Logs the windows per second of all processes together, as ``step/windows_per_s``.

    Each value is a mean over the steps since the one before, loading included and validation not.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins to count; a run that goes on within an epoch calls no other hook before."""
        self._begin()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins anew, because writing a checkpoint is not training."""
        self._begin()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins anew, because validation is not training."""
        self._begin()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Counts, and logs at every step that is logged."""
        self._windows += batch.num_graphs * trainer.world_size
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and trainer.global_step % every == 0:
            seconds = time.perf_counter() - self._since
            pl_module.log("step/windows_per_s", self._windows / seconds)
            self._begin()

    def _begin(self) -> None:
        self._since, self._windows = time.perf_counter(), 0
