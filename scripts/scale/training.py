"""Cost of training: the data path and the step, measured separately."""

from __future__ import annotations

import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from forecast.graphs.augment import AugmentConfig
from forecast.graphs.datamodule import ForecastDataModule, SourceConfig
from forecast.models.forecaster import ForecasterConfig
from forecast.models.losses import LossConfig
from forecast.models.noise import window_noise
from forecast.training.module import ForecastModule

BATCH, SAMPLES, SPLIT = 16, 6, "town_train"
WARM_UP = 2
DATA_BATCHES_PER_STEP = 5
"""The data path is quicker than the step, so more of it is measured."""


@dataclass(frozen=True)
class Training:
    """The measured values, with one thread.

    Attributes:
        windows: Training windows.
        index_s: Processor time to find them, before training starts.
        agents: Agents per window, after augmentation.
        data_s: Processor time of the data path per window.
        step_s: Processor time of the training step per window.
        flop: Multiplications and additions in matrix products per window.
        operations: Operators that one step starts.
        peak_bytes: Peak memory of the process.
    """

    windows: int
    index_s: float
    agents: float
    data_s: float
    step_s: float
    flop: float
    operations: int
    peak_bytes: int


def measure(store: Path, steps: int) -> Training:
    """Trains for some steps, in a separate process, so that its memory can be measured."""
    with ProcessPoolExecutor(1, get_context("spawn")) as one:
        return one.submit(_measure, store, steps).result()


class _Watch(pl.Callback):
    """Records the processor time of every step, and the agents in it."""

    def __init__(self) -> None:
        self.spent: list[float] = []
        self.agents: list[int] = []

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
        self.agents.append(batch["agent"].num_nodes)
        self.start = time.process_time()

    def on_train_batch_end(self, *_: Any) -> None:
        self.spent.append(time.process_time() - self.start)


class _Operations(TorchDispatchMode):
    """Counts operators."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def _measure(store: Path, steps: int) -> Training:
    torch.set_num_threads(1)
    data = datamodule(store, steps)
    start = time.process_time()
    data.setup("fit")
    index_s = time.process_time() - start
    data_s = _data_s(data)
    module = ForecastModule(ForecasterConfig(), samples=SAMPLES)
    watch = fit(module, data, steps)
    steps_s, agents = watch.spent[WARM_UP:], watch.agents[WARM_UP:]
    flop, operations = _operations(module, next(iter(data.train_dataloader())))
    return Training(
        len(data.train_set),
        index_s,
        sum(agents) / len(agents) / BATCH,
        data_s,
        sum(steps_s) / len(steps_s) / BATCH,
        flop,
        operations,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def datamodule(store: Path, steps: int) -> ForecastDataModule:
    """The windows of the city, with about the augmentation of `configs/town.yaml`."""
    source = SourceConfig(str(store), SPLIT)
    return ForecastDataModule(
        [source],
        source,
        ForecasterConfig().graph,
        AugmentConfig(far_m=15, drop_pieces=0.1, shift_map_m=0.5),
        batch_size=BATCH,
        windows_per_epoch=BATCH * (WARM_UP + steps) * DATA_BATCHES_PER_STEP,
    )


def _data_s(data: ForecastDataModule) -> float:
    """Processor time of the data path per window, in a second pass, when all maps are cut."""
    for _ in range(2):
        start = time.process_time()
        windows = sum(batch.num_graphs for batch in data.train_dataloader())
    return (time.process_time() - start) / windows


def fit(module: ForecastModule, data: ForecastDataModule, steps: int) -> _Watch:
    """Trains as `forecast fit` does, without validation and without files."""
    watch = _Watch()
    pl.Trainer(
        accelerator="cpu",
        max_steps=WARM_UP + steps,
        gradient_clip_val=1.0,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watch],
    ).fit(module, data)
    return watch


def _operations(module: ForecastModule, batch: Any) -> tuple[float, int]:
    """Floating-point operations per window and operators per step, forwards and backwards.

    Short runs are not compiled, so these are the tensor operations of the definition, as on a GPU.
    """
    with FlopCounterMode(display=False) as flop, _Operations() as operations:
        agent, size = batch["agent"], module.config.world_model
        agents, horizon = agent.ptr.diff().tolist(), agent.future.shape[1]
        noise = window_noise(size, batch.seed.tolist(), agents, SAMPLES, horizon)
        parts, _ = module.forecaster.loss(batch, noise, LossConfig(), agent.future_valid)
        parts["loss"].backward()
    return flop.get_total_flops() / BATCH, operations.count


def table(found: Training) -> str:
    """The Markdown table."""
    both = found.data_s + found.step_s
    lines = [
        f"| training, batches of {BATCH}, {SAMPLES} samples, 6 s | windows/s | agents/s |",
        "|---|---|---|",
    ]
    spent = {"data path alone": found.data_s, "step alone": found.step_s, "both": both}
    for name, seconds in spent.items():
        lines.append(f"| {name} | {1 / seconds:.0f} | {found.agents / seconds:.0f} |")
    said = (
        f"{found.windows:,} windows of {found.agents:.0f} agents, found in {found.index_s:.1f} s; "
        f"{found.peak_bytes / 1e9:.2f} GB of memory at most."
    )
    return "\n".join([*lines, "", said])
