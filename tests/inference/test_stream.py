from dataclasses import replace

import numpy as np
import pytest

from forecast import AgentKind, ForecastError, ForecastWarning, Scene
from forecast.inference import Forecaster, Frame, Stream, flicker
from forecast.planning import EgoState, candidates
from forecast.scene import LaneMap, Polylines
from tests.scenes import drive, street_scene

H = 5


def frame_of(scene: Scene, at: int, order: int = 1) -> Frame:
    """What a scene shows at a step, in the scene's order or backwards."""
    tracks = scene.tracks
    seen = np.flatnonzero(tracks.valid[:, at])[::order]
    return Frame(
        int(scene.timestamps_us[at]),
        tracks.agent_ids[seen],
        tracks.kinds[seen],
        tracks.positions_m[seen, at],
        tracks.headings_rad[seen, at],
        tracks.sizes_m[seen],
    )


def streamed(forecaster: Forecaster, scene: Scene, first: int, last: int) -> Stream:
    stream = forecaster.stream(scene.lane_map)
    for at in range(first, last + 1):
        stream.observe(frame_of(scene, at))
    return stream


@pytest.mark.parametrize("at", [4, 7, 10, 23])
def test_it_predicts_what_the_batch_predicts_from_the_same_history(forecaster, at) -> None:
    """Somebody appears (4 to 7), is hidden for a step (7), leaves for good (23)."""
    scene = street_scene()
    if at == 23:  # a window leaves out who is gone
        scene = replace(scene, tracks=scene.tracks.select(np.array([0, 1, 2, 4, 5, 6])))
    stream = streamed(forecaster, scene, at - H + 1, at)
    expected = forecaster.predict(scene, at, samples=3)
    live = stream.predict(samples=3)
    rows = [live.agent_ids.tolist().index(name) for name in expected.agent_ids]
    np.testing.assert_allclose(live.positions_m[:, rows], expected.positions_m, atol=1e-4)
    np.testing.assert_allclose(live.modes_m[rows], expected.modes_m, atol=1e-4)
    assert live.at_us == expected.at_us


def test_it_follows_a_plan_like_the_batch(forecaster) -> None:
    scene = street_scene()
    plan = drive(scene, 6, 12, 0.1)
    live = streamed(forecaster, scene, 2, 6).predict(samples=2, ego_plan=plan)
    expected = forecaster.predict(scene, 6, samples=2, ego_plan=plan)
    rows = [live.agent_ids.tolist().index(name) for name in expected.agent_ids]
    np.testing.assert_allclose(live.positions_m[:, rows], expected.positions_m, atol=1e-4)


def test_it_checks_a_plan_like_the_batch(forecaster) -> None:
    scene = street_scene()
    stream, plan = streamed(forecaster, scene, 2, 6), drive(scene, 6, 12)
    coarse = stream.predict(samples=2, ego_plan=plan[1::2], plan_dt_s=1.0)
    fine = stream.predict(samples=2, ego_plan=plan)
    np.testing.assert_allclose(coarse.positions_m, fine.positions_m, atol=1e-5)
    with pytest.raises(ForecastError, match="ego_plan, step 1: lies"):
        stream.predict(ego_plan=plan + np.array([1e5, 0, 0]))
    with pytest.raises(ForecastError, match=r"ego_plan holds 6 poses every 0\.5 s"):
        stream.predict(ego_plan=plan[:6])


def test_the_order_of_a_frame_does_not_matter(forecaster) -> None:
    scene, stream = street_scene(), forecaster.stream(street_scene().lane_map)
    for at in range(H):
        stream.observe(frame_of(scene, at, order=1 if at % 2 else -1))
    one, two = stream.predict(), streamed(forecaster, scene, 0, 4).predict()
    rows = [one.agent_ids.tolist().index(name) for name in two.agent_ids]
    np.testing.assert_allclose(one.positions_m[:, rows], two.positions_m, atol=1e-4)


