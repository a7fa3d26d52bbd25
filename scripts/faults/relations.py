"""What must not matter to a prediction, on random scenes: place, direction, order and the like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecast import AgentKind, Forecaster, LaneMap, Prediction, Scene
from forecast.scene import Polylines, Tracks
from forecast.scene.lanes import Polygons
from forecast.scene.turning import turned

from .traffic import HISTORY, random_scene

AT, HORIZON_S, SAMPLES = 8, 4.0, 4
"""What is predicted of each scene."""

FAR_M, MOVED_M = 3000.0, 1e6
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Relation:
    """Two predictions that must be the same.

    Attributes:
        name: What is done to the scene.
        within_m: The largest difference of any position that is allowed.
        compared: What of the predictions is compared.
        differences_m: The largest difference in one scene; its arguments are the scene, its
            prediction, the predictor and random numbers.
    """

    name: str
    within_m: float
    compared: str
    differences_m: Callable[[Scene, Prediction, Forecaster, np.random.Generator], float]


def predicted(model: Forecaster, scene: Scene, at: int = AT) -> Prediction:
    """The prediction that is compared."""
    return model.predict(scene, at, horizon_s=HORIZON_S, samples=SAMPLES, seed=1)


def largest_m(one: Floats, other: Floats) -> float:
    """The largest difference of two positions; infinite if one is not finite."""
    away = np.linalg.norm(np.asarray(one, np.float64) - other, axis=-1)
    return float(away.max(initial=0.0)) if np.isfinite(away).all() else np.inf


def rows_of(prediction: Prediction, like: Prediction) -> list[int]:
    """The rows of one prediction for the agents of another."""
    row = {name: number for number, name in enumerate(prediction.agent_ids.tolist())}
    return [row[name] for name in like.agent_ids.tolist()]


def changed(scene: Scene, change: Callable[[Floats], Floats], headings_rad: Floats) -> Scene:
    """A scene with other positions, in its tracks and its map."""

    def lines(old: Polylines) -> Polylines:
        return Polylines(change(old.points_m).astype(np.float32), old.offsets)

    def areas(old: Polygons) -> Polygons:
        return Polygons(lines(old.rings), old.offsets)

    tracks, lanes = scene.tracks, scene.lane_map
    places = change(tracks.positions_m).astype(np.float32)
    tracks = replace(tracks, positions_m=places, headings_rad=headings_rad.astype(np.float32))
    if isinstance(lanes, LaneMap):
        names = ("crosswalks", "walkways", "drivable_area")
        of_areas = {name: areas(getattr(lanes, name)) for name in names}
        lanes = replace(lanes, centerlines=lines(lanes.centerlines), **of_areas)
    return replace(scene, tracks=tracks, lane_map=lanes)


def _turned(scene: Scene, given: Prediction, model: Forecaster, rng: np.random.Generator) -> float:
    angle = float(rng.uniform(-np.pi, np.pi))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    other = predicted(model, turned(scene, angle))
    ours = given.positions_m.astype(np.float64) @ turn
    # Samples of an agent in fallback are spread along the axes of the scene's frame.
    everybody = np.ones(len(given.agent_ids), bool)
    drawn = everybody if given.fallback is None else ~given.fallback
    samples = largest_m(ours[:, drawn], other.positions_m[:, drawn])
    return max(samples, largest_m(_mode(given) @ turn, _mode(other)))


def _moved(scene: Scene, given: Prediction, model: Forecaster, rng: np.random.Generator) -> float:
    """Another place of the world; positions relative to it are the same."""
    origin = rng.uniform(-MOVED_M, MOVED_M, 2).round(3)
    other = predicted(model, replace(scene, origin_m=scene.origin_m + origin))
    return largest_m(given.world_positions_m() + origin, other.world_positions_m())


def _shifted(scene: Scene, given: Prediction, model: Forecaster, rng: np.random.Generator) -> float:
    """Another place within the scene's frame, where float32 has steps of up to 0.5 mm."""
    shift = rng.uniform(-FAR_M, FAR_M, 2)
    other = predicted(model, changed(scene, lambda m: m + shift, scene.tracks.headings_rad))
    return largest_m(given.positions_m + shift, other.positions_m)


def _mirrored(scene: Scene, given: Prediction, model: Forecaster, _: np.random.Generator) -> float:
    across = np.array([1.0, -1.0])
    other = predicted(model, changed(scene, lambda m: m * across, -scene.tracks.headings_rad))
    return largest_m(_mode(given) * across, _mode(other))


