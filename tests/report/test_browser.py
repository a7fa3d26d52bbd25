"""The page as a person sees it: wide and on a phone, light and dark."""

import pytest

from forecast.report import render
from tests.browser import opened

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


def test_tables_wider_than_a_phone_scroll_in_their_box(browser, address):
    browser.open(address, 390)
    widest = 'Math.max(...[...document.querySelectorAll(".scroll")].map(b => b.%s))'
    assert browser.evaluate(widest % "clientWidth") <= 390
    assert browser.evaluate(widest % "scrollWidth") > 390
