"""Mutated inputs to every way into the package: each is taken or refused in one line."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch

import forecast
from forecast import AgentKind, EgoState, Forecaster, Prediction, Scene, SceneStore
from forecast.datasets.crowds.crowd import CrowdSource
from forecast.datasets.map_file import MapFile
from forecast.datasets.nuscenes import NuScenesSource
from forecast.datasets.store import prepare
from forecast.datasets.tracks.source import TracksSource
from forecast.errors import ForecastError
from forecast.evaluation.prediction_file.reader import read_predictions
from forecast.evaluation.run.merging import definitions
from forecast.evaluation.verdict.acceptance import EXAMPLE, read_acceptance
from forecast.inference import Frame
from forecast.inference import weights as weights_file
from forecast.training.cli import main as train
from forecast.visualization.viewer.answers import Answers
from forecast.visualization.viewer.state import Request, read_request

from .mutations import Mutator
from .traffic import random_scene, small_forecaster, write_nuscenes, write_tracks

_CONFIG = Path(forecast.__file__).with_name("demo.yaml")
LONGEST_S = 10.0
"""More processor time is a hang."""

Try = Callable[[Mutator], Any]


@dataclass
class Outcome:
    """What came of the inputs of one kind.

    Attributes:
        taken: Inputs that were read; what was made of them is sound.
        refused: Inputs refused in one line.
        faults: Number of the input and the last line of each fault.
    """

    taken: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, number: int, line: str) -> None:
        """Counts what came of an input."""
        if line in ("taken", "refused"):
            setattr(self, line, cast("int", getattr(self, line)) + 1)
        else:
            self.faults.append(f"input {number}: {line}")


class _TooLongError(Exception):
    pass


class _UnsoundError(Exception):
    pass


@dataclass(frozen=True)
class Material:
    """Good inputs, from which mutated ones are made.

    Attributes:
        work: A folder for files.
        model: A small network.
        store: A store of random scenes.
        recorded: A store with tokens of key frames, as nuScenes has them.
    """

    work: Path
    model: Forecaster
    store: SceneStore
    recorded: SceneStore

    @classmethod
    def of(cls, work: Path) -> Material:
        """Makes it in a folder, which is emptied before."""
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        scenes = [random_scene(seed, name=f"traffic-{seed}") for seed in range(3)]
        write_tracks(work / "tracks.csv", scenes, ["train", "val", "val"])
        write_nuscenes(work / "nuscenes", [_with_ego(scene) for scene in scenes[:1]])
        (work / "crowd").mkdir()
        (work / "crowd" / "plaza.txt").write_text(_crowd())
        prepare(TracksSource(work / "tracks.csv"), work / "store")
        model = small_forecaster()
        model.save(work / "small.safetensors")
        store = SceneStore.open(work / "store")
        made = [model.predict(store[name], 8, samples=2) for name in store]
        forecast.save_predictions(work / "predictions.parquet", made)
        source = NuScenesSource(work / "nuscenes", "v1.0-traffic", with_map=False)
        return cls(work, model, store, prepare(source, work / "recorded"))

    def read(self, name: str) -> bytes:
        """The content of one of its files."""
        return (self.work / name).read_bytes()

    def scratch(self, folder: str = "") -> Path:
        """An empty folder, or a copy of one of its folders."""
        place = self.work / "scratch"
        shutil.rmtree(place, ignore_errors=True)
        if folder:
            shutil.copytree(self.work / folder, place)
        else:
            place.mkdir()
        return place


def _with_ego(scene: Scene) -> Scene:
    """The scene with the ego at every step."""
    scene.tracks.valid[scene.tracks.kinds == AgentKind.EGO] = True
    return scene


def _crowd() -> str:
    rows = [
        f"{10 * at} {person} {0.5 * at:.2f} {person}.0" for at in range(16) for person in (1, 2)
    ]
    return "\n".join(rows) + "\n"


def sound_scene(scene: Scene) -> None:
    """Checks what every scene promises: finite places on Earth, known kinds, sizes above 0."""
    tracks = scene.tracks
    seen = tracks.positions_m[tracks.valid]
    sound = np.isfinite(seen).all() and (np.abs(seen) <= 1e8).all() and scene.dt_s > 0
    sound &= np.isfinite(tracks.headings_rad[tracks.valid]).all()
    sound &= bool((tracks.sizes_m > 0).all() and np.isin(tracks.kinds, list(AgentKind)).all())
    sound &= bool((np.diff(scene.timestamps_us) > 0).all())
    if not sound:
        raise _UnsoundError(f"{scene!r} is not sound")


def sound_prediction(made: Prediction) -> None:
    """Checks that futures are finite and their weights sum to 1."""
    if not np.isfinite(made.positions_m).all() or not np.isclose(made.weights.sum(), 1):
        raise _UnsoundError("a future is not finite, or the weights do not sum to 1")


def ways_in(material: Material) -> dict[str, Try]:
    """Every way into the package, as a function that reads one mutated input."""
    parts = (_datasets, _maps, _stores, _weights, _predictions, _settings, _arrays, _requests)
    return {name: attempt for part in parts for name, attempt in part(material).items()}


def _datasets(given: Material) -> dict[str, Try]:
    tables = sorted(path.name for path in (given.work / "nuscenes" / "v1.0-traffic").iterdir())

    def tracks(change: Mutator) -> None:
        path = given.scratch() / "tracks.csv"
        path.write_bytes(change.bytes_of(given.read("tracks.csv")))
        _read_all(TracksSource(path))

    def crowd(change: Mutator) -> None:
        path = given.scratch("crowd")
        (path / "plaza.txt").write_bytes(change.bytes_of(given.read("crowd/plaza.txt")))
        _read_all(CrowdSource(path))

    def nuscenes(change: Mutator) -> None:
        path, name = given.scratch("nuscenes"), change.one_of(tables)
        content = change.file(given.read(f"nuscenes/v1.0-traffic/{name}"))
        (path / "v1.0-traffic" / name).write_bytes(content)
        _read_all(NuScenesSource(path, "v1.0-traffic", with_map=False))

    return {"tracks (CSV)": tracks, "crowd recordings": crowd, "nuScenes tables": nuscenes}


def _maps(given: Material) -> dict[str, Try]:
    place = "maps/expansion/boston-seaport.json"

    def expansion(change: Mutator) -> None:
        path = given.scratch() / "map.json"
        path.write_bytes(change.file(given.read(f"nuscenes/{place}")))
        MapFile(path).around(random_scene(0))

    def geojson(change: Mutator) -> None:
        path = given.scratch() / "map.geojson"
        path.write_bytes(change.document(_GEOJSON))
        MapFile(path).around(random_scene(0))

    return {"nuScenes map expansions": expansion, "GeoJSON maps": geojson}


def _stores(given: Material) -> dict[str, Try]:
    work, store = given.work, given.store
    parts = ["store.json", *(f"scenes/{path.name}" for path in (work / "store/scenes").iterdir())]

    def stored(change: Mutator) -> None:
        path, name = given.scratch("store"), change.one_of(parts)
        mutate = change.file if name.endswith("json") else change.bytes_of
        content = mutate(given.read(f"store/{name}"))
        (path / name).write_bytes(content)
        opened = SceneStore.open(path)
        for scene in opened:
            sound_scene(opened[scene])
        opened.scenes_of("all")

    def remade(change: Mutator) -> None:
        """A store is prepared again over damaged files: it is as new."""
        path, name = given.scratch("store"), change.one_of(parts)
        (path / name).write_bytes(change.bytes_of(given.read(f"store/{name}")))
        again = prepare(TracksSource(work / "tracks.csv"), path)
        for scene in store:
            if not np.array_equal(again[scene].tracks.positions_m, store[scene].tracks.positions_m):
                raise _UnsoundError(f"{scene} is another one")

    return {"stores, opened": stored, "stores, prepared again": remade}


def _weights(given: Material) -> dict[str, Try]:
    model, store = given.model, given.store

    def weights(change: Mutator) -> None:
        path = given.scratch() / "w.safetensors"
        path.write_bytes(change.bytes_of(given.read("small.safetensors")))
        weights_file.read_model(path)

    def described(change: Mutator) -> None:
        """Weights with another description and a checksum that fits it."""
        path = given.scratch() / "w.safetensors"
        text = change.document(asdict(model.training)).decode()
        values = model.model.state_dict()
        metadata = {"forecast": text, "sha256": weights_file._checksum(text, values)}
        path.write_bytes(safetensors.torch.save(values, metadata))
        read = weights_file.read_model(path)
        sound_prediction(Forecaster(*read).predict(store["traffic-1"], 8, samples=2))

    return {"weights": weights, "descriptions in weights": described}


def _predictions(given: Material) -> dict[str, Try]:
    rows = pq.read_table(given.work / "predictions.parquet").to_pydict()
    challenge = _challenge(given.recorded)

    def parquet(change: Mutator) -> None:
        path = given.scratch() / "p.parquet"
        path.write_bytes(change.bytes_of(given.read("predictions.parquet")))
        for made in forecast.load_predictions(path):
            sound_prediction(made)

    def columns(change: Mutator) -> None:
        """A file of predictions with other values in a column."""
        path = given.scratch() / "p.parquet"
        pq.write_table(_columns(rows, change), path)
        for made in forecast.load_predictions(path):
            sound_prediction(made)

    def submission(change: Mutator) -> None:
        path = given.scratch() / "p.json"
        path.write_bytes(change.document(challenge))
        read_predictions(path, given.recorded, given.recorded.scene_names, 12)

    return {
        "prediction files, bytes": parquet,
        "prediction files, values": columns,
        "challenge submissions": submission,
    }


def _settings(given: Material) -> dict[str, Try]:
    def acceptance(change: Mutator) -> None:
        path = given.scratch() / "ours.yaml"
        path.write_bytes(change.bytes_of(EXAMPLE.read_bytes()))
        read_acceptance(path, definitions())

    def categories(change: Mutator) -> None:
        path = given.scratch() / "kinds.yaml"
        path.write_bytes(change.bytes_of(b"vehicle.car: vehicle\nrobot.*: ignore\na: static\n"))
        options: dict[str, Any] = {"with_map": False, "categories": path}
        NuScenesSource(given.work / "nuscenes", "v1.0-traffic", **options)

    def configuration(change: Mutator) -> None:
        path = given.scratch() / "config.yaml"
        path.write_bytes(change.bytes_of(_CONFIG.read_bytes()))
        try:
            train("fit", [f"--config={path}", "--print_config"])
        except SystemExit as stop:
            if stop.code:  # its line is on stderr
                raise ForecastError(f"exit code {stop.code}") from None

    return {
        "acceptance criteria": acceptance,
        "kinds of categories": categories,
        "training configurations": configuration,
    }


def _read_all(source: Any) -> None:
    """Reads every scene of a source as `prepare` does, but does not go on after a refusal."""
    source.fingerprint()
    source.splits()
    for name in source.scene_names():
        sound_scene(source.read(name)[0])


def _arrays(given: Material) -> dict[str, Try]:
    model, scene = given.model, given.store["traffic-1"]

    def arrays(change: Mutator) -> None:
        tracks = scene.tracks
        good = {
            "positions_m": tracks.positions_m.astype(np.float64),
            "kinds": tracks.kinds,
            "dt_s": 0.5,
            "valid": tracks.valid,
            "headings_rad": tracks.headings_rad,
            "sizes_m": tracks.sizes_m,
            "agent_ids": tracks.agent_ids.tolist(),
            "origin_m": np.zeros(2),
            "start_us": 0,
        }
        name = change.one_of(list(good))
        made = Scene.from_arrays(**{**good, name: change.argument(good[name])})
        sound_scene(made)
        sound_prediction(model.predict(made, -1, samples=2))

    def frames(change: Mutator) -> None:
        stream, wrong = model.stream(), int(change.rng.integers(4))
        for step in range(4):
            seen = scene.tracks.valid[:, step]
            good = {
                "at_us": 500_000 * step,
                "agent_ids": scene.tracks.agent_ids[seen],
                "kinds": scene.tracks.kinds[seen],
                "positions_m": scene.tracks.positions_m[seen, step],
                "headings_rad": scene.tracks.headings_rad[seen, step],
                "sizes_m": scene.tracks.sizes_m[seen],
            }
            if step == wrong:
                name = change.one_of(list(good))
                good[name] = change.argument(good[name])
            stream.observe(Frame(**good))
        sound_prediction(stream.predict(samples=2))

    return {"`Scene.from_arrays`": arrays, "frames of a stream": frames}


def _requests(given: Material) -> dict[str, Try]:
    model, store = given.model, given.store
    scene, answers = store["traffic-1"], Answers(store, model, "small", given.work / "edited")
    ego = EgoState.of(scene, 8)
    way = np.arange(1, 13)[:, None] * 0.5 * ego.speed_mps
    ahead = way * [[np.cos(ego.heading_rad), np.sin(ego.heading_rad)]]
    plan = ego.pose + np.column_stack([ahead, 0 * way])

    def plans(change: Mutator) -> None:
        options: dict[str, Any] = {"samples": 2, "seed": 0, "plan_dt_s": 0.5}
        name = change.one_of(["plan", "plan", "plan", *options])
        wrong = change.argument(plan if name == "plan" else options[name])
        asked = wrong if name == "plan" else plan
        options = options if name == "plan" else {**options, name: wrong}
        if change.rng.random() < 0.7:
            sound_prediction(model.predict(scene, 8, ego_plan=asked, **options))
        else:
            ranked = model.rank_plans(scene, 8, np.array([asked, asked]), **options)
            if not np.isfinite(ranked.cost).all():
                raise _UnsoundError("a cost is not finite")

    state = {"scene": "traffic-1", "at": 8, "seed": 0, "samples": 2, "edits": _EDITS}
    kinds = [
        {"ask": "futures", "id": 1, "state": state},
        {"ask": "ranking", "id": 1, "state": {**state, "edits": []}, "plans": 3},
        {"ask": "drive", "id": 1, "state": state, "path_m": [[0, 0], [9, 1]], "speed_mps": 5},
    ]

    def messages(change: Mutator) -> None:
        answers.answer(read_request(change.document(change.one_of(kinds)), Request))

    return {"plans of the ego": plans, "messages to the viewer": messages}


_EDITS = [
    {"do": "change", "agent": "0", "position_m": [3.0, -1.0], "speed_mps": 1.0},
    {"do": "add", "agent": "p", "kind": "pedestrian", "position_m": [5.0, 0.0]},
    {"do": "remove", "agent": "1"},
]

_GEOJSON = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"layer": "crosswalk"},
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[-9, -9], [9, -9], [9, 9], [-9, 9], [-9, -9]]],
            },
        },
        {
            "type": "Feature",
            "properties": {"layer": "lane"},
            "geometry": {"type": "LineString", "coordinates": [[-9, 0], [9, 0]]},
        },
    ],
}


def _columns(rows: dict[str, list[Any]], change: Mutator) -> Any:
    """The rows of a file of predictions with one column that is something else."""
    name, rng = change.one_of(list(rows)), change.rng
    changed = {**rows, name: list(rows[name])}
    for row in rng.integers(0, len(rows[name]), rng.integers(1, 20)).tolist():
        value = change.argument(rows[name][row])
        changed[name][row] = None if isinstance(value, np.ndarray) else value
    with contextlib.suppress(pa.ArrowException, TypeError, OverflowError):
        return pa.table(changed)
    return pa.table({**rows, name: [str(value) for value in changed[name]]})


def _challenge(store: SceneStore) -> list[dict[str, Any]]:
    """A submission to the nuScenes prediction challenge for two agents of a scene."""
    scene, at = store["traffic-0"], 6
    records = []
    for agent in range(2):
        x, y = (scene.tracks.positions_m[agent, at] + scene.origin_m).tolist()
        path = [[x + 0.1 * step, y] for step in range(1, 13)]
        keys = {"instance": str(scene.tracks.agent_ids[agent]), "sample": str(scene.frame_ids[at])}
        records.append({**keys, "prediction": [path, path], "probabilities": [0.5, 0.5]})
    return records


def tried(attempt: Try, change: Mutator) -> str:
    """What comes of one input: taken, refused, or the fault."""
    try:
        with _limited(LONGEST_S), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            attempt(change)
    except ForecastError as error:
        line = str(error)
        return "refused" if "\n" not in line else f"several lines: {line[:80]!r}"
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [each for each in frames if "/forecast/" in each.filename] or list(frames)
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return f"{type(error).__name__} in {place}: {' '.join(str(error).split())[:100]}"
    return "taken"


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooLongError(f"longer than {seconds:g} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def tally(attempt: Try, inputs: int, progress: Path, first: int = 0) -> Outcome:
    """Tries inputs in processes of their own, so that one that dies is a fault as others are.

    Args:
        attempt: Reads one mutated input.
        inputs: Number of inputs.
        progress: A file for what has come of each.
        first: Number of the first input.

    Raises:
        ForecastError: The input without changes is not taken.
    """
    if (good := tried(attempt, Mutator(None))) != "taken":  # this also compiles what is compiled
        raise ForecastError(f"the input without a change is not taken: {good}")
    outcome, number, end = Outcome(), first, first + inputs
    while number < end:
        progress.unlink(missing_ok=True)
        child = multiprocessing.get_context("fork").Process(
            target=_try_all, args=(attempt, range(number, end), progress)
        )
        child.start()
        child.join()
        lines = progress.read_text().splitlines() if progress.exists() else []
        for line in lines:
            outcome.add(number, line)
            number += 1
        if number < end:
            outcome.add(number, f"the process ended with code {child.exitcode}")
            number += 1
    return outcome


def _try_all(attempt: Try, seeds: range, progress: Path) -> None:
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    with progress.open("w", buffering=1) as file:
        for seed in seeds:
            file.write(f"{tried(attempt, Mutator(seed))}\n")


SHARES = {
    "stores, prepared again": 0.3,
    "descriptions in weights": 0.5,
    "plans of the ego": 0.7,
    "training configurations": 0.1,
}
"""Shares of the usual number of inputs for ways that take long."""


def measure(work: Path, inputs: int) -> dict[str, Outcome]:
    """Tries all ways in.

    Args:
        work: A folder for files.
        inputs: Number of inputs of each, but for `SHARES`.
    """
    material = Material.of(work)
    return {
        name: tally(attempt, round(inputs * SHARES.get(name, 1.0)), work / "progress")
        for name, attempt in ways_in(material).items()
    }


def table(found: dict[str, Outcome]) -> str:
    """The Markdown table of all ways in."""
    lines = ["| inputs | number | taken | refused | faults |", "|---" * 5 + "|"]
    total: Counter[str] = Counter()
    for name, each in found.items():
        counts = {"taken": each.taken, "refused": each.refused, "faults": len(each.faults)}
        total.update(counts)
        cells = " | ".join(f"{count:,}" for count in counts.values())
        lines.append(f"| {name} | {sum(counts.values()):,} | {cells} |")
    cells = " | ".join(f"{total[name]:,}" for name in ("taken", "refused", "faults"))
    return "\n".join([*lines, f"| together | {sum(total.values()):,} | {cells} |"])