def _reordered(
    scene: Scene, given: Prediction, model: Forecaster, rng: np.random.Generator
) -> float:
    order = rng.permutation(len(scene.tracks))
    other = predicted(model, replace(scene, tracks=scene.tracks.select(order)))
    return largest_m(given.positions_m, other.positions_m[:, rows_of(other, given)])


def _renamed(scene: Scene, given: Prediction, model: Forecaster, rng: np.random.Generator) -> float:
    names = np.array([f"agent {number}" for number in rng.permutation(len(scene.tracks))])
    other = predicted(model, replace(scene, tracks=replace(scene.tracks, agent_ids=names)))
    return largest_m(_mode(given), _mode(other))


def _far(scene: Scene, given: Prediction, model: Forecaster, rng: np.random.Generator) -> float:
    """Three more people and two cars, kilometres away."""
    kinds = [AgentKind.PEDESTRIAN] * 3 + [AgentKind.VEHICLE] * 2
    start = np.array([FAR_M, 0.0]) + rng.uniform(-20, 20, (5, 1, 2))
    way = rng.uniform(-1, 1, (5, 1, 2)) * np.arange(scene.steps)[:, None]
    names = [f"far {number}" for number in range(5)]
    far = Scene.from_arrays(start + way, kinds, scene.dt_s, agent_ids=names).tracks
    arrays = ("agent_ids", "kinds", "categories", "sizes_m", "positions_m", "headings_rad", "valid")
    both = {
        name: np.concatenate([getattr(scene.tracks, name), getattr(far, name)]) for name in arrays
    }
    other = predicted(model, replace(scene, tracks=Tracks(**both)))
    return largest_m(given.positions_m, other.positions_m[:, rows_of(other, given)])


def _split(scene: Scene, given: Prediction, model: Forecaster, _: np.random.Generator) -> float:
    start = AT + 1 - HISTORY
    other = predicted(model, scene.between(start, AT + 1), AT - start)
    return largest_m(given.positions_m, other.positions_m[:, rows_of(other, given)])


def _mode(prediction: Prediction) -> Floats:
    return np.asarray(prediction.most_probable(), np.float64)


RELATIONS = [
    Relation("the scene is turned by a random angle", 1e-3, "all samples", _turned),
    Relation("its origin is moved by up to 1,000 km", 1e-9, "all samples", _moved),
    Relation("agents and map are moved by up to 3 km in its frame", 5e-2, "all samples", _shifted),
    Relation("left and right are exchanged", 1e-3, "the best guess", _mirrored),
    Relation("agents are listed in another order", 1e-4, "all samples", _reordered),
    Relation("agents have other names", 1e-4, "the best guess", _renamed),
    Relation("five agents are added 3 km away", 1e-4, "all samples", _far),
    Relation("only the steps of the history are in the scene", 0.0, "all samples", _split),
]


Found = dict[str, list[float]]
"""The largest difference in metres of each relation in each scene."""


def measure(model: Forecaster, scenes: int) -> Found:
    """Compares the predictions of random scenes."""
    found: Found = {relation.name: [] for relation in RELATIONS}
    for seed in range(scenes):
        scene, rng = random_scene(seed), np.random.default_rng(seed)
        given = predicted(model, scene)
        for relation in RELATIONS:
            found[relation.name].append(relation.differences_m(scene, given, model, rng))
    return found


def broken(found: Found) -> list[str]:
    """The relations that do not hold, with their worst scene."""
    worst = {each: int(np.argmax(found[each.name])) for each in RELATIONS}
    return [
        f"{each.name}: {found[each.name][scene]:.2g} m in traffic-{scene}"
        for each, scene in worst.items()
        if not found[each.name][scene] <= each.within_m
    ]


def table(found: Found) -> str:
    """The Markdown table of all relations."""
    lines = [
        "| what is changed | compared | scenes | promised | beyond it | largest | median |",
        "|---" * 7 + "|",
    ]
    for relation in RELATIONS:
        each = np.array(found[relation.name])
        cells = " | ".join(_length(value) for value in (each.max(), np.median(each)))
        beyond = int((~(each <= relation.within_m)).sum())
        named = f"{relation.name} | {relation.compared} | {len(each)}"
        lines.append(f"| {named} | {_length(relation.within_m)} | {beyond} | {cells} |")
    return "\n".join(lines)


def _length(metres: float) -> str:
    return "the same bits" if metres == 0 else f"{metres * 1e3:.2g} mm"
