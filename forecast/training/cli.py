"""``forecast fit``, ``validate`` and ``test``: Lightning's command line on our module and data."""

from __future__ import annotations

import logging
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from forecast.errors import ForecastError, require
from forecast.graphs.datamodule import ForecastDataModule
from forecast.inference.weights import warn_not_calibrated
from forecast.training.module import ForecastModule
from forecast.training.run_folder import (
    LIGHTNING_WORDS,
    Checkpoints,
    Finished,
    SavesConfig,
    checkpoint_of,
    is_trial,
    require_free,
    require_unfinished,
)
from forecast.training.throughput import Throughput

_FIT = (
    "Trains a model. The folder --run gets all that a run leaves: config.yaml, checkpoints, and "
    "curves and pictures for TensorBoard. It must not hold another run. --ckpt_path "
    "RUN/checkpoints/last.ckpt goes on with a run: a broken one gives the weights of an unbroken "
    "one, and a finished one goes on with a larger --trainer.max_epochs, along the schedule of "
    "that length from where it stands. Its configuration is written beside the first, as "
    "config_2.yaml and so on. --ckpt_path last starts the run or goes on with it. --try makes a "
    "try of about a minute in the folder RUN_try. Curves: step/* every --trainer.log_every_n_steps "
    "steps (loss, learning rate, norm of the gradient before clipping, windows per second), "
    "train/* and val/* once an epoch."
)

_TRY_BATCH = 4
_TRY_STEPS = 20
_TRY_VALIDATION_BATCHES = 4


