"""Windows of prepared stores as batches of graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Dataset, WeightedRandomSampler
from torch_geometric.data import HeteroData
from torch_geometric.loader import DataLoader

from forecast.datasets.store import SceneStore
from forecast.datasets.windows import Window, WindowSpec, origins, window
from forecast.errors import ForecastError
from forecast.graphs.augment import AugmentConfig, augment_graph, augment_window
from forecast.graphs.hetero import GraphConfig, window_graph


@dataclass(frozen=True)
class SourceConfig:
    """Scenes to learn from or to score.

    Attributes:
        store: Path of a store that ``forecast prepare`` wrote.
        split: A split of the store, ``all``, or a file of scene names.
        weight: Share of the training windows drawn from here, relative to the other sources.
    """

    store: str
    split: str
    weight: float = 1.0


class WindowDataset(Dataset[HeteroData]):
    """The windows of a split as graphs, with at least one scored pedestrian each.

    Args:
        source: Where the scenes are.
        spec: Lengths and scoring rule.
        graph: Ranges of the graph.
        augment: How to vary the windows; None leaves them as they are.
    """

    def __init__(
        self,
        source: SourceConfig,
        spec: WindowSpec,
        graph: GraphConfig,
        augment: AugmentConfig | None = None,
    ) -> None:
        self.store = SceneStore.open(source.store)
        self.spec, self.graph, self.augment = spec, graph, augment
        self.index: list[tuple[str, int]] = []
        self.scored: dict[str, NDArray[np.bool_]] = {}
        for name in self.store.scenes_of(source.split):
            found = origins(self.store[name], spec)
            self.scored[name] = found.scored
            self.index += [(name, int(at)) for at in found.steps]
        if not self.index:
            raise ForecastError(
                f"{source.store}: split '{source.split}' has no pedestrian with a history of "
                f"{spec.min_history_steps} steps and a future; choose another split"
            )

    def __len__(self) -> int:
        return len(self.index)

    def window(self, item: int) -> Window:
        """A window as it is, not varied."""
        name, at = self.index[item]
        return window(self.store[name], at, self.spec, self.scored[name][:, at])

    def __getitem__(self, item: int) -> HeteroData:
        cut = self.window(item)
        if self.augment is None:
            return window_graph(cut, self.graph)
        rng = np.random.default_rng(int(torch.randint(2**31, ())))
        graph = window_graph(augment_window(cut, self.augment, rng), self.graph)
        augment_graph(graph, self.augment, rng)
        return graph


class ForecastDataModule(pl.LightningDataModule):
    """Training, validation and test windows of prepared stores.

    Args:
        train: Sources to learn from.
        val: Source scored while training; never learnt from, never used to choose weights.
        graph: Ranges of the graph (taken from the model's configuration by the command line).
        augment: How training windows are varied.
        history_steps: Observed steps, the current one included.
        horizon_steps: Imagined steps.
        batch_size: Windows per batch.
        windows_per_epoch: Training windows drawn per epoch.
        num_workers: Loader processes; 0 loads in the training process.
    """

    def __init__(
        self,
        train: Sequence[SourceConfig],
        val: SourceConfig,
        graph: GraphConfig,
        augment: AugmentConfig = AugmentConfig(),  # noqa: B008 (frozen)
        history_steps: int = 5,
        horizon_steps: int = 12,
        batch_size: int = 32,
        windows_per_epoch: int = 3200,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.train, self.val, self.graph, self.augment = list(train), val, graph, augment
        self.train_spec = WindowSpec(history_steps, horizon_steps, 2, full_future=False)
        self.val_spec = WindowSpec(history_steps, horizon_steps, 2)
        self.batch_size, self.num_workers = batch_size, num_workers
        self.windows_per_epoch = windows_per_epoch

    def setup(self, stage: str) -> None:
        """Opens the stores; called by Lightning."""
        if stage == "fit":
            self.train_sets = [
                WindowDataset(source, self.train_spec, self.graph, self.augment)
                for source in self.train
            ]
        self.val_set = WindowDataset(self.val, self.val_spec, self.graph)

    def fingerprints(self) -> dict[str, str]:
        """Content fingerprints of the stores that are learnt from, by path."""
        return {source.store: SceneStore.open(source.store).fingerprint for source in self.train}

    def train_dataloader(self) -> DataLoader:
        """Windows drawn by the sources' weights."""
        weights = [
            np.full(len(windows), source.weight / len(windows))
            for source, windows in zip(self.train, self.train_sets, strict=True)
        ]
        sampler = WeightedRandomSampler(
            np.concatenate(weights).tolist(), num_samples=self.windows_per_epoch
        )
        return self._loader(ConcatDataset(self.train_sets), sampler=sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        """All scored windows, in order."""
        return self._loader(self.val_set)

    def test_dataloader(self) -> DataLoader:
        """The validation windows: what ``forecast test`` scores."""
        return self.val_dataloader()

    def _loader(
        self,
        windows: Dataset[HeteroData],
        sampler: WeightedRandomSampler | None = None,
        drop_last: bool = False,
    ) -> DataLoader:
        return DataLoader(
            windows,
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )
