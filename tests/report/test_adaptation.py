"""The page of ``forecast adapt``, from ledgers with numbers made up here."""

import json
from pathlib import Path

import numpy as np
import pytest

from forecast.adaptation.gate import Change
from forecast.adaptation.ledger import Entry, Header, Ledger, Undone
from forecast.adaptation.testing import Tested
from forecast.report import render_adaptation
from forecast.report.document import ADAPTATION_FORMAT
from forecast.report.section import Facts, Figure, FoldedTables, Table, Text
from forecast.report.sections.adaptation import adaptation, latest_mean
from tests.browser import visit
from tests.report.test_page import Checked, says_what_is_good
from tests.report.test_sections import of_kind

HEADER = Header(weights_sha256="a" * 64, old=[], config={"forgotten": 0.01}, version="1", torch="2")


def entry(number: int, done: str, **details) -> Entry:
    return Entry(
        number=number,
        scene=f"scene-{number}",
        sha256="",
        store="",
        fingerprint="",
        done=done,
        before_sha256="b" * 64,
        after_sha256="c" * 64,
        calibrated_on=number,
        **{"seconds": 2.0, **details},
    )


def scores(loss: float, at_start: float, inside: float | None, truths: int = 100) -> Tested:
    return Tested(loss, at_start, inside, truths, ood=0.0, windows=6)


def since_start(after: float) -> Change:
    return Change(8, 2.0, after, 0.01)


def ledger_of(folder: Path, lines: list[Entry | Undone]) -> Ledger:
    made = Ledger(folder / "city.adaptation", HEADER)
    for line in lines:
        made.append(line)
    return made


LINES = [
    entry(1, "learnt", test=scores(1.0, 1.0, None), since_start=since_start(2.01)),
    entry(2, "rolled back", why="too bad", test=scores(1.1, 1.2, 0.7), since_start=since_start(3)),
    entry(3, "held out", test=scores(0.9, 1.1, 0.8, truths=300), seconds=4.0),
    entry(4, "refused", why="in kilometres", seconds=0.1),
    entry(5, "learnt", test=scores(0.8, 1.1, 0.9), since_start=since_start(1.99)),
]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return ledger_of(tmp_path, LINES)


def test_the_first_sentence_says_whether_adapting_helps(ledger):
    """Means 0.95 and 1.10; differences 0, -0.1, -0.2 and -0.3: 0.15 with an error of 0.065."""
    (first, *_) = of_kind(adaptation(ledger), Text)
    assert first.text == (
        "4 scenes before each was learnt from: mean loss 0.9500, with the weights of the start "
        "1.1000 (-13.6%)."
    )
    assert (first.tone, first.overall) == ("good", True)


@pytest.mark.parametrize(("losses", "tone"), [((1.2, 1.3), "bad"), ((0.7, 1.2), "open")])
def test_it_says_so_where_adapting_harms_or_nothing_is_sure(tmp_path, losses, tone):
    tests = [scores(loss, 1.0, None) for loss in losses]
    lines = [entry(i + 1, "learnt", test=test) for i, test in enumerate(tests)]
    (first, *_) = of_kind(adaptation(ledger_of(tmp_path, lines)), Text)
    assert (first.tone, "which may be noise" in first.text) == (tone, tone == "open")


def test_the_old_data_are_those_after_the_last_step_that_was_kept(ledger):
    (_, second, *_) = of_kind(adaptation(ledger), Text)
    assert second.text.startswith(
        "8 held-out scenes of the old data: loss 2.0000 at the start, 1.9900 now (-0.5%). "
        "What is beyond +1.0% and beyond its noise is rolled back."
    )


def test_counts_and_times(ledger):
    (facts,) = of_kind(adaptation(ledger), Facts)
    said = dict(facts.facts)
    counts = {"Scenes": "5", "Learnt": "2", "Held out": "1", "Rolled back": "1", "Refused": "1"}
    assert counts.items() <= said.items()
    assert said["Processor time of a scene"] == "2.0 s (median), 4.0 s (longest)"


def test_the_table_has_the_numbers_of_groups_of_scenes(ledger):
    (table,) = of_kind(adaptation(ledger), Table)
    assert [cell.text for cell in table.rows[4]] == [
        *("5", "0.8000", "1.1000", "0.900", "1", "0", "0", "0", "-0.5%", "2.0")
    ]
    missing = [cell.text for cell in table.rows[3]]
    assert missing[1:4] == [missing[8]] * 3 == ["–"] * 3  # noqa: RUF001


def test_groups_weigh_coverage_by_truths(tmp_path):
    tests = [scores(1.0, 1.0, 0.5, truths=300), scores(1.0, 1.0, 0.9, truths=100)]
    lines = [entry(i + 1, "learnt", test=tests[i % 2]) for i in range(16)]
    (table,) = of_kind(adaptation(ledger_of(tmp_path, lines)), Table)
    assert [row[0].text for row in table.rows][:2] == ["1 to 2", "3 to 4"]
    assert {row[3].text for row in table.rows} == {"0.600"}


def test_what_changed_nothing_is_listed_with_its_reason(ledger):
    (folded,) = of_kind(adaptation(ledger), FoldedTables)
    assert folded.summary == "Rolled back or refused: 2 scenes"
    rows = [[cell.text for cell in row] for row in folded.tables[0].rows]
    assert rows == [
        ["2: scene-2", "rolled back", "too bad"],
        ["4: scene-4", "refused", "in kilometres"],
    ]


def test_undone_scenes_are_left_out(tmp_path):
    section = adaptation(ledger_of(tmp_path, [*LINES, Undone(undone_to=2)]))
    (facts,) = of_kind(section, Facts)
    assert dict(facts.facts)["Scenes"] == "2"
    assert [each["number"] for each in section.data["entries"]] == [1, 2]
    assert section.data["undone"] == [2]


@pytest.mark.parametrize("lines", [[], LINES[3:4], LINES[:1]], ids=["nothing", "refused", "one"])
def test_little_was_done(tmp_path, lines):
    section = adaptation(ledger_of(tmp_path, lines))
    assert "too few to say" in of_kind(section, Text)[0].text


def test_every_figure_and_table_says_what_is_good(ledger):
    blocks = adaptation(ledger).blocks
    shown = [block for block in blocks if isinstance(block, Figure | Table)]
    assert len(shown) == 5
    assert all(says_what_is_good(block.caption) for block in shown)


def test_latest_mean():
    """The ninth mean leaves out the first value."""
    np.testing.assert_allclose(
        latest_mean([9, *[1] * 8]), [9, 5, *(1 + 8 / n for n in range(3, 9)), 1]
    )
    np.testing.assert_allclose(latest_mean([0, 1], [3, 1]), [0, 0.25])


def test_the_files(ledger):
    files = render_adaptation(ledger)
    assert "Adaptation of city" in Checked(files["report.html"]).text
    found = json.loads(files["report.json"])
    assert found["format"] == ADAPTATION_FORMAT
    assert found["sections"]["adaptation"]["data"]["entries"][4]["test"]["loss"] == 0.8


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_fits_its_window(browser, ledger, tmp_path, width):
    path = tmp_path / "report.html"
    path.write_text(render_adaptation(ledger)["report.html"], encoding="utf-8")
    with visit(browser, path.as_uri(), width) as seen:
        assert seen.complaints == []
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        assert seen.page.locator("figure.chart svg").count() == 4
