from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast import AgentKind, ForecastError, Scene
from forecast.datasets.windows import (
    PROTOCOLS,
    Window,
    WindowSpec,
    min_history_steps,
    prediction_times,
    window,
    window_seed,
)
from forecast.scene.agents import FASTEST_MPS, Decision
from tests.any_scene import scenes, small_map

PERSON, CAR, CONE = AgentKind.PEDESTRIAN, AgentKind.VEHICLE, AgentKind.STATIC


def scene_of(rows: list[str], kinds: list[AgentKind] | None = None) -> Scene:
    """One agent a row, one step a character: ``x`` seen, ``.`` not; position (step, agent)."""
    valid = np.array([[mark == "x" for mark in row] for row in rows])
    steps, agents = np.meshgrid(np.arange(valid.shape[1]), np.arange(len(rows)))
    positions = np.stack([steps, agents], axis=-1)
    kinds = kinds or [PERSON] * len(rows)
    return Scene.from_arrays(positions, kinds, 0.5, valid=valid, lane_map=small_map())


def scored_of(rows: list[str], spec: WindowSpec, kinds: list[AgentKind] | None = None) -> list[str]:
    scored = prediction_times(scene_of(rows, kinds), spec).scored
    return ["".join("x" if hit else "." for hit in row) for row in scored]


# --- who is scored


def test_the_protocols_give_their_lengths():
    nuscenes = WindowSpec.of_protocol("nuscenes-ped-v1", 0.5, history_s=2.0, horizon_s=6.0)
    assert nuscenes == WindowSpec(5, 12, min_history_steps=2, full_future=True)
    eth_ucy = WindowSpec.of_protocol("eth-ucy-v1", 0.4, history_s=2.8, horizon_s=4.8)
    assert eth_ucy == WindowSpec(8, 12, min_history_steps=8, full_future=True)
    one_frame = WindowSpec.of_protocol("nuscenes-ped-v1", 0.5, history_s=0.0, horizon_s=3.0)
    assert one_frame == WindowSpec(1, 6, min_history_steps=1, full_future=True)


def test_lengths_between_two_steps_are_refused():
    for name, value in (("horizon_s", 2.3), ("history_s", 1.2)):
        with pytest.raises(ForecastError, match=f"{name} is {value}; a multiple of the step of"):
            WindowSpec.of_protocol("nuscenes-ped-v1", 0.5, **{name: value})


def test_a_protocol_has_lengths_of_its_own():
    assert WindowSpec.of_protocol("nuscenes-ped-v1", 0.5) == WindowSpec(5, 12, 2)
    assert WindowSpec.of_protocol("eth-ucy-v1", 0.4) == WindowSpec(8, 12, 8)


@pytest.mark.parametrize(
    ("protocol", "steps", "least"),
    [("nuscenes-ped-v1", 5, 2), ("nuscenes-ped-v1", 1, 1), ("eth-ucy-v1", 8, 8)],
)
def test_steps_a_pedestrian_needs_up_to_the_prediction_time(protocol, steps, least):
    assert min_history_steps(protocol, steps) == least


@pytest.mark.parametrize(
    ("protocol", "dt_s", "spec", "official"),
    [
        ("nuscenes-ped-v1", 0.5, WindowSpec(5, 12, 2), True),
        ("nuscenes-ped-v1", 0.5, WindowSpec(5, 6, 2), True),
        ("nuscenes-ped-v1", 0.5, WindowSpec(5, 8, 2), False),
        ("nuscenes-ped-v1", 0.5, WindowSpec(4, 12, 2), False),
        ("nuscenes-ped-v1", 0.5, WindowSpec(5, 12, 5), False),
        ("nuscenes-ped-v1", 0.5, WindowSpec(5, 12, 2, full_future=False), False),
        ("eth-ucy-v1", 0.4, WindowSpec(8, 12, 8), True),
        ("eth-ucy-v1", 0.4, WindowSpec(6, 15, 6), False),
    ],
)
def test_only_official_windows_may_be_named_after_a_protocol(protocol, dt_s, spec, official):
    assert spec.is_official(protocol, dt_s) == official


def test_history_and_whole_future_are_needed():
    spec = WindowSpec(history_steps=3, horizon_steps=2)
    assert scored_of(["xxxxxx", ".xxxx.", "xx.xxx", "xxx.xx"], spec) == [
        ".xxx..",
        "..x...",
        "......",
        "......",
    ]


def test_the_whole_history_where_the_protocol_says_so():
    spec = WindowSpec(history_steps=3, horizon_steps=1, min_history_steps=3)
    assert scored_of(["xxxxx", "xx.xx"], spec) == ["..xx.", "....."]


