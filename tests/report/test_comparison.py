import json
from dataclasses import replace

import numpy as np
import pytest

from forecast.evaluation.comparison.changes import LOST, VERDICTS, WORSE
from forecast.evaluation.comparison.comparison import Comparison
from forecast.evaluation.output.saved import read_evaluation
from forecast.report import render_comparison
from forecast.report.document import COMPARISON_FORMAT
from tests.browser import visit
from tests.report.test_page import Checked, says_what_is_good

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(folders):
    old, new = (read_evaluation(folders / name) for name in ("good", "bad"))
    return Comparison.of(old, new)


@pytest.fixture(scope="module")
def files(found):
    return render_comparison(found)


@pytest.fixture(scope="module")
def document(files):
    document = json.loads(files["compare.json"])
    assert document["format"] == COMPARISON_FORMAT
    return document["sections"]


def rows(section, block=-1):
    tables = [block for block in section["blocks"] if block["kind"] == "table"]
    return tables[block]["rows"]


def test_the_verdict_names_the_broken_criterion(files, document):
    page = Checked(files["compare.html"])
    assert "bad in place of off" in page.text
    assert "B fails criteria that A meets: reach." in page.text
    assert document["verdict"]["data"]["broken"] == ["reach"]
    assert rows(document["criteria"])[0][0] == "reach"
    assert document["criteria"]["data"]["reach"]["a"]["verdict"] == "pass"
    assert document["criteria"]["data"]["reach"]["b"]["verdict"] == "fail"
    assert document["verdict"]["data"]["answer"] == WORSE
    assert document["verdict"]["blocks"][0]["text"].startswith("B is worse: energy score of every")


def test_headline_errors_come_before_all_others_with_the_size_of_their_changes(document):
    assert list(document)[:3] == ["verdict", "headline", "criteria"]
    listed = rows(document["headline"])
    assert [row[0] for row in listed] == [
        *("top-1 ADE", "top-1 ADE", "top-1 FDE", "top-1 FDE", "energy score", "energy score")
    ]
    assert listed[2][1:5] == [WORSE, "0.041", "4.240", "+4.199 m"]
    assert listed[2][5].startswith("+103")
    first = document["headline"]["data"]["changes"][0]
    assert (first["title"], first["metric"], first["where"]) == ("top-1 ADE", "top1_ade_m", "all")


def test_regressions_come_first_with_their_intervals(found, document):
    listed = rows(document["overall"])
    verdicts = [row[1] for row in listed]
    assert verdicts == sorted(verdicts, key=VERDICTS.index)
    assert verdicts[0] == WORSE
    changes = document["overall"]["data"]["changes"]
    assert [change["metric"] for change in changes] == [row[0] for row in listed]
    first = found.changes[0]
    everywhere = changes + document["slices"]["data"]["changes"]
    assert len(everywhere) == len(found.changes)
    (same,) = (c for c in everywhere if (c["where"], c["metric"]) == (first.where, first.metric))
    assert same["difference"]["low"] == pytest.approx(first.difference.low)
    assert (same["a"], same["b"]) == pytest.approx((first.before, first.after))


def test_an_improvement_is_said_and_drawn(found):
    back = Comparison.of(found.new, found.old)
    page = Checked(render_comparison(back)["compare.html"])
    assert "B is better in" in page.text
    assert "B fails criteria" not in page.text
    assert page.tags.count("svg") == 1


def test_what_b_lost_is_in_the_verdict(found):
    old = found.old
    gone = replace(old, columns={**old.columns, "top1_ade_m": old.columns["top1_ade_m"] * np.nan})
    broken = replace(gone, guarantees=dict.fromkeys(old.guarantees, False))
    files = render_comparison(Comparison.of(old, broken))
    text = Checked(files["compare.html"]).text
    assert "Metrics that B lacks in rows in which A has them: top1_ade_m." in text
    assert "Guarantees that A gives and B breaks: " in text
    document = json.loads(files["compare.json"])["sections"]
    assert document["overall"]["data"]["changes"][0]["verdict"] == LOST
    assert rows(document["overall"])[0][:2] == ["top1_ade_m", LOST]


def test_what_b_has_for_fewer_rows_is_lost_and_counted(found):
    old = found.old
    some = np.where(np.arange(72) < 60, old.columns["top1_ade_m"], np.nan)
    new = replace(old, columns={**old.columns, "top1_ade_m": some})
    page = render_comparison(Comparison.of(old, new))["compare.html"]
    text = Checked(page).text
    assert "Metrics that B lacks in rows in which A has them: top1_ade_m." in text
    assert "top-1 ADE of everybody in B for only 60 of A's 72 prediction times" in text
    assert "everybody, n = 60 of A's 72" in text


def test_the_page_says_what_chance_does(files):
    text = Checked(files["compare.html"]).text
    assert "at most 5 % of them are expected to be by chance" in text
    assert "surely worse" not in text


def test_the_largest_undecided_slices_stand_on_the_page(found):
    old = found.old
    count = len(old.columns["at_us"])
    noise = np.random.default_rng(1).normal(0, 1, count)
    shaky = {**old.columns, "top1_fde_m": old.columns["top1_fde_m"] + noise - noise.mean()}
    section = json.loads(
        render_comparison(Comparison.of(old, replace(old, columns=shaky)))["compare.json"]
    )["sections"]["slices"]
    assert {"undecided"} < {row[1] for row in rows(section)} | {"worse"}
    assert any(" to " in row[5] for row in rows(section))


def test_every_caption_says_what_good_looks_like(document):
    blocks = [block for section in document.values() for block in section["blocks"]]
    captions = [block["caption"] for block in blocks if "caption" in block]
    assert len(captions) > 3
    assert [caption for caption in captions if not says_what_is_good(caption)] == []


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_fits_its_window_without_a_network(browser, files, tmp_path, width):
    path = tmp_path / "compare.html"
    path.write_text(files["compare.html"], encoding="utf-8")
    with visit(browser, path.as_uri(), width) as seen:
        assert seen.complaints == []
        assert seen.requests == [path.as_uri()]
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
