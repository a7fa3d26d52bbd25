import re
import xml.etree.ElementTree as ET

import numpy as np

from forecast.report.style import DARK, SERIES, draw_series, svg
from forecast.visualization.birds_eye import LIGHT


def line_chart(axes):
    draw_series(axes, np.arange(3), {"a": np.arange(3), "b": np.ones(3)}, ["a", "other", "b"])
    axes.set(xlabel="time <s>")


def chart(label="A chart") -> str:
    return str(svg(line_chart, width_in=3, height_in=2, label=label))


def test_svg_is_well_formed_scalable_and_labelled():
    root = ET.fromstring(chart('with "quotes" & <tags>'))
    assert root.get("width") is None
    assert root.get("height") is None
    assert root.get("viewBox") == "0 0 216 144"
    assert root.get("aria-label") == 'with "quotes" & <tags>'


def test_svg_keeps_text_as_text_in_the_pages_font():
    text = chart()
    assert "time &lt;s&gt;" in text
    assert "font-family" not in text
    assert "<style" not in text


def test_svg_uses_the_pages_colours():
    assert not re.findall("(?:fill|stroke): #[0-9a-f]{6}", chart())
    assert "stroke: var(--line-0)" in chart()
    assert "stroke: var(--line-2)" in chart()
    assert "var(--line-1)" not in chart()


def test_svg_ids_differ_between_drawings_and_references_resolve():
    one, two = chart("one"), chart("two")
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (one, two)]
    assert not ids[0] & ids[1]
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', one)) <= ids[0]


def test_all_colours_are_different():
    colours = [*vars(LIGHT).values(), *(line[0] for line in SERIES)]
    assert len(colours) == len(set(colours))
    assert vars(DARK).keys() == vars(LIGHT).keys()