def test_a_part_of_the_future_is_enough_to_learn_from():
    spec = WindowSpec(history_steps=2, horizon_steps=4, full_future=False)
    assert scored_of(["xxxx.x"], spec) == [".xx..."]


def test_pedestrians_alone_are_scored():
    spec = WindowSpec(2, 1)
    assert scored_of(["xxx"] * 3, spec, [PERSON, CAR, CONE]) == [".x.", "...", "..."]


def test_what_is_left_out_is_counted_by_reason():
    found = prediction_times(
        scene_of(["xxxx", "x.xx", "xxxx"], [PERSON, PERSON, CAR]), WindowSpec(2, 2)
    )
    assert found.steps.tolist() == [1]
    assert found.dropped == {"history_too_short": 1 + 2, "future_incomplete": 2 + 1}


def jumps(scene: Scene, agent: int, step: int) -> bool:
    """Whether an agent cannot have come to a step from where it was last observed."""
    tracks = scene.tracks
    if not 0 <= step < scene.steps:
        return False
    earlier = [before for before in range(step) if tracks.valid[agent, before]]
    if not earlier or not tracks.valid[agent, step]:
        return False
    elapsed_s = (scene.timestamps_us[step] - scene.timestamps_us[earlier[-1]]) / 1e6
    way = np.hypot(*(tracks.positions_m[agent, step] - tracks.positions_m[agent, earlier[-1]]))
    return bool(way > FASTEST_MPS[AgentKind(tracks.kinds[agent])] * max(elapsed_s, 0.2))


SPECS = st.builds(
    lambda history, horizon, least, full: WindowSpec(history, horizon, min(least, history), full),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 5),
    st.booleans(),
)


@given(scenes(), SPECS)
def test_scored_steps_agree_with_the_definition_step_by_step(scene, spec):
    tracks, found = scene.tracks, prediction_times(scene, spec)
    future = range(1, 1 + (spec.horizon_steps if spec.full_future else 1))
    past = range(-spec.min_history_steps + 1, 1)

    def seen(agent: int, step: int) -> bool:
        return 0 <= step < scene.steps and bool(tracks.valid[agent, step])

    for agent in range(len(tracks)):
        for at in range(scene.steps):
            expected = tracks.kinds[agent] == PERSON and all(
                seen(agent, at + step) for step in (*past, *future)
            )
            begins = max(at + past[0], 0) + 1
            expected &= not any(
                jumps(scene, agent, step) for step in range(begins, at + len(future) + 1)
            )
            assert found.scored[agent, at] == expected
    people = tracks.valid[tracks.kinds == PERSON].sum()
    assert found.scored.sum() + sum(found.dropped.values()) == people


# --- what a window holds


@pytest.fixture
def scene() -> Scene:
    return scene_of(["xxxxxx", ".xxx.x", "xxxxxx", "xx..xx"], [PERSON, CAR, CONE, PERSON])


def test_a_window_by_hand(scene):
    cut = window(scene, 2, WindowSpec(history_steps=2, horizon_steps=3))
    assert cut.agent_ids.tolist() == ["0", "1"], "the cone cannot move, the last is not seen"
    assert cut.kinds.tolist() == [PERSON, CAR]
    assert cut.valid.tolist() == [[True] * 5, [True, True, True, False, True]]
    assert cut.positions_m[0].tolist() == [[1, 0], [2, 0], [3, 0], [4, 0], [5, 0]]
    assert cut.positions_m[1].tolist() == [[1, 1], [2, 1], [3, 1], [0, 0], [5, 1]]
    assert cut.future_m[0].tolist() == [[3, 0], [4, 0], [5, 0]]
    assert cut.future_valid[1].tolist() == [True, False, True]
    assert cut.scored.tolist() == [True, False]
    assert (cut.scene_id, cut.at, cut.at_us, cut.dt_s, cut.history_steps) == (
        "scene",
        2,
        1_000_000,
        0.5,
        2,
    )
    assert cut.lane_map is scene.lane_map
    np.testing.assert_array_equal(cut.sizes_m, scene.tracks.sizes_m[:2])


def test_steps_outside_the_scene_are_not_valid(scene):
    spec = WindowSpec(3, 2)
    first, last = window(scene, 0, spec), window(scene, 5, spec)
    assert first.valid[0].tolist() == [False, False, True, True, True]
    assert last.valid[0].tolist() == [True, True, True, False, False]
    assert not first.positions_m[0, :2].any()
    assert not last.positions_m[0, 3:].any()


