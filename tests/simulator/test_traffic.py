import numpy as np
import pytest

from forecast import AgentKind, ForecastError
from forecast.datasets.nuscenes.maps import read_city_map
from forecast.geometry import polyline_length
from forecast.simulator.export.dataset import write_json
from forecast.simulator.export.map_expansion import map_expansion
from forecast.simulator.traffic import Traffic, _gaps_m, lane_map

SEED, SCENE = 5, 1


def test_the_city_goes_on_by_itself_or_with_another_driver():
    driven, other = Traffic(SEED, SCENE), Traffic(SEED, SCENE)
    start = driven.ego_pose
    assert start[:2] == pytest.approx([0, 0])
    assert driven.route_m[0] == pytest.approx([0, 0], abs=0.6)
    for _ in range(20):
        driven.step()
        other.step(start)
    assert np.hypot(*driven.ego_pose[:2]) > 5
    assert other.ego_pose == pytest.approx(start)
    assert other.ego_speed_mps == 0


def test_what_is_observed_is_what_a_frame_of_a_stream_takes():
    traffic = Traffic(SEED, SCENE)
    seen = traffic.observe()
    agents = len(seen.agent_ids)
    assert len(set(seen.agent_ids.tolist())) == agents > 5
    assert seen.kinds.shape == seen.headings_rad.shape == seen.gaps_m.shape == (agents,)
    assert seen.sizes_m.shape == (agents, 3)
    assert AgentKind.EGO not in seen.kinds
    away = np.hypot(*(seen.positions_m - traffic.ego_pose[:2]).T)
    assert away.max() <= 65
    assert (np.abs(seen.gaps_m - away) < 8).all()
    assert (seen.gaps_m > 0).all()


def test_an_agent_stays_observed_though_it_is_hidden_later():
    traffic = Traffic(SEED, SCENE)
    names = set(traffic.observe().agent_ids.tolist())
    for _ in range(30):
        traffic.step(traffic.ego_pose)
        now = traffic.observe()
        away = np.hypot(*(now.positions_m - traffic.ego_pose[:2]).T)
        assert away.max() <= 65
        gone = names - set(now.agent_ids.tolist())
        names = set(now.agent_ids.tolist())
        assert not {name for name in gone if name.startswith("pedestrian")}


def test_gaps_between_bodies_by_hand():
    """The ego is 4 m long and 2 m wide and faces north. The person is a disc of 0.6 m."""
    ego, size = np.array([10.0, 0.0, np.pi / 2]), np.array([4.0, 2.0, 1.5])
    poses = np.array([[12.0, 0.0, 0.0], [10.0, 3.0, 0.0], [13.0, 0.0, 0.0], [11.5, 1.0, 1.0]])
    sizes = np.array([[0.5, 0.7, 1.8]] * 2 + [[4.0, 2.0, 1.5]] * 2)
    pedestrian, vehicle = AgentKind.PEDESTRIAN, AgentKind.VEHICLE
    kinds = np.array([pedestrian, pedestrian, vehicle, vehicle], np.int8)
    assert _gaps_m(ego, size, poses, sizes, kinds) == pytest.approx([0.7, 0.7, 0.0, 0.0])
    poses[2, 0] += 1.5
    assert _gaps_m(ego, size, poses, sizes, kinds)[2] == pytest.approx(1.5)


def test_shared_space_is_driven_in_closed_loop_without_lanes():
    driven, other = (Traffic(SEED, 2, "shared_space") for _ in range(2))
    start = driven.ego_pose
    for _ in range(40):
        driven.step()
        other.step(start)
    assert np.hypot(*driven.ego_pose[:2]) > 2
    assert other.ego_pose == pytest.approx(start)
    assert len(driven.lane_map) == 0
    assert len(driven.lane_map.drivable_area) == len(driven.lane_map.walkways) == 1
    assert set(driven.observe().kinds.tolist()) == {AgentKind.PEDESTRIAN, AgentKind.VEHICLE}
    with pytest.raises(ForecastError, match="district is beach; one of street, shared_space"):
        Traffic(SEED, 0, "beach")


def test_the_map_is_that_of_the_files(district, tmp_path):
    write_json(tmp_path / "map.json", map_expansion(district, SEED))
    city, origin = read_city_map(tmp_path / "map.json"), np.array([100.0, 50.0])
    read, _ = city.crop((-1e4, -1e4, 1e4, 1e4), origin)
    made = lane_map(district, origin)
    assert len(made) == len(read) > 10
    lengths = [sorted(map(polyline_length, each.centerlines)) for each in (made, read)]
    np.testing.assert_allclose(*lengths, rtol=1e-3)
    assert len(made.successors) == len(read.successors)
    np.testing.assert_array_equal(made.signalled, read.signalled)
    for name in ("crosswalks", "walkways", "drivable_area"):
        ours, theirs = getattr(made, name), getattr(read, name)
        assert len(ours) == len(theirs) > 0
        np.testing.assert_allclose(
            ours.rings.points_m.mean(0), theirs.rings.points_m.mean(0), atol=1.0
        )


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        ([500.0, 0, 0], "ego_pose: speed is 5000 m/s; at most 70 m/s is needed"),
        ([np.nan, 0, 0], "ego_pose: speed is nan m/s; at most 70 m/s"),
        ([0.0, 0.0], r"traffic: ego_pose has shape \[2\]; \[3\] is needed"),
    ],
)
def test_a_pose_that_no_vehicle_reaches_is_refused(pose, message):
    with pytest.raises(ForecastError, match=message):
        Traffic(SEED, SCENE).step(pose)
