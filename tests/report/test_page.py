import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from forecast.report import render
from forecast.report.sections import SECTIONS

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Checked(HTMLParser):
    """Reads a page; fails on tags that do not match, keeps text, ids and attributes."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.ids, self.links, self.words, self.tags = [], [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        names = ("href", "src", "xlink:href", "data", "action")
        self.links += [attributes[name] for name in names if name in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def page(kalman) -> Checked:
    return Checked(render(kalman))


def test_every_section_is_there_and_linked(page, kalman):
    sections = [section(kalman) for section in SECTIONS]
    assert [section.id for section in sections] == [
        "verdict",
        "protocol",
        "scores",
        "horizon",
        "calibration",
        "gallery",
        "provenance",
    ]
    for section in sections:
        assert section.id in page.ids
        assert f"#{section.id}" in page.links
        assert section.title in page.text


def test_loads_nothing_and_refers_only_to_itself(page):
    assert len(page.ids) == len(set(page.ids))
    assert {link[0] for link in page.links} == {"#"}
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)


def test_references_inside_the_drawings_are_there(kalman, page):
    assert set(re.findall(r"url\(#([^)]*)\)", render(kalman))) <= set(page.ids)


def test_every_drawing_and_table_has_a_caption(page, kalman):
    assert page.tags.count("svg") == 3 + len(kalman.pictures)
    assert page.tags.count("figcaption") == page.tags.count("figure")


def test_tables_scroll_in_a_box_of_their_own(kalman):
    text = render(kalman)
    assert text.count('<div class="scroll"') == text.count("<table>")
    assert "width=device-width" in text


def test_colours_follow_the_reader_and_all_are_defined(kalman):
    text = render(kalman)
    used = set(re.findall(r"var\(--([\w-]+)\)", text))
    light, dark = re.findall(r":root \{(.*?)\}", text)
    for theme in (light, dark):
        assert used <= set(re.findall(r"--([\w-]+):", theme))
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert not re.findall(r"(?:fill|stroke): #[0-9a-f]{6}", drawings)


def test_is_the_same_every_time(kalman):
    assert render(kalman) == render(kalman)


def test_names_cannot_break_the_page(kalman):
    evil = "<script>alert('x')</script>&\""
    setting = replace(kalman.setting, split=evil)
    page = Checked(render(replace(kalman, predictor=evil, setting=setting, command=evil)))
    assert "script" not in page.tags
    assert evil in "".join(page.words)


def test_long_text_is_folded(kalman):
    model = {
        "weights_sha256": "0a1b",
        "config": {"note": "<b>bold</b>"},
        "learnt_from": {},
        "version": "0.0.9",
    }
    page = Checked(render(replace(kalman, model=model)))
    assert (page.tags.count("details"), page.tags.count("summary")) == (1, 1)
    assert "<b>bold</b>" in page.text
    assert "b" not in page.tags


def test_a_predictor_of_one_future_has_a_page_too(constant):
    text = Checked(render(constant)).text
    assert "constant_velocity gives no spread of futures" in text