@pytest.mark.parametrize("at", [-7, 6])
def test_a_step_outside_the_scene_is_refused(scene, at):
    with pytest.raises(ForecastError, match=rf"scene: at is {at}; 0 to 5, or -6 to -1 counted"):
        window(scene, at, WindowSpec(2, 2))


def test_a_step_below_0_is_counted_from_the_end(scene):
    last, same = window(scene, -1, WindowSpec(2, 2)), window(scene, 5, WindowSpec(2, 2))
    assert last.at == 5
    np.testing.assert_array_equal(last.positions_m, same.positions_m)


def test_scored_may_be_passed_in(scene):
    spec = WindowSpec(2, 3)
    given_in = window(scene, 2, spec, prediction_times(scene, spec).scored[:, 2])
    np.testing.assert_array_equal(given_in.scored, window(scene, 2, spec).scored)


def test_select_keeps_the_rows_of_an_agent_together(scene):
    cut = window(scene, 1, WindowSpec(2, 3))
    assert cut.agent_ids.tolist() == ["0", "1", "3"]
    part = cut.select(np.array([2, 0]))
    assert part.agent_ids.tolist() == ["3", "0"]
    rows = ("kinds", "sizes_m", "positions_m", "headings_rad", "valid", "scored", "decisions")
    for name in rows:
        np.testing.assert_array_equal(getattr(part, name), getattr(cut, name)[[2, 0]])
    assert part.at_us == cut.at_us


def test_a_window_has_the_decisions_of_its_steps_where_they_are_known() -> None:
    """Agent 0 decides 0, 1, 2, 3, 4, 0 at six steps; it is not seen at step 3, agent 1 is later."""
    seen = scene_of(["xxx.xx", "..x..."])
    decided = np.array([[0, 1, 2, 3, 4, 0], [4, 4, 4, 4, 4, 4]], np.int8)
    known = replace(seen, tracks=replace(seen.tracks, decisions=decided))
    cut = window(known, 2, WindowSpec(2, 5))  # steps 1 to 7, of which the last two do not exist
    assert cut.decisions.tolist() == [[1, 2, -1, 4, 0, -1, -1], [-1, 4, *[-1] * 5]]
    assert cut.decisions.dtype == np.int8
    early = window(known, 0, WindowSpec(3, 1))
    assert early.decisions.tolist() == [[-1, -1, 0, 1]]
    assert cut.select(np.array([1])).decisions.tolist() == [[-1, 4, *[-1] * 5]]
    unknown = window(seen, 2, WindowSpec(2, 5)).decisions
    assert unknown.shape == (2, 7)
    assert (unknown == Decision.UNKNOWN).all()


@given(scenes(), SPECS, st.data())
def test_no_future_step_changes_the_history(scene, spec, data):
    """A window's observed part is the same, bit for bit, whatever happens later."""
    at = data.draw(st.integers(0, scene.steps - 1))
    tracks = scene.tracks
    later = np.arange(scene.steps) > at
    changed = replace(
        scene,
        tracks=replace(
            tracks,
            positions_m=np.where(later[:, None], tracks.positions_m + 5, tracks.positions_m),
            headings_rad=np.where(later, tracks.headings_rad + 1, tracks.headings_rad),
            valid=tracks.valid ^ later,
        ),
    )
    before, after = window(scene, at, spec), window(changed, at, spec)
    assert before.agent_ids.tolist() == after.agent_ids.tolist()
    for name in ("positions_m", "headings_rad", "valid"):
        np.testing.assert_array_equal(_history(before, name), _history(after, name))


def _history(cut: Window, name: str) -> np.ndarray:
    return getattr(cut, name)[:, : cut.history_steps]


@given(scenes(), SPECS, st.data())
def test_a_window_holds_the_values_of_the_scene(scene, spec, data):
    at = data.draw(st.integers(0, scene.steps - 1))
    cut = window(scene, at, spec)
    rows = {name: i for i, name in enumerate(scene.tracks.agent_ids)}
    for row, name in enumerate(cut.agent_ids):
        for column in range(spec.history_steps + spec.horizon_steps):
            step = at - spec.history_steps + 1 + column
            agent = rows[name]
            seen = 0 <= step < scene.steps and scene.tracks.valid[agent, step]
            between = range(min(step, at) + 1, max(step, at) + 1)
            seen = seen and not any(jumps(scene, agent, each) for each in between)
            assert cut.valid[row, column] == seen
            expected = scene.tracks.positions_m[agent, step] if seen else [0, 0]
            assert cut.positions_m[row, column].tolist() == list(expected)