def test_a_missed_frame_is_a_gap(forecaster) -> None:
    scene = street_scene()
    valid = scene.tracks.valid.copy()
    valid[:, 3] = False
    gap = replace(scene, tracks=replace(scene.tracks, valid=valid))
    stream = forecaster.stream(scene.lane_map)
    for at in (0, 1, 2, 4):
        stream.observe(frame_of(scene, at))
    expected = forecaster.predict(gap, 4, samples=3).positions_m
    rows = [stream.predict().agent_ids.tolist().index(n) for n in ("0", "2", "3", "4", "5")]
    np.testing.assert_allclose(stream.predict(samples=3).positions_m[:, rows], expected, atol=1e-4)


def walker(tick: int, names: list[str]) -> Frame:
    place = [[tick * 0.5, 2.0 * row] for row in range(len(names))]
    return Frame(tick * 500_000, names, [0] * len(names), place, [0.0] * len(names))


def test_agents_not_seen_for_long_are_dropped(forecaster) -> None:
    stream = forecaster.stream(forget_s=1.0)
    stream.observe(walker(0, ["a", "b"]))
    for tick, known in ((1, "ab"), (2, "ab"), (3, "a"), (4, "a")):
        stream.observe(walker(tick, ["a"]))
        assert "".join(stream.agent_ids) == known
    assert stream.predict().agent_ids.tolist() == ["a"]


def at_ten_hz(tick: int, names: str) -> Frame:
    """People who walk at 1.3 m/s; only some of them are observed."""
    place = [[0.13 * tick, 3.0 * "abc".index(name)] for name in names]
    return Frame(tick * 100_000, list(names), [0] * len(names), place)


def test_who_is_missing_for_a_moment_goes_straight_on(forecaster) -> None:
    stream, whole = forecaster.stream(), forecaster.stream()
    for tick in range(21):
        stream.observe(at_ten_hz(tick, "ab" if tick < 18 else "b"))
        whole.observe(at_ten_hz(tick, "ab"))
    assert stream.held_ids == ["a"]
    assert whole.held_ids == []
    made, expected = stream.predict(samples=3), whole.predict(samples=3)
    np.testing.assert_allclose(made.positions_m, expected.positions_m, atol=1e-3)
    stream.observe(at_ten_hz(21, "b"))  # missing for 0.4 s
    assert stream.predict().agent_ids[stream.predict().valid].tolist() == ["b"]
    assert stream.held_ids == []
    assert stream.agent_ids == ["a", "b"]
    stream.observe(at_ten_hz(22, "ab"))
    assert sorted(stream.predict().agent_ids) == ["a", "b"]


def test_who_was_seen_once_is_held_where_it_was(forecaster) -> None:
    stream = forecaster.stream()
    for tick, names in enumerate(("a", "a", "a", "ac", "a")):
        stream.observe(at_ten_hz(tick, names))
    tracks = stream.scene().tracks
    (row,) = np.flatnonzero(tracks.agent_ids == "c")
    np.testing.assert_allclose(tracks.positions_m[row, -1], [0.39, 6.0], atol=1e-6)


def test_without_holding_the_last_frame_says_who_is_there(forecaster) -> None:
    stream = forecaster.stream(hold_s=0)
    for tick in range(11):
        stream.observe(at_ten_hz(tick, "ab" if tick < 10 else "b"))
    assert stream.predict().agent_ids[stream.predict().valid].tolist() == ["b"]
    assert stream.held_ids == []


def test_nobody_goes_on_with_the_velocity_of_a_jump(forecaster) -> None:
    stream = forecaster.stream()
    for tick in range(11):
        stream.observe(at_ten_hz(tick, "ab"))
    place = [[60.0, 0.0], [0.13 * 11, 3.0]]  # the name now belongs to somebody else
    stream.observe(Frame(1_100_000, ["a", "b"], [0, 0], place))
    stream.observe(at_ten_hz(12, "b"))
    tracks = stream.scene().tracks
    (row,) = np.flatnonzero(tracks.agent_ids == "a")
    np.testing.assert_allclose(tracks.positions_m[row, -1], [60.0, 0.0], atol=1e-5)


