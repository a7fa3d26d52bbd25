from dataclasses import replace

import numpy as np
import pytest

from forecast import AgentKind, ForecastError, Scene
from forecast.inference import Forecaster, Frame, Stream, flicker
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
        ({"positions_m": [[0.0, 0.0]]}, r"shape of positions_m is \[1, 2\]"),
        ({"positions_m": [[0.0, 0.0], [np.nan, 0.0]]}, "positions_m of agent 'b' is not finite"),
        ({"headings_rad": [0.0]}, "shape of headings_rad"),
    ],
)
def test_a_wrong_frame(change, message) -> None:
    good = {"agent_ids": ["a", "b"], "kinds": [0, 0], "positions_m": np.zeros((2, 2))}
    with pytest.raises(ForecastError, match=message):
        Frame(**{"at_us": 0, "headings_rad": np.zeros(2), **good, **change})


def test_wrong_calls(forecaster) -> None:
    with pytest.raises(ForecastError, match="has observed no frame"):
        forecaster.stream().predict()
    with pytest.raises(ForecastError, match=r"its step is 0\.1 s"):
        forecaster.stream(dt_s=0.1)
    stream = forecaster.stream()
    stream.observe(walker(0, ["a"]))
    for early in (0, 200_000, 700_000):
        with pytest.raises(ForecastError, match=r"frames every 0\.5 s"):
            stream.observe(replace(walker(0, ["a"]), at_us=early))
    with pytest.raises(ForecastError, match="samples is 0"):
        stream.predict(samples=0)
    with pytest.raises(ForecastError, match="predictions is 0"):
        stream.flicker()


def test_what_cannot_move_is_left_out(forecaster) -> None:
    stream = forecaster.stream()
    static = replace(walker(0, ["a", "cone"]), kinds=[AgentKind.PEDESTRIAN, AgentKind.STATIC])
    stream.observe(static)
    assert stream.agent_ids == ["a"]