class ForecastCLI(LightningCLI):
    """LightningCLI with one folder for the results of a run: TensorBoard, config, checkpoints."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds ``--run`` and ``--try``; the graph's ranges are the model's."""
        parser.add_argument("--run", default="runs/forecast", help="Folder of this run's results.")
        parser.add_argument(
            "--try",
            action="store_true",
            help=f"fit: make a try of about a minute, with {_TRY_STEPS} steps of at most "
            f"{_TRY_BATCH} windows, one validation on few windows and one picture, on one device. "
            "It is written to RUN_try, and the next try replaces it.",
        )
        parser.link_arguments(
            "model",
            "data.graph",
            compute_fn=lambda model: model.config.graph,
            apply_on="instantiate",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses, and refuses what cannot be done before any file is written."""
        super().parse_arguments(parser, args)
        command = self.config["subcommand"]
        options = self.config[command]
        if options["data"]["store"]:  # in the place of what a configuration file names
            options["data"]["train"], options["data"]["val"] = [], None
        if options["try"]:
            _shorten(options, command)
        _check_start(options, command)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Writes the results to the run's folder unless the user configures a logger."""
        run = self._get(self.config, "run")
        kwargs["use_distributed_sampler"] = False  # the data module distributes its windows itself
        kwargs["default_root_dir"] = self._get(self.config, "trainer.default_root_dir") or run
        if self._get(self.config, "trainer.logger") is None:
            kwargs["logger"] = TensorBoardLogger(run, name="", version="", default_hp_metric=False)
        return super().instantiate_trainer(**kwargs)

    def after_instantiate_classes(self) -> None:
        """Makes the run's folder, once nothing in the arguments can be wrong."""
        run = Path(self._get(self.config, "run"))
        if self.subcommand == "fit":
            self.datamodule.batch_share(self.trainer.num_nodes * self.trainer.num_devices)
        try:
            if self._get(self.config, "try") and is_trial(run):
                shutil.rmtree(run)
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ForecastError(f"--run {run}: {error.strerror}; give a folder to write") from None

    def after_fit(self) -> None:
        """Says what is left to do."""
        callback = self.trainer.checkpoint_callback
        last = getattr(callback, "last_model_path", "")
        if not (last and self.trainer.is_global_zero):
            return
        run = self._get(self.config, "run")
        if self._get(self.config, "try"):
            print(f"tried: tensorboard --logdir {run} shows the curves", file=sys.stderr)
        else:
            warn_not_calibrated(last)


def _check_start(options: Any, command: str) -> None:
    """Checks the checkpoint to go on from and the run's folder; writes nothing.

    Raises:
        ForecastError: The command cannot start from the checkpoint or in the folder.
        Finished: Nothing is left to train.
    """
    name = str(options.get("ckpt_path") or "")
    run, checkpoint = Path(options["run"]), None
    if name and "://" not in name:  # Lightning reads those from elsewhere
        try:
            checkpoint = checkpoint_of(name, command, run)
        except ForecastError as error:
            raise ForecastError(f"--ckpt_path {error}") from None
    # Other processes start when the first has begun to write.
    if command != "fit" or getattr(rank_zero_only, "rank", 0) != 0:
        return
    _require_end(options["trainer"])
    if checkpoint is not None:
        require_unfinished(checkpoint, options["trainer"])
    if name not in LIGHTNING_WORDS and not (options["try"] and is_trial(run)):
        require_free(run, checkpoint)


def _require_end(trainer: Any) -> None:
    """Refuses a training without a last step, for which there is no schedule of the rate.

    Args:
        trainer: The trainer's settings by name.
    """
    epochs, timed = trainer["max_epochs"], trainer["max_time"] is not None
    endless = epochs == -1 or (epochs is None and timed)  # Lightning's meaning of these settings
    expected = "a number of epochs, which the schedule of the learning rate needs,"
    require(not endless or trainer["max_steps"] != -1, "--trainer.max_epochs", epochs, expected)


def _shorten(options: Any, command: str) -> None:
    """Turns the settings of a run into those of a try.

    Raises:
        ForecastError: The command is not ``fit``, or there is a checkpoint to go on from.
    """
    if command != "fit":
        raise ForecastError(f"--try: is for fit; leave it out of {command}")
    if options["ckpt_path"]:
        name = options["ckpt_path"]
        raise ForecastError(f"--try: starts anew; leave out --ckpt_path {name}")
    data, trainer = options["data"], options["trainer"]
    options["run"] = options["run"].rstrip("/")
    if not options["run"].endswith("_try"):  # where the configuration is that of a try
        options["run"] += "_try"
    data["batch_size"] = min(data["batch_size"], _TRY_BATCH)
    data["windows_per_epoch"] = _TRY_STEPS * data["batch_size"]
    data["num_workers"] = 0
    for name, value in {
        "devices": 1,
        "num_nodes": 1,
        "max_epochs": 1,
        "max_steps": -1,
        "limit_train_batches": None,
        "limit_val_batches": _TRY_VALIDATION_BATCHES,
        "val_check_interval": None,
        "check_val_every_n_epoch": 1,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
    }.items():
        trainer[name] = value


def main(command: str, args: Sequence[str], callbacks: Sequence[pl.Callback] = ()) -> None:
    """Runs a command of the Lightning trainer.

    Args:
        command: ``fit``, ``validate`` or ``test``.
        args: What follows it on the command line, such as ``--config configs/nuscenes.yaml``.
        callbacks: Further callbacks besides those of the configuration, such as pictures.

    Raises:
        ForecastError: An argument is wrong; nothing is written then.
    """
    _suppress_hints()
    checkpoints = Checkpoints(save_last=True, enable_version_counter=False)
    try:
        ForecastCLI(
            ForecastModule,
            ForecastDataModule,
            seed_everything_default=0,
            save_config_callback=SavesConfig,
            trainer_defaults={"callbacks": [checkpoints, Throughput(), *callbacks]},
            parser_kwargs={"fit": {"description": _FIT}},
            auto_configure_optimizers=False,
            args=[command, *args],
        )
    except Finished as finished:
        print(finished, file=sys.stderr)


def _suppress_hints() -> None:
    """Suppresses Lightning's hints about its arguments and about other packages."""
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    messages = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    messages.addFilter(lambda record: "Tip:" not in record.getMessage())
