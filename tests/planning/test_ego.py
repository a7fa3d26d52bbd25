from dataclasses import replace

import numpy as np
import pytest

from forecast import AgentKind, ForecastError, Scene
from forecast.planning import CostConfig, EgoState


def scene(*, kinds=(AgentKind.EGO, AgentKind.PEDESTRIAN), valid=None):
    steps = np.arange(4)[:, None] * [1.5, 2.0]
    made = Scene.from_arrays(
        np.stack([steps, steps + 5]),
        [AgentKind.EGO, AgentKind.PEDESTRIAN],
        0.5,
        valid=valid,
        headings_rad=np.full((2, 4), np.arctan2(2.0, 1.5)),
        id="street",
    )
    tracks = replace(made.tracks, kinds=np.array(kinds, np.int8))
    return replace(made, tracks=tracks)  # from_arrays refuses two egos


def test_the_ego_of_a_scene():
    ego = EgoState.of(scene(), 2)
    assert (ego.x_m, ego.y_m) == (3, 4)
    assert ego.speed_mps == pytest.approx(5)
    assert (ego.length_m, ego.width_m) == pytest.approx((4.1, 1.75))
    np.testing.assert_allclose(ego.pose, [3, 4, np.arctan2(2, 1.5)])


def test_its_speed_bridges_a_gap_and_is_unknown_at_first():
    valid = np.array([[1, 0, 1, 1], [1, 1, 1, 1]], bool)
    assert EgoState.of(scene(valid=valid), 2).speed_mps == pytest.approx(5)
    with pytest.raises(ForecastError, match="steps with the ego up to 0 is 1; at least 2, to know"):
        EgoState.of(scene(), 0)


@pytest.mark.parametrize(
    ("made", "count"),
    [
        (scene(kinds=(AgentKind.VEHICLE, AgentKind.PEDESTRIAN)), 0),
        (scene(kinds=(AgentKind.EGO, AgentKind.EGO)), 2),
        (scene(valid=np.array([[1, 1, 0, 1], [1, 1, 1, 1]], bool)), 0),
    ],
)
def test_a_scene_needs_one_ego(made, count):
    message = f"street: number of egos at step 2 is {count}; exactly 1 .EgoState"
    with pytest.raises(ForecastError, match=message):
        EgoState.of(made, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_m": np.nan}, "ego state is .*; finite numbers is needed"),
        ({"speed_mps": -1.0}, "ego speed_mps is -1.0; a finite speed of at least 0"),
        ({"width_m": 0.0}, "ego size is .*; a size above 0"),
        ({"heading_rad": 90.0}, r"ego heading_rad is 90.0; an angle in radians \(not in degrees\)"),
        ({"speed_mps": 90.0}, r"ego speed_mps is 90.0; at most 70 m/s \(not km/h\)"),
        ({"acceleration_mps2": -50.0}, r"ego acceleration_mps2 is -50.0; at most 20 m/s\^2"),
        ({"length_m": 450.0}, r"ego size is \(450.0, .*; a size in metres \(not in centimetres\)"),
    ],
)
def test_a_state_that_cannot_be_is_refused(change, message):
    with pytest.raises(ForecastError, match=message):
        EgoState(**{"x_m": 0, "y_m": 0, "heading_rad": 0, "speed_mps": 1, **change})


def test_the_ego_after_some_poses_of_a_plan():
    """4 m/s and 2 m/s^2 for 0.4 s are 1.76 m, and 4.8 m/s then."""
    times = np.arange(1, 5) * 0.1
    along = 4 * times + times**2
    poses = np.stack([along * np.cos(0.3), along * np.sin(0.3), np.full(4, 0.3)], -1)
    start = EgoState(0.0, 0.0, 0.3, 4.0, 2.0, length_m=6.0)
    for steps in (1, 2, 4):
        ego = start.after(poses[:steps], 0.1)
        assert ego.pose == pytest.approx(poses[steps - 1])
        assert ego.speed_mps == pytest.approx(4 + 2 * times[steps - 1])
        assert ego.acceleration_mps2 == pytest.approx(2)
        assert ego.length_m == 6


def test_an_ego_that_has_stopped_stands():
    ego = EgoState(0.0, 0.0, 0.0, 0.5).after([[0.02, 0, 0], [0.02, 0, 0]], 0.1)
    assert (ego.speed_mps, ego.acceleration_mps2) == (0, 0)


@pytest.mark.parametrize(
    ("poses", "dt_s", "message"),
    [
        ([[1.0, 0.0, 0.0]], 0.0, "dt_s is 0.0; a time above 0 s"),
        ([1.0, 0.0, 0.0], 0.1, r"shape of poses is \[3\]; \[T, 3\] is needed"),
        ([[np.nan, 0.0, 0.0]], 0.1, "ego state is .*; finite numbers is needed"),
    ],
)
def test_poses_that_no_state_follows_from_are_refused(poses, dt_s, message):
    with pytest.raises(ForecastError, match=message):
        EgoState(0, 0, 0, 1).after(poses, dt_s)


EGO = EgoState(x_m=1.0, y_m=2.0, heading_rad=np.pi / 2, speed_mps=4.0, length_m=5.0, width_m=2.0)


def test_an_ego_that_perception_leaves_out_joins_with_a_straight_past():
    street = scene(kinds=(AgentKind.VEHICLE, AgentKind.PEDESTRIAN))
    joined = EGO.joined(street, 2).tracks
    assert joined.agent_ids.tolist() == [*street.tracks.agent_ids.tolist(), "ego"]
    assert joined.kinds[-1] == AgentKind.EGO
    np.testing.assert_array_equal(joined.valid[-1], [True, True, True, False])
    np.testing.assert_allclose(joined.positions_m[-1, :3], [[1, -2], [1, 0], [1, 2]], atol=1e-6)
    np.testing.assert_allclose(joined.headings_rad[-1, :3], np.pi / 2)
    np.testing.assert_allclose(joined.sizes_m[-1, :2], [5, 2])
    np.testing.assert_array_equal(joined.positions_m[:-1], street.tracks.positions_m)


def test_it_takes_the_place_of_the_scenes_own_ego_under_a_name_of_its_own():
    assert EGO.joined(scene(), -1).tracks.kinds.tolist() == [AgentKind.PEDESTRIAN, AgentKind.EGO]
    named = scene(kinds=(AgentKind.VEHICLE, AgentKind.PEDESTRIAN))
    named = replace(named, tracks=replace(named.tracks, agent_ids=np.array(["ego", "a"])))
    assert EGO.joined(named, 3).tracks.agent_ids.tolist() == ["ego", "a", "ego_"]


def test_it_cannot_join_from_afar():
    with pytest.raises(ForecastError, match="ego"):
        replace(EGO, x_m=1e9).joined(scene(), 2)


def test_a_state_of_texts_is_refused_in_one_line():
    with pytest.raises(ForecastError, match="ego x_m is '0'; a number is needed"):
        EgoState("0", 0.0, 0.0, 1.0)
    with pytest.raises(ForecastError, match="collision is '8'; a number of at least 0 is needed"):
        CostConfig(collision="8")
