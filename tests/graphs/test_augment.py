from dataclasses import replace

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from forecast.datasets.windows import WindowSpec, window
from forecast.errors import ForecastError
from forecast.graphs import GraphConfig, MapKind, window_graph
from forecast.graphs.augment import AugmentConfig, augment_graph, augment_window, reverse
from forecast.scene import AgentKind, Scene
from forecast.scene.agents import Decision
from tests.scenes import street_scene

SPEC = WindowSpec(history_steps=3, horizon_steps=4)
NOTHING = AugmentConfig(
    scale=0,
    reverse=0,
    short_history=0,
    drop_agents=0,
    drop_map=0,
    drop_pieces=0,
    hide_lights=0,
    shift_map_m=0,
    far_m=1e6,
)


def walkers() -> Scene:
    along = np.arange(10.0)
    straight = np.stack([along, 0 * along], -1)
    back = np.stack([along[::-1], 1 + 0 * along], -1)
    return Scene.from_arrays([straight, back], [0, 0], dt_s=0.4)


def test_reverse_plays_backwards() -> None:
    cut = window(walkers(), 4, SPEC)
    back = reverse(cut)
    np.testing.assert_array_equal(back.positions_m, cut.positions_m[:, ::-1])
    np.testing.assert_allclose(back.headings_rad[0, 1:], np.pi)


def test_reverse_drops_whoever_is_not_seen_at_the_new_current_step() -> None:
    scene = walkers()
    scene.tracks.valid[1, 6] = False  # the current step of the reversed window 2..8
    back = reverse(window(scene, 4, SPEC))
    assert back.agent_ids.tolist() == ["0"]


def test_reverse_leaves_traffic_alone() -> None:
    cut = window(street_scene(), 10, SPEC)
    assert reverse(cut) is cut


def test_scale_moves_inputs_and_targets_together() -> None:
    cut = window(street_scene(), 10, SPEC)
    plain, changed = (window_graph(cut, GraphConfig()) for _ in range(2))
    augment_graph(changed, replace(NOTHING, scale=0.2), np.random.default_rng(1))
    ratio = changed["agent"].position[0, -1, 0] / plain["agent"].position[0, -1, 0]
    assert 0.8 <= ratio <= 1.2
    assert ratio != 1
    for node, name in (("agent", "position"), ("agent", "future"), ("map", "points")):
        torch.testing.assert_close(changed[node][name], plain[node][name] * ratio)
    torch.testing.assert_close(changed["agent"].heading, plain["agent"].heading)


def test_who_slows_down_stays_on_the_way_and_never_gets_faster() -> None:
    cut = window(walkers(), 4, SPEC)
    slowed = augment_window(cut, replace(NOTHING, slow_down=1), np.random.default_rng(0))
    steps = np.diff(slowed.positions_m, axis=1)
    pace = np.abs(steps[..., 0])
    assert (steps[..., 1] == 0).all()
    assert (np.diff(pace, axis=1) <= 1e-6).all()
    assert (pace[:, -1] < 1).all()
    np.testing.assert_array_equal(slowed.positions_m[:, 0], cut.positions_m[:, 0])
    np.testing.assert_array_equal(slowed.headings_rad, cut.headings_rad)


def test_who_speeds_up_stays_on_the_way_and_ends_at_the_recorded_pace() -> None:
    cut = window(walkers(), 4, SPEC)
    changed = augment_window(cut, replace(NOTHING, speed_up=1), np.random.default_rng(0))
    steps = np.diff(changed.positions_m, axis=1)
    pace = np.abs(steps[..., 0])
    assert (steps[..., 1] == 0).all()
    assert (np.diff(pace, axis=1) >= -1e-6).all()
    assert (pace[:, 0] < 1).all()
    assert (pace[:, -1] > 0.99).any()


