"""Slices: subsets of the rows by the situation of the pedestrian.

A slicing gives each scored pedestrian of a window one label. To add one, write its function and
one line in `SLICINGS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.errors import ForecastError, require
from forecast.evaluation.scoring.situation import CROWD_RADIUS_M, LANE_REACH_M, Situation
from forecast.models.metrics.map_compliance import LAYERS

Labels = NDArray[np.str_]

UNKNOWN = ""
"""The label where the data do not say: no map, no ego, no description."""

STANDING_MPS = 0.3
"""Slower pedestrians count as standing."""

_WALKING_MPS = 0.5
_TURN_RAD = np.pi / 6
_ACROSS_RAD = np.pi / 4


@dataclass(frozen=True)
class Slicing:
    """One way to cut the rows into slices.

    Attributes:
        function: Labels ``[N]`` of the scored pedestrians of a window.
        title: Heading.
        definition: What the labels mean, in one sentence.
        labels: The known labels, in the order of the report.
        unknown: What is missing where a label is `UNKNOWN`; "" where that cannot happen.
        more: Whether the data have further labels of their own, listed after the known ones.
        weak: Whether the labels come from free text about the whole scene.
    """

    function: Callable[[Situation], Labels]
    title: str
    definition: str
    labels: tuple[str, ...] = ()
    unknown: str = ""
    more: bool = False
    weak: bool = False


def label(situation: Situation) -> dict[str, Labels]:
    """The labels ``[N]`` of every slicing, by its name."""
    return {name: slicing.function(situation) for name, slicing in SLICINGS.items()}


def _binned(values: NDArray[Any], edges: Sequence[float], names: Sequence[str]) -> Labels:
    """Names of bins ``[-inf, edge), [edge, next), …``; `UNKNOWN` for NaN."""
    return np.where(np.isnan(values), UNKNOWN, np.array(names)[np.digitize(values, edges)])


def _all(situation: Situation, name: str) -> Labels:
    return np.full(len(situation), name)


_DISTANCES = ("< 10 m", "10-20 m", "20-40 m", ">= 40 m")


def _ego_distance(s: Situation) -> Labels:
    return _binned(s.ego_distance_m, (10, 20, 40), _DISTANCES)


def _ego_path(s: Situation) -> Labels:
    if s.in_corridor is None:
        return _all(s, UNKNOWN)
    later = np.where(s.in_corridor.any(axis=1), "enters", "stays out")
    return np.where(s.in_corridor[:, 0], "in the path", later)


def _ego_motion(s: Situation) -> Labels:
    if s.ego_motion is None:
        return _all(s, UNKNOWN)
    driven_m, turn_rad = s.ego_motion
    if driven_m < 1:
        return _all(s, "standing")
    return _all(s, "turning" if abs(turn_rad) > _TURN_RAD else "driving on")


_TIMES = ("< 2 s", "2-4 s", ">= 4 s", "no collision course")


def _time_to_collision(s: Situation) -> Labels:
    seconds = s.time_to_collision_s
    found = _binned(np.where(np.isinf(seconds), 1e9, seconds), (2, 4, 1e6), _TIMES)
    return np.where(np.isnan(seconds), UNKNOWN, found)


def _crossing(s: Situation) -> Labels:
    on_road = s.on("drivable_area")
    if on_road is None:
        return _all(s, UNKNOWN)
    moving = np.where(s.angle_to_lane_rad > _ACROSS_RAD, "crossing", "along the road")
    moving = np.where(np.isnan(s.angle_to_lane_rad), UNKNOWN, moving)
    moving = np.where(on_road.any(axis=1), moving, "off the road")
    mean_speed = s.travelled_m / (s.sample.spec.horizon_steps * s.sample.window.dt_s)
    return np.where(mean_speed < STANDING_MPS, "standing", moving)


_GROUNDS = ("crosswalk", "walkway", "carriageway", "elsewhere")


def _ground(s: Situation) -> Labels:
    parts = [s.on(layer) for layer in LAYERS]
    known = [part[:, 0] for part in parts if part is not None]
    if len(known) < len(parts):
        return _all(s, UNKNOWN)
    return np.select(known, _GROUNDS[:3], _GROUNDS[3])


def _jaywalking(s: Situation) -> Labels:
    marked, walkway, road = (s.on(layer) for layer in LAYERS)
    if road is None or marked is None or walkway is None:
        return _all(s, UNKNOWN)
    off = road & ~marked & ~walkway
    crossing = _crossing(s) == "crossing"
    return np.where(crossing & off.any(axis=1) & ~(road & marked).any(axis=1), "yes", "no")


def _change(s: Situation) -> Labels:
    moving = np.where(s.turn_rad > _TURN_RAD, "turning", "walking on")
    stopping = (s.speed_mps >= _WALKING_MPS) & (s.end_speed_mps < STANDING_MPS)
    standing = (s.speed_mps < STANDING_MPS) & (s.end_speed_mps < _WALKING_MPS)
    starting = (s.speed_mps < STANDING_MPS) & (s.end_speed_mps >= _WALKING_MPS)
    return np.select(
        [stopping, starting, standing], ["stopping", "starting", "standing on"], moving
    )


_SPEEDS = ("< 0.3 m/s", "0.3-1 m/s", "1-1.7 m/s", ">= 1.7 m/s")


def _speed(s: Situation) -> Labels:
    return _binned(s.speed_mps, (STANDING_MPS, 1.0, 1.7), _SPEEDS)


_CATEGORIES = (
    *("adult", "child", "wheelchair", "stroller", "personal_mobility"),
    *("police_officer", "construction_worker"),
)
"""nuScenes' categories of pedestrians."""


