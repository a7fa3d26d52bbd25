from dataclasses import replace

import numpy as np
import pytest

from forecast import AgentKind, ForecastError, Scene
from forecast.scene import LaneMap, Polylines
from forecast.scene.agents import TYPICAL_SIZE_M
from tests.any_scene import small_map

PERSON, CAR, CONE = AgentKind.PEDESTRIAN, AgentKind.VEHICLE, AgentKind.STATIC
NAN = float("nan")


@pytest.fixture
def scene() -> Scene:
    positions = [
        [[0, 0], [0, 1], [NAN, NAN]],
        [[5, 5], [6, 5], [7, 5]],
        [[9, 9], [9, 9], [9, 9]],
    ]
    return Scene.from_arrays(positions, [PERSON, CAR, CONE], 0.5, lane_map=small_map())


def test_from_arrays_fills_in_what_a_planner_does_not_have(scene):
    tracks = scene.tracks
    assert tracks.agent_ids.tolist() == ["0", "1", "2"]
    assert tracks.categories.tolist() == ["pedestrian", "vehicle", "static"]
    assert tracks.valid.tolist() == [[True, True, False], [True] * 3, [True] * 3]
    assert tracks.positions_m[0].tolist() == [[0, 0], [0, 1], [0, 0]]
    np.testing.assert_allclose(tracks.headings_rad, [[0, np.pi / 2, 0], [0] * 3, [0] * 3])
    np.testing.assert_allclose(tracks.sizes_m, [TYPICAL_SIZE_M[k] for k in (PERSON, CAR, CONE)])
    assert scene.timestamps_us.tolist() == [0, 500_000, 1_000_000]
    assert (scene.steps, scene.start_us, scene.frame_ids.tolist()) == (3, 0, [""] * 3)


def test_positions_are_nan_where_nobody_was_seen(scene):
    expected = [[0, 0], [0, 1], [NAN, NAN]]
    np.testing.assert_array_equal(scene.positions_m[0], expected)
    np.testing.assert_array_equal(scene.positions_m[1:], scene.tracks.positions_m[1:])
    again = Scene.from_arrays(scene.positions_m, scene.tracks.kinds, scene.dt_s)
    np.testing.assert_array_equal(again.tracks.valid, scene.tracks.valid)


def test_a_step_may_be_counted_from_the_end(scene):
    assert [scene.step(at) for at in (0, 2, -1, -3, np.int8(-2))] == [0, 2, 2, 0, 1]
    assert scene.present(-1).tolist() == scene.present(2).tolist() == [1]
    for at, message in (
        (3, "0 to 2, or -3 to -1"),
        (-4, "0 to 2, or"),
        (1.0, "a whole number"),
        (True, "a whole number"),
    ):
        with pytest.raises(ForecastError, match=rf"^scene: at is {at}; {message}"):
            scene.present(at)


def test_texts_name_sizes_and_not_arrays(scene):
    assert repr(scene) == (
        "Scene('scene': 3 steps of 0.5 s, 3 agents (1 pedestrian, 1 vehicle, 1 static), 2 lanes)"
    )
    assert repr(replace(scene, lane_map=None)).endswith("1 static), no map)")
    assert repr(scene.tracks) == "Tracks(3 agents (1 pedestrian, 1 vehicle, 1 static), 3 steps)"
    assert repr(scene.lane_map) == "LaneMap(2 lanes, 1 crosswalks, 2 walkways)"
    assert repr(scene.lane_map.centerlines) == "Polylines(2 lines, 5 points)"
    assert repr(scene.lane_map.crosswalks) == "Polygons(1 polygons, 4 points)"


def test_from_arrays_takes_what_is_given():
    scene = Scene.from_arrays(
        [[[100, 200], [101, 200]]],
        [PERSON],
        0.4,
        valid=[[True, False]],
        headings_rad=[[1.0, 2.0]],
        sizes_m=[[1, 2, 3]],
        agent_ids=["anna"],
        categories=["human.pedestrian.adult"],
        origin_m=(90, 190),
        start_us=7,
        id="s",
        location="here",
        description="rain",
    )
    tracks = scene.tracks
    assert tracks.positions_m.tolist() == [[[10, 10], [0, 0]]]
    assert tracks.headings_rad.tolist() == [[1, 0]]
    assert tracks.sizes_m.tolist() == [[1, 2, 3]]
    assert (tracks.agent_ids[0], tracks.categories[0]) == ("anna", "human.pedestrian.adult")
    assert scene.origin_m.tolist() == [90, 190]
    assert scene.timestamps_us.tolist() == [7, 400_007]
    assert (scene.id, scene.location, scene.description) == ("s", "here", "rain")


