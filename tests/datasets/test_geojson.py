import json

import numpy as np
import pytest

from forecast import ForecastError
from forecast.datasets.geojson import read_geojson

SQUARE = [[0, 0], [40, 0], [40, 40], [0, 40], [0, 0]]
HOLE = [[10, 10], [10, 20], [20, 20], [20, 10], [10, 10]]


def feature(layer, kind, coordinates, **properties):
    return {
        "type": "Feature",
        "properties": {"layer": layer, **properties},
        "geometry": {"type": kind, "coordinates": coordinates},
    }


def write(tmp_path, *features):
    path = tmp_path / "map.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return path


def crop(tmp_path, *features):
    city = read_geojson(write(tmp_path, *features))
    return city.crop((-100, -100, 100, 100), np.array([5.0, 0.0]))


def test_every_layer_becomes_its_part(tmp_path):
    found, missing = crop(
        tmp_path,
        feature("drivable_area", "Polygon", [SQUARE, HOLE]),
        feature("road", "MultiPolygon", [[SQUARE], [[[50, 0], [60, 0], [60, 10]]]]),  # not closed
        feature("crosswalk", "Polygon", [[[0, 0, 7.5], [4, 0, 7.5], [4, 4, 7.5], [0, 0, 7.5]]]),
        feature("ped_crossing", "Polygon", [SQUARE], signalled=True),
        feature("walkway", "Polygon", [SQUARE]),
        feature("sidewalk", "Polygon", [SQUARE]),
        feature("lane", "LineString", [[0, 0], [0, 0], [20, 0]], id="west"),
        feature("centerline", "LineString", [[20.2, 0.1], [40, 5]], id=7),
        feature("lane_connector", "LineString", [[20, -0.3], [30, -10]]),
        feature("divider", "LineString", [[0, 2], [20, 2]]),
        feature("lane_divider", "MultiLineString", [[[0, 3], [20, 3]], [[0, 4], [20, 4]]]),
    )
    assert missing == {"lane_without_path": 0, "lane_link_to_no_lane": 0}
    assert [len(rings) for rings in found.drivable_area] == [2, 1, 1]
    outer, hole = found.drivable_area[0]
    assert {tuple(point) for point in outer.tolist()} == {(-5, 0), (35, 0), (35, 40), (-5, 40)}
    assert {tuple(point) for point in hole.tolist()} == {(5, 10), (5, 20), (15, 20), (15, 10)}
    assert (len(found.crosswalks), len(found.walkways), len(found.dividers)) == (2, 2, 3)
    sizes = [np.ptp(rings[0], axis=0).tolist() for rings in found.crosswalks]
    assert dict(zip(found.signalled.tolist(), sizes, strict=True)) == {
        True: [40, 40],
        False: [4, 4],
    }
    assert found.lane_ids.tolist() == ["west", "7", "lane 9"]
    assert found.centerlines[0].tolist() == [[-5, 0], [15, 0]]
    assert found.successors.tolist() == [[0, 1], [0, 2]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (feature("crosswlk", "Polygon", [SQUARE]), "layer is 'crosswlk'; one of drivable_area, "),
        ({"type": "Feature", "geometry": None}, "layer is None; one of"),
        (feature(["lane"], "LineString", [[0, 0], [9, 0]]), r"layer is \['lane'\]; one of"),
        (feature("lane", "Polygon", [SQUARE]), "geometry is Polygon; LineString is needed"),
        (feature("walkway", "Point", [0, 0]), "geometry is Point; Polygon or MultiPolygon is"),
        (feature("walkway", "Polygon", [[[0, 0], [1, 1]]]), "its coordinates are no Polygon"),
        (feature("walkway", "Polygon", [["a", 1]]), "its coordinates are no Polygon"),
        (feature("walkway", "Polygon", []), "its coordinates are no Polygon"),
        (feature("lane", "LineString", [[1, 1], [1, 1]]), "its coordinates are no LineString"),
        (feature("lane", "LineString", [[1, 1]]), "its coordinates are no LineString"),
        (
            feature("crosswalk", "Polygon", [SQUARE], signalled="yes"),
            "signalled is 'yes'; true or false is needed",
        ),
    ],
)
def test_a_wrong_feature_is_named_by_its_number(tmp_path, wrong, message):
    path = write(tmp_path, feature("walkway", "Polygon", [SQUARE]), wrong)
    with pytest.raises(ForecastError, match=f"^{path}: feature 2: {message}") as error:
        read_geojson(path)
    assert "\n" not in str(error.value)


def test_a_map_in_degrees_is_refused(tmp_path):
    square = (np.array(SQUARE) * 1e-5 + [8.54, 47.37]).tolist()
    path = write(tmp_path, feature("walkway", "Polygon", [square]))
    with pytest.raises(ForecastError, match=r"0\.0004 by 0\.0004 units large.*: degrees\? metres"):
        read_geojson(path)


def test_an_empty_map_is_refused(tmp_path):
    with pytest.raises(ForecastError, match="the map has no feature; at least one is needed"):
        read_geojson(write(tmp_path))
