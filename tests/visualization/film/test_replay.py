import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forecast.scene.agents import AgentKind
from forecast.visualization.film.film import Film
from forecast.visualization.film.moments import AgentMotion
from forecast.visualization.film.painter import places_after
from forecast.visualization.film.replay import write_replay
from tests.browser import Visit, visit
from tests.scenes import street_scene
from tests.visualization.film.films import Calibrated, imagined, recorded


@pytest.fixture
def page(browser, tmp_path) -> Iterator:
    def opened(film: Film, width: int = 1000):
        path = tmp_path / "film.html"
        write_replay(path, film)
        return visit(browser, path.as_uri(), width)

    return opened


def still(opened: Visit, time_s: float) -> None:
    """Stops the film at a time."""
    opened.page.evaluate(f"play(false); seek({time_s})")


def image(opened: Visit, number: int = 0) -> str:
    return str(opened.page.evaluate(f"pictures[{number}].canvas.toDataURL()"))


def test_names_cannot_break_the_page(tmp_path):
    evil = "</script><script>alert(1)</script>"
    film = recorded()
    scene = replace(film.scene, id=evil, description=evil, location=evil)
    write_replay(tmp_path / "film.html", replace(film, scene=scene))
    assert evil not in (tmp_path / "film.html").read_text()


def test_it_plays_by_itself_and_asks_for_nothing(page):
    with page(recorded()) as opened:
        opened.page.wait_for_function("state.time > film.start + 0.2")
        assert opened.page.inner_text("#clock") != "2.0 s"
        assert opened.page.inner_text("h1") == "street"
        assert len(opened.requests) == 1
        assert opened.complaints == []


def test_agents_are_where_the_library_has_them(page):
    film = recorded()
    times = np.array([2_100_000, 3_250_000, 4_000_000])
    motion = AgentMotion.of(film.scene, times)
    with page(film) as opened:
        still(opened, 2.0)
        for column, at_us in enumerate(times.tolist()):
            for row in range(len(film.scene.tracks)):
                script = f"agentAt(film.panels[0].tracks, {row}, {at_us / 1e6})"
                found = opened.page.evaluate(script)
                assert (found is not None) == motion.valid[row, column]
                if found is not None:
                    expected = motion.positions_m[row, column]
                    np.testing.assert_allclose([found["x"], found["y"]], expected, atol=1e-5)
                    turned = found["heading"] - motion.headings_rad[row, column]
                    assert np.cos(turned) == pytest.approx(1, abs=1e-6)


def test_futures_are_where_the_library_has_them(page):
    film = imagined("brake", "keep")
    made = film.panels[1].predictions[0]
    people = [made.agent_ids.tolist().index(name) for name in ("0", "1", "2")]
    now = film.scene.tracks.positions_m[:3, 10]
    expected = places_after(made.positions_m[:, people], now, 2.5)
    with page(film) as opened:
        still(opened, 5.0)
        script = """(() => {
            const made = film.panels[1].predictions[0];
            const end = (k, a) => pictures[1]
                .future(made, made.samples, (k * 3 + a) * 2 * made.steps, a, 2.5).slice(-2);
            const every = Array.from({ length: made.count }, (_, k) => k);
            return every.map((k) => made.agents.map((_, a) => end(k, a)));
        })()"""
        np.testing.assert_allclose(opened.page.evaluate(script), expected, atol=1e-2)
        assert opened.page.locator(".panel h2").all_inner_texts() == [
            "The car brakes",
            "The car does not brake",
        ]
        still(opened, 8.0)
        assert opened.page.inner_text("#clock") == "+3.0 s"
        assert image(opened, 0) != image(opened, 1)


def test_keys_slider_and_buttons_move_the_time(page):
    with page(recorded()) as opened:
        still(opened, 2.0)
        opened.page.keyboard.press("ArrowRight")
        assert opened.page.inner_text("#clock") == "2.5 s"
        opened.page.locator("#slider").fill("3.5")
        assert opened.page.inner_text("#clock") == "3.5 s"
        opened.page.click("#play")
        opened.page.wait_for_function("state.time > 3.6")
        assert opened.page.inner_text("#play") == "Pause"
        opened.page.wait_for_function("!state.isPlaying")
        assert opened.page.inner_text("#clock") == "4.0 s"


def test_parts_can_be_hidden_and_the_picture_moved(page):
    with page(recorded()) as opened:
        still(opened, 3.0)
        whole = image(opened)
        opened.page.get_by_label("4 samples").uncheck()
        without = image(opened)
        assert without != whole
        opened.page.get_by_label("4 samples").check()
        assert image(opened) == whole
        opened.page.mouse.move(400, 300)
        opened.page.mouse.down()
        opened.page.mouse.move(460, 330)
        opened.page.mouse.up()
        assert opened.page.get_attribute("#follow", "aria-pressed") == "false"
        x, y, scale = opened.page.evaluate("[state.x, state.y, state.scale]")
        camera = opened.page.evaluate("[film.camera.x, film.camera.y].map((v) => v[4])")
        assert camera[0] - x == pytest.approx(60 / scale, abs=0.02)  # 3.0 s is the fifth time
        assert y - camera[1] == pytest.approx(30 / scale, abs=0.02)
        opened.page.mouse.wheel(0, -400)
        opened.page.wait_for_function(f"state.scale > {scale}")
        opened.page.click("#follow")
        assert image(opened) == whole
        assert opened.complaints == []


@pytest.mark.parametrize(("film", "time_s"), [(recorded, 3.0), (imagined, 6.2)])
def test_regions_and_fallbacks_are_shown(page, film, time_s):
    with page(film(predictor=Calibrated())) as opened:
        still(opened, time_s)
        whole = image(opened)
        for name in ("region of 90%", "fallback: constant velocity"):
            opened.page.get_by_label(name).uncheck()
            assert image(opened) != whole, name
            opened.page.get_by_label(name).check()
        assert opened.complaints == []


def test_a_phone_shows_it_without_scrolling_sideways(page):
    with page(imagined("brake", "keep"), 390) as opened:
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert opened.page.evaluate("pictures.every((each) => each.height > 100)")


def test_a_scene_without_a_map_and_with_a_dangerous_name(page):
    scene = replace(street_scene(), lane_map=None, id="</script><b>x")
    with page(recorded(scene)) as opened:
        assert opened.page.inner_text("h1") == "</script><b>x"
        assert opened.complaints == []


def test_the_file_holds_no_address(tmp_path: Path):
    write_replay(tmp_path / "film.html", recorded())
    text = (tmp_path / "film.html").read_text()
    assert not re.search(r"https?://|src=", text)
    numbers = json.loads(text.split('id="film">')[1].split("</script>")[0])
    assert [agent["kind"] for agent in numbers["agents"]] == [0, 0, 0, 1, 2, AgentKind.EGO, 4]