def _category(s: Situation) -> Labels:
    names = s.sample.scene.tracks.categories[s.agents]
    return np.array([name.removeprefix("human.pedestrian.") for name in names.tolist()], np.str_)


_VISIBILITIES = ("0-40 %", "40-60 %", "60-80 %", "80-100 %")


def _visibility(s: Situation) -> Labels:
    return np.array([UNKNOWN, *_VISIBILITIES])[s.visibility]


def _gaps(s: Situation) -> Labels:
    return np.where(s.past_valid.sum(axis=1) > s.past_steps, "with a gap", "without gaps")


_HISTORIES = ("under 1 s", "1 s or more", "whole")


def _history(s: Situation) -> Labels:
    seconds = (s.past_steps - 1) * s.sample.window.dt_s
    partly = np.where(seconds < 1 - 1e-6, _HISTORIES[0], _HISTORIES[1])
    return np.where(s.past_steps == s.sample.window.history_steps, _HISTORIES[2], partly)


_CROWDS = ("alone", "1-2 others", "3-5 others", "6 or more")


def _crowding(s: Situation) -> Labels:
    return _binned(s.crowd.astype(float), (1, 3, 6), _CROWDS)


def _described(s: Situation, word: str, yes: str, no: str) -> Labels:
    """Whether a word of the scene's description begins like this; `UNKNOWN` without description."""
    text = s.sample.scene.description.lower()
    return _all(s, UNKNOWN if not text else yes if re.search(rf"\b{word}", text) else no)


def _city(s: Situation) -> Labels:
    return _all(s, s.sample.scene.location)


_DRIVING_SIDES = {"singapore": "left", "boston": "right"}


def _driving_side(s: Situation) -> Labels:
    country = s.sample.scene.location.partition("-")[0]
    return _all(s, _DRIVING_SIDES.get(country, UNKNOWN))


_NO_LAYER = "no crosswalks, no walkways or no drivable area in the map"
_NO_EGO_PATH = "no ego at every step up to the horizon"
_NO_WORDS = "no description of the scene"

