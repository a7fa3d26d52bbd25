"""The page as a person sees it: wide and on a phone, light and dark."""

import pytest

from forecast.report import render
from tests.browser import opened
from tests.report.test_sections import spread_over

_FIGURES = """[...document.querySelectorAll("svg")].map(svg => {
  const box = svg.getBoundingClientRect(), ink = svg.getBBox();
  return Math.min(box.width, box.height, ink.width, ink.height);
})"""
_CONTRAST = """(() => {
  const light = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(c => c / 255)
      .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  return Math.min(...[...document.querySelectorAll("p, td, th, figcaption, dd, dt, small, h2")]
    .map(element => light(getComputedStyle(element).color))
    .map(ink => (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05)));
})()"""


@pytest.fixture(scope="module")
def address(kalman, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(kalman)["report.html"], encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("dark", [False, True])
def test_is_whole_and_readable(browser, address, kalman, width, dark):
    browser.open(address, width, dark=dark)
    events = [event.get("method") for event in browser.events]
    assert "Runtime.exceptionThrown" not in events
    assert "Log.entryAdded" not in events
    asked = [e["params"]["request"]["url"] for e in browser.events if "request" in e["params"]]
    assert asked == [address]
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    sizes = browser.evaluate(_FIGURES)
    assert len(sizes) >= 4 + len(kalman.pictures)
    assert min(sizes) > 20
    assert browser.evaluate(_CONTRAST) >= 4.5


_SEEN = """[...document.querySelectorAll(".cards td.pass, .cards td.fail, .cards td.too-few")]
  .map(cell => cell.getBoundingClientRect())
  .map(box => box.left >= 0 && box.right <= innerWidth && box.width > 20 && box.height > 10)"""
_WIDEST = """Math.max(...[...document.querySelectorAll("main *")]
  .filter(each => !each.closest("svg")).map(each => each.getBoundingClientRect().right))"""
_BROKEN = """[...document.querySelectorAll("thead th")].filter(cell => {
  const words = document.createRange(), text = cell.firstChild;
  return text && [...text.data.matchAll(/\\S+/g)].some(word => {
    words.setStart(text, word.index);
    words.setEnd(text, word.index + word[0].length);
    return words.getClientRects().length > 1;
  });
}).map(cell => cell.textContent)"""
_A4_PX, _LETTER_PX = 703, 725
"""Widths within the page's margins of 12 mm, at 96 pixels an inch."""


def test_verdicts_are_in_sight_on_a_phone(browser, address, kalman):
    browser.open(address, 390)
    seen = browser.evaluate(_SEEN)
    assert len(seen) == len(kalman.outcomes) + len(kalman.findings)
    assert all(seen)


def test_the_word_on_the_whole_is_on_the_first_screen(browser, address):
    for width, height in ((390, 844), (1200, 900)):
        browser.open(address, width)
        box = 'document.querySelector("p.overall").getBoundingClientRect()'
        assert 0 < browser.evaluate(f"{box}.bottom") < height


@pytest.mark.parametrize("width", [_A4_PX, _LETTER_PX])
def test_fits_on_paper(browser, kalman, tmp_path, width):
    path = tmp_path / "many.html"  # of so many scenes that every number has its interval
    path.write_text(render(spread_over(kalman, 12))["report.html"], encoding="utf-8")
    browser.open(path.as_uri(), width)
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate(_WIDEST) <= width + 0.5
    browser.send("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("width", [390, 1200])
def test_no_word_of_a_header_is_broken(browser, address, width):
    browser.open(address, width)
    assert browser.evaluate(_BROKEN) == []


def test_tables_wider_than_a_phone_scroll_in_their_box(browser, address):
    browser.open(address, 390)
    widest = 'Math.max(...[...document.querySelectorAll(".scroll")].map(b => b.%s))'
    assert browser.evaluate(widest % "clientWidth") <= 390
    assert browser.evaluate(widest % "scrollWidth") > 390
