"""Against the official mini split, with the devkit as oracle."""

import time

import numpy as np
import pytest
import shapely
from nuscenes import NuScenes
from nuscenes.map_expansion.map_api import NuScenesMap
from nuscenes.prediction import PredictHelper

from forecast.datasets.nuscenes import NuScenesSource
from forecast.datasets.windows import WindowSpec, prediction_times
from forecast.geometry import wrap_angle
from forecast.scene import AgentKind, Polygons

VERSION = "v1.0-mini"


@pytest.fixture(scope="module")
def source(nuscenes_root):
    return NuScenesSource(nuscenes_root, VERSION)


@pytest.fixture(scope="module")
def scenes(source):
    return {name: source.read(name)[0] for name in source.scene_names()}


@pytest.fixture(scope="module")
def devkit(nuscenes_root):
    return NuScenes(VERSION, str(nuscenes_root), verbose=False)


def test_counts(scenes):
    tracks = [scene.tracks for scene in scenes.values()]
    kinds = np.concatenate([t.kinds for t in tracks])
    assert (kinds == AgentKind.PEDESTRIAN).sum() == 227
    assert (kinds == AgentKind.EGO).sum() == len(scenes) == 10
    assert (kinds != AgentKind.EGO).sum() == 905
    assert sum(int(t.valid[t.kinds != AgentKind.EGO].sum()) for t in tracks) == 18_389
    assert sum(int((scene.frame_ids != "").sum()) for scene in scenes.values()) == 404
    assert all(scene.tracks.valid[0].all() for scene in scenes.values())


def test_splits(source):
    splits = source.splits()
    numbers = ("0061", "0553", "0655", "0757", "0796", "1077", "1094", "1100")
    assert sorted(splits["mini_train"]) == [f"scene-{number}" for number in numbers]
    assert splits["mini_val"] == ["scene-0103", "scene-0916"]


@pytest.mark.parametrize(
    ("horizon_s", "counts", "all_m", "movers_m"),
    [
        (3.0, (905, 655), (0.262, 0.520), (0.303, 0.610)),
        (6.0, (594, 478), (0.673, 1.474), (0.773, 1.708)),
    ],
)
def test_constant_velocity_on_mini_val(source, scenes, horizon_s, counts, all_m, movers_m):
    """The published check values of the protocol for velocity from the last step."""
    errors, moved = [], []
    for name in source.splits()["mini_val"]:
        scene = scenes[name]
        spec = WindowSpec.of_protocol(source.protocol, source.dt_s, 2.0, horizon_s)
        agent, at = np.nonzero(prediction_times(scene, spec).scored)
        position = scene.tracks.positions_m.astype(float)
        ahead = np.arange(1, spec.horizon_steps + 1)
        now, before = position[agent, at], position[agent, at - 1]
        truth = position[agent[:, None], at[:, None] + ahead]
        guess = now[:, None] + (now - before)[:, None] * ahead[:, None]
        errors.append(np.linalg.norm(guess - truth, axis=-1))
        moved.append(np.linalg.norm(truth[:, -1] - now, axis=-1) > 1)
    error, mover = np.concatenate(errors), np.concatenate(moved)
    assert (len(error), mover.sum()) == counts
    for rows, expected in ((slice(None), all_m), (mover, movers_m)):
        ade, fde = error[rows].mean(), error[rows][:, -1].mean()
        assert (round(ade, 3), round(fde, 3)) == expected


