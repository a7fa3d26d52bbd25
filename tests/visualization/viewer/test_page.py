"""The page in a real browser."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import shapely

from forecast.planning import EgoState
from forecast.visualization.viewer.driven import drive_along
from forecast.visualization.viewer.edits import ChangeEdit
from tests.browser import Visit, visit
from tests.visualization.viewer.conftest import served

pytestmark = pytest.mark.slow

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def address(answers) -> Iterator[str]:
    with served(answers) as (port, _):
        yield f"http://127.0.0.1:{port}/"


def value(opened: Visit, expression: str) -> Any:
    return opened.page.evaluate(f"() => ({expression})")


def until(opened: Visit, expression: str) -> None:
    """Waits; the page's own policy forbids what Playwright's way of waiting needs."""
    end = time.monotonic() + PATIENCE_S
    while not value(opened, f"Boolean({expression})"):
        assert time.monotonic() < end, f"{expression} is still false; {opened.complaints}"
        time.sleep(0.02)


def settled(opened: Visit) -> None:
    until(opened, "viewer.futures && viewer.futures.id === viewer.wantedId && !viewer.drag")


@contextmanager
def page(browser, address: str, width: int = 1400, scene: str = "street-3") -> Iterator[Visit]:
    """An open page that has drawn its first futures; the browser may complain of nothing."""
    with visit(browser, f"{address}#scene={scene}", width) as opened:
        until(opened, "window.viewer?.futures")
        yield opened
        # Without a graphics card, Chromium reports that its own driver is slow.
        assert [text for text in opened.complaints if "GL Driver" not in text] == []
        assert all(request.startswith((address, "blob:", "data:")) for request in opened.requests)


def place(opened: Visit, name: str) -> tuple[float, float]:
    """Where an agent is in the window."""
    x, y = value(
        opened, f"viewer.view.toScreen(...['x', 'y'].map((k) => viewer.agents().get('{name}')[k]))"
    )
    box = opened.page.locator("#plan").bounding_box()
    assert box is not None
    return box["x"] + x, box["y"] + y


def select(opened: Visit, name: str) -> None:
    value(opened, f"viewer.select('{name}')")


def drag(opened: Visit, name: str, dx: float, dy: float) -> None:
    x, y = place(opened, name)
    opened.page.mouse.move(x, y)
    opened.page.mouse.down()
    for step in range(1, 5):
        opened.page.mouse.move(x + dx * step / 4, y + dy * step / 4)
    opened.page.mouse.up()


def edits(opened: Visit) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = value(opened, "viewer.history.state.edits")
    return found


def moving_person(opened: Visit) -> str:
    """A person who is apart from the others, so that a click hits nobody else."""
    return str(
        value(
            opened,
            """(() => {
      const people = [...viewer.agents().values()].filter((a) => a.kind === "pedestrian");
      const gap = (a) => Math.min(...[...viewer.agents().values()].filter((b) => b !== a)
        .map((b) => Math.hypot(a.x - b.x, a.y - b.y) - b.length / 2));
      return people.sort((a, b) => gap(b) - gap(a))[0].name;
    })()""",
        )
    )


def test_the_page_shows_the_numbers_of_predict(browser, address, forecaster, store):
    with page(browser, address) as opened:
        state = value(opened, "viewer.futures.state")
        shown = value(opened, "Array.from(viewer.futures.arrays.positions.data)")
        scene, at = store[state["scene"]], state["at"]
        expected = forecaster.predict(scene, at, samples=state["samples"], seed=state["seed"])
        np.testing.assert_array_equal(np.float32(shown), expected.positions_m.ravel())
        row = value(opened, "viewer.futures.row.get(viewer.selected)")
        path = value(opened, f"Array.from(viewer.futures.sample(3, {row}))")
        np.testing.assert_array_equal(np.float32(path), expected.positions_m[3, row].ravel())
        assert value(opened, "viewer.futures.code").count("forecaster.predict(scene, ") == 1


def test_the_modes_of_the_selected_have_their_probabilities(browser, address, forecaster, store):
    with page(browser, address) as opened:
        state = value(opened, "viewer.futures.state")
        expected = forecaster.predict(store[state["scene"]], state["at"], samples=2)
        row = value(opened, "viewer.futures.row.get(viewer.selected)")
        assert "modes" not in opened.page.locator("#person").inner_text()
        opened.page.click(".layers summary")
        opened.page.check("[data-layer=modes]")
        for count in (5, 20):
            opened.page.select_option("#mode-count", str(count))
            modes = f"viewer.futures.modes({row}, viewer.modes)"
            shown = value(opened, f"{modes}.map((mode) => Array.from(mode.path))")
            each = expected.modes(count)
            np.testing.assert_array_equal(
                np.float32(shown), each.positions_m[row].reshape(count, -1)
            )
            shares = value(opened, f"{modes}.map((mode) => mode.probability)")
            np.testing.assert_array_equal(np.float32(shares), each.probabilities[row])
            listed = [f"{round(100 * share)}\u202f%" for share in shares[:5]]
            assert ", ".join(listed) in opened.page.locator("#person").inner_text()
        opened.page.keyboard.press("b")
        settled(opened)
        assert "without edits only" in opened.page.locator("#person").inner_text()


def test_an_edited_scene_shows_the_regions_of_its_samples(browser, address):
    with page(browser, address) as opened:
        assert "tube, 50 and 90 %" in opened.page.locator("#legend").inner_text()
        drag(opened, moving_person(opened), 60, -40)
        settled(opened)
        assert "spread of the samples" in opened.page.locator("#legend").inner_text()
        assert "ellipses of the 20 samples" in opened.page.locator("#person").inner_text()
        fill = "viewer.futureGroups.filter((g) => g.fill === '#d9611a' && g.closed).length"
        assert value(opened, fill) == 12  # two levels at each of six seconds
        opened.page.click(".layers summary")
        opened.page.uncheck("[data-layer=regions]")
        until(opened, "viewer.futureGroups")
        assert value(opened, fill) == 0
        assert "samples" not in opened.page.locator("#legend").inner_text()


def test_every_control_has_a_name(browser, address):
    with page(browser, address) as opened:
        opened.page.click(".layers summary")
        opened.page.check("[data-layer=modes]")
        opened.page.keyboard.press("b")
        settled(opened)
        opened.page.keyboard.press("r")
        until(opened, "viewer.ranking")
        nameless = """[...document.querySelectorAll("button, input, select, summary, canvas")]
          .filter((e) => !(e.textContent.trim() || e.getAttribute("aria-label") || e.title
            || [...(e.labels ?? [])].some((label) => label.textContent.trim())))
          .map((e) => e.outerHTML)"""
        assert value(opened, nameless) == []


def test_a_drag_is_an_edit_of_the_world_and_can_be_undone(browser, address, forecaster, store):
    with page(browser, address) as opened:
        name, at = moving_person(opened), value(opened, "viewer.history.state.at")
        was = value(opened, f"viewer.agents().get('{name}')")
        scale = value(opened, "viewer.view.scale")
        drag(opened, name, 60, -40)
        settled(opened)
        (edit,) = edits(opened)
        assert (edit["do"], edit["agent"]) == ("change", name)
        moved = [was["x"] + 60 / scale, was["y"] + 40 / scale]
        assert edit["position_m"] == pytest.approx(moved, abs=2 / scale)
        world = forecaster.imagine(store["street-3"], at, samples=20)
        ChangeEdit(name, tuple(edit["position_m"])).apply(world)
        expected = world.step(12).prediction().positions_m
        shown = value(opened, "Array.from(viewer.futures.arrays.positions.data)")
        np.testing.assert_array_equal(np.float32(shown), expected.ravel())
        assert "moved by the edits" in opened.page.locator("#person").inner_text()
        assert len(value(opened, "viewer.latencies")) == 1
        opened.page.keyboard.press("Control+z")
        settled(opened)
        assert edits(opened) == []
        assert value(opened, "viewer.futures.source") == "predict"
        opened.page.keyboard.press("Control+Shift+z")
        settled(opened)
        assert edits(opened) == [edit]


def test_a_click_selects_and_a_click_beside_selects_nobody(browser, address):
    with page(browser, address) as opened:
        select(opened, "")
        name = moving_person(opened)
        opened.page.mouse.click(*place(opened, name))
        assert value(opened, "viewer.selected") == name
        assert value(opened, "viewer.history.state.edits.length") == 0
        opened.page.mouse.click(640, 700)
        assert value(opened, "viewer.selected") is None


def test_it_plays_the_recording_and_the_imagined_future(browser, address):
    with page(browser, address) as opened:
        before = value(opened, "viewer.time")
        opened.page.click("#play")
        until(opened, f"viewer.time > {before} + 1.5")
        opened.page.click("#play")
        assert value(opened, "viewer.playing") is None
        settled(opened)
        now = value(opened, "viewer.agents().get('0')")
        opened.page.click("#dream")
        until(opened, "viewer.ahead > 0.6")
        opened.page.click("#dream")
        later = value(opened, "viewer.agents().get('0')")
        assert np.hypot(later["x"] - now["x"], later["y"] - now["y"]) > 0.1


def test_scrubbing_shows_the_step_of_the_slider(browser, address, store):
    with page(browser, address) as opened:
        for step in (2, 9, 5):
            opened.page.locator("#time").fill(str(step))
        settled(opened)
        assert value(opened, "viewer.futures.state.at") == 5
        x, y = store["street-3"].positions_m[4, 5].tolist()
        shown = value(opened, "viewer.agents().get('4')")
        assert (shown["x"], shown["y"]) == pytest.approx((x, y), abs=1e-5)


def test_another_time_puts_edits_aside_and_undo_brings_them_back(browser, address):
    with page(browser, address) as opened:
        opened.page.keyboard.press("b")
        settled(opened)
        at = value(opened, "viewer.history.state.at")
        opened.page.keyboard.press("l")
        settled(opened)
        assert (edits(opened), value(opened, "viewer.history.state.at")) == ([], at + 1)
        opened.page.click("#undo")
        settled(opened)
        assert [edit["do"] for edit in edits(opened)] == ["act"]
        assert value(opened, "[viewer.history.state.at, viewer.time]") == [at, at]


def test_each_tool_makes_its_edit(browser, address):
    with page(browser, address) as opened:
        box = opened.page.locator("#plan").bounding_box()
        assert box is not None
        x, y = box["x"] + 500, box["y"] + 620
        for tool in ("pedestrian", "vehicle", "obstacle"):
            opened.page.click(f"[data-tool={tool}]")
            opened.page.mouse.move(x, y)
            opened.page.mouse.down()
            opened.page.mouse.move(x + 40, y)
            opened.page.mouse.up()
            y -= 60
            settled(opened)
        person, car, box_edit = edits(opened)
        assert (person["do"], person["kind"], person["heading_rad"]) == ("add", "pedestrian", 0)
        assert (car["kind"], box_edit["do"]) == ("vehicle", "put_obstacle")
        select(opened, person["agent"])
        opened.page.keyboard.press("g")
        opened.page.mouse.click(x - 100, y)
        settled(opened)
        assert edits(opened)[-1]["do"] == "go_to"
        opened.page.locator("#edit-speed").fill("2.5")
        opened.page.keyboard.press("Enter")
        settled(opened)
        assert edits(opened)[0]["speed_mps"] == 2.5
        opened.page.click("#remove")
        settled(opened)
        assert [edit["do"] for edit in edits(opened)] == ["add", "put_obstacle"]
        opened.page.click("[data-drop='0']")
        settled(opened)
        assert [edit["do"] for edit in edits(opened)] == ["put_obstacle"]


def test_a_drawn_plan_is_driven(browser, address):
    with page(browser, address) as opened:
        ego = value(opened, "viewer.agents().get('5')")
        opened.page.keyboard.press("p")
        x, y = place(opened, "5")
        opened.page.mouse.move(x, y)
        opened.page.mouse.down()
        for step in range(1, 12):
            ahead = [25 * step * f(ego["heading"]) for f in (np.cos, np.sin)]
            opened.page.mouse.move(x + ahead[0], y - ahead[1])
        opened.page.mouse.up()
        until(opened, "viewer.history.state.edits.length === 1")
        settled(opened)
        (edit,) = edits(opened)
        assert (edit["do"], len(edit["poses"])) == ("follow", 12)
        row = value(opened, "viewer.futures.row.get('5')")
        path = value(opened, f"Array.from(viewer.futures.sample(0, {row}))")
        assert path[:2] == pytest.approx(edit["poses"][0][:2], abs=1e-3)


def test_without_an_ego_no_ranking_is_offered(browser, address):
    with page(browser, address) as opened:
        value(opened, "viewer.setTime(0)")  # the ego's speed is not known yet
        settled(opened)
        until(opened, "document.querySelector('#plans').textContent.includes('no ego to plan for')")
        assert opened.page.locator("#rank").count() == 0
        opened.page.keyboard.press("r")
        assert "There is no ego to plan for" in opened.page.locator("#toast").inner_text()


def test_an_ego_without_acceleration_keeps_its_speed(browser, address):
    with page(browser, address) as opened:
        value(opened, "viewer.command({do: 'act', acceleration_mps2: 0})")
        settled(opened)
        assert "Ego keeps its speed" in opened.page.locator("#effect").inner_text()


FOLLOW = """viewer.command({do: 'follow', poses: Array.from({length: 12}, (_, i) => {
  const { x, y, heading } = viewer.agents().get('5'), far = 2.5 * (i + 1);
  return [x + far * Math.cos(heading), y + far * Math.sin(heading), heading]; })})"""


def test_a_plan_is_dropped_when_the_ego_begins_elsewhere(browser, address):
    with page(browser, address) as opened:
        value(opened, FOLLOW)
        settled(opened)
        drag(opened, moving_person(opened), 60, -40)
        settled(opened)
        assert [edit["do"] for edit in edits(opened)] == ["follow", "change"]
        select(opened, "5")
        opened.page.locator("#plan").focus()
        opened.page.keyboard.press("ArrowRight")
        settled(opened)
        assert [edit["do"] for edit in edits(opened)] == ["change", "change"]
        assert "began elsewhere" in opened.page.locator("#toast").inner_text()
        value(opened, FOLLOW)  # from where the ego is now
        settled(opened)
        assert [edit["do"] for edit in edits(opened)] == ["change", "change", "follow"]
        drag(opened, "5", 0, 80)
        settled(opened)
        assert [edit["do"] for edit in edits(opened)] == ["change", "change"]


# Headings of an ego that drives 2 m east, 2 m north and stops there, after 1.5 and 3.5 seconds.
HEADINGS = """async (edits) => {
  const { Futures } = await import("/page/model.js");
  const one = { agents: ["ego"], kinds: ["ego"], ood: {}, fallback: [], dt_s: 1 };
  const header = { ...one, state: { edits } };
  const now = { data: Float32Array.of(0, 0, 0, 2) };
  const futures = new Futures({ header, arrays: { positions: { shape: [1, 1, 4, 2] }, now } });
  const path = Float32Array.of(2, 0, 2, 2, 2, 2, 2, 2);
  return [1.5, 3.5].map((seconds) => futures.ahead(0, path, seconds).heading);
}"""


def test_who_stops_keeps_the_heading_and_a_plan_has_its_own(browser, address):
    poses = [[2, 0, 0.2], [2, 2, 1.0], [2, 2, 1.2], [2, 2, 1.4]]
    with page(browser, address) as opened:
        found = opened.page.evaluate(HEADINGS, [])
        assert found == pytest.approx([np.pi / 2, np.pi / 2])
        found = opened.page.evaluate(HEADINGS, [{"do": "follow", "poses": poses}])
        assert found == pytest.approx([0.6, 1.3])


def test_an_edit_that_is_refused_is_taken_back_with_its_reason(browser, address):
    with page(browser, address) as opened:
        select(opened, "0")
        opened.page.locator("#edit-speed").fill("500")
        opened.page.keyboard.press("Enter")
        until(opened, "document.querySelector('#toast').textContent.includes('at most 12 m/s')")
        settled(opened)
        assert edits(opened) == []
        assert value(opened, "viewer.futures.source") == "predict"


def test_plans_are_ranked_and_the_best_one_driven(browser, address):
    with page(browser, address) as opened:
        opened.page.click("#rank")
        until(opened, "viewer.ranking")
        header = value(opened, "viewer.ranking.header")
        assert header["plans_compared"] > 100
        shown = opened.page.locator("#plans").inner_text()
        assert f"{header['plans_compared']:,} plans were ranked. {header['why']}" in shown
        assert f" closest to {header['conflict']['agent']} in " in shown
        assert value(opened, "viewer.shortName('5')") == "Ego"
        opened.page.click("#drive-best")
        settled(opened)
        (edit,) = edits(opened)
        assert edit["do"] == "follow"
        assert value(opened, "viewer.ranking") is None


def test_the_3d_view_shows_every_agent_and_the_egos_camera(browser, address):
    with page(browser, address) as opened:
        opened.page.keyboard.press("3")
        until(opened, "viewer.space")
        until(opened, "viewer.space.bodies.size === viewer.agents().size")
        x, y = value(opened, "['x', 'y'].map((k) => viewer.space.bodies.get('0').position[k])")
        shown = value(opened, "viewer.agents().get('0')")
        assert (x, y) == pytest.approx((shown["x"], shown["y"]))
        opened.page.click("[data-camera=ego]")
        until(opened, "viewer.space.mode === 'ego'")
        ego, camera = "viewer.agents().get('5')", "viewer.space.camera.position"
        away = f"Math.hypot({camera}.x - {ego}.x, {camera}.y - {ego}.y)"
        until(opened, f"{away} < {ego}.length / 2")  # the camera moves with the next picture
        assert 1 < value(opened, f"{camera}.z") < 3
        opened.page.click("#three")
        until(opened, "!viewer.space")


# A map whose second square overlaps the first, which has a hole, both given clockwise: its colours
# on the canvas at (1, 1), in the hole at (5, 5), where both overlap at (9, 9), and at (15, 15).
MAP_COLOURS = """async () => {
  const [{ Scene }, { mapGroups }, { Renderer, View }] = await Promise.all(
    ["model", "picture", "canvas"].map((name) => import(`/page/${name}.js`)));
  const square = (a, b) => [a, a, a, b, b, b, b, a];
  const array = (values) => ({ data: Float32Array.from(values) });
  const arrays = { positions: array([]), headings: array([]), sizes: array([]) };
  for (const part of ["drivable_area", "walkways", "crosswalks", "centerlines", "dividers"]) {
    const full = part === "drivable_area";
    const points = full ? [square(0, 10), square(4, 6), square(8, 18)].flat() : [];
    arrays[`${part}.points`] = array(points);
    arrays[`${part}.offsets`] = array(full ? [0, 4, 8, 12] : [0]);
    arrays[`${part}.polygons`] = array(full ? [0, 2, 3] : [0]);
  }
  const scene = new Scene({ header: { agents: [], kinds: [], between: [] }, arrays });
  const canvas = Object.assign(document.createElement("canvas"), { width: 200, height: 200 });
  const view = Object.assign(new View(), { x: 10, y: 10, scale: 10, width: 200, height: 200 });
  const renderer = Object.assign(new Renderer(canvas, view), { ratio: 1 });
  renderer.draw(mapGroups(scene), [], "#f4f5f3");
  const { data } = canvas.getContext("2d").getImageData(0, 0, 200, 200);
  const start = (at) => 4 * (200 * (200 - 10 * at) + 10 * at);
  return [1, 5, 9, 15].map((at) => [...data.slice(start(at), start(at) + 3)]);
}"""


def test_areas_that_overlap_are_one_and_holes_stay(browser, address):
    road, ground = [0xE3, 0xE7, 0xEC], [0xF4, 0xF5, 0xF3]
    with page(browser, address) as opened:
        assert opened.page.evaluate(MAP_COLOURS) == [road, ground, road, road]


def test_bodies_that_overlap_are_filled(browser, address):
    with page(browser, address) as opened:
        car = "{do: 'add', kind: 'vehicle', position_m: [0, 25], heading_rad: 0, speed_mps: 0"
        value(opened, f"viewer.edit([{car}, agent: 'a'}}, {car}, agent: 'b'}}])")
        settled(opened)
        value(opened, "(viewer.select(null), Object.assign(viewer.view, {x: 0, y: 25, scale: 30}))")
        value(opened, "new Promise((done) => viewer.redraw(done))")
        middle = """(() => { const plan = document.querySelector("#plan");
          const c = plan.getContext("2d"), [x, y] = [plan.width / 2, plan.height / 2];
          return [...c.getImageData(x, y, 1, 1).data.slice(0, 3)]; })()"""
        assert value(opened, middle) == [0x9A, 0xA5, 0xB3]
        assert "evenodd" not in value(opened, "viewer.svg()")


def test_the_3d_view_takes_no_area_for_a_hole_of_another(browser, address):
    with page(browser, address) as opened:
        opened.page.keyboard.press("3")
        until(opened, "viewer.space?.map")
        corners = """(() => { const square = (a, b) => Float32Array.of(a, a, b, a, b, b, a, b);
          const { map } = viewer.space, before = map.children.length;
          viewer.space.addArea([[square(0, 10), square(4, 6)], [square(8, 18)]], "#ffffff", 0);
          return map.children.slice(before).map((each) => each.geometry.attributes.position.count);
        })()"""
        assert value(opened, corners) == [8, 4]


# What the 3-D view holds of plans and futures: the colour and the corners of each mesh.
MESHES = """viewer.space.ribbons.children.map(({ geometry, material }) => ({
  colour: material.color.getHexString(),
  surface: geometry.type === "ShapeGeometry",
  points: Array.from(geometry.attributes.position.array),
}))"""


def meshes(opened: Visit, colour: str, surface: bool) -> list[np.ndarray]:
    """Corners ``[V, 3]`` of the surfaces or bands of a colour."""
    found = value(opened, MESHES)
    kept = [each for each in found if (each["colour"], each["surface"]) == (colour, surface)]
    return [np.reshape(each["points"], (-1, 3)) for each in kept]


def regions(opened: Visit) -> list[np.ndarray]:
    """Those of the selected agent; the dots of its futures have fewer corners."""
    return [corners for corners in meshes(opened, "2f6fc1", True) if len(corners) > 30]


def layer(opened: Visit, name: str, on: bool) -> None:
    """Switches a layer, and waits for the picture without or with it."""
    opened.page.click(".layers summary")
    opened.page.set_checked(f"[data-layer={name}]", on)
    opened.page.click(".layers summary")
    until(opened, "viewer.futureGroups && viewer.space.futures === viewer.futureGroups")


def selected_in_3d(opened: Visit, forecaster: Any, store: Any) -> tuple[Any, int]:
    """Shows the 3-D view; the library's prediction of the moment, and the selected person's row."""
    at, name = value(opened, "[viewer.history.state.at, viewer.selected]")
    made = forecaster.predict(store["street-3"], at, samples=2)
    (row,) = np.flatnonzero(made.agent_ids == name)
    opened.page.keyboard.press("3")
    until(opened, "viewer.space?.futures")
    return made, int(row)


def test_the_3d_view_shows_the_regions_of_the_selected(browser, address, forecaster, store):
    with page(browser, address) as opened:
        made, row = selected_in_3d(opened, forecaster, store)
        layer(opened, "futures", False)  # the ends of samples are surfaces, too
        layer(opened, "lane", False)
        discs = iter(regions(opened))
        for level in (0.5, 0.9):
            for second in range(1, 7):
                disc, step = next(discs), 2 * second - 1
                np.testing.assert_allclose(disc[:, 2], 0.06 + 0.45 * second, atol=1e-5)
                scale = made.tubes.scale[row, step, made.tubes.levels.index(level)]
                reach = scale * np.sqrt(np.diagonal(made.tubes.shape_m2[row, step]))
                centre = made.tubes.centre_m[row, step]
                np.testing.assert_allclose(disc[:, :2].max(axis=0), centre + reach, atol=0.02)
                np.testing.assert_allclose(disc[:, :2].min(axis=0), centre - reach, atol=0.02)
        assert next(discs, None) is None
        layer(opened, "regions", False)
        assert regions(opened) == []


def test_the_3d_view_shows_modes_as_wide_as_they_are_probable(browser, address, forecaster, store):
    with page(browser, address) as opened:
        made, row = selected_in_3d(opened, forecaster, store)
        assert meshes(opened, "7b3fa0", False) == []
        layer(opened, "modes", True)
        bands, sets = meshes(opened, "7b3fa0", False), made.modes(5)
        assert len(bands) == 5
        for band, mode in zip(bands, range(4, -1, -1), strict=True):  # the most probable one on top
            left, right = band[::2], band[1::2]
            middle = (left + right) / 2
            np.testing.assert_allclose(middle[1:, :2], sets.positions_m[row, mode], atol=1e-3)
            np.testing.assert_allclose(middle[:, 2], 0.06 + 0.45 * 0.5 * np.arange(13), atol=1e-5)
            wide = 0.07 * (1 + 9 * sets.probabilities[row, mode])
            np.testing.assert_allclose(np.linalg.norm(left - right, axis=1), wide, rtol=1e-3)
        assert "modes, wider" in opened.page.locator("#legend").inner_text()
        layer(opened, "modes", False)
        assert meshes(opened, "7b3fa0", False) == []


def test_the_3d_view_shows_plans_and_names(browser, address):
    with page(browser, address) as opened:
        opened.page.keyboard.press("3")
        until(opened, "viewer.space?.futures")
        nameless = """(() => { const { canvas } = viewer.space.names, { width, height } = canvas;
          const empty = Object.assign(document.createElement("canvas"), { width, height });
          return canvas.toDataURL() === empty.toDataURL(); })()"""
        until(opened, f"!{nameless}")
        layer(opened, "labels", False)
        until(opened, nameless)
        opened.page.keyboard.press("r")
        until(opened, "viewer.ranking")
        until(opened, "viewer.space.plans.length")
        assert len(meshes(opened, "0f6d63", False)) == 1  # the best plan
        opened.page.click("#drive-best")
        settled(opened)
        until(opened, "!viewer.space.plans.length")
        poses = np.array(edits(opened)[0]["poses"])
        (band,) = meshes(opened, "26323f", False)
        middles = (band[::2] + band[1::2])[:, :2] / 2  # of dashes along the way
        assert (
            shapely.distance(shapely.points(middles), shapely.LineString(poses[:, :2])).max() < 1e-3
        )
        np.testing.assert_allclose(middles[0], poses[0, :2], atol=1e-3)
        assert len(middles) > len(poses)


def test_files_are_offered(browser, address, saved_in):
    with page(browser, address) as opened:
        for button, start in (("#png", b"\x89PNG"), ("#svg", b"<svg ")):
            opened.page.click("#share summary")
            with opened.page.expect_download() as found:
                opened.page.click(button)
            with open(found.value.path(), "rb") as file:  # noqa: PTH123
                assert file.read().startswith(start)
        svg = value(opened, "viewer.svg()")
        assert "NaN" not in svg
        assert svg.count("<path") > 10
        opened.page.click("#share summary")
        opened.page.click("#save")
        opened.page.locator("#dialog").wait_for()
        assert f"forecast view --store {saved_in}" in opened.page.locator("#dialog").inner_text()


def test_a_link_opens_the_same_edited_scene(browser, address):
    with page(browser, address) as opened:
        drag(opened, moving_person(opened), 60, -40)
        settled(opened)
        link = address + value(opened, "viewer.permalink()")
        shown = value(opened, "JSON.stringify([viewer.history.state, viewer.selected])")
        numbers = value(opened, "Array.from(viewer.futures.arrays.positions.data)")
    with visit(browser, link, 1400) as other:
        until(other, "window.viewer?.futures")
        settled(other)
        assert json.loads(
            value(other, "JSON.stringify([viewer.history.state, viewer.selected])")
        ) == json.loads(shown)
        assert value(other, "Array.from(viewer.futures.arrays.positions.data)") == numbers


def linked(**state: Any) -> str:
    whole = {"scene": "street-3", "at": 8, "seed": 0, "samples": 20, "edits": [], **state}
    text = json.dumps({"state": whole}).encode()
    return "#" + base64.urlsafe_b64encode(text).decode().rstrip("=")


@pytest.mark.parametrize(
    "broken",
    ["#%%%", "#e30", "#scene=..%2f..%2fetc", "#" + "A" * 5000, linked(edits="x"), linked(at="x")],
)
def test_a_broken_link_opens_the_first_scene(browser, address, broken):
    with visit(browser, address + broken, 1400) as opened:
        until(opened, "window.viewer?.futures")
        assert value(opened, "viewer.scene.id") == "street-0"


@pytest.mark.parametrize("broken", ["#scene=%E0%A4", "#%%%"])
def test_a_link_that_cannot_be_read_says_so(browser, address, broken):
    with visit(browser, address + broken, 1400) as opened:
        until(opened, "window.viewer?.futures")
        assert value(opened, "viewer.scene.id") == "street-0"
        assert "The link cannot be read" in opened.page.locator("#toast").inner_text()


def test_the_legend_names_the_mark_of_who_is_outside_the_training_range(browser, address):
    with page(browser, address) as opened:
        assert "outside the training range" not in opened.page.locator("#legend").inner_text()
        value(opened, "viewer.edit([{do: 'change', agent: '0', speed_mps: 10}])")
        settled(opened)
        assert value(opened, "viewer.futures.flagged.has('0')")
        assert "outside the training range" in opened.page.locator("#legend").inner_text()


@pytest.mark.parametrize(
    ("link", "why"),
    [
        (linked(edits=[{"do": "remove", "agent": "nobody"}]), "agent 'nobody' is not in the world"),
        (linked(edits=[{"do": "step"}]), "Invalid value 'step'"),
        (linked(at=1000), "at is 1000"),
        (linked(samples=10**6), "Expected `int` <= 200"),
    ],
)
def test_a_link_that_the_server_refuses_opens_its_scene_and_says_why(browser, address, link, why):
    with visit(browser, address + link, 1400) as opened:
        until(opened, "window.viewer?.futures")
        assert value(opened, "viewer.scene.id") == "street-3"
        assert edits(opened) == []
        assert why in opened.page.locator("#toast").inner_text()


def test_a_page_whose_token_is_gone_says_so(browser, answers):
    with (
        served(answers, "0.0.0.0") as (port, token),
        visit(browser, f"http://127.0.0.1:{port}/?token={token}", 1400) as opened,
    ):
        until(opened, "window.viewer?.futures")
        opened.page.context.clear_cookies()
        value(opened, "viewer.connection.socket.close()")
        toast = "document.querySelector('#toast').textContent"
        until(opened, f"{toast}.includes('token is missing')")


def test_an_edit_while_it_plays_stops_it_at_that_moment(browser, address):
    with page(browser, address) as opened:
        opened.page.click("#play")
        until(opened, "viewer.time > viewer.history.state.at + 0.2")
        opened.page.keyboard.press("b")
        settled(opened)
        assert value(opened, "[viewer.playing, viewer.time - viewer.history.state.at]") == [None, 0]


def test_two_pages_do_not_see_each_others_edits(browser, address):
    with page(browser, address) as one, page(browser, address) as other:
        one.page.keyboard.press("b")
        settled(one)
        other.page.click("#reroll")
        settled(other)
        assert value(one, "viewer.futures.source") == "World"
        assert value(other, "viewer.futures.source") == "predict"
        assert value(other, "viewer.futures.state.seed") == 1


def test_everything_can_be_done_with_the_keyboard(browser, address):
    with page(browser, address) as opened:
        opened.page.keyboard.press("]")
        name = value(opened, "viewer.selected")
        assert name is not None
        opened.page.locator("#plan").focus()
        before = value(opened, f"viewer.agents().get('{name}').x")
        opened.page.keyboard.press("ArrowRight")
        settled(opened)
        assert value(opened, f"viewer.agents().get('{name}').x") == pytest.approx(
            before + 0.5, abs=2e-3
        )
        for key, kind in (("A", "add"), ("O", "put_obstacle"), ("b", "act")):
            opened.page.keyboard.press(key)
            settled(opened)
            assert edits(opened)[-1]["do"] == kind
        opened.page.keyboard.press("r")
        until(opened, "viewer.ranking")
        opened.page.keyboard.press("c")
        opened.page.locator("#dialog").wait_for()
        assert "world.change(" in opened.page.locator("#dialog pre").inner_text()
        opened.page.keyboard.press("Escape")
        opened.page.keyboard.press("Escape")
        assert value(opened, "viewer.selected") is None
        reached = set()
        for _ in range(60):
            opened.page.keyboard.press("Tab")
            reached.add(
                value(opened, "document.activeElement.id || document.activeElement.dataset.tool")
            )
        assert {
            "scene",
            "undo",
            "seed",
            "three",
            "plan",
            "select",
            "goal",
            "agent",
            "rank",
            "play",
            "time",
        } <= reached
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        opened.page.locator("#rank").focus()
        opened.page.keyboard.press("Shift+Tab")
        assert value(opened, outline) != "none"


def test_a_plan_is_drawn_and_braked_with_the_keyboard(browser, address, store):
    with page(browser, address) as opened:
        at = value(opened, "viewer.history.state.at")
        ego = EgoState.of(store["street-3"], at)
        opened.page.locator("#three").focus()
        opened.page.keyboard.press("p")
        for key in ("Up", "Up", "Up", "Left", "Left"):
            opened.page.keyboard.press(f"Arrow{key}")
        for key in ("Shift+ArrowRight", "ArrowUp", "ArrowDown"):
            opened.page.keyboard.press(key)
        assert "15.0 m drawn" in opened.page.locator("#hint").inner_text()
        drawn = np.array(value(opened, "viewer.drawn"))
        ways = np.arctan2(*np.diff(drawn, axis=0).T[::-1]) - ego.heading_rad
        turned = np.degrees(np.arctan2(np.sin(ways), np.cos(ways)))
        np.testing.assert_allclose(turned, [0, 0, 0, 15, 30, 25], atol=1e-3)
        speed = float(opened.page.locator("#plan-speed").input_value())
        opened.page.keyboard.press("Enter")
        until(opened, "viewer.history.state.edits.length === 1")
        settled(opened)
        (edit,) = edits(opened)
        expected = drive_along(np.round(drawn, 3), ego, speed, 12, 0.5)
        assert edit["do"] == "follow"
        np.testing.assert_allclose(edit["poses"], expected, atol=1e-3)
        for key, braking in (("B", None), ("ArrowLeft", -0.5), ("ArrowLeft", -1), ("b", -4)):
            opened.page.keyboard.press(key)
            settled(opened)
            last = edits(opened)[-1]
            assert last.get("acceleration_mps2") == braking
        assert value(opened, "document.activeElement.id") == "brake"
        opened.page.keyboard.press("p")
        opened.page.keyboard.press("ArrowUp")
        opened.page.keyboard.press("Escape")
        assert value(opened, "[viewer.tool, viewer.drawn]") == ["select", None]
        assert [edit["do"] for edit in edits(opened)] == ["act"]
        opened.page.keyboard.press("?")
        keys = opened.page.locator("#dialog").inner_text()
        assert "draw the ego's plan" in keys
        assert "its acceleration" in keys


def test_escape_closes_the_menu_first(browser, address):
    with page(browser, address) as opened:
        name = value(opened, "viewer.selected")
        opened.page.click(".layers summary")
        opened.page.locator("[data-layer=modes]").focus()
        opened.page.keyboard.press("Escape")
        assert value(opened, "document.querySelectorAll('details.menu[open]').length") == 0
        assert value(opened, "document.activeElement.tagName") == "SUMMARY"
        assert value(opened, "viewer.selected") == name
        opened.page.keyboard.press("Escape")
        assert value(opened, "viewer.selected") is None


def test_taking_an_edit_back_keeps_the_focus_in_the_list(browser, address):
    with page(browser, address) as opened:
        for key in ("b", "A"):
            opened.page.keyboard.press(key)
            settled(opened)
        opened.page.locator("#drop-0").focus()
        for left, focused in ((1, "drop-0"), (0, "effect")):
            opened.page.keyboard.press("Enter")
            settled(opened)
            assert len(edits(opened)) == left
            assert value(opened, "document.activeElement.id") == focused


def test_who_is_selected_outside_the_picture_is_shown(browser, address):
    with page(browser, address) as opened:
        value(opened, "(Object.assign(viewer.view, {x: 500, y: 0}), viewer.follow = true)")
        opened.page.keyboard.press("]")
        assert value(opened, "viewer.follow") is False
        own = "viewer.agents().get(viewer.selected)"
        assert (
            value(opened, f"[viewer.view.x === {own}.x, viewer.view.y === {own}.y]") == [True] * 2
        )
        before = value(opened, "(viewer.view.x += 1, viewer.view.x)")
        value(opened, "viewer.select(viewer.selected)")
        assert value(opened, "viewer.view.x") == before, "who is in the picture does not move it"


def test_tools_ask_for_the_plan_view(browser, address):
    with page(browser, address) as opened:
        opened.page.keyboard.press("p")
        opened.page.keyboard.press("3")
        until(opened, "viewer.space")
        assert value(opened, "viewer.tool") == "select"
        opened.page.keyboard.press("p")
        assert value(opened, "viewer.tool") == "select"
        assert "press 3" in opened.page.locator("#toast").inner_text()


def test_it_can_be_used_at_390_pixels(browser, address):
    with page(browser, address, width=390) as opened:
        assert value(opened, "document.documentElement.scrollWidth") <= 390
        stage = opened.page.locator("#plan").bounding_box()
        assert stage is not None
        assert stage["height"] > 370
        drag(opened, moving_person(opened), 30, -20)
        settled(opened)
        assert len(edits(opened)) == 1
        for menu in ("#share", ".layers"):
            opened.page.click(f"{menu} summary")
            box = opened.page.locator(f"{menu} > div").bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390
            opened.page.click(f"{menu} summary")
        opened.page.click("#help")
        assert opened.page.locator("#dialog-title").is_visible()
        assert value(opened, "document.querySelector('#dialog').scrollTop") == 0
        opened.page.keyboard.press("Escape")
        opened.page.locator("#rank").scroll_into_view_if_needed()
        assert opened.page.locator("#rank").is_visible()
        assert value(opened, "document.documentElement.scrollWidth") <= 390
