"""Windows of prepared stores as batches of graphs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler
from torch_geometric.data import Batch, HeteroData

from forecast import geometry
from forecast.datasets.learnt_from import Source, merged_sources
from forecast.datasets.progress import with_progress
from forecast.datasets.store import SceneStore
from forecast.datasets.windows import (
    Window,
    WindowSpec,
    min_history_steps,
    prediction_times,
    window,
)
from forecast.errors import ForecastError, require
from forecast.graphs.augment import AugmentConfig
from forecast.graphs.config import GraphConfig
from forecast.graphs.seeded import recorded_graph, varied_graph
from forecast.scene import AgentKind

_TRAINS = re.compile("(.*_)?train$")
"""Names of splits for training."""


@dataclass(frozen=True)
class SourceConfig:
    """Scenes for training or for scoring.

    Attributes:
        store: Path of a store that ``forecast prepare`` wrote.
        split: A split of the store, ``all``, or a file of scene names.
        weight: Share of the training windows drawn from here, relative to the other sources.
        plans: Stores of the same scenes with other plans of the ego, such as those of ``forecast
            town --encounters --counterfactual``. Each window is then drawn under two of the plans.
        moved: Share of the draws whose two plans move somebody. They count less in return, and the
            other draws more, so that the expected loss stays the same (importance sampling). None
            draws all pairs of plans equally often.
    """

    store: str
    split: str
    weight: float = 1.0
    plans: list[str] = field(default_factory=list)
    moved: float | None = None

    def __post_init__(self) -> None:
        """Checks weight and share; raises `ForecastError`."""
        require(self.weight > 0, f"{self.store}: weight", self.weight, "a positive share")
        share = self.moved is None or 0 < self.moved < 1
        require(share, f"{self.store}: moved", self.moved, "a share between 0 and 1")
        given = self.moved is None or bool(self.plans)
        require(given, f"{self.store}: moved", self.moved, "no share without plans")


_ALONG_M = 20.0
"""Plans move hardly anybody who is farther from the ego's way."""
_MOVED_M = 0.5
"""Two plans move somebody whose places differ by more than this."""


class WindowDataset(Dataset[HeteroData]):
    """The windows of a split as graphs, with at least one scored pedestrian each.

    Args:
        source: Store and split of the scenes.
        spec: Lengths and scoring rule.
        graph: Ranges of the graph.
    """

    def __init__(self, source: SourceConfig, spec: WindowSpec, graph: GraphConfig) -> None:
        self.source, self.store = source, SceneStore.open(source.store)
        self.spec, self.graph = spec, graph
        self.index: list[tuple[str, int]] = []
        self.scored: dict[str, NDArray[np.bool_]] = {}
        for name in self.store.scenes_of(source.split):
            found = prediction_times(self.store[name], spec)
            self.scored[name] = found.scored
            self.index += [(name, int(at)) for at in found.steps]
        if not self.index:
            raise ForecastError(
                f"{source.store}: split '{source.split}' has no pedestrian with a history of "
                f"{spec.min_history_steps} steps and a future; choose another split"
            )

    def __len__(self) -> int:
        return len(self.index)

    def frequencies(self) -> NDArray[np.float64]:
        """How often each window is drawn in training, as shares."""
        return np.full(len(self), 1 / len(self))

    def __getitem__(self, item: int) -> HeteroData:
        return recorded_graph(self.window(item), self.graph)

    def window(self, item: int) -> Window:
        """A window without augmentation."""
        name, at = self.index[item]
        return window(self.store[name], at, self.spec, self.scored[name][:, at])

    def varied(self, item: int, config: AugmentConfig, seed: int) -> list[HeteroData]:
        """The graph of an augmented window, in a list.

        Args:
            item: Index of the window.
            config: The changes.
            seed: Seed of the changes and of the noise.
        """
        return [varied_graph(self.window(item), self.graph, config, seed)]


