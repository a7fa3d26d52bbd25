"""``forecast fit``, ``validate`` and ``test``: Lightning's command line on our module and data."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import TensorBoardLogger

from forecast.errors import ForecastError
from forecast.graphs.datamodule import ForecastDataModule
from forecast.inference import read_weights
from forecast.training.module import ForecastModule


class ForecastCLI(LightningCLI):
    """LightningCLI with one folder for the results of a run: TensorBoard, config, checkpoints."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds ``--run`` and takes the graph's ranges from the model's configuration."""
        parser.add_argument("--run", default="runs/forecast", help="Folder of this run's results.")
        parser.link_arguments(
            "model",
            "data.graph",
            compute_fn=lambda model: model.config.graph,
            apply_on="instantiate",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses, and refuses an unreadable checkpoint before any file is written."""
        super().parse_arguments(parser, args)
        checkpoint = self.config[self.config["subcommand"]].get("ckpt_path")
        if checkpoint and str(checkpoint).endswith(".ckpt"):
            read_weights(Path(checkpoint))

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Writes the results to the run's folder unless the user configures a logger."""
        run = self._get(self.config, "run")
        try:
            Path(run).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ForecastError(f"--run {run}: {error.strerror}; give a folder to write") from None
        kwargs["use_distributed_sampler"] = False  # the data module distributes its windows itself
        kwargs["default_root_dir"] = self._get(self.config, "trainer.default_root_dir") or run
        if self._get(self.config, "trainer.logger") is None:
            kwargs["logger"] = TensorBoardLogger(run, name="", version="")
        return super().instantiate_trainer(**kwargs)


def main(command: str, args: Sequence[str], callbacks: Sequence[pl.Callback] = ()) -> None:
    """Runs a command of the Lightning trainer.

    Args:
        command: ``fit``, ``validate`` or ``test``.
        args: What follows it on the command line, such as ``--config configs/nuscenes.yaml``.
        callbacks: Further callbacks besides those of the configuration, such as pictures.
    """
    _suppress_hints()
    checkpoints = ModelCheckpoint(save_last=True, enable_version_counter=False)
    ForecastCLI(
        ForecastModule,
        ForecastDataModule,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        trainer_defaults={"callbacks": [checkpoints, *callbacks]},
        auto_configure_optimizers=False,
        args=[command, *args],
    )


def _suppress_hints() -> None:
    """Suppresses Lightning's hints about its arguments and about other packages."""
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    messages = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    messages.addFilter(lambda record: "Tip:" not in record.getMessage())
