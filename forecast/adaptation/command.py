"""The command ``forecast adapt``: a stream of stores, in order, into adapted weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from forecast.adaptation.adapter import Adapter
from forecast.adaptation.config import AdaptConfig
from forecast.adaptation.ledger import Entry, Ledger, Undone, read_ledger
from forecast.datasets.progress import with_progress
from forecast.datasets.store import SceneStore
from forecast.errors import ForecastError, require
from forecast.files import completed
from forecast.inference.forecaster import Forecaster
from forecast.inference.paths import is_folder
from forecast.inference.weights import read_model

FOLDER_SUFFIX = ".adaptation"
"""The folder of ledger and states is beside the weights, with this suffix."""

RenderAdaptation = Callable[[Ledger], dict[str, str]]
"""Makes the page: its files by name (`forecast.report.render_adaptation`)."""

Splits = Sequence[tuple[Path, str]]
"""Stores, and a split of each."""


def run_adapt(
    *,
    weights: Path | str,
    stream: Splits,
    old: Splits,
    out: Path,
    config: AdaptConfig,
    replay: Path | None = None,
    undo_to: int | None = None,
    render: RenderAdaptation,
) -> Adapter:
    """Adapts a model to scenes in order, and writes it; the command ``forecast adapt``.

    A stopped adaptation goes on where it stopped.

    Args:
        weights: A weights file, or the name of packaged ones.
        stream: The scenes to learn from: stores, and a split of each.
        old: The old data.
        out: The safetensors file to write. Ledger, states and page are in a folder beside it.
        config: How it learns.
        replay: The ledger of another run, which this one must repeat to the last bit.
        undo_to: Number of a scene to go back to, instead of learning from the stream.
        render: Makes the page.

    Raises:
        ForecastError: An argument is wrong, something cannot be written, the stream is another
            than that of the run to go on with, or a replay differs.
    """
    require(out.suffix == ".safetensors", "--out", out, "a name that ends in .safetensors")
    require(not is_folder(out), "--out", f"{out}, a folder", "a file to write")
    lines = None if replay is None else read_ledger(replay)[1]
    stores = [(SceneStore.open(path), split) for path, split in old]
    forecaster = Forecaster(*read_model(weights))  # `load` would compile what is only trained here
    adapter = Adapter(forecaster, stores, out.with_suffix(FOLDER_SUFFIX), config)
    if undo_to is None:
        names = [(path, name) for path, split in stream for name in _scenes_of(path, split)]
        for entry in with_progress(_observed(adapter, names), len(names), f"adapt {weights}"):
            if lines is not None:
                _compare(entry, lines, replay)
            if entry.why:
                print(f"{entry.scene}: {entry.done}: {entry.why}")
    else:
        adapter.undo(undo_to)
    adapter.save(out)
    for name, text in render(adapter.ledger).items():
        with completed(adapter.ledger.folder / name) as file:
            file.write_text(text, encoding="utf-8")
    print(summary(adapter))
    return adapter


def _scenes_of(path: Path, split: str) -> list[str]:
    return SceneStore.open(path).scenes_of(split)


def _observed(adapter: Adapter, names: Sequence[tuple[Path, str]]) -> Iterator[Entry]:
    """The entries of all scenes of a stream; those of the start may be there already."""
    done = list(adapter.entries)
    if len(done) > len(names):
        raise ForecastError(
            f"{adapter.ledger.folder}: {len(done)} scenes were learnt from and the stream has "
            f"{len(names)}; give the same stream or a longer one, or go back with --undo-to"
        )
    for i, (path, name) in enumerate(names):
        store = SceneStore.open(path)  # anew, because a store keeps all scenes that it has read
        if i >= len(done):
            yield adapter.observe(store[name], store)
            continue
        known = (done[i].scene, done[i].fingerprint)
        if known != (name, store.fingerprint):
            raise ForecastError(
                f"{adapter.ledger.folder}: scene {i + 1} was {known[0]}, and that of the stream is "
                f"{name} of {path}; give the same stream, or go back with --undo-to {i}"
            )
        yield done[i]


def _compare(entry: Entry, lines: Sequence[Entry | Undone], ledger: Path | None) -> None:
    """Compares an entry with that of another run; raises `ForecastError` if they differ."""
    kept = [line for line in lines if isinstance(line, Entry) and line.number == entry.number]
    known = msgspec.structs.replace(kept[-1], seconds=entry.seconds) if kept else None
    if known != entry:
        what = "has no such scene" if known is None else f"differs in {_different(known, entry)}"
        raise ForecastError(
            f"scene {entry.number} ({entry.scene}): {ledger} {what}; a replay needs the same "
            "weights, stores, settings, machine and versions"
        )


def _different(one: Entry, other: Entry) -> str:
    names = one.__struct_fields__
    return ", ".join(name for name in names if getattr(one, name) != getattr(other, name))


def summary(adapter: Adapter) -> str:
    """What an adaptation did, in a few lines."""
    entries = adapter.entries
    counts = Counter(entry.done for entry in entries)
    done = ", ".join(f"{count} {name}" for name, count in counts.items())
    lines = [f"{len(entries)} scenes: {done or 'none'}"]
    changes = [entry.since_start for entry in entries if entry.since_start and not entry.why]
    if changes:
        last = changes[-1]
        lines.append(
            f"loss on {last.scenes} held-out scenes of the old data: {last.before:.4f} at the "
            f"start, {last.after:.4f} now"
        )
    fitted = entries[-1].calibrated_on if entries else 0
    if fitted:
        lines.append(
            f"tubes and OOD threshold fitted on {fitted} scenes, each before it was learnt from"
        )
    else:
        lines.append("tubes and OOD threshold are those of before: too few scenes to fit them on")
    lines.append(f"ledger and report: {adapter.ledger.folder}")
    return "\n".join(lines)