class PairedWindows(WindowDataset):
    """The windows of scenes that exist under several plans of the ego.

    A window begins where the plans part. It has an item for each pair of plans. A draw gives it
    under both: the same agents, the same history and the same random numbers, so that every
    difference is an effect of the plan.

    Args:
        source: Stores and split of the scenes.
        spec: Lengths and scoring rule.
        graph: Ranges of the graph.
    """

    def __init__(self, source: SourceConfig, spec: WindowSpec, graph: GraphConfig) -> None:
        super().__init__(source, spec, graph)
        self.stores = [self.store, *map(SceneStore.open, source.plans)]
        last = spec.history_steps - 1
        pairs = list(combinations(range(len(self.stores)), 2))
        begins = [(name, at) for name, at in self.index if at == last]
        self.index = [begin for begin in begins for _ in pairs]
        self.plans = [two for _ in begins for two in pairs]
        if not self.index:
            raise ForecastError(
                f"{source.store}: split '{source.split}' has no pedestrian to learn from at step "
                f"{last}, where the plans part; choose another split or another history_steps"
            )
        self._frequencies = self._shares(source.moved)

    def varied(self, item: int, config: AugmentConfig, seed: int) -> list[HeteroData]:
        """The graphs of a window under two plans; the first has ``twin`` set."""
        name, at = self.index[item]
        two = np.random.default_rng([seed, 1]).permutation(self.plans[item])
        windows = self._windows(name, at, two.tolist())
        # What would change the future of a person under one of the two plans only is left out.
        kept = replace(config, reverse=0.0, slow_down=0.0, speed_up=0.0, wander=0.0)
        weight = 1 / (len(self) * float(self._frequencies[item]))
        return [
            varied_graph(each, self.graph, kept, seed, twin=first, weight=weight)
            for each, first in zip(_along_the_way(windows), (True, False), strict=True)
        ]

    def frequencies(self) -> NDArray[np.float64]:
        """How often each window is drawn under each pair of plans, as shares."""
        return self._frequencies

    def _shares(self, moved: float | None) -> NDArray[np.float64]:
        """See `SourceConfig.moved`. If all pairs move somebody, or none does, all are alike."""
        equal = super().frequencies()
        if moved is None:
            return equal
        begins = dict.fromkeys(self.index)
        found = (self._moving(*begin) for begin in begins)
        name = f"{self.source.store}: whom the plans move"
        moves = np.concatenate(list(with_progress(found, len(begins), name, "moment")))
        if moves.all() or not moves.any():
            return equal
        return np.where(moves, moved / moves.sum(), (1 - moved) / (~moves).sum())

    def _moving(self, name: str, at: int) -> NDArray[np.bool_]:
        """Which pairs of plans move a pedestrian of a window, in order."""
        windows = self._windows(name, at, range(len(self.stores)))
        walks = (windows[0].kinds == AgentKind.PEDESTRIAN)[:, None]
        return np.array(
            [
                (
                    (one.valid & other.valid & walks)
                    & (np.linalg.norm(one.positions_m - other.positions_m, axis=-1) > _MOVED_M)
                ).any()
                for one, other in combinations(windows, 2)
            ]
        )

    def _windows(self, name: str, at: int, plans: Sequence[int]) -> list[Window]:
        """A window under some of the plans, with the same agents."""
        windows = [window(self.stores[i][name], at, self.spec) for i in plans]
        if any(each.agent_ids.tolist() != windows[0].agent_ids.tolist() for each in windows):
            stores = " and ".join(str(self.stores[i].path) for i in plans)
            raise ForecastError(
                f"{stores}: scene {name} has other agents at step {at}; stores of the same scenes "
                "with other plans of the ego are needed"
            )
        return windows


def _along_the_way(windows: list[Window]) -> list[Window]:
    """Leaves out the people who are never within `_ALONG_M` of the ego's way in any window."""
    one = windows[0]
    now = one.positions_m[:, one.history_steps - 1]
    ways = [
        each.positions_m[(each.kinds == AgentKind.EGO)[:, None] & each.valid] for each in windows
    ]
    near = (geometry.distances(now, np.concatenate(ways)) <= _ALONG_M).any(axis=1)
    walks = one.kinds == AgentKind.PEDESTRIAN
    # Without anybody near, all stay: a window has somebody to learn from.
    some = (near & walks).any()
    return [each.select(near | ~walks) for each in windows] if some else windows


def _joined(draws: list[list[HeteroData]]) -> Batch:
    """A batch of the graphs of several draws, one after the other."""
    return Batch.from_data_list([graph for draw in draws for graph in draw])


class TrainingWindows(Dataset[list[HeteroData]]):
    """The augmented windows of several sources; indexed by (window, seed).

    Args:
        sources: The windows of each source.
        augment: How they are varied.
    """

    def __init__(self, sources: Sequence[WindowDataset], augment: AugmentConfig) -> None:
        self.sources, self.augment = sources, augment
        self.first = np.cumsum([0, *map(len, sources)])

    def __len__(self) -> int:
        return int(self.first[-1])

    def __getitem__(self, draw: tuple[int, int]) -> list[HeteroData]:
        window, seed = draw
        source = int(np.searchsorted(self.first, window, side="right")) - 1
        item = window - int(self.first[source])
        return self.sources[source].varied(item, self.augment, seed)


@dataclass(frozen=True)
class Place:
    """The rank of this process among those that train together.

    Attributes:
        rank: Counted from 0.
        processes: Number of processes.
    """

    rank: int = 0
    processes: int = 1


