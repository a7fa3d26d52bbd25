import numpy as np
import pytest

from forecast import AgentKind, ForecastError
from forecast.datasets.track_rows import TrackRows


def rows(*tracks, kinds=None, **columns):
    """Rows of agents, each ``[N, 3]`` of t_s, x_m, y_m."""
    values = np.concatenate([np.array(track, float) for track in tracks])
    return TrackRows(
        item="scene 'a'",
        names=np.array([f"p{number}" for number in range(len(tracks))]),
        kinds=np.array(kinds or [AgentKind.PEDESTRIAN] * len(tracks), np.int8),
        agents=np.repeat(np.arange(len(tracks)), [len(track) for track in tracks]),
        times_s=values[:, 0],
        xy_m=values[:, 1:],
        **columns,
    ).sorted()


def walk(times_s, speed_mps=1.0, y=0.0):
    return [(t, speed_mps * t, y) for t in times_s]


@pytest.mark.parametrize("hz", [2, 2.5, 3, 4, 5, 10, 20, 30])
def test_a_walker_walks_as_fast_at_any_rate(hz):
    scene, counts = rows(walk(np.arange(0, 4 + 1e-9, 1 / hz))).scene("a", 0.5)
    assert counts == {}
    np.testing.assert_allclose(scene.timestamps_us, np.arange(9) * 500_000, atol=2)
    np.testing.assert_allclose(scene.tracks.positions_m[0, :, 0], np.arange(9) / 2, atol=1e-5)
    marked = [] if scene.interpolated is None else np.flatnonzero(scene.interpolated).tolist()
    expected = {2.5: [1, 2, 3, 5, 6, 7], 3: [1, 3, 5, 7], 5: [1, 3, 5, 7]}
    assert marked == expected.get(hz, [])


def test_steps_with_a_record_depend_on_no_later_one():
    """At 10 Hz a person is missed at 1 s: the continuation of 0.8 and 0.9 s stands there."""
    times = np.arange(21) / 10
    track = [(t, t * t, 0) for t in times]
    other = walk(times, y=5)
    missed = [row for row in track if row[0] != 1.0]
    scene, _ = rows(missed, other).scene("a", 0.5)
    assert scene.interpolated is None
    expected = [0, 0.25, 0.81 + (0.81 - 0.64), 2.25, 4]
    np.testing.assert_allclose(scene.tracks.positions_m[0, :, 0], expected, atol=1e-6)


def test_gaps_stay_gaps():
    times = np.concatenate([np.arange(0, 1.05, 0.1), np.arange(3, 4.05, 0.1)])
    scene, _ = rows(walk(times), walk(np.arange(0, 4.05, 0.1), y=3)).scene("a", 0.5)
    assert scene.tracks.valid[0].tolist() == [True, True, True, False, False, False, True, True,
                                              True]  # fmt: skip


def test_nothing_is_interpolated_across_a_jump():
    """At 3 Hz, a step of 0.5 s lies between records; the person jumps by 8 m between two."""
    times = np.arange(0, 3.01, 1 / 3)
    track = [(t, t + 8 * (t > 1.4), 0) for t in times]  # between 1.33 and 1.67 s
    scene, _ = rows(track, walk(times, y=3)).scene("a", 0.5)
    assert scene.tracks.valid[0].tolist() == [True, True, True, False, True, True, True]
    x = scene.tracks.positions_m[0, :, 0]
    np.testing.assert_allclose(x, [0, 0.5, 1, 0, 10, 10.5, 11], atol=1e-5)


def test_rows_in_any_order_give_the_same_scene():
    tracks = rows(walk(np.arange(0, 3, 0.1)), walk(np.arange(1, 3, 0.1), y=2))
    order = np.random.default_rng(0).permutation(len(tracks.times_s))
    mixed = tracks._rows(order).sorted()
    assert mixed.scene("a", 0.5)[0].tracks.positions_m.tolist() == (
        tracks.scene("a", 0.5)[0].tracks.positions_m.tolist()
    )


def test_agents_between_two_steps_are_left_out_and_counted():
    scene, counts = rows(walk(np.arange(0, 2, 0.1)), walk([0.6, 0.7], y=2)).scene("a", 0.5)
    assert scene.tracks.agent_ids.tolist() == ["p0"]
    assert counts == {"agent_between_steps": 1}


def test_sizes_headings_and_labels_come_along():
    times = np.arange(0, 1.5, 0.5)
    tracks = rows(
        walk(times),
        walk(times, y=2),
        sizes_m=np.array([[0.6, 0.5, 1.8], [-1, np.nan, 1.7]]),
        headings_rad=np.array([3.0, -3.0, np.nan, 1, 1, 1]),
        labels=np.array(["a", "b", "c"] * 2),
    )
    scene, counts = tracks.scene("a", 0.5, "here")
    np.testing.assert_allclose(scene.tracks.sizes_m, [[0.6, 0.5, 1.8], [0.7, 0.7, 1.7]])
    assert counts == {"typical_size": 1}
    np.testing.assert_allclose(scene.tracks.headings_rad, [[3, -3, 0], [1, 1, 1]])
    assert scene.frame_ids.tolist() == ["a", "b", "c"]
    assert (scene.location, scene.headings_recorded) == ("here", True)