def test_one_person_slows_down_or_speeds_up_and_what_it_decides_is_unknown() -> None:
    cut = window(walkers(), 4, SPEC)
    cut = replace(cut, decisions=np.full_like(cut.decisions, Decision.GO))
    some = replace(NOTHING, slow_down=0.4, speed_up=0.4)
    slows, hastens, same = 0, 0, 0
    for seed in range(100):
        changed = augment_window(cut, some, np.random.default_rng(seed))
        pace = np.abs(np.diff(changed.positions_m[..., 0], axis=1))
        bend = np.diff(pace, axis=1)
        as_before = (changed.positions_m == cut.positions_m).all((1, 2))
        unknown = (changed.decisions == Decision.UNKNOWN).all(1)
        assert (unknown | (changed.decisions == Decision.GO).all(1)).all()
        assert not unknown[as_before].any() or (pace[as_before] == 1).all()
        slows += (bend < -1e-3).any(1).sum()
        hastens += (bend > 1e-3).any(1).sum()
        same += as_before.sum()
        assert not ((bend < -1e-3).any(1) & (bend > 1e-3).any(1)).any()
    people = 100 * len(cut.agent_ids)
    assert 0.3 < slows / people < 0.5
    assert 0.3 < hastens / people < 0.5
    assert 0.1 < same / people < 0.3


def test_shares_of_changed_paces_are_at_most_everybody() -> None:
    with pytest.raises(ForecastError, match=r"augment.slow_down \+ augment.speed_up is 1.5; a sh"):
        AugmentConfig(slow_down=0.75, speed_up=0.75)


def test_half_of_the_people_slow_down() -> None:
    cut, half = window(walkers(), 4, SPEC), replace(NOTHING, slow_down=0.5)
    generator = np.random.default_rng(0)
    ends = np.stack([augment_window(cut, half, generator).positions_m[:, -1] for _ in range(200)])
    as_it_was = (ends == cut.positions_m[:, -1]).all(-1).mean()
    assert 0.4 < as_it_was < 0.6


@pytest.mark.parametrize("change", ["slow_down", "speed_up", "wander"])
def test_traffic_neither_slows_down_nor_wanders(change: str) -> None:
    cut = window(street_scene(), 10, SPEC)
    changed = augment_window(cut, replace(NOTHING, **{change: 1}), np.random.default_rng(0))
    drives = cut.kinds != AgentKind.PEDESTRIAN
    np.testing.assert_array_equal(changed.positions_m[drives], cut.positions_m[drives])
    assert not np.array_equal(changed.positions_m, cut.positions_m)


def test_who_wanders_changes_direction_and_pace_but_is_where_they_were_now() -> None:
    cut = window(walkers(), 4, SPEC)
    changed = augment_window(cut, replace(NOTHING, wander=1), np.random.default_rng(0))
    now, before = SPEC.history_steps - 1, np.diff(cut.positions_m, axis=1)
    steps = np.diff(changed.positions_m, axis=1)
    np.testing.assert_allclose(changed.positions_m[:, now], cut.positions_m[:, now], atol=1e-6)
    assert (np.abs(np.linalg.norm(steps, axis=-1) - 1) > 1e-3).all()
    turned = np.arctan2(steps[..., 1], steps[..., 0]) - np.arctan2(before[..., 1], before[..., 0])
    headings = changed.headings_rad[:, 1:] - cut.headings_rad[:, 1:]
    np.testing.assert_allclose(np.sin(headings - turned), 0, atol=1e-4)


def test_how_much_people_wander_differs_and_shows_in_what_is_seen() -> None:
    cut, generator = window(walkers(), 4, SPEC), np.random.default_rng(0)
    paths = [
        augment_window(cut, replace(NOTHING, wander=1), generator).positions_m for _ in range(300)
    ]
    paces = np.log(np.linalg.norm(np.diff(np.stack(paths), axis=2), axis=-1))  # [300, A, steps]
    changes = np.abs(np.diff(paces, axis=-1))
    seen, to_come = changes[..., 0].ravel(), changes[..., 1:].mean(-1).ravel()
    assert np.corrcoef(seen, to_come)[0, 1] > 0.2


def test_noise_is_in_what_is_seen_alone() -> None:
    cut = window(walkers(), 4, SPEC)
    noisy = augment_window(cut, replace(NOTHING, noise_m=0.1), np.random.default_rng(0))
    off = np.abs(noisy.positions_m - cut.positions_m)[:, : SPEC.history_steps]
    assert (off > 0).all()
    assert off.max() < 0.4
    np.testing.assert_array_equal(noisy.future_m, cut.future_m)