def test_map_scale_positions_keep_their_millimetres_around_an_origin():
    world = np.array([[[3_456_789.123, 5_000_000.456]]])
    scene = Scene.from_arrays(world, [PERSON], 0.5, origin_m=(3_456_700, 5_000_000))
    np.testing.assert_allclose(scene.tracks.positions_m + scene.origin_m, world, atol=1e-4, rtol=0)


def test_a_position_far_from_the_origin_is_refused():
    with pytest.raises(ForecastError, match=r"big: agent '0' lies 20000 m from origin_m; "):
        Scene.from_arrays([[[20_000, 0]]], [PERSON], 0.5, id="big")


def test_world_coordinates_in_float32_are_refused():
    """Between 2^22 and 2^23 float32 has steps of half a metre."""
    world = np.array([[[690_000, 5_334_000]]], np.float32)
    message = "positions_m are float32, in steps of 0.5 m at 5334000 m; float64 is needed"
    with pytest.raises(ForecastError, match=message):
        Scene.from_arrays(world, [PERSON], 0.5, origin_m=(690_000, 5_334_000))
    near = np.array([[[3, 4], [9e9, 9e9]]], np.float32)
    scene = Scene.from_arrays(near, [PERSON], 0.5, valid=[[True, False]])
    assert scene.tracks.positions_m.tolist() == [[[3, 4], [0, 0]]]


def test_headings_in_degrees_are_refused_where_they_are_used():
    two = np.zeros((2, 1, 2))
    with pytest.raises(ForecastError, match=r"agent '1' is 90: degrees\? radians are needed"):
        Scene.from_arrays(two, ["pedestrian", "ego"], 0.5, headings_rad=[[0], [90]])
    Scene.from_arrays(two, ["pedestrian", "ego"], 0.5, headings_rad=[[90], [3 * np.pi]])


def east_north_east(headings_rad, kind=CAR, dt_s=0.5, speed_mps=4.0) -> Scene:
    """An agent that drives in the direction of 5 degrees, which are 0.087 radians."""
    along = speed_mps * dt_s * np.arange(5)
    way = np.array([np.cos(np.radians(5)), np.sin(np.radians(5))])
    return Scene.from_arrays(along[:, None] * way + np.zeros((1, 5, 2)), [kind], dt_s,
                             headings_rad=np.broadcast_to(headings_rad, (1, 5)))  # fmt: skip


def test_small_headings_in_degrees_are_refused_where_the_motion_shows_it():
    for kind in ("vehicle", "ego", "cyclist"):
        with pytest.raises(ForecastError, match=r"agent '0' is 5, far off its motion: degrees\?"):
            east_north_east(5.0, kind)
    for right in (0.087, 0.087 + np.pi, [5.0, 5.0, 0.1, 5.0, 5.0], NAN):
        east_north_east(right)  # also backwards, and with one value that is no degrees
    east_north_east(5.0, "pedestrian")  # recorded headings of people are not used
    east_north_east(5.0, speed_mps=0.5)  # 1 m in all: no motion to compare with


def test_a_map_in_another_frame_than_the_agents_is_refused():
    there = np.array([600.0, 1600.0])
    here, lines = np.tile(there, (1, 2, 1)), small_map().centerlines
    shifted = Polylines(lines.points_m + np.float32(there), lines.offsets)
    only_lanes = LaneMap(small_map().lane_ids, shifted)
    with pytest.raises(ForecastError, match=r"scene: the lane map lies 1[67].. m from all agents"):
        Scene.from_arrays(here, [CAR], 0.5, origin_m=there, lane_map=only_lanes)
    Scene.from_arrays(here, [CAR], 0.5, origin_m=there, lane_map=small_map())
    Scene.from_arrays(here, [CAR], 0.5, lane_map=only_lanes)
    Scene.from_arrays(here, [CAR], 0.5, origin_m=there, lane_map=LaneMap())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dt_s": None}, "scene: dt_s is None; a step from 0.001 to 3600 s is needed"),
        ({"dt_s": "fast"}, "scene: dt_s are not numbers"),
        ({"origin_m": "utm"}, "scene: origin_m are not numbers"),
        ({"origin_m": (1, 2, 3)}, r"scene: origin_m has shape \[3\]; \[2\] is needed"),
        ({"origin_m": (NAN, 0)}, "scene: origin_m is .*; metres up to 1e\\+08 is needed"),
    ],
)
def test_a_wrong_step_or_origin_is_refused(options, message):
    with pytest.raises(ForecastError, match=message):
        Scene.from_arrays(np.zeros((1, 1, 2)), [PERSON], **{"dt_s": 0.5, **options})


