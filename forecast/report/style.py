"""Colours in light and dark mode, and matplotlib figures as inline SVG in these colours."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from itertools import cycle
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from forecast.visualization.birds_eye import LIGHT, Palette

DARK = Palette(
    ink="#e8eaed",
    muted="#9aa3ae",
    road="#23272e",
    walkway="#25302a",
    crosswalk="#352f4a",
    lane="#4a515c",
    divider="#57503a",
    body="#69727f",
    ego="#b3bcc8",
    history="#d5d9df",
    truth="#3fc58a",
    sample="#5f9fe8",
    mode="#ff7b8a",
    fallback="#e8a33d",
    tube="#2b527f",
    plan="#b794f6",
)

SERIES = (
    ("#1f63b5", "#6cb0ff", "solid"),
    ("#b35c00", "#f0a04b", "dashed"),
    ("#3d7a37", "#7fcf78", "dashdot"),
    ("#8a4fa3", "#cf9ae6", "dotted"),
    ("#8c7500", "#d9c24a", (0, (5, 1, 1, 1, 1, 1))),
    ("#66717e", "#97a3b0", (0, (1, 3))),
)
"""Light colour, dark colour and dash of the lines of a figure; the predictor's is the first."""

_LIGHT_COLOURS = asdict(LIGHT) | {f"line-{i}": line[0] for i, line in enumerate(SERIES)}
_DARK_COLOURS = asdict(DARK) | {f"line-{i}": line[1] for i, line in enumerate(SERIES)}
_VARIABLES = {colour: f"var(--{name})" for name, colour in _LIGHT_COLOURS.items()}

_RC: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "forecast",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.5,
    "grid.color": LIGHT.lane,
    "axes.edgecolor": LIGHT.muted,
    "axes.labelcolor": LIGHT.ink,
    "text.color": LIGHT.ink,
    "xtick.color": LIGHT.muted,
    "ytick.color": LIGHT.muted,
    "xtick.labelcolor": LIGHT.ink,
    "ytick.labelcolor": LIGHT.ink,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def css_variables(dark: bool) -> str:
    """The colours as declarations of CSS variables."""
    colours = _DARK_COLOURS if dark else _LIGHT_COLOURS
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def svg(draw: Callable[[Axes], None], *, width_in: float, height_in: float, label: str) -> Markup:
    """A figure as inline SVG: as wide as its container, in the page's font and colours.

    Args:
        draw: Draws into the axes it is given.
        width_in: Width in inches; sets the proportions and the size of the text.
        height_in: Height in inches.
        label: Text for screen readers.
    """
    out = io.StringIO()
    with mpl.rc_context(_RC):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        draw(figure.subplots())
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return Markup(_adapted(out.getvalue(), label))


def _adapted(text: str, label: str) -> str:
    """Adapts a stand-alone SVG to a page: no header, unique ids, scalable, themed, short."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style).*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = text.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
    prefix = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>f{prefix}-", text)
    text = re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", text)
    return re.sub("#[0-9a-f]{6}", lambda colour: _VARIABLES.get(colour[0], colour[0]), text)


def draw_series(
    axes: Axes, x: NDArray[Any], series: Mapping[str, NDArray[Any]], names: Iterable[str]
) -> None:
    """Draws lines over common x values, with a legend.

    Args:
        axes: Where to draw.
        x: Values ``[P]``.
        series: Values ``[P]`` of each line by name.
        names: All names that may occur, so that each has the same style in all figures; the first
            is the evaluated predictor.
    """
    for order, (name, (colour, _, dash)) in enumerate(zip(names, cycle(SERIES), strict=False)):
        if name in series:
            (line,) = axes.plot(x, series[name], color=colour, label=name, zorder=10 - order)
            line.set(linestyle=dash, linewidth=2.2 if order == 0 else 1.4)
    axes.legend(fontsize=8)