# --- errors


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ((3, 0), "horizon_steps is 0; at least 1 is needed"),
        ((3, 2, 4), r"min_history_steps is 4; 1 to history_steps \(3\) is needed"),
        ((3, 2, 0), r"min_history_steps is 0; 1 to history_steps \(3\) is needed"),
        ((0, 2, 0), r"min_history_steps is 0; 1 to history_steps \(0\) is needed"),
    ],
)
def test_lengths_that_make_no_window_are_refused(lengths, message):
    with pytest.raises(ForecastError, match=message):
        WindowSpec(*lengths)


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ForecastError, match=f"'x' is unknown; one of {', '.join(PROTOCOLS)} is"):
        WindowSpec.of_protocol("x", 0.5, 2.0, 6.0)
    with pytest.raises(ForecastError, match="protocol 'x' is unknown"):
        min_history_steps("x", 5)


CORNER = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [1.0, 3.0]]  # east, then north


def test_without_recorded_headings_a_window_uses_its_own_steps_only() -> None:
    spec = WindowSpec(history_steps=3, horizon_steps=1)
    derived = Scene.from_arrays([CORNER], [CAR], dt_s=0.5)
    assert not derived.headings_recorded
    cut = window(derived, 3, spec)  # sees from step 1 on, when the way was north
    np.testing.assert_allclose(cut.headings_rad[0], np.pi / 2, atol=1e-6)
    recorded = Scene.from_arrays([CORNER], [CAR], dt_s=0.5, headings_rad=[[0, 0, 1, 2, 3]])
    np.testing.assert_array_equal(window(recorded, 3, spec).headings_rad[0], [0, 1, 2, 3])


@pytest.mark.parametrize("recorded", [0.0, 2.0, np.nan])
def test_the_heading_of_a_person_is_that_of_its_movement(recorded) -> None:
    headings = np.full((1, 5), recorded)
    person = Scene.from_arrays([CORNER], [PERSON], dt_s=0.5, headings_rad=headings)
    cut = window(person, 3, WindowSpec(history_steps=3, horizon_steps=1))
    np.testing.assert_allclose(cut.headings_rad[0], np.pi / 2, atol=1e-6)
    assert cut.heading_known.tolist() == [True]


def test_the_heading_of_a_standing_person_is_unknown_and_turns_with_the_ego() -> None:
    standing = np.zeros((5, 2)) + 0.05 * np.arange(5)[:, None]  # jitter is no movement
    driving = np.stack([np.zeros(5), np.arange(5.0)], -1)
    headings = np.stack([np.full(5, 3.0), np.full(5, np.pi / 2)])
    scene = Scene.from_arrays(
        [standing, driving], ["pedestrian", "ego"], 0.5, headings_rad=headings
    )
    cut = window(scene, 4, WindowSpec(history_steps=3, horizon_steps=1))
    assert cut.heading_known.tolist() == [False, True]
    np.testing.assert_allclose(cut.headings_rad[0, :3], np.pi / 2)


def test_before_an_id_switch_the_track_is_somebody_elses() -> None:
    """At 2 Hz a person walks 0.5 m a step. At step 3 the name passes to somebody 8 m away."""
    track = np.stack([0.5 * np.arange(6), np.zeros(6)], -1)
    track[3:, 1] = 8.0
    scene = Scene.from_arrays([track], ["pedestrian"], 0.5)
    spec = WindowSpec(history_steps=3, horizon_steps=2)
    assert window(scene, 4, spec).valid[0].tolist() == [False, True, True, True, False]
    assert window(scene, 2, spec).valid[0].tolist() == [True, True, True, False, False]
    found = prediction_times(scene, WindowSpec(2, 1))
    assert found.steps.tolist() == [1, 4]
    assert found.dropped["track_jumps"] == 2
    fast = replace(scene, tracks=replace(scene.tracks, kinds=np.array([CAR], np.int8)))
    assert window(fast, 4, spec).valid[0, :4].all()  # a car can do 16 m/s


def test_nothing_is_predicted_between_two_records() -> None:
    track = np.stack([0.5 * np.arange(6), np.zeros(6)], -1)
    between = np.array([False, True, False, True, False, False])
    scene = replace(Scene.from_arrays([track], ["pedestrian"], 0.5), interpolated=between)
    found = prediction_times(scene, WindowSpec(2, 1))
    assert found.steps.tolist() == [2, 4]
    assert found.dropped["between_records"] == 2
    with pytest.raises(ForecastError, match="step 3 lies between two records"):
        window(scene, 3, WindowSpec(2, 1))


def test_window_seeds_are_the_same_in_every_process_and_differ_by_window():
    assert window_seed(0, "scene-0103", 4) == 1935869659
    seeds = {window_seed(s, scene, at) for s in (0, 1) for scene in "ab" for at in range(50)}
    assert len(seeds) == 200
    assert max(seeds) < 2**32