def test_world_coordinates_are_stored_around_a_near_origin():
    far = [(t, 5e5 + t, 4.5e6) for t in np.arange(0, 2.5, 0.5)]
    scene, _ = rows(far).scene("a", 0.5)
    assert scene.origin_m.tolist() == [5e5 + 1, 4.5e6]
    np.testing.assert_allclose(scene.tracks.positions_m[0, :, 0], [-1, -0.5, 0, 0.5, 1])


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (np.arange(5) * 100, "100 s between records: milliseconds"),
        (1.7e18 + np.arange(5) * 1e8, "1e.08 s between records: nanoseconds"),
        ([1.7e18], r"the latest time is 1\.7e\+18 s; seconds is needed"),
        (np.arange(5), r"a record every 1 s was measured; 0\.5 s or less is needed"),
    ],
)
def test_times_in_another_unit_are_refused(times, message):
    with pytest.raises(ForecastError, match=f"scene 'a': {message}"):
        rows([(t, 0, 0) for t in times]).scene("a", 0.5)


def test_positions_in_another_unit_are_refused():
    """Who does not move says nothing of the unit; vehicles may be faster."""
    times = np.arange(0, 3, 0.5)
    tracks = [walk(times, 31), walk(times, 0), walk(times, 60)]
    kinds = [AgentKind.PEDESTRIAN, AgentKind.PEDESTRIAN, AgentKind.VEHICLE]
    with pytest.raises(ForecastError, match="people move at 31 units per second: pixels"):
        rows(*tracks, kinds=kinds).scene("a", 0.5)
    assert rows(*tracks[1:], kinds=kinds[1:]).scene("a", 0.5)[0].steps == 6


def test_degrees_are_refused():
    """30 m at a latitude of 47 degrees are 0.0004 degrees of longitude."""
    track = [(t, 8.54 + 1e-5 * t, 47.37) for t in range(0, 4)]
    other = [(t, 8.5404, 47.37) for t in range(0, 4)]
    with pytest.raises(ForecastError, match=r"all 2 agents lie within 0\.0004 units: degrees or k"):
        rows(track, other).scene("a", 0.5)


def test_a_scene_too_large_for_memory_is_refused(monkeypatch):
    monkeypatch.setattr("forecast.datasets.track_rows._MOST_VALUES", 39)
    with pytest.raises(ForecastError, match=r"agents times steps is 4 x 10; at most 39 \(cut"):
        rows(*(walk(np.arange(10) / 2, 0, y=y) for y in range(4))).scene("a", 0.5)


def test_no_step_depends_on_a_record_after_the_next_prediction_time():
    """At 13 Hz, 0.5 s is between two records and 1 s is one, at which the second person is missed.

    Seen at 0, 0.46 and 1.08 s, that person has a position at 1 s, but none at 0.5 s.
    """
    often = walk(np.arange(27) / 13)
    seldom = [(t, t, 5) for t in (0, 6 / 13, 14 / 13, 20 / 13)]
    scene, _ = rows(often, seldom).scene("a", 0.5)
    assert scene.interpolated[:4].tolist() == [False, True, False, True]
    assert scene.tracks.valid[1, :3].tolist() == [True, False, True]
    np.testing.assert_allclose(scene.tracks.positions_m[1, 2, 0], 1.0, atol=1e-5)


def test_a_row_between_two_steps_is_left_out_and_counted():
    times = np.sort(np.append(np.arange(21) / 2, 3.25))
    scene, counts = rows(walk(times)).scene("a", 0.5)
    assert counts == {"row_between_steps": 1}
    np.testing.assert_allclose(scene.tracks.positions_m[0, :, 0], np.arange(21) / 2)


def test_noise_and_jumps_are_no_other_unit():
    """At 30 Hz with 0.3 m of noise a path is 17 m/s long; one jump of 60 m is no speed either."""
    times = np.arange(0, 4, 1 / 30)
    noise = np.random.default_rng(0).normal(0, 0.3, (len(times), 2))
    noisy = rows(np.column_stack([times, 1.2 * times + noise[:, 0], noise[:, 1]]))
    assert noisy.mean_speeds_mps()[0] > 10
    assert 0.5 < noisy.usual_speed_mps() < 2.5
    jumping = rows([(t, t + 60 * (t > 2), 0) for t in np.arange(0, 4, 0.5)])
    assert jumping.usual_speed_mps() == pytest.approx(1)
    assert jumping.scene("a", 0.5)[0].steps == 8
