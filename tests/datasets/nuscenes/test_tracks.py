import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.datasets.nuscenes.tables import Keyframes, read_tables
from forecast.datasets.nuscenes.tracks import (
    build_tracks,
    kind_of,
    kinds_of,
    scene_origin,
    time_grid,
)
from forecast.errors import ForecastError
from forecast.scene import AgentKind


def keyframes_at(times_us) -> Keyframes:
    count = len(times_us)
    return Keyframes(
        tokens=np.array([f"s{i}" for i in range(count)]),
        timestamps_us=np.array(times_us, np.int64),
        ego_m=np.zeros((count, 2)),
        ego_headings_rad=np.zeros(count, np.float32),
        has_ego=np.ones(count, bool),
        offsets=np.array([0, count]),
    )


def tracks_of(tiny, scene=0):
    tables = read_tables(tiny.path("scene").parent)
    origin_m = scene_origin(tables.keyframes, scene)
    kinds = kinds_of(tables.instance_categories)
    return build_tracks(tables, kinds, scene, time_grid(tables.keyframes, scene), origin_m)


@pytest.mark.parametrize(
    ("category", "kind"),
    [
        ("human.pedestrian.adult", AgentKind.PEDESTRIAN),
        ("human.pedestrian.personal_mobility", AgentKind.PEDESTRIAN),
        ("vehicle.bicycle", AgentKind.CYCLIST),
        ("vehicle.motorcycle", AgentKind.CYCLIST),
        ("vehicle.car", AgentKind.VEHICLE),
        ("vehicle.bus.bendy", AgentKind.VEHICLE),
        ("vehicle.emergency.police", AgentKind.VEHICLE),
        ("movable_object.trafficcone", AgentKind.STATIC),
        ("static_object.bicycle_rack", AgentKind.STATIC),
        ("animal", AgentKind.STATIC),
    ],
)
def test_kind_of(category, kind):
    assert kind_of(category) == kind
    assert list(kinds_of(np.array([category, "animal"]))) == [kind, AgentKind.STATIC]


@pytest.mark.parametrize("category", ["human", "robot.delivery", ""])
def test_an_unknown_category_is_refused(category):
    with pytest.raises(ForecastError, match=f"category '{category}' is unknown; it must start"):
        kind_of(category)


def test_a_missing_keyframe_leaves_a_gap():
    grid = time_grid(keyframes_at([7_000_000, 7_500_000, 9_000_000, 9_500_000]), 0)
    assert list(grid.steps) == [0, 1, 4, 5]
    assert list(grid.timestamps_us - 7_000_000) == [500_000 * i for i in range(6)]
    assert list(grid.frame_ids) == ["s0", "s1", "", "", "s2", "s3"]


def test_slow_drift_makes_no_gap():
    drifting = np.arange(1000) * 549_000  # half a minute late in the end
    assert list(time_grid(keyframes_at(drifting), 0).steps) == list(range(1000))


def test_keyframes_close_together_keep_a_step_each():
    grid = time_grid(keyframes_at([0, 100_000, 200_000]), 0)
    assert list(grid.steps) == [0, 1, 2]
    assert list(grid.timestamps_us) == [0, 100_000, 200_000]


@given(st.lists(st.integers(1, 5_000_000), max_size=30))
def test_the_grid_keeps_every_keyframe_and_its_time(waits_us):
    times = np.cumsum([1_532_000_000_000_000, *waits_us])
    grid = time_grid(keyframes_at(times), 0)
    assert (np.diff(grid.timestamps_us) > 0).all()
    assert (grid.timestamps_us[grid.steps] == times).all()
    assert list(grid.frame_ids[grid.steps]) == [f"s{i}" for i in range(len(times))]
    assert (grid.frame_ids != "").sum() == len(times)


def test_tracks_of_a_scene(tiny):
    tracks = tracks_of(tiny)
    assert list(tracks.agent_ids) == ["ego", "ped", "car"]
    assert list(tracks.kinds) == [AgentKind.EGO, AgentKind.PEDESTRIAN, AgentKind.VEHICLE]
    assert tracks.kinds.dtype == np.int8
    assert tracks.positions_m.dtype == tracks.headings_rad.dtype == np.float32
    assert list(tracks.categories) == ["vehicle.ego", "human.pedestrian.adult", "vehicle.car"]
    seen = [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 1, 0]]
    np.testing.assert_array_equal(tracks.valid, np.array(seen, bool))
    # The frame's origin is the first ego position (1000.25, 500) to the metre.
    np.testing.assert_array_equal(tracks.positions_m[0], [[0.25 + 2 * i, 0] for i in range(5)])
    np.testing.assert_array_equal(tracks.positions_m[1], [[0.5 * i, 5] for i in range(5)])
    np.testing.assert_array_equal(
        tracks.positions_m[2], [[0, 0], [0.5, 6], [1, 6], [1.5, 6], [0, 0]]
    )
    np.testing.assert_allclose(tracks.headings_rad[1], np.pi / 2)
    np.testing.assert_array_equal(tracks.visibility, [[0] * 5, [0] * 5, [0, 1, 1, 1, 0]])


def test_sizes_are_those_of_the_first_annotation(tiny):
    np.testing.assert_allclose(
        tracks_of(tiny).sizes_m, [[4.1, 1.75, 1.55], [0.8, 0.6, 1.7], [0.8, 0.6, 1.7]], rtol=1e-6
    )


def test_no_ego_pose_means_not_valid(tiny):
    tiny.edit("sample_data", lambda rows: rows[0].update(is_key_frame=False))
    tracks = tracks_of(tiny)
    assert list(tracks.valid[0]) == [False, True, True, True, True]
    np.testing.assert_array_equal(
        tracks.positions_m[0, :2], [[0, 0], [0.25, 0]]
    )  # around (1002, 500)


def test_positions_at_map_scale_keep_millimetre_precision(tiny):
    def shift(rows):
        for row in rows:
            row["translation"][0] += 4_000_000.003

    tiny.edit("sample_annotation", shift)
    tiny.edit("ego_pose", shift)
    np.testing.assert_allclose(
        tracks_of(tiny).positions_m[1, :, 0], 0.003 + 0.5 * np.arange(5), atol=1e-6
    )