def gone_m(at_s: float) -> float:
    """Way of a car that drives west for 3 s and then stands."""
    return -8.0 * min(at_s, 3.0)


@pytest.mark.parametrize("given", [False, True])
def test_a_car_that_stands_faces_as_before(forecaster, given) -> None:
    stream = forecaster.stream()
    for tick in range(71):
        headings = [np.pi, np.nan] if given and tick < 40 else [np.nan, np.nan]
        place = [[gone_m(tick / 10), 0.0], [gone_m(tick / 10), 3.0]]
        stream.observe(Frame(tick * 100_000, ["ego", "car"], ["ego", "vehicle"], place, headings))
    scene = stream.scene()
    np.testing.assert_allclose(np.abs(scene.tracks.headings_rad[:, -1]), np.pi, atol=1e-6)
    assert scene.headings_recorded
    ego = EgoState.of(scene, -1)
    assert abs(ego.heading_rad) == pytest.approx(np.pi)
    plans = candidates(ego, 30)
    assert forecaster.rank_plans(scene, -1, plans, samples=4).plans[..., 0].max() < -23


def test_a_car_that_never_moved_keeps_an_unknown_heading(forecaster) -> None:
    """One car that has stood for long does not make the headings of others known."""
    stream = forecaster.stream()
    for tick in range(71):
        place = [[gone_m(tick / 10), 0.0], [5.0, 5.0]]
        stream.observe(Frame(tick * 100_000, ["car", "parked"], ["vehicle", "ego"], place))
    scene = stream.scene()
    assert not scene.headings_recorded
    assert not forecaster.window(scene, -1, 2).heading_known.any()
    with pytest.raises(ForecastError, match="heading of the ego is unknown"):
        EgoState.of(scene, -1)


def test_a_jump_is_no_facing(forecaster) -> None:
    stream = forecaster.stream()
    for tick in range(21):
        place = [[0.8 * tick, 0.0]] if tick < 10 else [[-40.0, -60.0]]
        stream.observe(Frame(tick * 100_000, ["car"], ["vehicle"], place))
    assert not forecaster.window(stream.scene(), -1, 2).heading_known.any()


def test_whom_only_late_frames_show_has_a_facing(forecaster) -> None:
    stream = forecaster.stream()
    for tick in range(71):
        stream.observe(Frame(tick * 100_000, ["a"], ["pedestrian"], [[0.0, 9.0]]))
        late = Frame(tick * 100_000 - 50_000, ["car"], ["vehicle"], [[gone_m(tick / 10), 0.0]])
        if tick:
            stream.observe(late)
    tracks = stream.scene().tracks
    (row,) = np.flatnonzero(tracks.agent_ids == "car")
    assert stream.held_ids == ["car"]
    assert abs(tracks.headings_rad[row, -1]) == pytest.approx(np.pi)


def test_noise_between_two_close_frames_is_no_velocity(forecaster) -> None:
    stream = forecaster.stream()
    stream.observe(Frame(0, ["a", "b"], [0, 0], [[10.0, 0.0], [0.0, 0.0]]))
    stream.observe(Frame(10_000, ["a", "b"], [0, 0], [[10.05, 0.0], [0.0, 0.0]]))
    stream.observe(Frame(290_000, ["b"], [0], [[0.0, 0.0]]))
    tracks = stream.scene().tracks
    (row,) = np.flatnonzero(tracks.agent_ids == "a")
    np.testing.assert_allclose(tracks.positions_m[row, -1], [10.05 + 0.05 * 1.4, 0.0], atol=1e-5)


def test_who_is_labelled_static_takes_no_part(forecaster) -> None:
    stream = forecaster.stream()
    for tick in range(6):
        kinds = ["pedestrian", "vehicle" if tick < 5 else "static"]
        place = [[0.1 * tick, 0.0], [0.8 * tick, 3.0]]
        stream.observe(Frame(tick * 100_000, ["a", "cone"], kinds, place))
    assert stream.agent_ids == ["a"]
    assert stream.held_ids == []


