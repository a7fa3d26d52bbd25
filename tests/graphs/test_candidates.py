"""The search for neighbour candidates against all pairs that ever come into range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast.graphs import GraphConfig
from forecast.graphs.candidates import Reach, agent_candidates, map_candidates, reach, with_paths
from forecast.graphs.conflicts import CONFLICTS
from forecast.graphs.pieces import MapPieces
from forecast.scene import AgentKind

DT_S, STEPS, HISTORY = 0.5, 8, 3

scenes = given(
    agents=st.integers(0, 9),
    spread_m=st.sampled_from([5.0, 40.0, 150.0]),
    config=st.sampled_from(
        [
            GraphConfig(),
            GraphConfig(slack_mps=0.0, vehicle_slack_mps=0.0, vehicle_ahead_s=0.0),
            GraphConfig(agent_radius_m=12.0, vehicle_radius_m=3.0),
        ]
    ),
    seed=st.integers(0, 2**16),
)


def history(agents: int, spread_m: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Kinds ``[A]`` and positions ``[A, H, 2]`` of agents at constant velocity."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 4, agents).astype(np.int8)
    velocity = rng.normal(size=(agents, 1, 2)) * np.where(kinds < 2, 1.0, 5.0)[:, None, None]
    start = rng.uniform(-spread_m, spread_m, (agents, 1, 2))
    times = DT_S * np.arange(HISTORY)[:, None]
    return kinds, (start + velocity * times).astype(np.float32)


def move(now: np.ndarray, within: Reach, rng: np.random.Generator) -> np.ndarray:
    """Somewhere that agents may get to ``[A, 2]``, mostly as far as they can."""
    angle = rng.uniform(0, 2 * np.pi, len(now))
    share = rng.choice([1.0, 1.0, 0.5], len(now)) * within.distance_m
    return now + share[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)


def limits(kinds: np.ndarray, config: GraphConfig) -> np.ndarray:
    """Range of each pair ``[A, A]`` while vehicles stand."""
    drives = kinds >= AgentKind.VEHICLE
    any_drives = drives[:, None] | drives
    return np.where(any_drives, config.vehicle_radius_m, config.agent_radius_m)


@settings(max_examples=60)
@scenes
def test_all_pairs_that_can_come_into_range_are_candidates(
    agents: int, spread_m: float, config: GraphConfig, seed: int
) -> None:
    kinds, past = history(agents, spread_m, seed)
    within = reach(past, np.ones(past.shape[:2], bool), kinds, DT_S, STEPS, config)
    pairs, radius = agent_candidates(kinds, past[:, -1], within, config)
    assert pairs.dtype == np.int64
    assert radius.dtype == np.float32
    listed = list(map(tuple, pairs.T.tolist()))
    found, limit = set(listed), limits(kinds, config)
    assert len(found) == len(listed)
    assert radius.tolist() == [float(np.float32(limit[pair])) for pair in listed]
    assert found == {(b, a) for a, b in found}
    assert all(a != b for a, b in found)
    drives, rng = kinds >= AgentKind.VEHICLE, np.random.default_rng(seed)
    ahead = config.vehicle_ahead_s * np.where(drives, within.speed_mps, 0)
    for _ in range(10):
        there = move(past[:, -1], within, rng)
        for a in range(agents):
            for b in range(agents):
                apart = np.linalg.norm(there[a] - there[b])
                if a != b and apart < limit[a, b] + max(ahead[a], ahead[b]):
                    assert (a, b) in found


@settings(max_examples=30)
@scenes
def test_candidates_are_no_others_than_those_that_can_come_into_range(
    agents: int, spread_m: float, config: GraphConfig, seed: int
) -> None:
    kinds, past = history(agents, spread_m, seed)
    within = reach(past, np.ones(past.shape[:2], bool), kinds, DT_S, STEPS, config)
    (source, target), radius = agent_candidates(kinds, past[:, -1], within, config)
    ahead = config.vehicle_ahead_s * np.where(kinds >= AgentKind.VEHICLE, within.speed_mps, 0)
    apart = np.linalg.norm(past[source, -1] - past[target, -1], axis=-1)
    nearest = apart - within.distance_m[source] - within.distance_m[target]
    assert (nearest < radius + np.maximum(ahead[source], ahead[target]) + 0.01).all()


@settings(max_examples=30)
@scenes
def test_candidates_are_sorted_by_target(
    agents: int, spread_m: float, config: GraphConfig, seed: int
) -> None:
    kinds, past = history(agents, spread_m, seed)
    within = reach(past, np.ones(past.shape[:2], bool), kinds, DT_S, STEPS, config)
    pairs, _ = agent_candidates(kinds, past[:, -1], within, config)
    assert list(zip(*pairs[::-1].tolist(), strict=True)) == sorted(
        zip(*pairs[::-1].tolist(), strict=True)
    )


@settings(max_examples=40)
@given(
    agents=st.integers(0, 6),
    pieces=st.integers(0, 30),
    radius_m=st.sampled_from([0.0, 3.0, 10.0]),
    seed=st.integers(0, 2**16),
)
def test_candidates_of_the_map_are_all_pieces_within_reach_sorted_by_agent(
    agents: int, pieces: int, radius_m: float, seed: int
) -> None:
    rng, nothing = np.random.default_rng(seed), np.zeros(0, np.int64)
    points = rng.uniform(-60, 60, (pieces, 1, 2)) + rng.normal(size=(pieces, 5, 2))
    lanes = MapPieces(
        points.astype(np.float32),
        np.zeros(pieces, np.int64),
        np.zeros((2, 0), np.int64),
        np.zeros((pieces, CONFLICTS, 4), np.float32),
    )
    kinds, past = history(agents, 50.0, seed)
    config = GraphConfig(map_radius_m=radius_m)
    within = reach(past, np.ones(past.shape[:2], bool), kinds, DT_S, STEPS, config)
    found = map_candidates(lanes, past[:, -1], within, config)
    assert found.dtype == nothing.dtype
    apart = np.linalg.norm(past[:, None, -1] - lanes.middles_m, axis=-1)
    limit = radius_m + within.distance_m[:, None]
    expected = [(p, a) for a, p in np.argwhere((apart < limit) & (radius_m > 0)).tolist()]
    listed = list(map(tuple, found.T.tolist()))
    assert set(expected) <= set(listed)
    assert all(apart[a, p] < limit[a, 0] + 0.01 for p, a in listed)
    assert [a for _, a in listed] == sorted(a for _, a in listed)


@pytest.mark.parametrize(("kind", "slack"), [(0, 1.5), (1, 1.5), (2, 4.0), (3, 4.0)])
def test_how_far_agents_may_get_by_hand(kind: int, slack: float) -> None:
    """2 m in the last step of half a second: 4 m/s, and some more."""
    past = np.array([[[0.0, 0.0], [9.0, 0.0], [11.0, 0.0]]])
    seen = np.ones((1, 3), bool)
    kinds = np.array([kind], np.int8)
    speed, distance = reach(past, seen, kinds, DT_S, STEPS, GraphConfig())
    assert speed.tolist() == [4 + slack]
    assert distance.tolist() == [(4 + slack) * 4]
    assert reach(past, seen, kinds, DT_S, 0, GraphConfig()).distance_m.tolist() == [0]


def test_speed_is_known_across_a_gap_and_zero_where_nothing_was_seen_before() -> None:
    past = np.array([[[0.0, 0.0], [77.0, 0.0], [6.0, 0.0]]] * 3)
    seen = np.array([[True, False, True], [False, False, True], [True, True, False]])
    config = replace(GraphConfig(), slack_mps=0.0)
    speed, _ = reach(past, seen, np.zeros(3, np.int8), DT_S, STEPS, config)
    assert speed.tolist() == [6.0, 0.0, 0.0]


def test_plans_widen_what_the_ego_can_reach_and_nobody_else() -> None:
    past = np.array([[[0.0, 0.0], [0.0, 0.0]]] * 2)
    kinds = np.array([AgentKind.EGO, AgentKind.VEHICLE], np.int8)
    plan = np.zeros((STEPS, 3), np.float32)
    plan[:, 0] = 10.0 * np.arange(1, STEPS + 1)
    back = -plan
    config = GraphConfig(vehicle_slack_mps=1.0)
    seen = np.ones((2, 2), bool)
    for poses in (plan, np.stack([plan, back])):
        speed, distance = reach(past, seen, kinds, DT_S, STEPS, config, poses)
        assert speed.tolist() == [20.0, 1.0]
        assert distance.tolist() == [80.0, 4.0]
    standing = np.zeros((STEPS, 3), np.float32)
    speed, distance = reach(past, seen, kinds, DT_S, STEPS, config, standing)
    assert (speed.tolist(), distance.tolist()) == ([1.0, 1.0], [4.0, 4.0])


def test_a_history_of_one_step_has_no_speed() -> None:
    past, seen = np.zeros((2, 1, 2)), np.ones((2, 1), bool)
    speed, _ = reach(past, seen, np.zeros(2, np.int8), DT_S, STEPS, GraphConfig())
    assert speed.tolist() == [1.5, 1.5]


def test_vehicles_on_given_paths_get_candidates_along_them() -> None:
    """A car that stands now and drives 30 m in 4 s, a person at 28 m, and one who runs as far."""
    kinds = np.array([AgentKind.VEHICLE, AgentKind.PEDESTRIAN, AgentKind.PEDESTRIAN], np.int8)
    times = DT_S * np.arange(STEPS + 1)
    paths = np.zeros((3, STEPS + 1, 2), np.float32)
    paths[0, :, 0] = 0.5 * 3.75 * times**2
    paths[1, :, 0] = 28.0
    paths[2, :, 1] = 100 + 7.5 * times
    known = np.ones((3, STEPS + 1), bool)
    config = GraphConfig(
        agent_radius_m=2.0,
        vehicle_radius_m=2.0,
        slack_mps=0.0,
        vehicle_slack_mps=0.0,
        vehicle_ahead_s=0.0,
    )
    past = np.repeat(paths[:, :1], HISTORY, axis=1)
    at_rest = reach(past, np.ones((3, HISTORY), bool), kinds, DT_S, STEPS, config)
    assert agent_candidates(kinds, paths[:, 0], at_rest, config)[0].shape == (2, 0)
    moving = with_paths(at_rest, kinds, paths, known, DT_S)
    pairs, _ = agent_candidates(kinds, paths[:, 0], moving, config)
    assert {tuple(pair) for pair in pairs.T.tolist()} == {(0, 1), (1, 0)}
    assert moving.distance_m.tolist() == pytest.approx([30.0, 0.0, 0.0])
    assert moving.speed_mps[0] == pytest.approx(3.75 * (times[-1] + times[-2]) / 2)
    known[0, 3:] = False  # the car leaves: nothing is known of it from there on
    shorter = with_paths(at_rest, kinds, paths, known, DT_S)
    assert shorter.distance_m[0] == pytest.approx(paths[0, 2, 0])
    known[0] = False
    assert with_paths(at_rest, kinds, paths, known, DT_S).distance_m.tolist() == [0.0, 0.0, 0.0]
