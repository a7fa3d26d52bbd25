"""`plot`: a prediction in its scene as one picture, for notebooks and scripts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from forecast.datasets.windows import Window, WindowSpec, window
from forecast.errors import ForecastError, require
from forecast.scene import AgentKind, Prediction, Scene
from forecast.visualization.birds_eye import LIGHT, MEANINGS, draw_window

_HISTORY_S = 2.0
"""Length of the observed tracks that are drawn."""


class Picture(Figure):
    """A figure that a notebook shows without more; ``savefig`` writes it to a file."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def plot(
    scene: Scene,
    prediction: Prediction,
    *,
    agents: Sequence[str] | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Draws a prediction: map, agents, observed tracks, sampled futures, best guess and truth.

    The recorded future is drawn where the scene has it. To show the picture in a window, give axes
    of ``matplotlib.pyplot``.

    Args:
        scene: The scene of the prediction.
        prediction: Its prediction.
        agents: Names of the agents whose futures are drawn; default: the predicted pedestrians, or
            all predicted agents where there are none.
        axes: Axes to draw in; default: those of a new figure.

    Returns:
        The figure, as a `Picture` if it is new.

    Raises:
        ForecastError: The prediction is of another scene, an agent is not predicted, or an argument
            is of another type.
    """
    for name, value, kind in (("scene", scene, Scene), ("prediction", prediction, Prediction)):
        require(isinstance(value, kind), name, type(value).__name__, f"a {kind.__name__}")
    found = axes is None or isinstance(axes, Axes)
    require(found, "axes", type(axes).__name__, "one Axes, such as the second of plt.subplots()")
    cut, own = _window(scene, prediction), prediction
    row_of = {name: row for row, name in enumerate(own.agent_ids.tolist())}
    rows = np.array([row_of.get(name, -1) for name in cut.agent_ids.tolist()], np.int64)
    predicted = np.isin(cut.agent_ids, own.agent_ids[own.valid])
    cut = replace(cut, scored=_shown(cut, predicted, agents))
    if axes is None:
        figure = Picture(figsize=(7, 7), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
    drawn = _in_order(own, rows, cut.agent_ids, scene.origin_m)
    draw_window(axes, cut, drawn)
    _legend(axes, cut, drawn)
    axes.set_title(f"{scene.id}, {(own.at_us - scene.start_us) / 1e6:g} s", fontsize=10)
    return axes.get_figure(root=True)  # type: ignore[return-value]


def _window(scene: Scene, prediction: Prediction) -> Window:
    """The scene around the time of the prediction."""
    found = np.flatnonzero(scene.timestamps_us == prediction.at_us)
    needed = f"a prediction at a time of scene {scene.id}"
    require(len(found) == 1, "prediction.at_us", prediction.at_us, needed)
    other = prediction.scene_id not in ("", scene.id)
    require(not other, "prediction.scene_id", f"'{prediction.scene_id}'", f"'{scene.id}'")
    unknown = np.setdiff1d(prediction.agent_ids[prediction.valid], scene.tracks.agent_ids)
    require(not len(unknown), "agents that the scene lacks", unknown[:3].tolist(), needed)
    history = round(_HISTORY_S / scene.dt_s) + 1
    ahead = max(1, int(prediction.steps * prediction.dt_s / scene.dt_s + 1e-6))
    spec = WindowSpec(history, ahead, min_history_steps=1)
    return window(scene, int(found[0]), spec, scored=np.zeros(len(scene.tracks), bool))


def _shown(
    cut: Window, predicted: NDArray[np.bool_], agents: Sequence[str] | None
) -> NDArray[np.bool_]:
    """The agents whose futures are drawn ``[A]``."""
    if agents is None:
        people = predicted & (cut.kinds == AgentKind.PEDESTRIAN)
        return people if people.any() else predicted
    names = list(agents) if np.iterable(agents) and not isinstance(agents, str) else [agents]
    for name in names:
        if not isinstance(name, str) or name not in cut.agent_ids[predicted]:
            known = ", ".join(map(repr, cut.agent_ids[predicted][:5].tolist()))
            raise ForecastError(f"agents: {name!r} is not predicted; one of {known}, … is needed")
    return np.isin(cut.agent_ids, names)


def _in_order(
    prediction: Prediction,
    rows: NDArray[np.int64],
    agent_ids: NDArray[np.str_],
    origin_m: NDArray[np.float64],
) -> Prediction:
    """The prediction of other agents, relative to another origin.

    Args:
        prediction: The prediction.
        rows: Its row for each of the agents ``[N]``, -1 for those that it lacks.
        agent_ids: Names of the agents ``[N]``.
        origin_m: World position ``[2]`` of the new origin.
    """

    def picked(values: NDArray[Any]) -> NDArray[Any]:
        found = np.zeros((len(rows), *values.shape[1:]), values.dtype)
        found[rows >= 0] = values[rows[rows >= 0]]
        return found

    shift = (prediction.origin_m - origin_m).astype(np.float32)
    mode, fallback = prediction.mode_m, prediction.fallback
    return Prediction(
        positions_m=picked(prediction.positions_m.swapaxes(0, 1)).swapaxes(0, 1) + shift,
        weights=prediction.weights,
        agent_ids=agent_ids,
        valid=picked(prediction.valid),
        at_us=prediction.at_us,
        dt_s=prediction.dt_s,
        origin_m=origin_m,
        mode_m=None if mode is None else picked(mode) + shift,
        fallback=None if fallback is None else picked(fallback),
        scene_id=prediction.scene_id,
        now_m=None if prediction.now_m is None else picked(prediction.now_m) + shift,
    )


def _legend(axes: Axes, cut: Window, prediction: Prediction) -> None:
    """Names the colours of what is drawn of a prediction of the window's agents."""
    fallback = np.zeros(int(cut.scored.sum()), bool)
    if prediction.fallback is not None:
        fallback = prediction.fallback[cut.scored]
    lines = {
        "history": True,
        "sample": prediction.samples > 1 and not (len(fallback) and fallback.all()),
        "fallback": fallback.any(),
        "mode": True,
        "truth": cut.future_valid[cut.scored].any(),
    }
    areas = {"road": False, "walkway": False, "crosswalk": False}
    if cut.lane_map is not None:
        places = cut.lane_map.drivable_area, cut.lane_map.walkways, cut.lane_map.crosswalks
        areas = {name: len(there) > 0 for name, there in zip(areas, places, strict=True)}
    kinds = set(cut.kinds[cut.valid[:, cut.history_steps - 1]].tolist())
    areas["body"] = bool(kinds & {AgentKind.VEHICLE, AgentKind.CYCLIST})
    areas["ego"] = AgentKind.EGO in kinds
    words = MEANINGS | {"sample": f"{prediction.samples} samples"}
    handles: list[Any] = [
        Line2D([], [], color=getattr(LIGHT, name), label=words[name])
        for name, is_drawn in lines.items()
        if is_drawn
    ]
    handles += [
        Patch(color=getattr(LIGHT, name), label=words[name])
        for name, is_drawn in areas.items()
        if is_drawn
    ]
    axes.legend(handles=handles, fontsize=7, loc="best", framealpha=0.9)