def test_after_a_reset_time_may_begin_anew(forecaster) -> None:
    stream = forecaster.stream()
    stream.observe(walker(0, ["a"]))
    stream.observe(walker(20, ["a"]))
    with pytest.raises(ForecastError, match=r"9\.00 s before .* \(call reset\(\) if the clock"):
        stream.observe(walker(2, ["a"]))
    stream.reset()
    stream.observe(walker(2, ["a"]))
    stream.observe(walker(3, ["a"]))
    assert stream.predict(samples=1).at_us == 1_500_000
    assert len(stream.agent_ids) == 1


def test_memory_does_not_grow(forecaster) -> None:
    stream = forecaster.stream()
    for tick in range(60):
        stream.observe(walker(tick, ["a", f"passer-{tick}"]))
        stream.predict(samples=1, horizon_s=1.0)
    assert len(stream.agent_ids) <= 2 + H
    assert len(stream._predictions) == 2


def test_an_empty_road(forecaster) -> None:
    stream = forecaster.stream(street_scene().lane_map)
    stream.observe(walker(0, []))
    assert stream.predict(samples=2).positions_m.shape == (2, 0, 12, 2)
    stream.observe(walker(1, ["a"]))
    assert stream.predict(samples=2).positions_m.shape == (2, 1, 12, 2)


def test_flicker_is_the_mean_distance_at_the_same_times(forecaster) -> None:
    prediction = forecaster.predict(street_scene(), 5, samples=2)
    zeros = np.zeros_like(prediction.mode_m)
    ahead = zeros.copy()
    ahead[..., 0] = np.arange(12)
    earlier = replace(prediction, mode_m=ahead)
    later = replace(prediction, mode_m=ahead + np.array([2, 0]), at_us=prediction.at_us + 1_000_000)
    # Two steps on, a path of 1 m per step lies 2 m ahead of its own beginning.
    assert flicker(earlier, later) == dict.fromkeys(prediction.agent_ids.tolist(), 0)
    shifted = replace(later, mode_m=later.mode_m + np.array([0, 0.5]))
    assert set(flicker(earlier, shifted).values()) == {0.5}
    with pytest.raises(ForecastError, match="steps in common is 0"):
        flicker(earlier, replace(later, at_us=prediction.at_us + 6_000_000))


def test_a_streams_flicker_is_that_of_its_last_two_predictions(forecaster) -> None:
    scene, stream = street_scene(), forecaster.stream()
    predictions = []
    for at in range(5, 8):
        stream.observe(frame_of(scene, at))
        predictions.append(stream.predict(samples=2))
    assert stream.flicker() == flicker(*predictions[1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"agent_ids": ["a", "a"]}, r"named twice is \['a'\]"),
        ({"kinds": [0, 9]}, "values of AgentKind"),
        ({"kinds": [0, 1.5]}, "kinds holds 1.5; values of AgentKind"),
        ({"kinds": None}, "kinds is a single NoneType; a list is needed"),
        ({"agent_ids": 3}, "agent_ids is a single int; a list is needed"),
        ({"agent_ids": ["a", ""]}, "frame: the name of an agent is empty"),
        ({"at_us": 10**30}, "frame: at_us is 1000.*; a time up to"),
        ({"at_us": None}, "frame: at_us is None; a whole number of microseconds is needed"),
        ({"positions_m": [[0, 0], [1e38, 0]]}, r"of agents \['b'\] is .*; metres up to 1e\+08"),
        (
            {"agent_ids": [], "kinds": []},
            r"frame: positions_m has shape \[2, 2\]; \[0, 2\] is needed",
        ),
        ({"positions_m": [[0.0, 0.0]]}, r"positions_m has shape \[1, 2\]"),
        ({"positions_m": [[0.0, 0.0], [np.nan, 0.0]]}, "positions_m of agent 'b' is not finite"),
        ({"headings_rad": [0.0]}, "headings_rad has shape"),
        ({"kinds": [0, 2], "headings_rad": [90, 90]}, "agent 'b' is 90: degrees"),
    ],
)
def test_a_wrong_frame(change, message) -> None:
    good = {"agent_ids": ["a", "b"], "kinds": [0, 0], "positions_m": np.zeros((2, 2))}
    with pytest.raises(ForecastError, match=message):
        Frame(**{"at_us": 0, "headings_rad": np.zeros(2), **good, **change})


