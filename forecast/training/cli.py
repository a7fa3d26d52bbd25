"""``forecast fit``, ``validate`` and ``test``: Lightning's command line on our module and data."""

from __future__ import annotations

import logging
import re
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import pytorch_lightning as pl
from jsonargparse import _common, set_parsing_settings
from lightning_fabric.utilities.exceptions import MisconfigurationException
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
    "train/* and val/* once an epoch. A configuration may name callbacks, loggers and so on of "
    "Lightning and of this package; --trust-config lets it name and run any code."
)

_TRUST = "--trust-config"
_TRUSTED = (
    "forecast.graphs",
    "forecast.models",
    "forecast.training",
    "forecast.visualization",
    "pytorch_lightning.accelerators",
    "pytorch_lightning.callbacks",
    "pytorch_lightning.loggers",
    "pytorch_lightning.plugins",
    "pytorch_lightning.profilers",
    "pytorch_lightning.strategies",
)
_NOT_TRUSTED = (
    "*",
    "pytorch_lightning.callbacks.LambdaCallback",
    "pytorch_lightning.callbacks.lambda_function",
)
"""A configuration may name the objects of the first modules, without those of the second, because
what it names is imported and called. `_TRUST` lifts that."""

_LARGEST_SEED = 2**32 - 1

_TRY_BATCH = 4
_TRY_STEPS = 20
_TRY_VALIDATION_BATCHES = 4


class _Parser(LightningArgumentParser):
    """The parser of the command line and of configurations."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Refuses in one line what a configuration may not name; says other mistakes as usual."""
        denied = re.search(r"Importing '([^']*)' is not allowed", message)
        if denied:
            raise ForecastError(
                f"--config: it names {denied[1]}, which would be run, and is no callback, logger "
                f"or the like of Lightning or this package; give {_TRUST} if you trust it"
            )
        super().error(message, ex)


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
        with _in_one_line("--config"):
            super().parse_arguments(parser, args)
        command = self.config["subcommand"]
        options = self.config[command]
        _check_numbers(options)
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
        with _in_one_line("--trainer"):
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


def _check_numbers(options: Any) -> None:
    """Refuses numbers that Lightning would stumble over later."""
    seed, trainer = options["seed_everything"], options["trainer"]
    good = isinstance(seed, bool) or 0 <= seed <= _LARGEST_SEED
    require(good, "--seed_everything", seed, f"0 to {_LARGEST_SEED}")
    for name in ("check_val_every_n_epoch", "log_every_n_steps"):
        value = trainer[name]
        require(value is None or value >= 1, f"--trainer.{name}", value, "1 or more")


@contextmanager
def _in_one_line(item: str) -> Iterator[None]:
    """Turns the errors of Lightning and of the parser about what they were given into one line."""
    try:
        yield
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        words = " ".join(str(error).split())
        raise ForecastError(f"{item}: {words}; correct the configuration or option") from error


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
        args: What follows it on the command line, such as ``--config configs/nuscenes.yaml``. With
            ``--trust-config``, configurations may name and run any code.
        callbacks: Further callbacks besides those of the configuration, such as pictures.

    Raises:
        ForecastError: An argument is wrong; nothing is written then.
    """
    _suppress_hints()
    words = [word for word in args if word != _TRUST]
    checkpoints = Checkpoints(save_last=True, enable_version_counter=False)
    try:
        with nullcontext() if len(words) < len(args) else _only_trusted():
            ForecastCLI(
                ForecastModule,
                ForecastDataModule,
                seed_everything_default=0,
                save_config_callback=SavesConfig,
                trainer_defaults={"callbacks": [checkpoints, Throughput(), *callbacks]},
                parser_class=_Parser,
                parser_kwargs={"fit": {"description": _FIT}},
                auto_configure_optimizers=False,
                args=[command, *words],
            )
    except Finished as finished:
        print(finished, file=sys.stderr)


@contextmanager
def _only_trusted() -> Iterator[None]:
    """Within this, nothing else than `_TRUSTED` is imported for what a configuration names."""
    # There is no public way back. Where a version has another, the process stays bound.
    settings: dict[str, Any] = getattr(_common, "parsing_settings", {})
    before = dict(settings)
    set_parsing_settings(
        import_path_denylist=list(_NOT_TRUSTED), import_path_allowlist=list(_TRUSTED)
    )
    try:
        yield
    finally:
        settings.update(before)


def _suppress_hints() -> None:
    """Suppresses Lightning's hints about its arguments and about other packages."""
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    messages = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    messages.addFilter(lambda record: "Tip:" not in record.getMessage())
