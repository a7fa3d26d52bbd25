"""The folder of a training run: what may start in it, and the configurations that it keeps.

A new run needs a folder without a run. It writes ``config.yaml``, which no later run changes. A
resumed run writes the configuration that it goes on with beside it, as ``config_2.yaml``,
``config_3.yaml`` and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.loggers import TensorBoardLogger

from forecast.errors import ForecastError
from forecast.inference import PACKAGED
from forecast.inference.paths import head_of, weights_in
from forecast.inference.weights import is_safetensors, read_checkpoint

LIGHTNING_WORDS = {"last": "checkpoints/last*.ckpt", "hpc": "hpc_ckpt_*.ckpt"}
"""Lightning's words for checkpoints, and where these are in the folder of a run."""

_COMPARED = ("val/loss", "val/top1_fde_m", "val/min_fde_20_m", "step/loss")
"""The scalars that TensorBoard lists beside the hyper-parameters."""


class Finished(Exception):  # noqa: N818 (nothing is wrong)
    """The run has already done all that was asked for. The message is one line."""


def checkpoint_of(name: str, command: str, run: Path) -> Path | None:
    """The file that ``--ckpt_path`` names, checked.

    Args:
        name: A file, or one of Lightning's words.
        command: ``fit``, ``validate`` or ``test``.
        run: The run's folder.

    Returns:
        None where ``last`` begins a run, because there is no checkpoint yet.

    Raises:
        ForecastError: There is none, or the command cannot go on from it.
    """
    path = Path(name)
    if name in LIGHTNING_WORDS:
        found = list(run.glob(LIGHTNING_WORDS[name]))
        if not found and (name, command) == ("last", "fit"):
            return None  # Lightning begins anew, so that one command starts and resumes a run
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
    return path


def _such_as(known: Path | None) -> str:
    return "" if known is None else f", such as {known}"


def require_unfinished(checkpoint: Path, trainer: Any) -> None:
    """Checks that training is left to do.

    Args:
        checkpoint: The checkpoint to go on from.
        trainer: The trainer's settings by name.

    Raises:
        ForecastError: The checkpoint does not say how far its training has come.
        Finished: It has all epochs or steps that the trainer is to do.
    """
    for what, done in _progress(checkpoint):
        limit = trainer[f"max_{what}"]
        if limit is not None and 0 <= limit <= done:
            raise Finished(
                f"{checkpoint}: nothing is left to train and nothing was written: {what} done "
                f"{done}, --trainer.max_{what} {limit}; give a larger number to go on"
            )


def _progress(checkpoint: Path) -> list[tuple[str, int]]:
    """The epochs and steps that a checkpoint has done; raises `ForecastError` if it lacks them."""
    saved = read_checkpoint(checkpoint)
    try:
        loop = saved["loops"]["fit_loop"]
        epoch, batch = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]
        # An epoch is not counted yet when the checkpoint after its validation is written.
        epochs = epoch["ready" if batch["is_last_batch"] else "processed"]
        return [("epochs", int(epochs)), ("steps", int(saved["global_step"]))]
    except (KeyError, TypeError, ValueError) as error:
        raise ForecastError(
            f"{checkpoint}: does not say how far its training has come ({error}); give a .ckpt of "
            "'forecast fit'"
        ) from None


def require_free(run: Path, checkpoint: Path | None) -> None:
    """Checks that a run may start in a folder.

    Args:
        run: The run's folder.
        checkpoint: The checkpoint to go on from, or None.

    Raises:
        ForecastError: The folder holds a run, and the checkpoint is not one of that run.
    """
    if checkpoint is not None and run.resolve() in checkpoint.resolve().parents:
        return
    if not (_config(run, 1).is_file() or list(run.glob("checkpoints/*.ckpt"))):
        return
    last = run / "checkpoints" / "last.ckpt"
    others = f"give --ckpt_path {last} to go on with it" if last.is_file() else "delete the folder"
    raise ForecastError(f"--run {run}: holds a run already; give another folder, or {others}")


def is_trial(run: Path) -> bool:
    """Whether the run in a folder was one of ``forecast fit --try``."""
    try:
        return yaml.safe_load(_config(run, 1).read_text(encoding="utf-8")).get("try") is True
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        return False


def _config(run: Path, start: int) -> Path:
    """The configuration file of the n-th start of a run, counted from 1."""
    return run / ("config.yaml" if start == 1 else f"config_{start}.yaml")


class Checkpoints(ModelCheckpoint):
    """Checkpoints after every validation, and ``last.ckpt`` also at the end of every epoch.

    Where epochs have no validation, Lightning's own would leave out what was trained after the last
    one, and an epoch would not count as completed.
    """

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the checkpoint of the end of the epoch; called by Lightning."""
        super().on_train_epoch_end(trainer, pl_module)
        if not self._should_save_on_train_epoch_end(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))


class SavesConfig(SaveConfigCallback):
    """Writes the configuration when training starts, into the run's folder and into its loggers.

    Validation and test leave none.
    """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Chooses the file and writes it; called by Lightning."""
        if stage == "fit":
            run = Path(self.config["run"]).resolve()  # not the folder of a logger elsewhere
            paths = (_config(run, start) for start in count(1))
            self.config_filename = str(next(path for path in paths if not path.exists()))
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Sends the settings to the loggers; called in the first process, after writing."""
        settings = yaml.safe_load(Path(self.config_filename).read_text(encoding="utf-8"))
        parameters = dict(_flat({key: settings[key] for key in ("model", "data", "trainer")}))
        for logger in trainer.loggers:
            logger.log_hyperparams(parameters)
            if isinstance(logger, TensorBoardLogger):
                _show_hyperparameters(logger, parameters)


def _flat(values: Any, name: str = "") -> Iterator[tuple[str, str | float]]:
    """The nested values with dotted names, without those that are None; primitives only."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _flat(value, f"{name}.{key}" if name else key)
    elif isinstance(values, list):
        yield from _flat({str(item): value for item, value in enumerate(values)}, name)
    elif values is not None:
        yield name, values if isinstance(values, (bool, int, float)) else str(values)


def _show_hyperparameters(logger: TensorBoardLogger, parameters: dict[str, Any]) -> None:
    """Fills TensorBoard's page HPARAMS.

    The logger itself would do so with first values of the metrics, which would be in the curves.
    """
    from torch.utils.tensorboard.summary import hparams

    for summary in hparams(parameters, dict.fromkeys(_COMPARED)):  # type: ignore[no-untyped-call]
        logger.experiment.file_writer.add_summary(summary)