def test_headings_in_degrees_are_refused_though_they_are_small(forecaster) -> None:
    """5 degrees in a first frame may be 5 radians. The motion shows that they are not."""
    stream = forecaster.stream()
    way = np.array([np.cos(np.radians(5)), np.sin(np.radians(5))])
    for tick in range(5):
        place = 2.0 * tick * way
        stream.observe(Frame(500_000 * tick, ["car"], ["vehicle"], [place], headings_rad=[5.0]))
    with pytest.raises(ForecastError, match=r"stream: headings_rad of agent 'car' is 5, far off"):
        stream.predict(samples=2)


def test_a_map_in_world_coordinates_is_refused(forecaster) -> None:
    origin = (690e3, 5334e3)
    line = Polylines.of([np.array([[0.0, 0.0], [100.0, 0.0]]) + origin])
    stream = forecaster.stream(LaneMap(np.array(["east"]), line), origin_m=origin)
    with pytest.raises(ForecastError, match=r"frame: the lane map lies .* relative to origin_m"):
        stream.observe(Frame(0, ["a"], ["pedestrian"], [[3.0, 4.0]]))


def test_wrong_calls(forecaster) -> None:
    with pytest.raises(ForecastError, match="has observed no frame"):
        forecaster.stream().predict()
    with pytest.raises(ForecastError, match=r"its step is 1\.0 s"):
        forecaster.stream(dt_s=1.0)
    with pytest.raises(ForecastError, match=r"origin_m is .*; metres up to 1e\+08"):
        forecaster.stream(origin_m=(np.nan, 0))
    stream = forecaster.stream()
    stream.observe(walker(10, ["a"]))
    with pytest.raises(ForecastError, match="at_us is 5000000; a time of which no frame"):
        stream.observe(walker(10, ["a"]))
    with pytest.raises(ForecastError, match=r"5\.00 s before the last frame"):
        stream.observe(walker(0, ["a"]))
    with pytest.raises(ForecastError, match="samples is 0"):
        stream.predict(samples=0)
    with pytest.raises(ForecastError, match=r"forget_s is 20\.0; at most 2\.625 s"):
        forecaster.stream(forget_s=20)
    with pytest.raises(ForecastError, match=r"hold_s is 1\.0; 0 to one step"):
        forecaster.stream(hold_s=1.0)
    with pytest.raises(ForecastError, match="predictions is 0"):
        stream.flicker()


@pytest.mark.parametrize(("unit_us", "guess"), [(1000, "nanoseconds"), (1e-6, "seconds")])
def test_times_in_another_unit_are_refused_with_a_guess(forecaster, unit_us, guess) -> None:
    stream = forecaster.stream()
    stream.observe(replace(walker(0, ["a"]), at_us=round(1e15 * unit_us)))
    with pytest.raises(ForecastError, match=f"between records: {guess}\\? microseconds are"):
        stream.observe(replace(walker(0, ["a"]), at_us=round((1e15 + 5e5) * unit_us + 0.6)))


def test_after_a_pause_at_the_start_the_stream_goes_on(forecaster) -> None:
    stream = forecaster.stream()
    stream.observe(walker(0, ["a"]))
    with pytest.raises(ForecastError, match="30 s between records"):
        stream.observe(walker(60, ["a"]))
    stream.observe(walker(61, ["a"]))
    stream.observe(walker(62, ["a"]))
    assert stream.predict(samples=1).at_us == 31_000_000