def test_headings_of_people_are_those_of_the_noisy_positions() -> None:
    """As a window of the same noisy positions has them; later ones, the targets, stay."""
    walking = walkers()
    cut, now = window(walking, 4, SPEC), SPEC.history_steps
    noisy = augment_window(cut, replace(NOTHING, noise_m=0.4), np.random.default_rng(1))
    positions = walking.tracks.positions_m.copy()
    positions[:, 4 - now + 1 : 5] = noisy.positions_m[:, :now]
    seen = window(replace(walking, tracks=replace(walking.tracks, positions_m=positions)), 4, SPEC)
    np.testing.assert_array_equal(noisy.headings_rad[:, :now], seen.headings_rad[:, :now])
    np.testing.assert_array_equal(noisy.heading_known, seen.heading_known)
    assert (noisy.headings_rad[:, :now] != cut.headings_rad[:, :now]).any()
    np.testing.assert_array_equal(noisy.headings_rad[:, now:], cut.headings_rad[:, now:])


def test_hidden_steps_get_no_noise() -> None:
    cut = window(walkers(), 4, SPEC)
    config = replace(NOTHING, noise_m=0.4, short_history=1.0)
    noisy = augment_window(cut, config, np.random.default_rng(3))
    assert not noisy.valid.all()
    assert (noisy.positions_m[~noisy.valid] == 0).all()


def test_vehicles_that_the_network_hears_are_kept_however_fast() -> None:
    """Those that arrive within 5 s (`GraphConfig.vehicle_ahead_s`)."""
    scene, graph = street_scene(), GraphConfig()
    car = int(np.flatnonzero(scene.tracks.kinds == AgentKind.VEHICLE)[0])
    people = np.flatnonzero(scene.tracks.kinds == AgentKind.PEDESTRIAN)
    for speed in (5.0, 10.0, 20.0):
        apart = graph.vehicle_radius_m + graph.vehicle_ahead_s * speed - 1.0
        middle = scene.tracks.positions_m[people, 10].max(axis=0)
        times = scene.dt_s * (np.arange(scene.steps) - 10)
        scene.tracks.positions_m[car, :, 0] = middle[0] + apart - speed * times
        scene.tracks.positions_m[car, :, 1] = middle[1]
        cut = window(scene, 10, SPEC)
        kept = augment_window(cut, replace(NOTHING, far_m=15.0), np.random.default_rng(0))
        assert str(scene.tracks.agent_ids[car]) in kept.agent_ids.tolist()


def test_headings_of_vehicles_are_blurred_and_no_others() -> None:
    cut = window(street_scene(), 10, SPEC)
    drives = torch.from_numpy(cut.kinds >= AgentKind.VEHICLE)
    assert drives.tolist() == [False] * 4 + [True] * 2
    plain, rng = window_graph(cut, GraphConfig())["agent"], np.random.default_rng(0)
    changes = []
    for _ in range(400):
        graph = window_graph(cut, GraphConfig())
        augment_graph(graph, replace(NOTHING, heading_noise_rad=0.3), rng)
        agent = graph["agent"]
        changes.append(agent.heading - plain.heading)
        assert torch.equal(agent.position, plain.position)
        assert torch.equal(agent.future_heading, plain.future_heading)
        assert torch.equal(agent.heading_known, plain.heading_known)
    change = torch.stack(changes)  # [windows, A, H]
    assert (change[:, ~drives] == 0).all()
    assert (change[:, drives] != 0).all()
    # A level uniform below 0.3: a variance of 0.3^2 / 3 over all windows, which differ in it.
    assert change[:, drives].square().mean().item() == pytest.approx(0.3**2 / 3, rel=0.2)
    levels = change[:, drives].square().mean((1, 2)).sqrt()
    assert levels.min() < 0.03
    assert levels.max() > 0.25


def test_what_people_decided_is_unknown_in_a_window_that_plays_backwards() -> None:
    scene = walkers()
    decided = np.full(scene.tracks.valid.shape, Decision.GO, np.int8)
    scene = replace(scene, tracks=replace(scene.tracks, decisions=decided))
    cut = window(scene, 4, SPEC)
    assert (cut.decisions == Decision.GO).all()
    back = reverse(cut)
    assert back.decisions.shape == cut.decisions.shape
    assert back.decisions.dtype == np.int8
    assert (back.decisions == Decision.UNKNOWN).all()