@pytest.mark.parametrize("shape", [(3, 2), (1, 3, 3)])
def test_positions_of_another_shape_are_refused(shape):
    with pytest.raises(ForecastError, match=r"positions_m has shape .*; \[A, T, 2\] is needed"):
        Scene.from_arrays(np.zeros(shape), [PERSON], 0.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kinds": [0, 0]}, r"scene: kinds has shape \[2\]; \[1\] is needed"),
        ({"kinds": [9]}, r"scene: kinds holds 9; values of AgentKind, 0 to 4, are needed"),
        ({"kinds": [1.5]}, r"scene: kinds holds 1.5; values of AgentKind, 0 to 4, are needed"),
        ({"kinds": 0}, "kinds is a single int; a list is needed"),
        ({"agent_ids": 7}, "agent_ids is a single int; a list is needed"),
        ({"agent_ids": [""]}, "scene: the name of an agent is empty; a name is needed"),
        ({"valid": np.full((1, 3), 0.5)}, "scene: valid holds other values than 0 and 1"),
        ({"valid": "yes"}, "scene: valid holds other values than 0 and 1"),
        ({"start_us": 2.5}, "scene: start_us is 2.5; a whole number of microseconds is needed"),
        ({"start_us": 10**30}, "scene: start_us is 1000.*; a time up to"),
        ({"start_us": "x"}, "scene: start_us is 'x'; a whole number of microseconds is needed"),
        ({"dt_s": 1e300}, r"scene: dt_s is 1e\+300; a step from 0.001 to 3600 s is needed"),
        ({"origin_m": [1e20, 0]}, r"scene: origin_m is \[1e\+20, 0.0\]; metres up to 1e\+08"),
        ({"id": ""}, "id is ''; a scene's name is needed"),
        ({"valid": [True]}, r"scene: valid has shape \[1\]; \[1, 3\] is needed"),
        ({"headings_rad": [1.0]}, r"scene: headings_rad has shape \[1\]; \[1, 3\] is needed"),
        ({"sizes_m": [[1, 2, 3]] * 2}, r"scene: sizes_m has shape \[2, 3\]; \[1, 3\] is needed"),
        ({"agent_ids": ["a", "b"]}, r"scene: agent_ids has shape \[2\]; \[1\] is needed"),
        ({"categories": []}, r"categories has shape \[0\]; \[1\] was expected"),
    ],
)
def test_an_array_of_another_shape_or_value_is_refused(given, message):
    with pytest.raises(ForecastError, match=message):
        Scene.from_arrays(np.zeros((1, 3, 2)), **{"kinds": [PERSON], "dt_s": 0.5, **given})


def test_a_scene_may_be_empty_of_agents():
    scene = Scene.from_arrays(np.zeros((0, 3, 2)), [], 0.5)
    assert (len(scene.tracks), scene.steps) == (0, 3)


def test_present_leaves_out_the_unseen_and_what_cannot_move(scene):
    assert scene.present(0).tolist() == [0, 1]
    assert scene.present(2).tolist() == [1]


def test_between_keeps_the_clock_and_the_map(scene):
    part = scene.between(1, 3)
    assert part.steps == 2
    assert part.timestamps_us.tolist() == [500_000, 1_000_000]
    assert part.start_us == 500_000
    assert part.tracks.positions_m[1].tolist() == [[6, 5], [7, 5]]
    assert part.lane_map is scene.lane_map


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dt_s": 0.0}, "scene: dt_s is 0.0; a positive step is needed"),
        ({"dt_s": NAN}, "scene: dt_s is nan; a positive step is needed"),
        ({"timestamps_us": np.arange(2)}, "scene: timestamps_us must have one entry for 3 steps"),
        ({"frame_ids": np.array(["a"])}, "scene: frame_ids must have one entry for 3 steps"),
        ({"timestamps_us": np.array([0, 2, 2])}, "scene: timestamps_us must increase from step to"),
        ({"origin_m": np.zeros(3)}, r"scene: origin_m has shape \[3\]; \[2\] is needed"),
        ({"origin_m": 3}, r"scene: origin_m has shape \[\]; \[2\] is needed"),
        ({"origin_m": np.array([0, np.inf])}, r"origin_m is \[0.0, inf\]; metres up to 1e\+08"),
        ({"origin_m": np.array([0, 1e20])}, r"origin_m is \[0.0, 1e\+20\]; metres up to 1e\+08"),
        ({"id": ""}, "id is ''; a scene's name is needed"),
        ({"id": 3}, "id is 3; a scene's name is needed"),
    ],
)
def test_a_broken_scene_is_refused(scene, change, message):
    with pytest.raises(ForecastError, match=message):
        replace(scene, **change)


