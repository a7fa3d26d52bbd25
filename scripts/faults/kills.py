"""Commands that are killed at random moments; what is on disk then, and what the next run makes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import torch

# Imported here, so that a forked command begins with its own work and is killed in it.
import forecast.evaluation
import forecast.export
import forecast.report
import forecast.training.cli
from forecast.cli import main
from forecast.errors import ForecastError

from .traffic import random_scene, write_tracks

_LATEST = 1.15
"""Kills come up to this share of the time of a whole run; what has ended by then is checked too."""

_SMALL_RUN = (
    "--seed_everything=0 --data.batch_size=4 --data.windows_per_epoch=4 --data.horizon_steps=4 "
    "--model.samples=4 --model.forecaster.world_model.hidden=16 --trainer.accelerator=cpu "
    "--trainer.num_sanity_val_steps=0 --trainer.enable_progress_bar=false "
    "--trainer.enable_model_summary=false --trainer.limit_val_batches=0"
).split()

Content = dict[str, str]
"""Hashes by name of file; empty where there is nothing."""


def content_of(out: Path) -> Content:
    """The files of an output that are not hidden, by name; hidden ones are work in progress."""
    files = [out] if out.is_file() else sorted(path for path in out.rglob("*") if path.is_file())
    names = {path: path.relative_to(out).parts for path in files}
    return {
        "/".join(names[path]): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not any(part.startswith(".") for part in names[path])
    }


def evaluation_of(out: Path) -> Content:
    """As `content_of`; of the report and of scores only what is not measured time."""
    found = content_of(out)
    if "report.json" in found:
        document = json.loads((out / "report.json").read_text())
        del document["sections"]["cost"]
        found["report.json"] = json.dumps(document)
        found["report.html"] = (out / "report.html").read_text().strip()[-7:]
    if "scores.msgpack.z" in found:
        scores = zlib.decompress((out / "scores.msgpack.z").read_bytes())
        found["scores.msgpack.z"] = str(sorted(msgspec.msgpack.decode(scores)))
    return found


def weights_of(run: Path) -> Content:
    """The last checkpoint of a training as a hash of its weights; the whole file is read."""
    last = run / "checkpoints" / "last.ckpt"
    if not last.exists():
        return {}
    saved = torch.load(last, weights_only=True)
    digest = hashlib.sha256(str(saved["global_step"]).encode())
    for name, value in sorted(saved["state_dict"].items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return {"last.ckpt": digest.hexdigest()}


@dataclass(frozen=True)
class Command:
    """A command that is killed.

    Attributes:
        name: Its name in the table.
        words: Its arguments.
        out: The file or folder that it writes.
        before: Arguments that make another output there, which this one replaces; none where the
            command goes on with what is there.
        content: What is compared of the output.
        grows: Whether a killed run may leave a part, which the next run goes on with.
    """

    name: str
    words: list[str]
    out: Path
    before: list[str] = field(default_factory=list)
    content: Callable[[Path], Content] = content_of
    grows: bool = False


@dataclass
class Outcome:
    """What came of the kills of a command.

    Attributes:
        kills: Kills while the command ran.
        found: What was on disk after them: nothing, the output from before, a part that the next
            run goes on with, or the whole output.
        ended: Runs that came to their end, after kills or without.
        whole_s: Duration of an unbroken run.
    """

    kills: int = 0
    found: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    whole_s: float = 0.0


class Forked:
    """A command in a process group of its own, with all of the package loaded."""

    def __init__(self, words: list[str], log: Path) -> None:
        self.process = os.fork()
        if self.process:
            return
        os.setsid()
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        try:
            os._exit(main(words))
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(99)

    def wait(self, seconds: float = np.inf) -> int | None:
        """The exit code, or None if it still runs after this time."""
        end = time.monotonic() + seconds
        while True:
            ended, status = os.waitpid(self.process, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                return None
            time.sleep(0.005)

    def kill(self) -> None:
        """Kills all its processes."""
        os.killpg(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)


def run_to_end(words: list[str], log: Path) -> float:
    """Seconds that a command takes; raises `ForecastError` with its last line if it fails."""
    start = time.monotonic()
    code = Forked(words, log).wait()
    if code:
        raise ForecastError(f"{' '.join(words)}: code {code}: {log.read_text()[-300:]}")
    return time.monotonic() - start


def killed(command: Command, times: int, seed: int = 0) -> Outcome:
    """Kills a command again and again, and checks what is there.

    Raises:
        ForecastError: A kill left something else than nothing, the output from before, a part that
            may be there, or the whole output; or a run after kills made another output.
    """
    rng, outcome = np.random.default_rng(seed), Outcome()
    work = command.out.parent
    log = work.parent / f"{work.name}.log"
    before = work.parent / f"{work.name}.before"
    _clear(work)
    if command.before:
        run_to_end(command.before, log)
        command.out.rename(before)
    outcome.whole_s = run_to_end(command.words, log)
    whole = command.content(command.out)
    old = command.content(before) if before.exists() else {}
    start = _begin(command, before, outcome.ended)
    while outcome.kills < times:
        process = Forked(command.words, log)
        time.sleep(0.01)  # until it is a group of its own
        code = process.wait(rng.uniform(0, _LATEST * outcome.whole_s))
        if code is None:
            process.kill()
            outcome.kills += 1
            outcome.found[_state(command, start, old, whole)] += 1
            start = command.content(command.out)
            continue
        _check_end(command, code, whole, log)
        outcome.ended += 1
        start = _begin(command, before, outcome.ended)
    run_to_end(command.words, log)
    _check_end(command, 0, whole, log)
    outcome.ended += 1
    return outcome


def _clear(work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)


def _begin(command: Command, before: Path, number: int) -> Content:
    """Clears the output; every second time there is one from before. Returns what is there."""
    _clear(command.out.parent)
    if before.exists() and number % 2:
        copy = shutil.copytree if before.is_dir() else shutil.copy2
        copy(before, command.out)
    return command.content(command.out)


def _state(command: Command, start: Content, old: Content, whole: Content) -> str:
    """What is there after a kill, in a word; raises `ForecastError` where it may not be."""
    found = command.content(command.out)
    for name, content in {"nothing": {}, "the output before": old, "the whole output": whole}.items():
        if found == content and (content or not start):
            return name
    if command.grows and (command.content is weights_of or _is_part(found, whole)):
        return "a part"
    wrong = sorted(name for name in {*found, *whole} if found.get(name) != whole.get(name))
    raise ForecastError(f"{command.name}: after a kill {command.out} holds other {wrong[:3]}")


def _is_part(found: Content, whole: Content) -> bool:
    """Whether all scenes of a part are those of the whole; `store.json` grows with them."""
    return all(whole.get(name) == value for name, value in found.items() if name != "store.json")


def _check_end(command: Command, code: int, whole: Content, log: Path) -> None:
    """Checks a run that came to its end; raises `ForecastError`."""
    if code or command.content(command.out) != whole:
        raise ForecastError(f"{command.name}: code {code}, other output: {log.read_text()[-300:]}")
    left = [path.name for path in command.out.parent.glob(".*")]
    if left:
        raise ForecastError(f"{command.name}: {left} is left in {command.out.parent}")


def commands(work: Path) -> list[Command]:
    """Every command that writes, at a size at which a run takes seconds.

    Args:
        work: A folder for inputs and outputs; what the inputs need is made in it.
    """
    _clear(work)
    log = work / "log"
    scenes = [random_scene(seed) for seed in range(4)]
    splits = ["train"] * 2 + ["val"] * 2
    write_tracks(work / "tracks.csv", scenes, splits)
    store, weights = work / "store", work / "weights"
    run_to_end(_prepare(work, store), log)
    for number in (0, 1):
        fit = _fit(store, work / f"run-{number}", epochs=1, seed=number)
        run_to_end(fit, log)
    weights = work / "run-0" / "checkpoints" / "last.ckpt"
    other = work / "run-1" / "checkpoints" / "last.ckpt"

    def place(name: str) -> Path:
        return work / "killed" / name / "out"

    scored = f"--store {store} --split val --samples 2 --horizon-s 1 --predictor".split()
    shards = [work / f"shard-{number}" for number in (1, 2)]
    for number, shard in enumerate(shards, start=1):
        words = ["evaluate", *scored, str(weights), "--shard", f"{number}/2", "--out", str(shard)]
        run_to_end(words, log)

    def evaluate(name: str, predictor: Path, *more: str) -> list[str]:
        return ["evaluate", *scored, str(predictor), "--out", str(place(name)), *more]

    def calibrate(seed: int) -> list[str]:
        given = f"--store {store} --split val --seed {seed} --weights {weights} --out".split()
        return ["calibrate", *given, str(place("calibrate").with_suffix(".safetensors"))]

    def town(seed: int) -> list[str]:
        return ["town", "--scenes", "1", "--seed", str(seed), "--out", str(place("town"))]

    def export(given: Path) -> list[str]:
        words = ["--format", "onnx", "--weights", str(given), "--out", str(place("export"))]
        return ["export", *words]

    merge = ["merge", *map(str, shards), "--store", str(store), "--predictor", str(weights)]
    fit = _fit(store, place("fit"), epochs=6, seed=0)
    shard = evaluate("shard", weights, "--shard", "1/2")
    return [
        Command("town", town(0), place("town"), town(1)),
        Command("prepare", _prepare(work, place("prepare")), place("prepare"), grows=True),
        Command("fit", fit, place("fit"), content=weights_of, grows=True),
        Command(
            "evaluate",
            evaluate("evaluate", weights),
            place("evaluate"),
            evaluate("evaluate", other),
            evaluation_of,
        ),
        Command(
            "evaluate --shard",
            shard,
            place("shard"),
            evaluate("shard", other, "--shard", "1/2"),
            evaluation_of,
        ),
        Command("merge", [*merge, "--out", str(place("merge"))], place("merge")),
        Command(
            "calibrate", calibrate(0), place("calibrate").with_suffix(".safetensors"), calibrate(1)
        ),
        Command("export --format onnx", export(weights), place("export"), export(other)),
    ]


def _prepare(work: Path, out: Path) -> list[str]:
    tracks = str(work / "tracks.csv")
    return ["prepare", "--source", "tracks", "--dataroot", tracks, "--out", str(out)]


def _fit(store: Path, run: Path, epochs: int, seed: int) -> list[str]:
    train, val = ({"store": str(store), "split": split} for split in ("train", "val"))
    words = [f"--data.train={json.dumps([train])}", f"--data.val={json.dumps(val)}"]
    words += [f"--run={run}", "--ckpt_path=last", f"--trainer.max_epochs={epochs}"]
    return ["fit", *words, *_SMALL_RUN, f"--seed_everything={seed}"]


def table(outcomes: dict[str, Outcome]) -> str:
    """The Markdown table of all commands."""
    states = ("nothing", "the output before", "a part", "the whole output")
    head = " | ".join(f"{state} there" for state in states)
    lines = [f"| command | a whole run | kills | {head} | runs to the end |", "|---" * 8 + "|"]
    for name, found in outcomes.items():
        cells = " | ".join(str(found.found[state] or "–") for state in states)
        lines.append(f"| {name} | {found.whole_s:.1f} s | {found.kills} | {cells} | {found.ended} |")
    return "\n".join(lines)