class Draws(Sampler[tuple[int, int]]):
    """Draws (window, seed) with replacement; depends on the run's seed and the epoch only.

    Processes take draws in turn. So their batches of one step, together, are the batch of a single
    process.

    Args:
        weights: Relative frequency of each window.
        count: Draws per epoch of all processes together, rounded down to equal shares.
        seed: Seed of the run.
        epoch: Returns the number of the epoch that starts.
        place: Rank of this process.
        done: Returns how many of its draws this process has had of the epoch, where a run goes on
            in the middle of one.
    """

    def __init__(
        self,
        weights: NDArray[np.float64],
        count: int,
        seed: int,
        epoch: Callable[[], int],
        place: Place = Place(),
        done: Callable[[], int] = lambda: 0,
    ) -> None:
        self.share = weights / weights.sum()
        self.count, self.seed, self.epoch, self.place = count, seed, epoch, place
        self.done = done

    def __len__(self) -> int:
        return self.count // self.place.processes

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rng = np.random.default_rng([self.seed, self.epoch()])
        windows = rng.choice(len(self.share), size=self.count, p=self.share)
        seeds = rng.integers(2**63, size=self.count)
        every = self.place.processes
        mine = slice(self.place.rank + every * self.done(), len(self) * every, every)
        return zip(windows[mine].tolist(), seeds[mine].tolist(), strict=True)


class Share(Sampler[int]):
    """A process's share of the windows to score.

    Each window is scored once. Shares are not padded to equal sizes, because padding would score
    windows twice.

    Args:
        count: Number of windows.
        place: Rank of this process.
    """

    def __init__(self, count: int, place: Place) -> None:
        self.mine = range(place.rank, count, place.processes)

    def __len__(self) -> int:
        return len(self.mine)

    def __iter__(self) -> Iterator[int]:
        return iter(self.mine)


