"""Pictures of the validation for TensorBoard: futures from above, and a calibration curve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from pytorch_lightning.loggers import TensorBoardLogger

from forecast.graphs.datamodule import WindowDataset
from forecast.inference import predict_window
from forecast.models.metrics.distribution import coverage, credibility
from forecast.training.module import ForecastModule
from forecast.visualization.birds_eye import LIGHT, MEANINGS, draw_window

_NAMED = ("history", "sample", "mode", "truth", "body", "ego")
"""The colours that the legend names."""

_LEVELS = np.arange(1, 20) / 20
"""Stated probabilities of the calibration curve ``[Q]``."""


class BirdsEye(pl.Callback):
    """Draws the predictions in a few fixed validation windows at every validation.

    Args:
        windows: How many windows, evenly spread over the validation set.
        samples: Predicted futures drawn in each.
    """

    def __init__(self, windows: int = 4, samples: int = 20) -> None:
        self.windows, self.samples = windows, samples

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Adds one figure to TensorBoard, drawn with the weights that are being validated.

        The first batch is used, because an averaging callback has swapped its weights in by then,
        whatever the order of the callbacks.
        """
        logger, data = trainer.logger, trainer.datamodule  # type: ignore[attr-defined]
        if batch_idx or trainer.sanity_checking or not trainer.is_global_zero:
            return
        if not isinstance(logger, TensorBoardLogger) or not isinstance(pl_module, ForecastModule):
            return
        figure = self.draw(pl_module, data.val_set)
        logger.experiment.add_figure("val/birds_eye", figure, global_step=trainer.global_step)

    def draw(self, module: ForecastModule, windows: WindowDataset) -> Figure:
        """The figure of the fixed windows of a validation set."""
        chosen = np.linspace(0, len(windows) - 1, min(self.windows, len(windows))).astype(int)
        figure = Figure(figsize=(5 * len(chosen), 5.4), layout="constrained")
        for axes, item in zip(np.atleast_1d(figure.subplots(1, len(chosen))), chosen, strict=True):
            cut = windows.window(int(item))
            prediction = predict_window(
                module.forecaster,
                cut,
                windows.store[cut.scene_id].origin_m,
                samples=self.samples,
                seed=0,
            )
            draw_window(axes, cut, prediction)
            axes.set_title(f"{cut.scene_id} step {cut.at}")
        lines = [
            Line2D([], [], color=getattr(LIGHT, name), label=MEANINGS[name], linewidth=3)
            for name in _NAMED
        ]
        columns = min(len(lines), 2 * len(chosen))  # as wide as the windows
        figure.legend(handles=lines, loc="outside lower center", ncols=columns)
        return figure


class CalibrationCurve(pl.Callback):
    """Draws after every validation how often the truth was inside the predicted regions.

    With several processes these are the windows of the first one.
    """

    def __init__(self) -> None:
        self._shares: list[torch.Tensor] = []

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins anew."""
        self._shares = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Measures the coverage of one batch at all levels."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        scored = outputs["scored"]
        inside = credibility(scored.samples_m, scored.truth_m, scored.weights).flatten()
        shares = [coverage(inside, float(level), scored.weights) for level in _LEVELS]
        self._shares.append(torch.stack(shares).cpu())  # [Q, N T]

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Adds one figure to TensorBoard."""
        if not self._shares or not isinstance(trainer.logger, TensorBoardLogger):
            return
        found = torch.cat(self._shares, dim=1)
        shares = found[:, ~found[0].isnan()].numpy()
        if shares.shape[1]:
            figure, step = self.draw(shares), trainer.global_step
            trainer.logger.experiment.add_figure("val/calibration", figure, global_step=step)

    def draw(self, shares: NDArray[np.float32]) -> Figure:
        """The figure of shares of truths inside the region of each level ``[Q, N]``."""
        figure = Figure(figsize=(5, 5), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=LIGHT.muted, linewidth=1, label="calibrated")
        means = shares.mean(axis=1)
        axes.plot(_LEVELS, means, "o-", color=LIGHT.sample, markersize=3, label="samples")
        axes.set(xlabel="stated probability", ylabel="share of truths inside", aspect="equal")
        axes.set(xlim=(0, 1), ylim=(0, 1), title=f"{shares.shape[1]} people and steps")
        axes.text(0.97, 0.05, "below the line: too narrow", color=LIGHT.muted, ha="right")
        axes.legend(loc="upper left")
        return figure
