import numpy as np
import pytest
import shapely

from forecast.datasets.nuscenes.maps import map_path, read_city_map
from forecast.errors import ForecastError

BOX = (900.0, 400.0, 1108.25, 600.0)
ORIGIN = np.array([1000.0, 500.0])


def crop(tiny):
    return read_city_map(tiny.path("map")).crop(BOX, ORIGIN)


def area(rings) -> float:
    return shapely.Polygon(rings[0], rings[1:]).area


def test_lanes_that_reach_into_the_box_are_kept_whole(tiny):
    lane_map, _ = crop(tiny)
    assert list(lane_map.lane_ids) == ["straight", "turn"]
    np.testing.assert_allclose(lane_map.centerlines[0], [[-20, 0], [-5, 0], [10, 0]])
    turn = lane_map.centerlines[1]
    np.testing.assert_allclose(turn[[0, -1]], [[10, 0], [20, 10]], atol=1e-5)
    np.testing.assert_allclose(np.hypot(*(turn - [10, 10]).T), 10, atol=1e-5)


def test_successors_join_kept_lanes_and_dead_links_are_counted(tiny):
    lane_map, dropped = crop(tiny)
    assert lane_map.successors.tolist() == [[0, 1]]
    assert dropped == {"lane_without_path": 1, "lane_link_to_no_lane": 1}


def test_far_from_all_lanes_only_the_drivable_area_is_left(tiny):
    lane_map, dropped = read_city_map(tiny.path("map")).crop((-500, -500, -400, -400), ORIGIN * 0)
    assert len(lane_map) == len(lane_map.crosswalks) == len(lane_map.dividers) == 0
    assert lane_map.successors.shape == (0, 2)
    assert area(lane_map.drivable_area[0]) == pytest.approx(100 * 100)
    assert dropped == {"lane_without_path": 0, "lane_link_to_no_lane": 0}


def test_any_layer_may_be_empty(tiny):
    def empty(city):
        for layer in city:
            if layer != "version":
                city[layer] = type(city[layer])()

    tiny.edit("map", empty)
    lane_map, dropped = crop(tiny)
    layers = (lane_map.crosswalks, lane_map.walkways, lane_map.dividers, lane_map.drivable_area)
    assert [len(lane_map), *map(len, layers)] == [0] * 5
    assert dropped == {"lane_without_path": 0, "lane_link_to_no_lane": 0}


def test_areas_are_clipped_and_keep_their_holes(tiny):
    lane_map, _ = crop(tiny)
    (ground,) = lane_map.drivable_area
    assert [len(ring) for ring in ground] == [4, 4]
    np.testing.assert_array_equal(ground[0].min(axis=0), [-100, -100])
    np.testing.assert_array_equal(ground[0].max(axis=0), [108.25, 100])
    assert area(ground) == pytest.approx(208.25 * 200 - 16)
    assert {tuple(point) for point in ground[1]} == {(0, 10), (4, 10), (4, 14), (0, 14)}
    assert {tuple(p) for p in lane_map.crosswalks[0][0]} == {(2, -4), (5, -4), (5, 4), (2, 4)}
    assert area(lane_map.walkways[0]) == pytest.approx(90)


@pytest.mark.parametrize(
    ("kind", "away_m", "signalled"),
    [("TRAFFIC_LIGHT", 2.0, True), ("TRAFFIC_LIGHT", 9.0, False), ("PED_CROSSING", 2.0, False)],
)
def test_a_crosswalk_beside_a_stop_line_of_a_traffic_light_has_lights(
    tiny, kind, away_m, signalled
):
    """The crosswalk ends at x = 1005 m; the stop line begins a given distance behind it."""

    def add(city):
        corners = [(1005 + away_m, 496), (1006 + away_m, 496), (1006 + away_m, 504)]
        city["node"] += [{"token": f"stop-{i}", "x": x, "y": y} for i, (x, y) in enumerate(corners)]
        ring = [f"stop-{i}" for i in range(3)]
        city["polygon"].append({"token": "stop", "exterior_node_tokens": ring, "holes": []})
        city["stop_line"] = [{"polygon_token": "stop", "stop_line_type": kind}]

    assert crop(tiny)[0].signalled.tolist() == [False]
    tiny.edit("map", add)
    assert crop(tiny)[0].signalled.tolist() == [signalled]


