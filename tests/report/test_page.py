import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring.slices import SLICINGS
from forecast.evaluation.scoring.statistics import MIN_ROWS
from forecast.report import render
from forecast.report.document import FORMAT
from forecast.report.sections import SECTIONS
from forecast.report.sections.gallery import anchor

VOID = {"meta", "wbr", "link", "br", "hr", "img", "input"}


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


def says_what_is_good(caption: str) -> bool:
    """Whether a sentence of the caption says it: "Good is …", "Good: …", "Low is good …"."""
    sentences = re.split(r"(?<=[.:;]) (?=[A-Z])", caption)
    claims = re.compile(r"(Good(:| is| looks like| are)? \w+ ?\w*|(Low|High|Few|Many) is good)")
    return any(claims.match(sentence) for sentence in sentences)


def html(result: EvaluationResult) -> str:
    return render(result)["report.html"]


@pytest.fixture(scope="module")
def text(kalman) -> str:
    return html(kalman)


@pytest.fixture(scope="module")
def page(text) -> Checked:
    return Checked(text)


def test_every_section_is_there_and_linked(page, kalman):
    sections = [section(kalman) for section in SECTIONS]
    assert [section.id for section in sections] == [
        *("verdict", "key", "triggering", "protocol", "scores", "horizon", "slices", "collisions"),
        *(
            "criticality",
            "calibration",
            "stability",
            "causality",
            "cost",
            "gallery",
            "limitations",
            "provenance",
        ),
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


def test_references_inside_the_drawings_are_there(text, page):
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(page.ids)


def test_every_drawing_and_table_has_a_caption(page, kalman):
    assert page.tags.count("svg") == 4 + len(kalman.pictures)
    assert page.tags.count("figcaption") == page.tags.count("figure")


def test_every_caption_says_what_good_looks_like(kalman):
    blocks = [block for section in SECTIONS for block in section(kalman).blocks]
    captions = [block.caption for block in blocks if hasattr(block, "caption")]
    assert len(captions) > 20
    assert [caption for caption in captions if not says_what_is_good(caption)] == []


@pytest.mark.parametrize(
    ("caption", "says"),
    [
        ("Errors by time. Good is below every baseline.", True),
        ("Errors in metres. Low is good.", True),
        ("Good: the truth runs inside the samples.", True),
        ("Low is good in every row. A conflict is a near miss.", True),
        ("Origins by time. There is no good or bad here: it says how many there are.", False),
        ("How good the predictor is. Good.", False),
        ("Errors by time, a good many of them.", False),
        ("Errors by time. Nothing is good.", False),
    ],
)
def test_what_counts_as_saying_so(caption, says):
    assert says_what_is_good(caption) == says


def test_pictures_have_a_key_and_are_linked(text, page, kalman):
    assert text.count('<ul class="key"') == len(kalman.pictures)
    anchors = re.findall(r'<figure id="([^"]*)">', text)
    assert len(set(anchors)) == len(kalman.pictures)
    for name, picture in zip(anchors, kalman.pictures, strict=True):
        row = picture.row
        parts = (kalman.rows.scene_ids, kalman.rows.at_us, kalman.rows.agent_ids)
        assert all(str(part[row]) in name for part in parts)
        assert f"#{name}" in page.links
    variables = set(re.findall(r"background: var\(--([\w-]+)\)", text))
    assert {"history", "truth", "sample", "mode"} < variables


def test_conditions_and_scenes_lead_to_their_worst_picture(kalman, page):
    first = next(picture for picture in kalman.pictures if picture.why == "worst")
    link = f"#{anchor(kalman, first)}"
    assert page.links.count(link) >= 3  # itself, its scene, and the condition "any pedestrian"


def test_headers_break_at_spaces_alone(text):
    heads = "".join(re.findall(r"<thead>.*?</thead>", text, re.DOTALL))
    assert "constant_velocity" in heads
    assert "<wbr" not in text


def test_tables_scroll_in_a_box_of_their_own(text):
    assert text.count('<div class="scroll') == text.count("<table>")
    assert "width=device-width" in text


def test_colours_follow_the_reader_and_all_are_defined(text):
    used = set(re.findall(r"var\(--([\w-]+)\)", text))
    light, dark = re.findall(r":root \{(.*?)\}", text)
    for theme in (light, dark):
        assert used <= set(re.findall(r"--([\w-]+):", theme))
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert not re.findall(r"(?:fill|stroke): #[0-9a-f]{6}", drawings)


def test_is_the_same_every_time(kalman, text):
    assert html(kalman) == text


@pytest.mark.slow
def test_the_document_says_what_the_page_says(kalman, page):
    document = json.loads(render(kalman)["report.json"])
    assert document["format"] == FORMAT
    assert list(document["sections"]) == [section(kalman).id for section in SECTIONS]
    for section in document["sections"].values():
        for block in section["blocks"]:
            words = [block.get("text", ""), block.get("caption", ""), *block.get("figures", [])]
            words += [cell for row in block.get("rows", []) for cell in row]
            for word in words:
                assert " ".join(word.split()) in page.text


def test_the_document_holds_the_exact_numbers(kalman):
    data = json.loads(render(kalman)["report.json"])["sections"]
    scores = data["scores"]["data"]
    for name, mean in kalman.means().items():
        found = scores["kalman"]["all"][name]
        assert found["value"] == (pytest.approx(mean.value) if mean.n else None)
        assert (found["n"], found["low"]) == (mean.n, None)  # two scenes give no interval
    speeds = data["slices"]["data"]["speed"]
    assert sum(each["n"] for each in speeds.values()) == len(kalman.rows)
    assert list(speeds) == [*SLICINGS["speed"].labels, "unknown"]
    unknown = speeds.pop("unknown")
    assert (unknown["n"], unknown["why"], unknown["metrics"]) == (0, "", {})
    assert [each["suppressed"] for each in speeds.values()] == [
        each["n"] < MIN_ROWS for each in speeds.values()
    ]
    light = data["slices"]["data"]["light"]["unknown"]
    assert light["why"] == "no description of the scene"
    assert data["provenance"]["data"]["environment"]["tables_sha256"]
    assert data["protocol"]["data"]["setting"]["seed"] == 0


def test_names_cannot_break_the_page(kalman):
    evil = "<script>alert('x')</script>&\""
    setting = replace(kalman.setting, split=evil)
    page = Checked(html(replace(kalman, predictor=evil, setting=setting, command=evil)))
    assert "script" not in page.tags
    assert evil in "".join(page.words)


def test_long_text_is_folded(kalman):
    model = {
        "weights_sha256": "0a1b",
        "config_sha256": "2c3d",
        "config": {"note": "<b>bold</b>"},
        "learnt_from": {},
        "version": "0.0.9",
    }
    page = Checked(html(replace(kalman, model=model)))
    assert (page.tags.count("details"), page.tags.count("summary")) == (4, 4)
    assert "<b>bold</b>" in page.text
    assert "b" not in page.tags


@pytest.mark.slow
def test_a_predictor_of_one_future_has_a_page_too(constant):
    text = Checked(html(constant)).text
    assert "constant_velocity gives no spread of futures" in text