def moving_frame(at_s: float, jitter_m: float = 0.0) -> Frame:
    """Two walkers and a car at a time; the second walker turns."""
    places = [[1.3 * at_s, 0.0], [4 + np.cos(at_s), np.sin(at_s)], [-5 + 6 * at_s, 3.0]]
    kinds = ["pedestrian", "pedestrian", "vehicle"]
    return Frame(
        round(at_s * 1e6), ["a", "b", "car"], kinds, places + np.float64(jitter_m), [0.0] * 3
    )


def at_two_hz(forecaster, now_s: float) -> np.ndarray:
    """What the batch predicts from the frames every 0.5 s up to a time."""
    frames = [moving_frame(now_s - 0.5 * back) for back in range(H - 1, -1, -1)]
    scene = Scene.from_arrays(
        np.stack([frame.positions_m for frame in frames], axis=1),
        ["pedestrian", "pedestrian", "vehicle"],
        0.5,
        headings_rad=np.zeros((3, H)),
        agent_ids=["a", "b", "car"],
    )
    return forecaster.predict(scene, H - 1, samples=3).positions_m


@pytest.mark.parametrize("hz", [2, 4, 10, 20, 30])
def test_after_any_frame_it_predicts_as_from_frames_half_a_second_apart(forecaster, hz) -> None:
    stream = forecaster.stream()
    for tick in range(3 * hz + 1):
        stream.observe(moving_frame(tick / hz))
        if tick >= 3 * hz - 2:
            made = stream.predict(samples=3)
            np.testing.assert_array_equal(made.positions_m, at_two_hz(forecaster, tick / hz))
            assert made.dt_s == 0.5


@pytest.mark.parametrize("headings_rad", [None, (0.0, np.nan)])
def test_unknown_headings_follow_from_the_models_steps(forecaster, headings_rad) -> None:
    """At 10 Hz, the last movement of a turning car has another direction than over 0.5 s."""

    def places(at_s: float) -> np.ndarray:
        return np.array([[1.3 * at_s, 0.0], [10 * np.cos(at_s / 2), 10 * np.sin(at_s / 2)]])

    stream = forecaster.stream()
    for tick in range(31):
        names, kinds = ["a", "car"], ["pedestrian", "vehicle"]
        stream.observe(Frame(tick * 100_000, names, kinds, places(tick / 10), headings_rad))
    scene = Scene.from_arrays(
        np.stack([places(3 - 0.5 * back) for back in range(H - 1, -1, -1)], axis=1),
        kinds,
        0.5,
        headings_rad=headings_rad and np.repeat(np.array(headings_rad)[:, None], H, axis=1),
        agent_ids=names,
    )
    expected = forecaster.predict(scene, H - 1, samples=3)
    made = stream.predict(samples=3)
    np.testing.assert_array_equal(made.positions_m, expected.positions_m)


def test_a_scene_at_ten_hertz_is_predicted_from_steps_half_a_second_apart(forecaster) -> None:
    frames = [moving_frame(tick / 10) for tick in range(31)]
    scene = Scene.from_arrays(
        np.stack([frame.positions_m for frame in frames], axis=1),
        [0, 0, 2],
        0.1,
        headings_rad=np.zeros((3, 31)),
        agent_ids=["a", "b", "car"],
    )
    made = forecaster.predict(scene, 27, samples=3)
    np.testing.assert_array_equal(made.positions_m, at_two_hz(forecaster, 2.7))


def test_world_coordinates_are_refused_in_a_city_of_a_few_kilometres(forecaster) -> None:
    stream = forecaster.stream(origin_m=(600.0, 1600.0))
    world = replace(walker_at(0.0), positions_m=[[603.0, 1604.0]])
    with pytest.raises(ForecastError, match="positions_m lie 5 m from origin_m as numbers: world"):
        stream.observe(world)
    stream.observe(walker_at(0.0))


def test_a_car_far_from_the_origin_is_not_taken_for_world_coordinates(forecaster) -> None:
    """After a drive from the origin in the direction of the origin itself."""
    stream = forecaster.stream(origin_m=(1000.0, 800.0))
    stream.observe(replace(walker_at(0.0), positions_m=[[805.0, 605.0]]))
    near = forecaster.stream(origin_m=(210.0, 0.0))
    near.observe(replace(walker_at(0.0), positions_m=[[106.0, 0.0]]))
    with pytest.raises(ForecastError, match="world coordinates"):
        forecaster.stream(origin_m=(210.0, 0.0)).observe(
            replace(walker_at(0.0), positions_m=[[230.0, 40.0]])
        )


