import json
import pickle

import numpy as np
import pytest

from forecast import ForecastError, Scene
from forecast.datasets.map_file import MapFile

SQUARE = [[100, 0], [140, 0], [140, 40], [100, 40]]


@pytest.fixture
def path(tmp_path):
    crosswalk = {
        "type": "Feature",
        "properties": {"layer": "crosswalk"},
        "geometry": {"type": "Polygon", "coordinates": [SQUARE]},
    }
    file = tmp_path / "map.json"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [crosswalk]}))
    return file


def scene_at(x_m):
    return Scene.from_arrays([[[x_m, 0], [x_m + 1, 0]]], [0], 0.5, origin_m=(50, 10))


def test_a_scene_gets_the_part_within_120_m(path):
    scene, missing = MapFile(path).around(scene_at(0))  # tracks end at x = 1 m: map up to 121 m
    ((ring,),) = scene.lane_map.crosswalks
    assert missing == {}
    assert (ring + scene.origin_m).min(axis=0).tolist() == [100, 0]
    assert (ring + scene.origin_m).max(axis=0).tolist() == [121, 40]


def test_a_map_of_another_place_is_refused(path):
    with pytest.raises(ForecastError, match=r"nothing of the map lies within 120 m of the tracks"):
        MapFile(path).around(scene_at(500))


def test_a_nuscenes_map_expansion_is_read(nuscenes_root):
    file = MapFile(nuscenes_root / "maps" / "expansion" / "singapore-onenorth.json")
    nodes = json.loads(file.path.read_text())["node"]
    place = np.array([nodes[0]["x"], nodes[0]["y"]])
    scene = Scene.from_arrays([[place, place]], [0], 0.5, origin_m=place)
    assert len(file.around(scene)[0].lane_map) > 0
    assert pickle.loads(pickle.dumps(file))._city is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"type": "Feature"}', "type is 'Feature'; 'FeatureCollection' is needed"),
        ("{}", r"map version 1\.0; 1\.3 or newer is needed"),
        ("{", "the JSON ends early"),
    ],
)
def test_another_file_is_refused(tmp_path, content, message):
    (tmp_path / "map.json").write_text(content)
    with pytest.raises(ForecastError, match=message):
        MapFile(tmp_path / "map.json").around(scene_at(0))


def test_a_missing_file_is_refused_at_once(tmp_path):
    with pytest.raises(ForecastError, match=r"no.json: no such file; a GeoJSON file or a nuScenes"):
        MapFile(tmp_path / "no.json")
