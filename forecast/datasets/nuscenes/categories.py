"""Kinds of agents by the names of their categories.

The defaults know the names of nuScenes, T4, TruckScenes, Lyft Level 5, KITTI, Argoverse 2 and Waymo
and what converters make of them. A YAML file overrides them and adds others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from forecast.errors import ForecastError
from forecast.scene import AgentKind

IGNORED = -1
"""In place of a kind: agents of the category are left out."""

_WORDS = {
    **{kind.name.lower(): int(kind) for kind in AgentKind if kind != AgentKind.EGO},
    "ignore": IGNORED,
}
"""The values of the YAML file. The ego is not one of the annotated agents."""

_DEFAULTS = {
    "ignore": "dontcare dont_care ignore ignored ego vehicle.ego ego_vehicle",
    # Before the people and vehicles whose names are parts of theirs.
    "static": "static* movable* traffic_cone* trafficcone* traffic_light* traffic_sign* "
    "*barrier* *barrel* bollard* cone cones *_cone pylon* sign signs *_sign *_signs *_light "
    "*crossing *rack debris* pushable* *_pole unknown* misc object generic_object *obstacle* "
    "*message_board* wheeled_device animal* dog",
    "cyclist": "vehicle.bicycle* vehicle.motorcycle* vehicle.motorbike* vehicle.cyclist* "
    "human.rider* bicycle* bicyclist* cyclist* motorcycle* motorcyclist* motorbike* rider* bike* "
    "wheeled_rider scooter* *_scooter moped*",
    "pedestrian": "human* pedestrian* person persons person.* person_* personal_mobility* people "
    "adult* child* walker* police_officer construction_worker worker wheelchair* stroller* "
    "official_signaler",
    "vehicle": "vehicle* vehicular* *vehicle car car.* *_car van *_van minivan suv sedan taxi "
    "*truck* bus bus.* *_bus minibus *trailer* ambulance* forklift tractor excavator tram* train "
    "train.* pickup*",
}
"""Patterns of names by kind. The first that fits counts. Animals are too few to forecast them."""


@dataclass(frozen=True)
class Categories:
    """Which category is which kind.

    Attributes:
        rules: Patterns of names with their kinds, from the most to the least specific.
        path: The YAML file that they come from.
    """

    rules: Mapping[str, int] = field(default_factory=dict)
    path: Path | None = None

    @classmethod
    def read(cls, path: Path | None) -> Categories:
        """Reads a YAML file of ``category: kind``.

        A category is a name, or the first words of one (``vehicle`` for ``vehicle.car``), or a
        pattern with ``*``; upper and lower case are the same. Of several that fit, the longest
        counts. A kind is pedestrian, cyclist, vehicle or static, or ``ignore`` to leave agents out.

        Args:
            path: The file; None: the defaults alone.

        Raises:
            ForecastError: The file is missing or something else, or a kind is unknown.
        """
        if path is None:
            return cls()
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            words = " ".join(str(getattr(error, "strerror", None) or error).split())
            raise ForecastError(f"{path}: {words}; --categories needs a YAML file") from None
        if not isinstance(content, dict) or not content:
            raise ForecastError(
                f"{path}: not a mapping; lines such as 'robot.delivery: static' are needed"
            )
        rules = {str(name): _kind(path, str(name), word) for name, word in content.items()}
        return cls(dict(sorted(rules.items(), key=lambda rule: -len(rule[0]))), path)

    def kinds_of(self, names: NDArray[np.str_], used: NDArray[np.int32]) -> NDArray[np.int8]:
        """Returns the kinds of instances ``[I]``, `IGNORED` for those to leave out.

        Args:
            names: Category of each instance ``[I]``.
            used: Instances that are annotated. Others may have any category.

        Raises:
            ForecastError: A category of an annotated instance is unknown.
        """
        categories, row = np.unique(names, return_inverse=True)
        found = [self.kind_of(str(name)) for name in categories]
        in_use = np.bincount(row[used], minlength=len(categories)) > 0
        unknown = [str(categories[i]) for i in np.flatnonzero(in_use) if found[i] is None]
        if unknown:
            one, be = ("category", "is") if len(unknown) == 1 else ("categories", "are")
            others = ", ".join(word for word in _WORDS if word != "static")
            raise ForecastError(
                f"{one} {_listed(unknown)} {be} unknown; a line for --categories FILE.yaml is "
                f"needed: '{unknown[0]}: static' (or {others})"
            )
        kinds = [IGNORED if kind is None else kind for kind in found]
        return np.array(kinds, np.int8)[row]

    def kind_of(self, name: str) -> int | None:
        """Returns the kind of a category, `IGNORED` to leave it out, None if it is unknown."""
        for rule, kind in self.rules.items():
            if _fits(rule, name):
                return kind
        for word, patterns in _DEFAULTS.items():
            if any(fnmatchcase(_plain(name), pattern) for pattern in patterns.split()):
                return _WORDS[word]
        return None

    def without_effect(self, names: Iterable[str]) -> list[str]:
        """Returns the rules of the file that fit none of some categories."""
        known = list(names)
        return [rule for rule in self.rules if not any(_fits(rule, name) for name in known)]


def _kind(path: Path, name: str, word: Any) -> int:
    # Nested contents are not put into words: their text may be of any length.
    word = word if isinstance(word, str) else type(word).__name__
    if word.strip().lower() not in _WORDS:
        raise ForecastError(f"{path}: '{name}' is '{word}'; one of {', '.join(_WORDS)} is needed")
    return _WORDS[word.strip().lower()]


def _fits(rule: str, name: str) -> bool:
    pattern, plain = _plain(rule), _plain(name)
    below = pattern.rstrip(".") + "."
    return plain == pattern or plain.startswith(below) or fnmatchcase(plain, pattern)


def _plain(name: str) -> str:
    """Returns a name in lower case with one spelling of its gaps: ``TYPE_CAR`` is ``car``."""
    return re.sub(r"[\s/_-]+", "_", name.strip().lower()).removeprefix("type_")


def _listed(names: list[str]) -> str:
    quoted = [f"'{name}'" for name in names[:5]]
    return ", ".join(quoted) + (", …" if len(names) > 5 else "")
