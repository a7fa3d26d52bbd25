import shutil

import numpy as np
import pytest
from nuscenes.map_expansion.map_api import NuScenesMap

from forecast.simulator.map import layouts
from forecast.simulator.map.district import build_district
from tests.simulator.conftest import SCENES, SEED


@pytest.fixture(scope="module", params=layouts.LOCATIONS[:SCENES])
def opened(town, request):
    """The devkit's map and the district it was written from."""
    return NuScenesMap(str(town), request.param), build_district(
        layouts.layout_of(request.param, SEED)
    )


def test_every_polygon_is_valid(opened):
    nusc_map, _ = opened
    for record in nusc_map.polygon:
        assert nusc_map.extract_polygon(record["token"]).is_valid
    inside = np.array([[node["x"], node["y"]] for node in nusc_map.node])
    assert (inside > 0).all()
    assert (inside < nusc_map.canvas_edge).all()


def test_connected_lanes_touch_in_the_devkits_own_geometry(opened):
    nusc_map, district = opened
    tokens = [r["token"] for r in [*nusc_map.lane, *nusc_map.lane_connector]]
    assert len(tokens) == len(district.lanes)
    poses = {t: np.array(p) for t, p in nusc_map.discretize_lanes(tokens, 0.5).items()}
    links = 0
    for name in tokens:
        for after in nusc_map.get_outgoing_lane_ids(name):
            assert name in nusc_map.get_incoming_lane_ids(after)
            assert np.abs(poses[name][-1, :2] - poses[after][0, :2]).max() < 1e-3
            links += 1
    assert links == sum(len(lane.successors) for lane in district.lanes)
    assert all(nusc_map.get_outgoing_lane_ids(r["token"]) for r in nusc_map.lane_connector)


def test_the_devkit_discretises_arcs_like_the_town(opened):
    nusc_map, district = opened
    records = iter(nusc_map.lane_connector)
    for lane in district.lanes:
        if lane.connector:
            poses = np.array(
                nusc_map.discretize_lanes([(name := next(records)["token"])], 0.5)[name]
            )
            along = np.linspace(0, lane.length_m, len(poses))
            assert poses[:, :2] == pytest.approx(lane.path[0].at(along)[:, :2], abs=1e-6)
            end = nusc_map.get_arcline_path(name)[-1]["end_pose"]
            assert poses[-1, :2] == pytest.approx(np.array(end[:2]), abs=1e-6)


@pytest.mark.slow
def test_crosswalks_and_walkways_are_in_their_layers(opened):
    nusc_map, district = opened
    for line in district.crosswalks:
        x, y = line.mean(0)
        assert nusc_map.layers_on_point(x, y)["ped_crossing"]
        assert nusc_map.layers_on_point(x, y)["drivable_area"]
    for edge in district.walk_edges:
        if edge.street >= 0:
            x, y = edge.points_m.mean(0)
            assert nusc_map.layers_on_point(x, y)["walkway"]
            assert not nusc_map.layers_on_point(x, y)["drivable_area"]
    assert len(nusc_map.road_divider) == len(district.streets)


def test_signalled_lanes_end_at_a_stop_line_with_its_light(opened):
    nusc_map, district = opened
    entering = {
        lane.name
        for lane in district.lanes
        if any(district.lane_signals[i, 0] >= 0 for i in lane.successors)
    }
    assert len(nusc_map.stop_line) == len(nusc_map.traffic_light) == len(entering) > 0
    for record in nusc_map.stop_line:
        (light,) = record["cue"]
        pose = light["pose"]
        back = 0.1 * np.array([np.cos(pose["rz"]), np.sin(pose["rz"])])
        layers = nusc_map.layers_on_point(*(np.array([pose["tx"], pose["ty"]]) - back))
        assert layers["stop_line"] == record["token"]
        assert layers["lane"]
    assert len(nusc_map.carpark_area) == 1


def test_the_devkit_refuses_a_place_that_nuscenes_does_not_have(town, tmp_path):
    """This is why the town uses the names of the places of nuScenes."""
    folder = tmp_path / "maps" / "expansion"
    folder.mkdir(parents=True)
    shutil.copy(town / "maps" / "expansion" / "boston-seaport.json", folder / "our-town.json")
    with pytest.raises(AssertionError, match="Unknown map name"):
        NuScenesMap(str(tmp_path), "our-town")