SLICINGS: Mapping[str, Slicing] = MappingProxyType(
    {
        "ego_distance": Slicing(
            _ego_distance,
            "Distance to the ego",
            "Distance of centres at the prediction time.",
            _DISTANCES,
            unknown="no ego at the prediction time",
        ),
        "ego_path": Slicing(
            _ego_path,
            "The ego's path",
            "Whether the pedestrian is in, enters or stays out of what the ego really drives over "
            "within the horizon, with 1 m to either side.",
            ("in the path", "enters", "stays out"),
            unknown=_NO_EGO_PATH,
        ),
        "ego_motion": Slicing(
            _ego_motion,
            "The ego's motion",
            "What the ego really does within the horizon: drives less than 1 m, turns by more than "
            "30° or neither.",
            ("standing", "driving on", "turning"),
            unknown=_NO_EGO_PATH,
        ),
        "time_to_collision": Slicing(
            _time_to_collision,
            "Time to collision",
            "When pedestrian and ego would touch if both kept their current velocity.",
            _TIMES,
            unknown="no ego at the prediction time and the step before",
        ),
        "crossing": Slicing(
            _crossing,
            "Crossing",
            f"Standing: under {STANDING_MPS} m/s on average over the horizon. Crossing: on the "
            "drivable area at some step, displaced at more than 45° to the nearest lane.",
            ("crossing", "along the road", "off the road", "standing"),
            unknown="no drivable area in the map, or no lane within "
            f"{LANE_REACH_M:g} m to tell its direction",
        ),
        "ground": Slicing(
            _ground,
            "Ground",
            "Where the pedestrian is at the prediction time. A crosswalk takes precedence over a "
            "walkway, and a walkway over the carriageway (the drivable area).",
            _GROUNDS,
            unknown=_NO_LAYER,
        ),
        "jaywalking": Slicing(
            _jaywalking,
            "Jaywalking",
            "Crossing the drivable area within the horizon without touching a crosswalk on it.",
            ("yes", "no"),
            unknown=_NO_LAYER,
        ),
        "change": Slicing(
            _change,
            "Change of motion",
            f"Standing is under {STANDING_MPS} m/s and walking {_WALKING_MPS} m/s or more, at the "
            "prediction time and in the last second; turning is a change of direction by more "
            "than 30°.",
            ("starting", "stopping", "turning", "walking on", "standing on"),
        ),
        "speed": Slicing(_speed, "Speed", "Speed of the last observed step.", _SPEEDS),
        "category": Slicing(
            _category, "Category", "The dataset's own category.", _CATEGORIES, more=True
        ),
        "visibility": Slicing(
            _visibility,
            "Visibility",
            "Share of the pedestrian that is visible in the cameras at the prediction time, as "
            "annotated.",
            _VISIBILITIES,
            unknown="no visibility annotated",
        ),
        "gaps": Slicing(
            _gaps,
            "Gaps",
            "Whether the pedestrian was seen, lost and seen again within the history.",
            ("with a gap", "without gaps"),
        ),
        "history": Slicing(
            _history, "History", "Time seen without a gap up to the prediction time.", _HISTORIES
        ),
        "crowding": Slicing(
            _crowding,
            "Crowding",
            f"Other pedestrians within {CROWD_RADIUS_M:g} m at the prediction time.",
            _CROWDS,
        ),
        "light": Slicing(
            partial(_described, word="night", yes="night", no="day"),
            "Light",
            "Whether the scene's description says night.",
            ("night", "day"),
            unknown=_NO_WORDS,
            weak=True,
        ),
        "weather": Slicing(
            partial(_described, word="rain", yes="rain", no="dry"),
            "Weather",
            "Whether the scene's description says rain.",
            ("rain", "dry"),
            unknown=_NO_WORDS,
            weak=True,
        ),
        "jaywalker": Slicing(
            partial(_described, word="jaywalk", yes="with a jaywalker", no="without"),
            "Scenes with a jaywalker",
            "Whether the scene's description mentions a jaywalker, for everybody in the scene.",
            ("with a jaywalker", "without"),
            unknown=_NO_WORDS,
            weak=True,
        ),
        "city": Slicing(
            _city,
            "City",
            "Where the scene was recorded.",
            unknown="no place in the data",
            more=True,
        ),
        "driving_side": Slicing(
            _driving_side,
            "Driving side",
            "Side of the road that traffic keeps to, by city.",
            ("left", "right"),
            unknown="a city whose side of the road is not on record",
        ),
    }
)
"""All slicings by their stable names, in the order of the report."""

MOST_CROSSED = 3
"""Combinations of the labels of more slicings hold too few rows each to be read."""


def read_slices(words: str) -> tuple[str, ...]:
    """The slicings of a text such as ``crossing,light``.

    Raises:
        ForecastError: One is unknown, or there are too many.
    """
    names = tuple(dict.fromkeys(name.strip() for name in words.split(",")))
    for name in names:
        if name not in SLICINGS:
            listed = ", ".join(SLICINGS)
            raise ForecastError(f"slices: '{name}' is unknown; one or more of {listed} is needed")
    require(len(names) <= MOST_CROSSED, "slices", f"'{words}'", f"at most {MOST_CROSSED} names")
    return names


def labels_of(name: str, column: Labels) -> list[str]:
    """The labels of a slicing: the known ones in their order, then others that occur ``[N]``."""
    known = SLICINGS[name].labels
    return [*known, *sorted(set(np.unique(column).tolist()) - {UNKNOWN, *known})]


def combinations(
    labels: Mapping[str, Labels], names: Sequence[str]
) -> dict[tuple[str, ...], NDArray[np.bool_]]:
    """The rows ``[N]`` of every combination of known labels, those without rows included.

    Args:
        labels: The labels of the rows ``[N]``, by slicing.
        names: The slicings to combine.
    """
    found = {}
    for chosen in product(*(labels_of(name, labels[name]) for name in names)):
        pairs = zip(names, chosen, strict=True)
        found[chosen] = np.logical_and.reduce([labels[name] == label for name, label in pairs])
    return found