def test_dividers_are_clipped_and_empty_ones_left_out(tiny):
    lane_map, _ = crop(tiny)
    assert [line.tolist() for line in lane_map.dividers] == [[[-100, 5], [108.25, 5]]]


def test_an_area_that_crosses_itself_is_repaired(tiny):
    def twist(city):
        city["polygon"][1]["exterior_node_tokens"] = [f"crossing-{i}" for i in (0, 2, 1, 3)]

    tiny.edit("map", twist)
    parts = list(crop(tiny)[0].crosswalks)
    assert len(parts) == 2
    assert sum(map(area, parts)) == pytest.approx(12)  # two triangles of 3 x 4 between them


def test_a_divider_that_leaves_and_comes_back_is_two(tiny):
    def detour(city):
        city["node"] += [
            {"token": "out", "x": 2000.0, "y": 505.0},
            {"token": "back", "x": 2000.0, "y": 550.0},
            {"token": "in", "x": 1000.0, "y": 550.0},
        ]
        city["line"][0]["node_tokens"] = ["edge-0", "out", "back", "in"]

    tiny.edit("map", detour)
    assert len(crop(tiny)[0].dividers) == 2


def test_a_missing_map_says_what_to_download(tiny):
    with pytest.raises(ForecastError) as caught:
        map_path(tiny.root, "atlantis")
    assert str(caught.value) == (
        f"{tiny.root}/maps/expansion/atlantis.json: no map of location 'atlantis'; download 'Map "
        "expansion pack (v1.3)' from https://www.nuscenes.org/download and unpack it into maps/ of "
        "the dataset, or pass --no-map"
    )


def refusal(tiny, change) -> str:
    path = tiny.edit("map", change)
    with pytest.raises(ForecastError) as caught:
        read_city_map(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("version", ["1.2", "1.0"])
def test_an_old_map_is_refused(tiny, version):
    assert (
        f"map version {version}; 1.3 or newer is needed: download 'Map expansion pack"
        in refusal(tiny, lambda city: city.update(version=version))
    )


def test_a_map_without_version_is_refused(tiny):
    assert "map version 1.0; 1.3 or newer is needed" in refusal(tiny, lambda c: c.pop("version"))


def test_a_map_without_a_layer_is_refused(tiny):
    assert "missing required field `walkway`" in refusal(tiny, lambda city: city.pop("walkway"))


@pytest.mark.parametrize("layer", ["node", "polygon", "line"])
def test_an_undefined_token_is_refused(tiny, layer):
    message = refusal(tiny, lambda city: city[layer].pop(0))
    assert "is used but not defined; download the map file again" in message


def test_a_lane_without_two_points_is_refused(tiny):
    def shrink(city):
        for arc in city["arcline_path_3"]["turn"]:
            arc["segment_length"] = [0.0, 1e-5, 0.0]

    assert "lane 'turn' has 1 distinct point; at least 2 are needed" in refusal(tiny, shrink)


def test_a_repeated_lane_is_refused(tiny):
    message = refusal(tiny, lambda city: city["lane"].append(city["lane"][0]))
    assert "token 'straight' appears more than once; remove the repeats" in message


@pytest.mark.parametrize(
    ("values", "complaint"),
    [({"shape": "LLL"}, "Invalid enum value 'LLL'"), ({"radius": 0.0}, "Expected `float` > 0")],
)
def test_a_path_that_is_no_arc_line_is_refused(tiny, values, complaint):
    def spoil(city):
        city["arcline_path_3"]["turn"][0].update(values)

    assert complaint in refusal(tiny, spoil)


def test_geometry_of_too_few_nodes_is_refused(tiny):
    def cut(city):
        city["polygon"][0]["holes"][0]["node_tokens"] = ["hole-0", "hole-1"]

    assert "polygon 'ground' has a ring of 2 nodes; at least 3 are needed" in refusal(tiny, cut)
    tiny.edit("map", lambda city: city["polygon"][0].update(holes=[]))
    message = refusal(tiny, lambda city: city["line"][0].update(node_tokens=["edge-0"]))
    assert "line 'edge' has 1 node; 0 or at least 2 are needed" in message