def test_a_scene_without_a_step_is_refused(scene):
    with pytest.raises(ForecastError, match="scene: the scene has no time step; at least 1"):
        scene.between(1, 1)


def test_from_arrays_refuses_a_keyword_that_it_does_not_know():
    with pytest.raises(TypeError, match="unexpected keyword argument 'name'"):
        Scene.from_arrays(np.zeros((1, 3, 2)), [PERSON], 0.5, name="street")


def test_an_origin_of_three_numbers_is_refused():
    with pytest.raises(ForecastError, match=r"scene: origin_m has shape \[3\]; \[2\] is needed"):
        Scene.from_arrays(np.zeros((1, 3, 2)), [0], 0.5, origin_m=(0, 0, 0))


def test_headings_in_degrees_are_refused_where_the_agent_is_seen():
    headings = np.array([[0.1, 90.0]])
    with pytest.raises(ForecastError, match=r"headings_rad of agent '0' is 90: degrees\? radians"):
        Scene.from_arrays(np.zeros((1, 2, 2)), [2], 0.5, headings_rad=headings)
    seen = np.array([[True, False]])
    scene = Scene.from_arrays(np.zeros((1, 2, 2)), [2], 0.5, valid=seen, headings_rad=headings)
    np.testing.assert_allclose(scene.tracks.headings_rad, [[0.1, 0]])


@pytest.mark.parametrize(
    ("kind", "size"), [("pedestrian", [70, 70, 175]), ("vehicle", [450, 190, 170])]
)
def test_sizes_in_centimetres_are_refused(kind, size):
    with pytest.raises(ForecastError, match=r"scene: a size is \[.*\]: centimetres\? metres are"):
        Scene.from_arrays(np.zeros((1, 3, 2)), [kind], 0.5, sizes_m=[size])


@pytest.mark.parametrize(
    ("scale", "dt_s", "message"),
    [
        (100, 0.1, "3 of 3, such as agent '0' at 120 m/s; positions in metres"),
        (1, 0.001, r"dt_s is 0.001"),
    ],
)
def test_units_of_which_most_agents_are_too_fast_are_refused(scale, dt_s, message):
    walks = np.arange(20)[:, None] * np.array([0.12, 0.0]) + np.arange(3)[:, None, None]
    Scene.from_arrays(walks, ["pedestrian"] * 3, 0.1)
    with pytest.raises(ForecastError, match=message):
        Scene.from_arrays(scale * walks, ["pedestrian"] * 3, dt_s)


def test_one_jump_or_noise_is_no_wrong_unit():
    jump = np.zeros((1, 20, 2))
    jump[0, 10:] = 50.0
    Scene.from_arrays(jump, ["pedestrian"], 0.1)
    noisy = np.random.default_rng(0).normal(0, 1.0, (5, 20, 2))
    Scene.from_arrays(noisy, ["pedestrian"] * 5, 0.03)


def test_two_egos_are_refused():
    with pytest.raises(ForecastError, match="agents of kind EGO is 2; at most 1"):
        Scene.from_arrays(np.zeros((2, 3, 2)), ["ego", "ego"], 0.5)


def test_arrays_that_were_given_may_be_used_again():
    origin, valid = np.array([500.0, 600.0]), np.ones((1, 2), bool)
    positions = np.array([[[501.0, 602.0], [501.0, 603.0]]])
    made = Scene.from_arrays(positions, [PERSON], 0.5, origin_m=origin, valid=valid)
    for array in (origin, valid, positions):
        array[:] = 0
    assert made.origin_m.tolist() == [500.0, 600.0]
    assert made.tracks.valid.all()
    assert made.tracks.positions_m[0, 0].tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        made.origin_m[:] = 0