@pytest.mark.parametrize("name", ["scene-0061", "scene-0103", "scene-1094"])
def test_past_and_future_are_those_of_predict_helper(scenes, devkit, name):
    helper, scene = PredictHelper(devkit), scenes[name]
    tracks, compared = scene.tracks, 0
    for agent in np.flatnonzero(tracks.kinds == AgentKind.PEDESTRIAN):
        token = str(tracks.agent_ids[agent])
        world = tracks.positions_m[agent] + scene.origin_m
        seen = np.flatnonzero(tracks.valid[agent])
        for at in seen[:: max(1, len(seen) // 3)]:
            sample = str(scene.frame_ids[at])
            future = helper.get_future_for_agent(token, sample, 6, in_agent_frame=False)
            past = helper.get_past_for_agent(token, sample, 2, in_agent_frame=False)
            if len(future):
                np.testing.assert_allclose(world[at + 1 :][: len(future)], future, atol=1e-3)
            if len(past):
                np.testing.assert_allclose(world[:at][::-1][: len(past)], past, atol=1e-3)
            compared += len(future) + len(past)
    assert compared > 200


def test_boxes_and_ego_poses_are_those_of_the_devkit(scenes, devkit):
    scene = scenes["scene-0553"]
    tracks = scene.tracks
    for agent in range(1, len(tracks)):
        instance = devkit.get("instance", str(tracks.agent_ids[agent]))
        box = devkit.get("sample_annotation", instance["first_annotation_token"])
        width, length, height = box["size"]
        np.testing.assert_allclose(tracks.sizes_m[agent], [length, width, height], rtol=1e-6)
        at = int(np.flatnonzero(scene.frame_ids == box["sample_token"])[0])
        assert at == np.flatnonzero(tracks.valid[agent])[0]
        yaw = devkit.get_box(box["token"]).orientation.yaw_pitch_roll[0]
        assert abs(wrap_angle(tracks.headings_rad[agent, at] - yaw)) < 1e-5
    for at, token in enumerate(scene.frame_ids):
        sweep = devkit.get("sample_data", devkit.get("sample", str(token))["data"]["LIDAR_TOP"])
        pose = devkit.get("ego_pose", sweep["ego_pose_token"])
        world = tracks.positions_m[0, at] + scene.origin_m
        np.testing.assert_allclose(world, pose["translation"][:2], atol=1e-3)


@pytest.fixture(
    scope="module", params=["scene-0061", "scene-0103", "scene-0916", "scene-1077"], name="mapped"
)
def scene_city_and_box(request, scenes, nuscenes_root):
    scene = scenes[request.param]
    ego = scene.tracks.positions_m[0] + scene.origin_m
    box = shapely.box(*(ego.min(axis=0) - 120), *(ego.max(axis=0) + 120))
    return scene, NuScenesMap(str(nuscenes_root), scene.location), box


def test_lanes_are_those_of_the_devkit(mapped):
    scene, city, box = mapped
    lane_map, origin_m = scene.lane_map, scene.origin_m
    ids = [lane["token"] for lane in city.lane + city.lane_connector]
    poses = city.discretize_lanes(ids, 0.5)
    oracle = {token: np.array(lane)[:, :2] for token, lane in poses.items()}
    inside = {token for token, line in oracle.items() if shapely.LineString(line).intersects(box)}
    assert set(lane_map.lane_ids) == inside
    assert len(inside) > 50
    for token, line in zip(lane_map.lane_ids, lane_map.centerlines, strict=True):
        ours, theirs = line + origin_m, oracle[str(token)]
        np.testing.assert_allclose(ours[[0, -1]], theirs[[0, -1]], atol=0.01)
        for points, curve in ((ours, theirs), (theirs, ours)):
            gap = shapely.distance(shapely.points(points), shapely.LineString(curve))
            assert gap.max() < 0.03
    pairs = {tuple(lane_map.lane_ids[pair]) for pair in lane_map.successors}
    assert pairs == {(a, b) for a in inside for b in city.get_outgoing_lane_ids(a) if b in inside}


def total_area(polygons: Polygons) -> float:
    return sum(shapely.Polygon(rings[0], rings[1:]).area for rings in polygons)


def test_areas_and_dividers_are_those_of_the_devkit(mapped):
    scene, city, box = mapped
    lane_map = scene.lane_map
    drivable = [token for area in city.drivable_area for token in area["polygon_tokens"]]
    crosswalks = [record["polygon_token"] for record in city.ped_crossing]
    walkways = [record["polygon_token"] for record in city.walkway]
    for ours, tokens in (
        (lane_map.drivable_area, drivable),
        (lane_map.crosswalks, crosswalks),
        (lane_map.walkways, walkways),
    ):
        shapes = [shapely.make_valid(city.extract_polygon(token)) for token in tokens]
        expected = sum(shape.intersection(box).area for shape in shapes)
        assert total_area(ours) == pytest.approx(expected, rel=1e-4)
    dividers = [city.extract_line(r["line_token"]) for r in city.road_divider + city.lane_divider]
    expected = sum(line.intersection(box).length for line in dividers)
    length = sum(shapely.LineString(line).length for line in lane_map.dividers)
    assert length == pytest.approx(expected, rel=1e-4)


def test_reading_everything_is_quick(nuscenes_root):
    start = time.process_time()
    source = NuScenesSource(nuscenes_root, VERSION)
    for name in source.scene_names():
        source.read(name)
    assert time.process_time() - start < 3.0