def test_no_prediction_starts_between_two_records(forecaster) -> None:
    scene = Scene.from_arrays(np.zeros((1, 31, 2)), [0], 0.1)
    scene = replace(scene, interpolated=np.arange(31) == 27)
    with pytest.raises(ForecastError, match="step 27 lies between two records"):
        forecaster.predict(scene, 27, samples=1)


def test_missed_frames_are_interpolated_but_not_across_gaps(forecaster) -> None:
    straight = forecaster.stream()
    for tick in [0, 3, 4, 6, 7, 9, 11, 14, 16, 17, 19, 21, 24, 26]:  # none at 0.6, 1.1, …
        straight.observe(walker_at(tick / 10))
    scene = straight.scene()
    assert scene.tracks.valid[0].all()
    np.testing.assert_allclose(scene.tracks.positions_m[0, :, 0], [0.6, 1.1, 1.6, 2.1, 2.6])
    gap = forecaster.stream()
    for tick in [0, 1, 2, 3, 18, 19, 20, 21, 22, 23, 24, 25]:
        gap.observe(walker_at(tick / 10))
    assert gap.scene().tracks.valid[0].tolist() == [False, False, False, True, True]


def walker_at(at_s: float) -> Frame:
    return Frame(round(at_s * 1e6), ["a"], ["pedestrian"], [[at_s, 0.0]])


def test_a_late_frame_takes_its_place_in_time(forecaster) -> None:
    ordered, late = forecaster.stream(), forecaster.stream()
    for at_s in (0.0, 0.5, 1.0, 1.5, 2.0):
        ordered.observe(moving_frame(at_s))
    for at_s in (0.0, 1.0, 0.5, 2.0, 1.5):
        late.observe(moving_frame(at_s))
    expected = ordered.predict(samples=2)
    found = late.predict(samples=2)
    assert found.at_us == expected.at_us == 2_000_000
    np.testing.assert_array_equal(found.positions_m, expected.positions_m)


def test_the_first_interval_of_irregular_frames_gives_a_velocity(forecaster) -> None:
    stream = forecaster.stream()
    stream.observe(walker_at(0.0))
    stream.observe(walker_at(0.45))
    scene = stream.scene()
    assert scene.tracks.valid[0, -2:].tolist() == [True, True]
    np.testing.assert_allclose(scene.tracks.positions_m[0, -2:, 0], [-0.05, 0.45], atol=1e-6)


def test_predictions_come_at_the_planners_step(forecaster) -> None:
    stream = forecaster.stream(dt_s=0.1)
    for tick in range(25):
        stream.observe(moving_frame(tick / 10))
    fine, coarse = stream.predict(samples=2), stream.predict(samples=2, dt_s=0.5)
    assert fine.positions_m.shape == (2, 3, 60, 2)
    assert fine.dt_s == 0.1
    np.testing.assert_array_equal(fine.positions_m[:, :, 4::5], coarse.positions_m)
    middle = (coarse.positions_m[:, :, 0] + coarse.positions_m[:, :, 1]) / 2
    between = fine.positions_m[:, :, 6] * 0.5 + fine.positions_m[:, :, 7] * 0.5  # 0.7 and 0.8 s
    np.testing.assert_allclose(between, middle, atol=1e-5)
    now = moving_frame(2.4).positions_m
    first = now + 0.2 * (coarse.positions_m[:, :, 0] - now)
    np.testing.assert_allclose(fine.positions_m[:, :, 0], first, atol=1e-5)


