"""Growth of cost with agents, lanes, samples, horizon and scenes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from crowds import DT_S, STEPS, crowd, street
from numpy.typing import NDArray

import forecast
from forecast.datasets.windows import WindowSpec, window
from forecast.graphs import GraphConfig, window_graph
from forecast.scene import LaneMap, Polylines, Scene
from scale.measure import processor_ms

AGENTS = (16, 32, 64, 128, 256, 512)
CROWDED = (16, 32, 64, 128)
LANES = (16, 64, 256, 1024)
SAMPLES = (5, 10, 20, 40, 80)
HORIZONS = (3, 6, 9, 12)
PEOPLE, AT, SPEC = 32, STEPS - 1, WindowSpec(5, 12)
LANE_M, STREET_M = 20.0, 400.0
_FITTED = 3


def measure(repeats: int) -> dict[str, dict[int, float]]:
    """Processor time in ms by size, for each kind of growth."""
    forecaster = forecast.load("town")
    crowds = {count: crowd(count) for count in AGENTS}
    crowded = {count: squeezed(crowds[count]) for count in CROWDED}
    few = crowd(PEOPLE)
    paved = {count: replace(few, lane_map=lanes(count)) for count in LANES}

    def predict(scene: Scene) -> None:
        forecaster.predict(scene, AT)

    def sample(count: int) -> None:
        forecaster.predict(few, AT, samples=count)

    def look_ahead(steps: int) -> None:
        forecaster.predict(few, AT, horizon_s=steps * DT_S)

    return {
        "predict: agents, the street as long as they need": _times(predict, crowds, repeats),
        "predict: agents, all on one street of 60 m": _times(predict, crowded, repeats),
        "window as a graph: agents, the street as long as they need": _times(
            graph, crowds, 5 * repeats
        ),
        "predict: lanes along the street": _times(predict, paved, repeats),
        "predict: samples": _times(sample, {count: count for count in SAMPLES}, repeats),
        "predict: steps ahead": _times(look_ahead, {count: count for count in HORIZONS}, repeats),
    }


def graph(scene: Scene) -> None:
    """A window and its graph."""
    window_graph(window(scene, AT, SPEC), GraphConfig())


def _times(
    call: Callable[[object], None], items: Mapping[int, object], repeats: int
) -> dict[int, float]:
    for item in items.values():
        call(item)
    return {size: processor_ms(call, [item] * repeats) for size, item in items.items()}


def squeezed(scene: Scene) -> Scene:
    """The same people on a street of 60 m."""
    tracks = scene.tracks
    shift = tracks.positions_m[:, :1] * [1, 0]
    length = max(float(shift.max()), 1.0)
    nearer = tracks.positions_m + (shift * (60.0 / length - 1)).astype(np.float32)
    return replace(scene, tracks=replace(tracks, positions_m=nearer), lane_map=street(60.0))


def lanes(count: int) -> LaneMap:
    """Short lanes, evenly distributed along and across a street of 400 m."""
    along = int(STREET_M / LANE_M)
    places = np.arange(count)
    start = np.stack([places % along * LANE_M, places // along * 0.5 - 6.0], -1)
    lines: list[NDArray[np.float64]] = list(np.stack([start, start + np.array([LANE_M, 0])], 1))
    return LaneMap(np.array([f"lane {place}" for place in places]), Polylines.of(lines))


def exponent(times: Mapping[int, float]) -> float:
    """Slope of log time over log size at the largest sizes; 1 is linear growth."""
    sizes = sorted(times)[-_FITTED:]
    return float(np.polyfit(np.log(sizes), np.log([times[size] for size in sizes]), 1)[0])


def table(found: Mapping[str, Mapping[int, float]]) -> str:
    """The Markdown table."""
    lines = [
        f"| processor time, ms | by size | exponent, {_FITTED} largest |",
        "|---|---|---|",
    ]
    for name, times in found.items():
        cells = " · ".join(f"{size}: {value:.3g}" for size, value in sorted(times.items()))
        lines.append(f"| {name} | {cells} | {exponent(times):.2f} |")
    return "\n".join(lines)
