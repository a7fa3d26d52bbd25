"""The page as a person sees it: wide and on a phone, light and dark."""

import pytest

from forecast.report import render
from tests.browser import visit
from tests.report.test_sections import spread_over

pytestmark = pytest.mark.slow

_FIGURES = """[...document.querySelectorAll("svg")].map(svg => {
  const box = svg.getBoundingClientRect(), ink = svg.getBBox();
  return Math.min(box.width, box.height, ink.width, ink.height);
})"""
_LIGHT = """const light = text => {
  const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const paper = light(getComputedStyle(document.body).backgroundColor);"""
_PAPER = f"(() => {{ {_LIGHT} return paper; }})()"
_CONTRAST = f"""(() => {{ {_LIGHT}
  return Math.min(...[...document.querySelectorAll("p, td, th, figcaption, dd, dt, small, h2")]
    .map(element => light(getComputedStyle(element).color))
    .map(ink => (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05)));
}})()"""
_SEEN = """[...document.querySelectorAll(".cards td.pass, .cards td.fail, .cards td.undecided")]
  .map(cell => cell.getBoundingClientRect())
  .map(box => box.left >= 0 && box.right <= innerWidth && box.width > 20 && box.height > 10)"""
_KEY = """[...document.querySelectorAll("#key td")].map(cell => cell.getBoundingClientRect())
  .map(box => [box.left, box.right])"""
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


@pytest.fixture(scope="module")
def address(kalman, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(kalman)["report.html"], encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def long_address(kalman, tmp_path_factory) -> str:
    """A page of so many scenes that every number has its interval."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(spread_over(kalman, 12))["report.html"], encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_its_window_and_is_readable_without_a_network(
    browser, address, kalman, width, dark
):
    with visit(browser, address, width, dark=dark) as seen:
        assert seen.complaints == []
        assert seen.requests == [address]
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        sizes = seen.page.evaluate(_FIGURES)
        assert len(sizes) >= 4 + len(kalman.pictures)
        assert min(sizes) > 20
        assert seen.page.evaluate(_CONTRAST) >= 4.5


def test_a_visitor_who_prefers_a_dark_page_gets_one(browser, address):
    papers = []
    for dark in (False, True):
        with visit(browser, address, 1200, dark=dark) as seen:
            papers.append(seen.page.evaluate(_PAPER))
    assert papers[0] > 0.5 > papers[1]


def test_all_verdicts_are_within_the_width_of_a_phone(browser, address, kalman):
    with visit(browser, address, 390) as seen:
        cells = seen.page.evaluate(_SEEN)
    assert len(cells) == len(kalman.outcomes) + len(kalman.findings)
    assert all(cells)


def test_all_key_figures_of_all_predictors_are_within_the_width_of_a_phone(
    browser, address, kalman
):
    with visit(browser, address, 390) as seen:
        boxes = seen.page.evaluate(_KEY)
    assert len(boxes) == 6 * len(kalman.table)
    assert all(left >= 0 and right <= 390 for left, right in boxes)


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1200, 900)])
def test_the_overall_verdict_is_on_the_first_screen(browser, address, width, height):
    with visit(browser, address, width, height=height) as seen:
        box = seen.page.locator("p.overall").bounding_box()
    assert 0 < box["y"] + box["height"] < height


@pytest.mark.parametrize("width", [_A4_PX, _LETTER_PX])
def test_a_printed_page_is_no_wider_than_its_paper(browser, long_address, width):
    with visit(browser, long_address, width) as seen:
        seen.page.emulate_media(media="print")
        assert seen.page.evaluate(_WIDEST) <= width + 0.5


@pytest.mark.parametrize("width", [390, 1200])
def test_no_word_of_a_table_header_is_broken(browser, address, width):
    with visit(browser, address, width) as seen:
        assert seen.page.evaluate(_BROKEN) == []


def test_tables_wider_than_a_phone_scroll_in_their_box(browser, address):
    with visit(browser, address, 390) as seen:
        widest = 'Math.max(...[...document.querySelectorAll(".scroll")].map(b => b.%s))'
        assert seen.page.evaluate(widest % "clientWidth") <= 390
        assert seen.page.evaluate(widest % "scrollWidth") > 390