@pytest.mark.parametrize("first", ["vehicle", "cyclist", "static"])
def test_a_corrected_label_counts_from_then_on(forecaster, first) -> None:
    corrected, always = forecaster.stream(), forecaster.stream()
    for tick in range(8):
        frame = walker(tick, ["a"])
        always.observe(frame)
        corrected.observe(replace(frame, kinds=[first]) if tick < 2 else frame)
    expected, found = (each.predict(samples=2) for each in (always, corrected))
    np.testing.assert_array_equal(found.positions_m, expected.positions_m)


@pytest.mark.parametrize("jump_m", [8.0, 40.0])
def test_an_id_switch_is_no_velocity(forecaster, jump_m) -> None:
    switched, new = forecaster.stream(), forecaster.stream()
    for tick in range(30):
        at_s = tick / 10
        switched.observe(Frame(round(at_s * 1e6), ["a"], [0], [[1.3 * at_s, 0.0]]))
    for tick in range(30, 34):
        for stream in (switched, new):
            place = [[0.13 * tick, jump_m]]
            stream.observe(Frame(tick * 100_000, ["a"], [0], place))
    found, expected = switched.predict(samples=4), new.predict(samples=4)
    np.testing.assert_array_equal(found.positions_m, expected.positions_m)
    fastest = np.linalg.norm(np.diff(found.positions_m[:, 0], axis=1), axis=-1).max() / 0.5
    assert fastest <= 12.0 + 1e-3


def test_missing_headings_and_sizes_are_filled_in(forecaster) -> None:
    """The car's heading is that of its movement; the size of -1 becomes typical, and is counted."""
    plain, mended = forecaster.stream(), forecaster.stream()
    for at_s in (0.0, 0.5, 1.0, 1.5, 2.0):
        frame = moving_frame(at_s)
        plain.observe(replace(frame, headings_rad=[9.0, -9.0, 0.0]))
        sizes = [[-1, 0, np.nan], [0.7, 0.7, 1.75], [4.6, 1.9, 1.7]]
        with pytest.warns(ForecastWarning, match=r"frame: 1 of 3 agents \(a\) have a size"):
            other = replace(frame, headings_rad=[np.nan] * 3, sizes_m=sizes)
        mended.observe(other)
    assert mended.mended == {"typical_size": 5}
    assert plain.mended["typical_size"] == 0
    np.testing.assert_allclose(
        mended.predict(samples=2).positions_m, plain.predict(samples=2).positions_m, atol=1e-5
    )


def test_world_coordinates_are_refused_or_kept_exact(forecaster) -> None:
    world = np.array([690_000.0, 5_334_000.0])
    for origin in ((0.0, 0.0), world):
        far = replace(walker_at(0.0), positions_m=[[0.0, 0.0]] + world * (2 - (origin[0] == 0)))
        with pytest.raises(ForecastError, match=r"agent 'a' lies \d+ m from origin_m; positions"):
            forecaster.stream(origin_m=origin).observe(far)
    local, moved = forecaster.stream(), forecaster.stream(origin_m=world)
    for at_s in (0.0, 0.5, 1.0, 1.5, 2.0):
        local.observe(moving_frame(at_s))
        moved.observe(moving_frame(at_s))
    at_home, abroad = local.predict(samples=2), moved.predict(samples=2)
    np.testing.assert_array_equal(at_home.positions_m, abroad.positions_m)
    np.testing.assert_array_equal(abroad.world_positions_m(), at_home.positions_m + world)


def test_what_cannot_move_is_left_out(forecaster) -> None:
    stream = forecaster.stream()
    static = replace(walker(0, ["a", "cone"]), kinds=[AgentKind.PEDESTRIAN, AgentKind.STATIC])
    stream.observe(static)
    assert stream.agent_ids == ["a"]


def test_what_is_no_frame_and_a_frame_of_two_egos_are_refused(forecaster) -> None:
    with pytest.raises(ForecastError, match=r"frame is \(0, 'a'\); a forecast.Frame is needed"):
        forecaster.stream().observe((0, "a"))
    with pytest.raises(ForecastError, match="frame: number of egos is 2; at most 1 is needed"):
        Frame(0, ["a", "b"], ["ego", "ego"], [[0.0, 0.0], [9.0, 0.0]])
