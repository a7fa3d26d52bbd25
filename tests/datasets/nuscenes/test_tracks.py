import json

import numpy as np
import pytest

from forecast.datasets.nuscenes.categories import IGNORED, Categories
from forecast.datasets.nuscenes.tables import read_tables
from forecast.datasets.nuscenes.tracks import build_tracks, scene_origin, time_grid
from forecast.errors import ForecastError
from forecast.scene import AgentKind
from forecast.scene.agents import Decision


def built(tiny, scene=0, ignored=()):
    """Tracks of a scene, and its counts."""
    tables = read_tables(tiny.path("scene").parent)
    origin_m = scene_origin(tables.keyframes, scene)
    kinds = Categories().kinds_of(tables.instance_categories, tables.annotations.instances)
    kinds[np.isin(tables.instance_tokens, ignored)] = IGNORED
    return build_tracks(tables, kinds, scene, time_grid(tables, scene), origin_m)


def tracks_of(tiny, scene=0):
    return built(tiny, scene)[0]


def edit_of(tiny, table, token, **values):
    def change(rows):
        next(row for row in rows if row["token"] == token).update(values)

    tiny.edit(table, change)


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


# --- mended and left out


@pytest.mark.parametrize("unknown", [-1, -0.7, 0, float("nan"), None])
def test_sizes_that_are_no_sizes_become_typical_ones(tiny, unknown):
    edit_of(tiny, "sample_annotation", "ped-0", size=[unknown, 0.9, unknown])
    tracks, counts = built(tiny)
    np.testing.assert_allclose(tracks.sizes_m[1], [0.9, 0.7, 1.75])
    assert counts["typical_size"] == 1


def test_a_missing_size_becomes_a_typical_one(tiny):
    tiny.edit("sample_annotation", lambda rows: [row.pop("size") for row in rows])
    tracks, counts = built(tiny)
    np.testing.assert_allclose(tracks.sizes_m[1:], [[0.7, 0.7, 1.75], [4.6, 1.9, 1.7]])
    assert counts["typical_size"] == 2


def test_a_missing_rotation_becomes_the_direction_of_the_movement(tiny):
    """'car' moves along x; 'walker' of the other scene has a rotation in all frames but one."""

    def change(rows):
        for row in rows:
            if row["instance_token"] == "car" or row["token"] == "walker-3":
                row["rotation"] = None

    tiny.edit("sample_annotation", change)
    np.testing.assert_array_equal(tracks_of(tiny).headings_rad[2], 0)
    np.testing.assert_allclose(
        tracks_of(tiny, 1).headings_rad[1], np.pi / 2 * np.array([1, 1, 1, 0, 1]), rtol=1e-6
    )


def test_agents_to_ignore_are_left_out_and_counted(tiny):
    tracks, counts = built(tiny, ignored=["car"])
    assert list(tracks.agent_ids) == ["ego", "ped"]
    assert counts["ignored_category"] == 3
    with pytest.raises(ForecastError, match="scene-0061: no agent at any step; at least one is"):
        built(tiny, ignored=["car", "ped"])


def test_an_agent_far_away_is_refused(tiny):
    edit_of(tiny, "sample_annotation", "car-1", translation=[0.0, 50_000.0, 0.0])
    with pytest.raises(ForecastError, match="scene-0061: agent 'car' lies 49500 m from origin_m"):
        built(tiny)


def test_an_instance_with_the_ego_s_name_is_refused(tiny):
    tiny.edit("instance", lambda rows: rows[1].update(token="ego"))

    def change(rows):
        for row in rows:
            row["instance_token"] = row["instance_token"].replace("car", "ego")

    tiny.edit("sample_annotation", change)
    with pytest.raises(ForecastError, match=r"scene-0061: agents named twice is \['ego'\]; unique"):
        built(tiny)


# --- other rates


def faster(tiny, hz: float) -> None:
    """Brings the keyframes closer together, at the same places."""

    def change(rows):
        for row in rows:
            number = int(row["token"][-1])
            row["timestamp"] += round(number * (1e6 / hz - 500_000))

    tiny.edit("sample", change)


def test_faster_keyframes_are_resampled(tiny):
    """At 4 Hz two keyframes are a step: people go on by 1 m, the ego by 4 m.

    'car' is observed from 0.25 to 0.75 s, so it may be gone at 1 s.
    """
    faster(tiny, 4)
    tracks, counts = built(tiny)
    np.testing.assert_array_equal(tracks.positions_m[1], [[0, 5], [1, 5], [2, 5]])
    np.testing.assert_array_equal(tracks.positions_m[0, :, 0], [0.25, 4.25, 8.25])
    np.testing.assert_array_equal(tracks.valid, [[1, 1, 1], [1, 1, 1], [0, 1, 0]])
    np.testing.assert_array_equal(tracks.visibility[2], [0, 1, 0])
    assert not any(counts.values())


def test_positions_and_headings_between_keyframes(tiny):
    """At 2.5 Hz 0.5 s is a quarter of the way from the second keyframe to the third."""
    faster(tiny, 2.5)
    edit_of(tiny, "sample_annotation", "ped-2", rotation=[0, 0, 0, 1], visibility_token="3")
    tracks = tracks_of(tiny)
    np.testing.assert_allclose(tracks.positions_m[1, :, 0], [0, 0.625, 1.25, 1.875], rtol=1e-6)
    np.testing.assert_allclose(tracks.headings_rad[1, 1], np.pi / 2 * 1.25, rtol=1e-6)
    assert tracks.visibility[1].tolist() == [0, 0, 3, 0]  # that of the keyframe before


def test_an_agent_between_steps_is_left_out_and_counted(tiny):
    """At 10 Hz 'car' is observed from 0.1 to 0.3 s. The only step is at 0 s."""
    faster(tiny, 10)
    tracks, counts = built(tiny)
    assert list(tracks.agent_ids) == ["ego", "ped"]
    assert counts["agent_between_steps"] == 1


def decide(tiny, *rows):
    keys = ("token", "instance_token", "decisions")
    table = [dict(zip(keys, (f"decision-{i}", *row), strict=True)) for i, row in enumerate(rows)]
    tiny.path("decision").write_text(json.dumps(table))


def test_decisions_are_those_at_the_keyframes_and_unknown_for_others(tiny):
    assert tracks_of(tiny).decisions is None
    decide(tiny, ("ped", [Decision.FREE, Decision.GO, Decision.YIELD, Decision.GO, Decision.GO]))
    found = tracks_of(tiny).decisions
    unknown = [Decision.UNKNOWN] * 5
    assert found.tolist() == [unknown, [0, 1, 2, 1, 1], unknown]


def test_a_decision_for_each_keyframe_is_needed(tiny):
    decide(tiny, ("ped", [Decision.GO] * 4))
    message = "decision.json: instance 'ped' has 4 decisions; its scene has 5 keyframes"
    with pytest.raises(ForecastError, match=message):
        tracks_of(tiny)
