"""Scores as Markdown tables in scripts/results, shared by the benchmark scripts."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch

from forecast.cli import main
from forecast.errors import ForecastError

LEVELS = ("50", "80", "90", "95")
ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "scripts" / "results"
Result = TypeVar("Result")


def run(*words: str) -> None:
    """One forecast command; stops the script if it fails."""
    if code := main(words):
        sys.exit(code)


def fit(config: str, folder: str, *words: str) -> tuple[str, float]:
    """Trains, unless that was done to the end; returns the weights and the minutes it took.

    These are minutes of processor time, which other programs do not lengthen.
    """
    took = Path(folder) / "minutes.txt"
    if not took.is_file():
        shutil.rmtree(folder, ignore_errors=True)  # the minutes are those of a whole training
        before = sum(os.times()[:4])  # this process and its children
        run("fit", "--config", str(ROOT / "configs" / config), f"--run={folder}", *words)
        took.write_text(f"{(sum(os.times()[:4]) - before) / 60:.1f}\n")
    return f"{folder}/checkpoints/last.ckpt", float(took.read_text())


def side_by_side(job: Callable[..., Result], arguments: Sequence[tuple[Any, ...]]) -> list[Result]:
    """Results of a job for each of several arguments, on every core one at a time.

    Networks this small hardly gain by a second thread: two cores take about half of the time so.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context, torch.set_num_threads, (1,)) as pool:
        return list(pool.map(job, *zip(*arguments, strict=True)))


def evaluate(predictor: str, out: Path, *words: str) -> dict[str, Any]:
    """The metrics of a predictor, those of the baselines included."""
    run("evaluate", "--predictor", predictor, "--out", str(out), *words)
    scores: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return scores


def commit_of(out: Path) -> str:
    """The commit of this package that an evaluation was made at, marked if it had changes."""
    report = json.loads((out / "report.json").read_text())
    made = report["sections"]["provenance"]["data"]["environment"]
    return f"`{made['commit'][:7]}`{' with changes' if made['dirty'] else ''}"


def pair(means: dict[str, float | None], stem: str) -> str:
    """An ADE/FDE pair; a dash where a predictor has none."""
    ade, fde = (means.get(stem.format(name)) for name in ("ade", "fde"))
    return "-" if ade is None or fde is None else f"{ade:.3f}/{fde:.3f}"


def coverage(scores: dict[str, Any]) -> str:
    """Share of truths in the samples' 50, 80, 90 and 95 % regions: the mean of the whole seconds.

    In brackets, how far the second that is farthest from nominal is from it, in points. A second is
    the step nearest to it.
    """
    times_s, found = scores["per_step"]["times_s"], scores["per_step"]["all"]["coverage"]
    steps = sorted({round(second / times_s[0]) - 1 for second in range(1, int(times_s[-1]) + 1)})
    shares = {level: [100 * found[level][step] for step in steps] for level in LEVELS}
    gaps = [share - int(level) for level in LEVELS for share in shares[level]]
    means = " / ".join(f"{statistics.mean(each):.0f}" for each in shares.values())
    return f"{means} ({max(gaps, key=abs):+.1f})"


def collisions(scores: dict[str, Any]) -> str:
    """Share of futures in which two pedestrians collide, predicted and (in brackets) recorded."""
    rate = "collision_rate_pedestrians"
    return f"{100 * scores['all'][rate]:.1f} ({100 * scores['recorded']['all'][rate]:.1f})"


def write(path: Path, name: str, text: str) -> None:
    """Puts a text into a file between ``<!-- name:begin -->`` and ``<!-- name:end -->``.

    All else in the file is written by hand and stays as it is.

    Raises:
        ForecastError: The file has no such markers.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = path.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ForecastError(
            f"{path}: the lines {begin} and {end} are needed; add them where the text belongs"
        )
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")
