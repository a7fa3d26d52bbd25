"""The words of a film: its subtitle and what its colours mean."""

from __future__ import annotations

import textwrap

from forecast.scene import AgentKind
from forecast.visualization.birds_eye import MEANINGS
from forecast.visualization.film.film import Film
from forecast.visualization.film.regions import tube_level

LINES = ("history", "sample", "fallback", "mode", "truth", "plan")
"""Colours that a legend shows as lines; the others are areas."""

_LONGEST = 60
"""Letters of a scene's description."""


def subtitles(film: Film) -> list[str]:
    """What a film shows, in words; the longest first."""
    first = film.panels[0].predictions[0]
    what = f"{film.predictor}: {first.steps * first.dt_s:g} s ahead"
    if film.is_imagined:
        since = (film.start_us - film.scene.start_us) / 1e6
        what = f"{film.predictor}: imagined from {since:g} s on"
    effect = film.effect_m()
    if effect is not None:
        moved = f"largest effect on a person: {effect[1]:.2f} m"
        return [f"{what}  ·  {moved}, mean of {film.samples} samples", moved]
    about = textwrap.shorten(film.scene.description, _LONGEST, placeholder=" …")
    full = [part for part in (what, film.scene.location, about) if part not in ("", "unknown")]
    return ["  ·  ".join(full[:stop]) for stop in range(len(full), 0, -1)]


def used(film: Film) -> list[str]:
    """Names of the colours that a film uses, in the order of its legend."""
    made = [each for panel in film.panels for each in panel.predictions]
    kinds = set(film.scene.tracks.kinds.tolist())
    lane_map = film.scene.lane_map
    is_used = {
        "history": True,
        "sample": film.modes is not None or film.samples > 1,
        "fallback": any(each.fallback is not None and each.fallback.any() for each in made),
        "mode": True,
        "truth": any(panel.is_true for panel in film.panels),
        "tube": any(each.tubes is not None for each in made),
        "plan": any(panel.plan is not None for panel in film.panels),
        "ego": AgentKind.EGO in kinds,
        "body": bool(kinds & {AgentKind.VEHICLE, AgentKind.CYCLIST}),
        "walkway": lane_map is not None and len(lane_map.walkways) > 0,
        "crosswalk": lane_map is not None and len(lane_map.crosswalks) > 0,
    }
    return [name for name, shown in is_used.items() if shown]


def meaning(film: Film, name: str) -> str:
    """What a colour means in a film."""
    if name == "tube":
        made = (each for panel in film.panels for each in panel.predictions)
        first = next(each for each in made if each.tubes is not None)
        return f"region of {tube_level(first):.0%}"
    futures = f"{film.samples} samples"
    if film.modes is not None:
        futures = f"{film.modes} modes, wider if more probable"
    words = {"sample": futures, "fallback": "fallback: constant velocity"}
    return words.get(name, MEANINGS[name])
