"""The places of the city: which district a scene is in, and how to build it."""

from __future__ import annotations

from functools import cache
from typing import Any

from forecast.errors import require
from forecast.simulator.map import layouts, shared_space, surfaces
from forecast.simulator.map.district import District, build_district

DISTRICTS = {"street": layouts.LOCATIONS, "shared_space": shared_space.LOCATIONS}
"""The kinds of districts: name -> places."""


def location_of(scene: int, district: str = "street") -> str:
    """Returns the place of the scene with a number.

    Args:
        scene: Number of the scene.
        district: One of `DISTRICTS`.

    Raises:
        ForecastError: The district is unknown.
    """
    require(district in DISTRICTS, "district", district, f"one of {', '.join(DISTRICTS)}")
    places = DISTRICTS[district]
    return places[scene % len(places)]


@cache
def build_place(location: str, seed: int) -> tuple[District, Any]:
    """Returns a district and its buildings.

    Args:
        location: A place of `DISTRICTS`.
        seed: Seed of the dataset.
    """
    if location in shared_space.LOCATIONS:
        district = shared_space.build_shared_space(location, seed)
    else:
        district = build_district(layouts.layout_of(location, seed))
    return district, surfaces.buildings(district)


def map_name(location: str, seed: int) -> str:
    """Returns the name that the tables and the map file give to a place.

    Args:
        location: A place of `DISTRICTS`.
        seed: Seed of the dataset.
    """
    name: str = build_place(location, seed)[0].layout.location
    return name