def test_noise_below_0_is_refused() -> None:
    with pytest.raises(ForecastError, match=r"augment\.heading_noise_rad is -1; ") as error:
        AugmentConfig(heading_noise_rad=-1)
    assert "\n" not in str(error.value)


def test_a_shortened_history_is_masked_not_moved() -> None:
    cut = window(walkers(), 4, SPEC)
    short = augment_window(cut, replace(NOTHING, short_history=1.0), np.random.default_rng(3))
    assert short.valid.sum() < cut.valid.sum()
    assert short.valid[:, 2:].all()
    np.testing.assert_array_equal(short.positions_m[short.valid], cut.positions_m[short.valid])
    assert (short.positions_m[~short.valid] == 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_hidden_steps_do_not_show_in_headings(seed: int) -> None:
    """A window whose first steps are hidden is that of a scene in which nobody saw them."""
    along = np.stack([np.minimum(np.arange(10.0), 4.0), np.zeros(10)], -1)
    mixed = Scene.from_arrays([along, along + 3], ["cyclist", "pedestrian"], dt_s=0.4)
    for scene, at in ((walkers(), 4), (street_scene(), 10), (mixed, 5)):
        cut = window(scene, at, SPEC)
        rng = np.random.default_rng(seed)
        short = augment_window(cut, replace(NOTHING, short_history=1.0), rng)
        rows = np.flatnonzero(np.isin(scene.tracks.agent_ids, cut.agent_ids))
        steps = np.arange(at - 2, at + 5)
        scene.tracks.valid[np.ix_(rows, steps)] = short.valid
        unseen = window(scene, at, SPEC)
        np.testing.assert_array_equal(short.headings_rad, unseen.headings_rad)
        np.testing.assert_array_equal(short.heading_known, unseen.heading_known)
        once = (cut.kinds == AgentKind.PEDESTRIAN) & (short.valid[:, :3].sum(1) == 1)
        assert not short.heading_known[once].any()


def test_who_wanders_or_slows_down_faces_where_it_goes() -> None:
    cut = window(walkers(), 4, SPEC)
    for change in ({"wander": 1.0}, {"slow_down": 1.0}, {"speed_up": 1.0}):
        other = augment_window(cut, replace(NOTHING, **change), np.random.default_rng(0))
        way = np.diff(other.positions_m, axis=1)
        far = np.linalg.norm(way, axis=-1) > 0.2
        turned = np.arctan2(way[..., 1], way[..., 0])
        np.testing.assert_allclose(other.headings_rad[:, 1:][far], turned[far], atol=1e-5)


def test_agents_are_dropped_but_never_all() -> None:
    cut = window(street_scene(), 10, SPEC)
    fewer = augment_window(cut, replace(NOTHING, drop_agents=0.5), np.random.default_rng(0))
    assert 0 < len(fewer.agent_ids) < len(cut.agent_ids)
    people = cut.select(cut.kinds == AgentKind.PEDESTRIAN)
    everyone = augment_window(people, replace(NOTHING, drop_agents=1.0), np.random.default_rng(0))
    assert len(everyone.agent_ids) == len(people.agent_ids) > 0


def test_the_ego_is_never_left_out() -> None:
    """Neither by chance nor because it is far from everybody."""
    scene = street_scene()
    scene.tracks.positions_m[[4, 5]] += 1000  # the car and the ego
    cut, rng = window(scene, 10, SPEC), np.random.default_rng(0)
    assert (cut.kinds == AgentKind.EGO).sum() == 1
    for changes in ({"drop_agents": 1.0}, {"far_m": 60.0}, {"most_agents": 1}):
        kept = augment_window(cut, replace(NOTHING, **changes), rng)
        assert (kept.kinds == AgentKind.EGO).sum() == 1, changes
        assert len(kept.kinds) < len(cut.kinds), changes
        assert AgentKind.VEHICLE not in kept.kinds, changes


def test_of_many_agents_those_nearest_to_somebody_are_kept() -> None:
    along = np.arange(10.0)
    row = [np.stack([along, np.full(10, float(place))], -1) for place in (0, 1, 2, 10, 11, 12)]
    cut = window(Scene.from_arrays(row, [0] * 6, dt_s=0.4), 4, SPEC)
    three, generator = replace(NOTHING, most_agents=3), np.random.default_rng(0)
    kept = {tuple(augment_window(cut, three, generator).agent_ids.tolist()) for _ in range(50)}
    assert kept == {("0", "1", "2"), ("3", "4", "5")}
    all_six = augment_window(cut, replace(NOTHING, most_agents=6), generator)
    assert len(all_six.agent_ids) == 6


def test_some_windows_go_as_recorded() -> None:
    varied = AugmentConfig(scale=0.3, slow_down=0.2, wander=0.1, noise_m=0.05, as_recorded=0.5)
    generator = np.random.default_rng(0)
    drawn = [varied.drawn(generator) for _ in range(200)]
    as_recorded = [config for config in drawn if config is not varied]
    assert 0.4 < len(as_recorded) / len(drawn) < 0.6
    cut = window(walkers(), 4, SPEC)
    still = replace(as_recorded[0], reverse=0, short_history=0, drop_agents=0)
    after = augment_window(cut, still, generator)
    np.testing.assert_array_equal(after.positions_m, cut.positions_m)
    plain, changed = (window_graph(cut, GraphConfig()) for _ in range(2))
    augment_graph(changed, still, generator)
    torch.testing.assert_close(changed["agent"].position, plain["agent"].position)


def test_agents_far_from_every_pedestrian_are_left_out() -> None:
    scene = street_scene()
    scene.tracks.positions_m[4] += 100  # the car
    nearby = replace(NOTHING, far_m=60.0)
    near = augment_window(window(scene, 10, SPEC), nearby, np.random.default_rng(0))
    assert "4" not in near.agent_ids
    assert "5" in near.agent_ids


def maps_seen(**changes: float) -> tuple[HeteroData, HeteroData]:
    """The street's graph as it is and with its map varied."""
    cut = window(street_scene(), 10, SPEC)
    plain, changed = (window_graph(cut, GraphConfig()) for _ in range(2))
    augment_graph(changed, replace(NOTHING, **changes), np.random.default_rng(0))
    return plain, changed


def test_the_map_is_dropped_whole_or_in_pieces() -> None:
    edge = ("map", "near", "agent")
    plain, none = maps_seen(drop_map=1.0)
    assert plain[edge].edge_index.shape[1] > 0
    assert none[edge].edge_index.shape[1] == 0
    plain, some = maps_seen(drop_pieces=0.5)
    kept = set(some[edge].edge_index[0].tolist())
    assert 0 < len(kept) < plain["map"].num_nodes
    before = [pair for pair in plain[edge].edge_index.T.tolist() if pair[0] in kept]
    assert before == some[edge].edge_index.T.tolist()
    following = ("map", "next", "map")
    links = [pair for pair in plain[following].edge_index.T.tolist() if kept.issuperset(pair)]
    assert set(map(tuple, links)) <= set(map(tuple, some[following].edge_index.T.tolist()))
    assert some[following].edge_index.shape[1] < plain[following].edge_index.shape[1]
    assert none[following].edge_index.shape[1] == 0


def test_hidden_lights_leave_a_crosswalk_without() -> None:
    plain, hidden = (graph["map"].kind for graph in maps_seen(hide_lights=1.0))
    signalled = plain == MapKind.SIGNALLED_CROSSING
    assert signalled.sum() == 1
    assert (hidden[signalled] == MapKind.CROSSING).all()
    assert torch.equal(hidden[~signalled], plain[~signalled])


def test_the_map_is_shifted_as_one() -> None:
    plain, shifted = maps_seen(shift_map_m=2.0)
    moved = shifted["map"].points - plain["map"].points
    assert moved.abs().min() > 0
    torch.testing.assert_close(moved, moved[:1, :1].expand_as(moved), atol=1e-5, rtol=0)
    change = shifted["map"].conflicts - plain["map"].conflicts
    torch.testing.assert_close(change[..., 1:3], moved[:1, :1].expand_as(change[..., 1:3]))
    assert not change[..., [0, 3]].any()
    torch.testing.assert_close(shifted["agent"].position, plain["agent"].position)
