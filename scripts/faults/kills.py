"""Commands that are killed at random moments; what is on disk then, and what the next run makes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import torch

# Imported here, so that a forked command begins with its own work and is killed in it.
import forecast.adaptation.command
import forecast.evaluation
import forecast.export
import forecast.inference.calibrate
import forecast.report
import forecast.simulator
import forecast.training.cli
import forecast.visualization.training_pictures  # noqa: F401
from forecast.cli import main
from forecast.errors import ForecastError

from .traffic import random_scene, write_tracks

_LATEST = 1.15
"""Kills come up to this share of the time of a whole run; what has ended by then is checked too."""

_SMALL_RUN = [
    "--data.batch_size=4",
    "--data.windows_per_epoch=4",
    "--data.horizon_steps=4",
    "--model.samples=4",
    "--model.forecaster.world_model.hidden=16",
    "--trainer.accelerator=cpu",
    "--trainer.num_sanity_val_steps=0",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.limit_val_batches=0",
]

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
    """As `content_of`; without measured times and what the report says of the machine."""
    found = content_of(out)
    if "report.json" in found:
        document = json.loads((out / "report.json").read_text())
        for section in ("cost", "provenance"):
            del document["sections"][section]
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
    found: dict[str, int] = field(default_factory=dict)
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
            state = _state(command, start, old, whole)
            outcome.found[state] = 1 + outcome.found.get(state, 0)
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
    states = {"nothing": {}, "the output before": old, "the whole output": whole}
    for name, content in states.items():
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


@dataclass(frozen=True)
class Given:
    """What the commands are given, all in one folder.

    Attributes:
        work: The folder: ``tracks.csv``, ``store``, ``run-0`` and ``run-1`` (trainings),
            ``shard-1`` and ``shard-2``; outputs go to ``killed``.
    """

    work: Path

    @classmethod
    def made(cls, work: Path) -> Given:
        """Makes it; the folder is emptied before."""
        _clear(work)
        given, log = cls(work), work / "log"
        scenes = [random_scene(seed) for seed in range(4)]
        write_tracks(work / "tracks.csv", scenes, ["train", "train", "val", "val"])
        run_to_end(given.prepare(work / "store"), log)
        for seed in (0, 1):
            run_to_end(given.fit(work / f"run-{seed}", epochs=1, seed=seed), log)
        for number in (1, 2):
            shard = work / f"shard-{number}"
            run_to_end(given.evaluate(shard, 0, "--shard", f"{number}/2"), log)
        return given

    def weights(self, run: int) -> str:
        """The weights of one of the trainings."""
        return str(self.work / f"run-{run}" / "checkpoints" / "last.ckpt")

    def prepare(self, out: Path) -> list[str]:
        """The words of ``prepare``."""
        tracks = str(self.work / "tracks.csv")
        return ["prepare", "--source", "tracks", "--dataroot", tracks, "--out", str(out)]

    def fit(self, run: Path, epochs: int, seed: int) -> list[str]:
        """The words of ``fit``, which begins or goes on."""
        store = str(self.work / "store")
        train, val = ({"store": store, "split": split} for split in ("train", "val"))
        words = [f"--data.train={json.dumps([train])}", f"--data.val={json.dumps(val)}"]
        words += [f"--run={run}", "--ckpt_path=last", f"--trainer.max_epochs={epochs}"]
        return ["fit", *words, *_SMALL_RUN, f"--seed_everything={seed}"]

    def evaluate(self, out: Path, run: int, *more: str) -> list[str]:
        """The words of ``evaluate``."""
        words = ["--store", str(self.work / "store"), "--split", "val", "--samples", "2"]
        words += ["--horizon-s", "1", "--predictor", self.weights(run), "--out", str(out)]
        return ["evaluate", *words, *more]

    def merge(self, out: Path) -> list[str]:
        """The words of ``merge``."""
        shards = [str(self.work / f"shard-{number}") for number in (1, 2)]
        words = ["--store", str(self.work / "store"), "--predictor", self.weights(0)]
        return ["merge", *shards, *words, "--out", str(out)]

    def calibrate(self, out: Path, seed: int) -> list[str]:
        """The words of ``calibrate``."""
        words = ["--store", str(self.work / "store"), "--split", "val", "--seed", str(seed)]
        return ["calibrate", *words, "--weights", self.weights(0), "--out", str(out)]


def commands(given: Given) -> list[Command]:
    """Every command that writes, at a size at which a run takes seconds."""

    def place(name: str) -> Path:
        return given.work / "killed" / name / "out"

    def town(seed: int) -> list[str]:
        return ["town", "--scenes", "1", "--seed", str(seed), "--out", str(place("town"))]

    def export(run: int) -> list[str]:
        words = ["--format", "onnx", "--weights", given.weights(run), "--out", str(place("export"))]
        return ["export", *words]

    fit = given.fit(place("fit"), epochs=6, seed=0)
    shards = [given.evaluate(place("shard"), run, "--shard", "1/2") for run in (0, 1)]
    scores = [given.evaluate(place("evaluate"), run) for run in (0, 1)]
    tubes = place("calibrate").with_suffix(".safetensors")
    return [
        Command("town", town(0), place("town"), town(1)),
        Command("prepare", given.prepare(place("prepare")), place("prepare"), grows=True),
        Command("fit", fit, place("fit"), content=weights_of, grows=True),
        Command("evaluate --shard", shards[0], place("shard"), shards[1], evaluation_of),
        Command("calibrate", given.calibrate(tubes, 0), tubes, given.calibrate(tubes, 1)),
        Command("evaluate", scores[0], place("evaluate"), scores[1], evaluation_of),
        Command("merge", given.merge(place("merge")), place("merge"), content=evaluation_of),
        Command("export --format onnx", export(0), place("export"), export(1)),
    ]


def kill_all(
    work: Path, times: Callable[[Command], int], show: Callable[[dict[str, Outcome]], None]
) -> None:
    """Kills every command, and none that an earlier call with the same folder had done with.

    Args:
        work: A folder for inputs, outputs and what came of each command.
        times: How often a command is killed; 0 for not at all.
        show: Called with all outcomes after each command.
    """
    done = work / "outcomes.json"
    made = json.loads(done.read_text()) if done.exists() else {}
    outcomes = {name: Outcome(**each) for name, each in made.items()}
    for command in commands(Given.made(work / "made")):
        if command.name in outcomes or not times(command):
            continue
        outcomes[command.name] = killed(command, times(command))
        done.write_text(json.dumps({name: asdict(each) for name, each in outcomes.items()}))
        show(outcomes)


def table(outcomes: dict[str, Outcome]) -> str:
    """The Markdown table of all commands."""
    states = ("nothing", "the output before", "a part", "the whole output")
    head = " | ".join(f"{state} there" for state in states)
    lines = [f"| command | a whole run | kills | {head} | runs to the end |", "|---" * 8 + "|"]
    for name, found in outcomes.items():
        cells = " | ".join(str(found.found.get(state) or "-") for state in states)
        run = f"{found.whole_s:.1f} s | {found.kills}"
        lines.append(f"| {name} | {run} | {cells} | {found.ended} |")
    return "\n".join(lines)
