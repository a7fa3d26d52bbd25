"""Bird's-eye pictures of the validation for TensorBoard."""

from __future__ import annotations

import numpy as np
import pytorch_lightning as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pytorch_lightning.loggers import TensorBoardLogger

from forecast.graphs.datamodule import WindowDataset
from forecast.inference import predict_window
from forecast.training.module import ForecastModule
from forecast.visualization.birds_eye import LIGHT, MEANINGS, draw_window

_NAMED = ("history", "sample", "mode", "truth", "body", "ego")
"""The colours that the legend names."""


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
