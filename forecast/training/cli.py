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
from forecast.inference import PACKAGED
from forecast.inference.paths import head_of, weights_in
from forecast.inference.weights import is_safetensors, read_checkpoint
from forecast.training.module import ForecastModule

_LIGHTNING_WORDS = {"last": "checkpoints/last*.ckpt", "hpc": "hpc_ckpt_*.ckpt"}
"""Lightning's words for checkpoints, and where these are in the folder of a run."""


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
        """Parses, and refuses a checkpoint that cannot be used before any file is written."""
        super().parse_arguments(parser, args)
        command = self.config["subcommand"]
        options = self.config[command]
        checkpoint = str(options.get("ckpt_path") or "")
        if checkpoint and "://" not in checkpoint:  # Lightning reads those from elsewhere
            try:
                _check_checkpoint(checkpoint, command, Path(options["run"]))
            except ForecastError as error:
                raise ForecastError(f"--ckpt_path {error}") from None

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


def _check_checkpoint(name: str, command: str, run: Path) -> None:
    """Checks what ``--ckpt_path`` names.

    Args:
        name: A file, or one of Lightning's words.
        command: ``fit``, ``validate`` or ``test``.
        run: The run's folder.

    Raises:
        ForecastError: There is none, or the command cannot go on from it.
    """
    path = Path(name)
    if name in _LIGHTNING_WORDS:
        found = list(run.glob(_LIGHTNING_WORDS[name]))
        if not found and (name, command) == ("last", "fit"):
            return  # Lightning begins anew, so that one command starts and resumes a run
        if not found:
            words = f"there is no such checkpoint in {run}; give a file"
            raise ForecastError(f"{name}: {words}{_such_as(weights_in(run))}")
        path = max(found, key=lambda each: each.stat().st_mtime)
    elif name == "best":
        words = "which checkpoint is the best is known only while training; give a file"
        raise ForecastError(f"{name}: {words}{_such_as(weights_in(run))}")
    if name in PACKAGED or is_safetensors(head_of(path)):
        raise ForecastError(
            f"{name}: holds weights, not the state of a training run; give a .ckpt, or start from "
            f"these weights with --model.start_from {name}"
        )
    if "optimizer_states" not in read_checkpoint(path) and command == "fit":
        raise ForecastError(
            f"{path}: holds no state of the optimiser, so training cannot go on; start from its "
            f"weights with --model.start_from {path}"
        )


def _such_as(known: Path | None) -> str:
    return "" if known is None else f", such as {known}"


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
