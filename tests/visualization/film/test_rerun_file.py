from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from forecast.scene import AgentKind
from forecast.visualization.birds_eye import LIGHT
from forecast.visualization.film.film import Film
from forecast.visualization.film.rerun_file import write_rerun
from tests.scenes import street_scene
from tests.visualization.film.films import Calibrated, imagined, recorded

dataframe = pytest.importorskip(
    "rerun.dataframe", reason="rerun-sdk is not installed (extra 'rerun')"
)


def at(film: Film, path: Path, time_s: float) -> dict[str, Any]:
    """What the file says at a time of the scene, by entity and component."""
    write_rerun(path, film)
    view = dataframe.load_recording(path).view(index="time", contents="/**")
    table = view.fill_latest_at().select().read_all()
    times_ns = table.column("time").cast("int64").to_numpy()
    wanted = film.scene.start_us * 1000 + round(time_s * 1e9)
    (index,) = np.flatnonzero(times_ns == wanted)
    names = [name for name in table.column_names if name.startswith("/")]
    return {name: table.column(name)[int(index)].as_py() for name in names}


def packed(colour: str, alpha: float = 1.0) -> int:
    """A colour as the file has it."""
    return int.from_bytes([round(255 * part) for part in to_rgba(colour, alpha)], "big")


def test_agents_stand_where_they_are(tmp_path):
    film = recorded()
    found, tracks = at(film, tmp_path / "film.rrd", 3.0), film.scene.tracks
    names = found["/agents/cubes:Text"] + found["/agents/cylinders:Text"]
    assert set(names) == set(tracks.agent_ids[tracks.valid[:, 6]])
    for shape in ("cubes", "cylinders"):
        rows = [tracks.agent_ids.tolist().index(name) for name in found[f"/agents/{shape}:Text"]]
        places = np.array(found[f"/agents/{shape}:PoseTranslation3D"])[:, :2]
        np.testing.assert_allclose(places, tracks.positions_m[rows, 6], atol=1e-5)
        if shape == "cubes":
            half = np.array(found["/agents/cubes:HalfSize3D"])
            np.testing.assert_allclose(2 * half, tracks.sizes_m[rows], atol=1e-5)
        else:
            tall = np.array(found["/agents/cylinders:Length"])
            tall += 2 * np.array(found["/agents/cylinders:Radius"])
            np.testing.assert_allclose(tall, tracks.sizes_m[rows, 2], atol=1e-5)
    ego = tracks.positions_m[5, 6].tolist()
    assert found["/ego:Translation3D"][0] == pytest.approx([*ego, 0])


def test_futures_are_lines_and_the_truth_is_beside_them(tmp_path):
    film = recorded(predictor=Calibrated())
    found = at(film, tmp_path / "film.rrd", 3.0)
    made = film.panels[0].predictions[2]
    names, strips = found["/futures/lines:Text"], found["/futures/lines:LineStrip3D"]
    assert [names.count(name) for name in ("0", "1", "2")] == [5, 6, 6]  # two have regions
    row = made.agent_ids.tolist().index("1")
    line = np.array(strips[names.index("1") + 2])[:, :2]
    np.testing.assert_allclose(line[1:], made.positions_m[2, row], atol=1e-3)
    region = strips[names.index("2") - 1]
    assert region[0] == region[-1]
    colours = found["/futures/lines:Color"]
    assert colours[0] == packed(LIGHT.fallback, 0.6)
    assert colours[4] == packed(LIGHT.mode)
    truth = np.array(found["/truth/lines:LineStrip3D"][1])[:, :2]
    np.testing.assert_allclose(truth, film.scene.tracks.positions_m[1, 6:13], atol=1e-3)
    assert len(found["/map/lines:LineStrip3D"]) == 5


def test_what_is_gone_is_cleared(tmp_path):
    scene = street_scene()
    seen = scene.tracks.valid.copy()
    seen[scene.tracks.kinds == AgentKind.PEDESTRIAN, 7:] = False
    film = recorded(replace(scene, tracks=replace(scene.tracks, valid=seen)))
    assert len(at(film, tmp_path / "film.rrd", 3.0)["/agents/cylinders:Text"]) == 3
    assert not at(film, tmp_path / "film.rrd", 4.0)["/agents/cylinders:Text"]


def test_plans_have_entities_of_their_own(tmp_path):
    found = at(imagined("brake", "keep"), tmp_path / "film.rrd", 5.0)
    for plan in ("the_car_brakes", "the_car_does_not_brake"):
        assert len(found[f"/{plan}/plan/lines:LineStrip3D"]) == 1
        assert f"/{plan}/ego:Translation3D" in found
