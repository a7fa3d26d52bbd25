"""Cost of a store: to open it, to cut windows, on disk, and in the memory of many readers."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from forecast.datasets.scene_file import SceneFile, encode
from forecast.datasets.store import SceneStore
from forecast.datasets.windows import Window, WindowSpec, prediction_times, window
from forecast.graphs import GraphConfig, window_graph
from scale.measure import processor_ms

READERS, READ, SPEC = 16, 60, WindowSpec(5, 12)


@dataclass(frozen=True)
class Storing:
    """The measured values.

    Attributes:
        open_ms: Time to open the store.
        read_ms: Time to read a scene for the first time, its check included.
        window_ms: Time to cut a window as arrays.
        graph_ms: Time to cut a window and make its graph.
        agents: Agents in the median window.
        bytes: Size of the store.
        bytes_without_maps: Size of the store if no scene had a map.
        one_copy_bytes: Size of the scenes that `READERS` processes read.
        mapped_bytes: Bytes of these scenes that each process has mapped.
        share_bytes: Memory of all processes for these scenes; shared pages count once.
    """

    open_ms: float
    read_ms: float
    window_ms: float
    graph_ms: float
    agents: float
    bytes: int
    bytes_without_maps: int
    one_copy_bytes: int
    mapped_bytes: int
    share_bytes: int


def measure(path: Path, repeats: int) -> Storing:
    """Measures a store with ``repeats`` windows."""
    open_ms = processor_ms(lambda _: SceneStore.open(path), range(repeats))
    store, rng = SceneStore.open(path), np.random.default_rng(0)
    names = rng.choice(store.scene_names, min(READ, len(store)), replace=False).tolist()
    shared = _shared(path, names)  # before this process maps any of them, as forks keep maps
    read_ms = processor_ms(store.__getitem__, names)
    found = {name: prediction_times(store[name], SPEC).scored for name in names}
    places = [(name, int(at)) for name in names for at in np.flatnonzero(found[name].any(0))]
    places = [places[row] for row in rng.integers(len(places), size=repeats)]

    def cut(place: tuple[str, int]) -> Window:
        name, at = place
        return window(store[name], at, SPEC, found[name][:, at])

    def graph(place: tuple[str, int]) -> None:
        window_graph(cut(place), GraphConfig())

    for name in names:  # a map is cut into pieces once
        graph((name, 0))
    return Storing(
        open_ms,
        read_ms,
        processor_ms(cut, places),
        processor_ms(graph, places),
        float(np.median([len(cut(place).kinds) for place in places])),
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        sum(_bytes_without_map(store, name) for name in store),
        *shared,
    )


def _bytes_without_map(store: SceneStore, name: str) -> int:
    return len(encode(SceneFile(replace(store[name], lane_map=None), store.fingerprint, {})))


def _shared(path: Path, names: list[str]) -> tuple[int, int, int]:
    """Size of some scenes, bytes of them that a reader maps, and memory of all readers for them."""
    with _readers(path, names) as readers:
        maps = [_mapped(process, path) for process in readers]
    size = sum((path / "scenes" / f"{name}.arrow").stat().st_size for name in names)
    return size, maps[0][0], sum(share for _, share in maps)


@contextmanager
def _readers(path: Path, names: list[str]) -> Iterator[list[int]]:
    """Processes that have read all of some scenes, by their ids."""
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe() for _ in range(READERS)]
    processes = [context.Process(target=_read, args=(path, names, end)) for _, end in pipes]
    for process, (_, end) in zip(processes, pipes, strict=True):
        process.start()
        end.close()  # so that `recv` fails if a reader dies
    try:
        yield [pipe.recv() for pipe, _ in pipes]
    finally:
        for (pipe, _), process in zip(pipes, processes, strict=True):
            pipe.send("done")
            process.join()


def _read(path: Path, names: list[str], end: Connection) -> None:
    store = SceneStore.open(path)
    kept = [store[name] for name in names]
    end.send(multiprocessing.current_process().pid)
    end.recv()
    del kept


def _mapped(process: int, path: Path) -> tuple[int, int]:
    """Bytes of a folder's files that a process has mapped, and its share of them."""
    resident = share = 0
    inside = False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        key, *rest = line.split()
        if not key.endswith(":"):
            inside = str(path.resolve()) in line
        elif inside and key == "Rss:":
            resident += 1024 * int(rest[0])
        elif inside and key == "Pss:":
            share += 1024 * int(rest[0])
    return resident, share


def table(found: Storing) -> str:
    """The Markdown table."""
    mega = 1e6
    rows = {
        "open the store": f"{found.open_ms:.1f} ms",
        "read a scene for the first time, checked": f"{found.read_ms:.1f} ms",
        f"a window as arrays (median: {found.agents:.0f} agents)": f"{found.window_ms:.3f} ms",
        "a window as a graph": f"{found.graph_ms:.2f} ms",
        "on disk": f"{found.bytes / mega:.0f} MB",
        "on disk without maps": f"{found.bytes_without_maps / mega:.0f} MB",
        f"{READ} scenes ({found.one_copy_bytes / mega:.1f} MB) in {READERS} readers, each maps": (
            f"{found.mapped_bytes / mega:.1f} MB"
        ),
        "all of them together take": f"{found.share_bytes / mega:.1f} MB",
    }
    lines = ["| store of these scenes | median processor time, or size |", "|---|---|"]
    return "\n".join(lines + [f"| {name} | {value} |" for name, value in rows.items()])