class ForecastDataModule(pl.LightningDataModule):
    """Training, validation and test windows of prepared stores.

    Args:
        train: Sources of training windows.
        val: Source of validation windows. Weights are neither trained nor selected with it.
        graph: Ranges of the graph (taken from the model's configuration by the command line).
        augment: How training windows are varied.
        history_steps: Observed steps, the current one included.
        horizon_steps: Imagined steps.
        batch_size: Windows per training step, in all processes together; each takes an equal share.
        windows_per_epoch: Training windows drawn per epoch, by all processes together.
        num_workers: Loader processes; 0 loads in the training process.
        store: Path of a store with splits for training and for validation, such as train and val or
            mini_train and mini_val (see `sources_in`), in the place of ``train`` and ``val``.

    Raises:
        ForecastError: A value makes no sense, a store or split is missing, or sources are missing
            or given twice.
    """

    def __init__(
        self,
        train: Sequence[SourceConfig] = (),
        val: SourceConfig | None = None,
        graph: GraphConfig = GraphConfig(),  # noqa: B008 (frozen)
        augment: AugmentConfig = AugmentConfig(),  # noqa: B008 (frozen)
        history_steps: int = 5,
        horizon_steps: int = 12,
        batch_size: int = 32,
        windows_per_epoch: int = 3200,
        num_workers: int = 0,
        store: str | None = None,
    ) -> None:
        super().__init__()
        require(history_steps >= 2, "history_steps", history_steps, "2 or more")
        require(batch_size >= 1, "batch_size", batch_size, "1 or more")
        require(num_workers >= 0, "num_workers", num_workers, "0 or more")
        require(
            windows_per_epoch >= batch_size,
            "windows_per_epoch",
            windows_per_epoch,
            f"at least one batch of {batch_size}",
        )
        self.train, self.val = _sources(train, val, store)
        self.graph, self.augment = graph, augment
        self.train_spec = WindowSpec(history_steps, horizon_steps, 2, full_future=False)
        self.val_spec = _scoring(self.val, history_steps, horizon_steps)
        self.batch_size, self.num_workers = batch_size, num_workers
        self.windows_per_epoch = windows_per_epoch
        for source in [*self.train, self.val]:  # fails before a run writes any file
            _check_stores(source)

    def setup(self, stage: str) -> None:
        """Opens the stores; called by Lightning."""
        if stage == "fit":
            self.seed = torch.initial_seed()
            sources = [
                (PairedWindows if source.plans else WindowDataset)(
                    source, self.train_spec, self.graph
                )
                for source in self.train
            ]
            self.train_set = TrainingWindows(sources, self.augment)
        self.val_set = WindowDataset(self.val, self.val_spec, self.graph)

    def learnt_from(self) -> dict[str, Source]:
        """The training scenes, by path of the store."""
        sources: list[dict[str, Source]] = []
        for source in self.train:
            scenes = SceneStore.open(source.store).scenes_of(source.split)
            for path in (source.store, *source.plans):
                sources.append({path: Source(SceneStore.open(path).fingerprint, scenes)})
        return merged_sources(*sources)

    def dts_s(self) -> list[float]:
        """Step lengths of the training sources, in ascending order."""
        return sorted({SceneStore.open(source.store).dt_s for source in self.train})

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of windows drawn by the sources' weights."""
        weights = [
            source.weight * windows.frequencies()
            for source, windows in zip(self.train, self.train_set.sources, strict=True)
        ]
        draws = Draws(
            np.concatenate(weights),
            self.windows_per_epoch,
            seed=self.seed,
            epoch=lambda: self.trainer.current_epoch if self.trainer else 0,
            place=self._place(),
            done=lambda: share * self._steps_done(self.windows_per_epoch // self.batch_size),
        )
        share = self.batch_share(self._place().processes)
        return self._loader(self.train_set, draws, share, drop_last=True)

    def _steps_done(self, steps: int) -> int:
        """Training steps that are done of an epoch of so many, where a run goes on in one."""
        if self.trainer is None:
            return 0
        done = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        return int(done) % max(steps, 1)  # that of a whole epoch stays until the next one begins

    def batch_share(self, processes: int) -> int:
        """Windows of a training step in each process.

        Args:
            processes: Number of processes that train together.

        Raises:
            ForecastError: The batch cannot be divided equally among them.
        """
        whole = f"a multiple of {processes}, the number of processes that share it,"
        require(self.batch_size % processes == 0, "batch_size", self.batch_size, whole)
        return self.batch_size // processes

    def val_dataloader(self) -> DataLoader[Any]:
        """Batches of all scored windows, in order, divided among processes."""
        place, count = self._place(), len(self.val_set)
        require(count >= place.processes, "validation windows", count, "one for each process")
        batch_size = max(1, self.batch_size // place.processes)
        return self._loader(self.val_set, Share(count, place), batch_size)

    def test_dataloader(self) -> DataLoader[Any]:
        """The validation windows, which ``forecast test`` scores."""
        return self.val_dataloader()

    def _place(self) -> Place:
        trainer = self.trainer
        return Place(trainer.global_rank, trainer.world_size) if trainer else Place()

    def _loader(
        self,
        windows: Dataset[HeteroData],
        sampler: Draws | Share,
        batch_size: int,
        drop_last: bool = False,
    ) -> DataLoader[Any]:
        return DataLoader(
            windows,
            batch_size=batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            collate_fn=_joined if isinstance(windows, TrainingWindows) else Batch.from_data_list,
        )


def _check_stores(source: SourceConfig) -> None:
    """Refuses stores without the scenes of a source; raises `ForecastError`."""
    scenes = SceneStore.open(source.store).scenes_of(source.split)
    for path in source.plans:
        plan = SceneStore.open(path)
        missing = [name for name in scenes if name not in plan]
        if missing:
            raise ForecastError(
                f"{path}: no scene '{missing[0]}' of {source.store}; a store of the same scenes "
                "with another plan of the ego is needed"
            )


def _sources(
    train: Sequence[SourceConfig], val: SourceConfig | None, store: str | None
) -> tuple[list[SourceConfig], SourceConfig]:
    """The sources of a store if one is given, else those that are named one by one."""
    if store:
        require(not train and val is None, f"store {store}: train or val", "given too", "neither")
        training, val = sources_in(store)
        return [training], val
    if not train or val is None:
        missing = "val" if train else "train"
        raise ForecastError(
            f"data.{missing} is missing; give a configuration (--config), or a store with splits "
            "for training and validation (--data.store)"
        )
    return list(train), val


def sources_in(store: str) -> tuple[SourceConfig, SourceConfig]:
    """A store's scenes for training and for validation.

    These are its splits ``train`` and ``val``, or two that are called ``…_train`` and ``…_val``. Of
    several such pairs, one counts: that with the most scenes, then the most training scenes.

    Args:
        store: Path of the store.

    Raises:
        ForecastError: There is no store or no such pair, or two pairs are of equal size.
    """
    splits = SceneStore.open(store).splits

    def size(pair: tuple[str, str]) -> tuple[int, int]:
        train, val = pair
        return len({*splits[train], *splits[val]}), len(splits[train])

    pairs = [(name, f"{name.removesuffix('train')}val") for name in splits if _TRAINS.match(name)]
    pairs = sorted([pair for pair in pairs if pair[1] in splits], key=size, reverse=True)
    if not pairs or size(pairs[0]) in map(size, pairs[1:]):
        raise ForecastError(
            f"{store}: its splits ({', '.join(splits) or 'none'}) have no single pair for training "
            "and validation, such as train and val; give data.train and data.val"
        )
    train, val = pairs[0]
    return SourceConfig(store, train), SourceConfig(store, val)


def _scoring(source: SourceConfig, history_steps: int, horizon_steps: int) -> WindowSpec:
    """The window specification of a store's protocol."""
    protocol = SceneStore.open(source.store).protocol
    return WindowSpec(history_steps, horizon_steps, min_history_steps(protocol, history_steps))
