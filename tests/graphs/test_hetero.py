from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast.datasets.windows import WindowSpec, window
from forecast.graphs import GraphConfig, window_graph
from forecast.graphs.candidates import reach
from forecast.scene import Scene
from tests.scenes import street_scene

SPEC = WindowSpec(history_steps=5, horizon_steps=8)
INPUTS = ("position", "heading", "valid", "kind", "size", "dt")
EDGES = (("agent", "near", "agent"), ("map", "next", "map"), ("map", "near", "agent"))


def graph_of(scene: Scene, at: int = 10, config: GraphConfig | None = None):
    return window_graph(window(scene, at, SPEC), config or GraphConfig())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), at=st.integers(4, 14))
def test_the_future_does_not_reach_the_inputs(seed: int, at: int) -> None:
    scene = street_scene()
    rng = np.random.default_rng(seed)
    changed = street_scene()
    later = np.s_[:, at + 1 :]
    changed.tracks.positions_m[later] = rng.normal(0, 50, changed.tracks.positions_m[later].shape)
    changed.tracks.headings_rad[later] = rng.normal(0, 3, changed.tracks.headings_rad[later].shape)
    changed.tracks.valid[later] = rng.random(changed.tracks.valid[later].shape) < 0.5
    before, after = graph_of(scene, at), graph_of(changed, at)
    for name in INPUTS:
        assert torch.equal(before["agent"][name], after["agent"][name]), name
    for edge in EDGES:
        assert torch.equal(before[edge].edge_index, after[edge].edge_index), edge
    assert torch.equal(before["map"].points, after["map"].points)
    assert not torch.equal(before["agent"].future, after["agent"].future)


def test_a_graph_has_the_decisions_of_all_steps() -> None:
    scene = Scene.from_arrays([[[t, 0.0] for t in range(13)]], [0], dt_s=0.5)
    assert graph_of(scene, at=4)["agent"].decision.tolist() == [[-1] * 13]
    decided = np.arange(13, dtype=np.int8)[None] % 5
    scene = replace(scene, tracks=replace(scene.tracks, decisions=decided))
    decision = graph_of(scene, at=4)["agent"].decision
    assert decision.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2]]
    assert decision.dtype == torch.int64


def test_candidates_are_all_pairs_that_can_meet() -> None:
    # Two people 20 m apart, both at rest: each reaches 1.5 m/s x 4 s, and they see 5 m: 17 < 20.
    scene = Scene.from_arrays([[[0, 0]] * 12, [[20, 0]] * 12, [[21, 0]] * 12], [0, 0, 0], dt_s=0.5)
    near = graph_of(scene, at=6)["agent", "near", "agent"]
    pairs = near.edge_index
    assert near.radius.tolist() == [5, 5]
    assert sorted(map(tuple, pairs.T.tolist())) == [(1, 2), (2, 1)]
    farther = GraphConfig(agent_radius_m=8.5)
    pairs = graph_of(scene, at=6, config=farther)["agent", "near", "agent"].edge_index
    assert sorted(map(tuple, pairs.T.tolist())) == [(0, 1), (1, 0), (1, 2), (2, 1)]


def test_candidates_are_sorted_by_target() -> None:
    graph = graph_of(street_scene())
    for kind in ("agent", "map"):
        pairs = graph[kind, "near", "agent"].edge_index
        assert pairs.shape[1] > 3
        assert (pairs[1].diff() >= 0).all()


def test_a_scene_without_a_map_has_no_lanes() -> None:
    scene = Scene.from_arrays([[[0, 0]] * 12], [0], dt_s=0.5)
    graph = graph_of(scene, at=6)
    assert graph["map"].points.shape == (0, 5, 2)
    assert graph["map", "near", "agent"].edge_index.shape == (2, 0)


def test_a_model_without_a_map_gets_no_lanes() -> None:
    assert graph_of(street_scene())["map"].num_nodes > 0
    without = graph_of(street_scene(), config=GraphConfig(map_radius_m=0))
    assert without["map"].num_nodes == 0
    assert without["map", "near", "agent"].edge_index.shape == (2, 0)


def test_a_fast_vehicle_is_a_candidate_from_farther_away() -> None:
    # Ranges 10 m and 5 s of the car's highest mean speed v + 4; both can move 4 s until the
    # horizon, the person at 1.5 m/s: 10 + 9 (v + 4) + 6 m.
    def pairs(distance: float, speed: float) -> int:
        car = [[distance - 0.5 * speed * (t - 6), 0] for t in range(15)]
        scene = Scene.from_arrays([[[0, 0]] * 15, car], [0, 2], dt_s=0.5)
        return graph_of(scene, at=6)["agent", "near", "agent"].edge_index.shape[1]

    assert [pairs(51.9, 0), pairs(52.1, 0)] == [2, 0]
    assert [pairs(141.5, 10), pairs(142.5, 10)] == [2, 0]


def test_a_plan_widens_what_the_ego_can_reach() -> None:
    scene = Scene.from_arrays([[[0, 0]] * 15, [[60, 0]] * 15], [0, 3], dt_s=0.5)
    cut = window(scene, 6, SPEC)
    plan = np.array([[60 - 5.0 * (t + 1), 0, 0] for t in range(8)], np.float32)
    for poses, edges in ((None, 0), (plan, 2)):
        graph = window_graph(cut, GraphConfig(), poses)
        assert graph["agent", "near", "agent"].edge_index.shape[1] == edges


def test_speed_is_known_across_a_gap() -> None:
    positions = np.array(
        [[[0, 0], [0, 0], [9, 9], [6, 0]], [[0, 0], [0, 0], [0, 0], [3, 0]]], float
    )
    valid = np.array([[True, True, False, True], [False, False, False, True]])
    config = GraphConfig(slack_mps=1.0)
    kinds = np.zeros(2, np.int8)
    speed, distance = reach(positions, valid, kinds, 0.5, 4, config)
    np.testing.assert_allclose(speed, [7, 1])  # 6 m in 1 s; seen for the first time
    np.testing.assert_allclose(distance, [14, 2])
