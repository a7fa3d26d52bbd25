"""Features of agents and edges, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from forecast.models.crossings import Crossings
from forecast.models.dynamics import distance_cutoff
from forecast.models.features import (
    AGENT_EDGE_FEATURES,
    EGO_FEATURES,
    LONGEST_WAIT_S,
    MAP_EDGE_FEATURES,
    RELATIONS,
    STILL_MPS,
    VEHICLE_EDGE_FEATURES,
    AgentTable,
    agent_edges,
    ego_features,
    encounter_features,
    map_edges,
    vehicle_edges,
)
from forecast.models.types import TRAITS, Agents, Motion, State
from forecast.scene import AgentKind
from tests.models.crowds import every_pair, no_lanes

KINDS = torch.tensor(
    [AgentKind.PEDESTRIAN, AgentKind.CYCLIST, AgentKind.VEHICLE, AgentKind.EGO], dtype=torch.long
)


def agent(**columns: float) -> AgentTable:
    """One agent at the origin that faces east, at rest."""
    values = {
        **dict.fromkeys(AgentTable._fields, 0.0),
        "facing_x": 1.0,
        "mirror": 1.0,
        "visible": 1.0,
    }
    values |= columns
    return AgentTable(*(torch.tensor([values[name]]) for name in AgentTable._fields))


def by_name(names: tuple[str, ...], features: Tensor) -> dict[str, float]:
    return dict(zip(names, features.flatten().tolist(), strict=True))


def of_edge(own: AgentTable, other: AgentTable, radius: float = 10.0) -> dict[str, float]:
    features, weight = agent_edges(own, other, torch.tensor([radius]))
    assert features.shape == (1, len(AGENT_EDGE_FEATURES))
    return by_name((*AGENT_EDGE_FEATURES, "weight"), torch.cat([features[0], weight]))


def test_every_feature_of_an_agents_own_motion() -> None:
    """It faces north and goes north-west; before, it went north."""
    agents = Agents(KINDS[2:3], torch.tensor([[4.0, 2.0, 1.5]]), torch.tensor([0.4]))
    for mirror in (1.0, -1.0):
        state = State(
            hidden=torch.zeros(1, 1, 1),
            motion=Motion(
                torch.tensor([[[7.0, 8.0]]]),
                torch.tensor([[[-3.0, 4.0]]]),
                torch.tensor([[[0.0, 1.0]]]),
                torch.tensor([[0.2]]),
            ),
            velocity_before=torch.zeros(1, 1, 2),  # not this one, but the argument counts
            smoothed=torch.tensor([[[-1.0, 2.0]]]),
            seen=torch.ones(1, 1, dtype=torch.bool),
            steady=torch.ones(1, 1, dtype=torch.bool),
            unseen_s=torch.tensor([[1.5]]),
            mirror=torch.tensor([[mirror]]),
        )
        features = ego_features(agents, state, torch.tensor([[[0.0, 3.0]]]))
        assert features.shape == (1, 1, len(EGO_FEATURES) + TRAITS)
        expected = [
            4.0,
            mirror * 3.0,
            1.0,
            mirror * 3.0,
            2.0,
            mirror * 1.0,
            5.0,
            mirror * 0.2,
            1.0,
            1.5,
        ]
        traits = [0.4, math.log(5.0), math.log(3.0), 0.0, 0.0, 1.0, 0.0]
        assert features.flatten().tolist() == pytest.approx([*expected, *traits], abs=1e-6)


def test_every_feature_of_an_edge_between_agents() -> None:
    """The target faces north; the source is 3 m to its right and 4 m ahead, and faces west."""
    own = agent(x=10.0, y=20.0, facing_x=0.0, facing_y=1.0, velocity_y=1.0, body_radius_m=0.25)
    other = agent(x=13.0, y=24.0, facing_x=-1.0, facing_y=0.0, velocity_x=-1.0, body_radius_m=0.75)
    # Relative to the target, the source moves 1 m/s to its left and 1 m/s towards its back.
    wait = 7 / (2 + STILL_MPS**2)
    nearest = math.hypot(4 - wait, 3 - wait)
    expected = {
        "scaled offset along": 4 / 6,
        "scaled offset across": -3 / 6,
        "log(1 + distance in m)": math.log(6),
        "direction along": 0.0,
        "direction across": 1.0,
        "relative velocity along, m/s": -1.0,
        "relative velocity across, m/s": 1.0,
        "exp(-gap now in m)": math.exp(-4),
        "exp(-gap at the closest approach in m)": math.exp(1 - nearest),
        "1 / (1 + time to the closest approach in s)": 1 / (1 + wait),
        "weight": (1 - 0.25) ** 2,
    }
    assert of_edge(own, other) == pytest.approx(expected, abs=1e-5)
    # In a mirrored frame what is across changes its sign; the source's chirality does not matter.
    across = [name for name in expected if "across" in name]
    mirrored = {**expected, **{name: -expected[name] for name in across}}
    turned = other._replace(mirror=-other.mirror)
    assert of_edge(own._replace(mirror=-own.mirror), other) == pytest.approx(mirrored, abs=1e-5)
    assert of_edge(own, turned) == pytest.approx(expected, abs=1e-5)


def test_the_larger_lookahead_of_both_ends_extends_the_range() -> None:
    for one, two, range_m in ((0.0, 0.0, 10.0), (5.0, 0.0, 15.0), (0.0, 10.0, 20.0), (5, 10, 20.0)):
        found = of_edge(agent(lookahead_m=one), agent(x=5.0, lookahead_m=two))["weight"]
        assert found == pytest.approx((1 - (5 / range_m) ** 2) ** 2, abs=1e-6)


def test_an_agent_that_was_not_seen_has_no_weight() -> None:
    assert of_edge(agent(), agent(x=1.0, visible=0.0))["weight"] == 0
    assert of_edge(agent(visible=0.0), agent(x=1.0))["weight"] > 0.9


def no_way(count: int) -> Crossings:
    """Nobody comes to a crosswalk."""
    none = torch.zeros(len(Crossings._fields), count, dtype=torch.float64)
    return Crossings(*none)


def of_vehicle(own: AgentTable, other: AgentTable, radius: float = 10.0) -> dict[str, float]:
    features, weight = vehicle_edges(
        own, other, torch.tensor([radius]), no_way(1), no_lanes(1, torch.float64)
    )
    assert features.shape == (1, len(VEHICLE_EDGE_FEATURES))
    return by_name((*VEHICLE_EDGE_FEATURES, "weight"), torch.cat([features[0], weight]))


CAR = {"lookahead_m": 30.0, "half_length_m": 2.0, "half_width_m": 1.06, "body_radius_m": 1.5}
"""All tests of edges from vehicles have this car."""
WAY = "vehicle's way to where it passes, scaled"


def test_every_feature_of_an_edge_from_a_vehicle() -> None:
    """The ego drives east at 9.5 m/s; a person 20 m ahead and 6.24 m to its left walks south.

    The front is 18 m away, and the speed counts as 0.5 m/s more: arrival in 1.8 s. The distance
    from the lane counts as sqrt(6.24^2 + 0.5^2) = 6.26 m, of which half of the width is no way to
    go: 5.2 m. The speed of 1.565 m/s towards the lane is smoothed alike, to 1.565 * 6.24 / 6.26.
    """
    own = agent(x=20.0, y=6.24, facing_x=0.0, facing_y=1.0, velocity_y=-1.565, body_radius_m=0.25)
    other = agent(velocity_x=9.5, acceleration_mps2=-1.5, ego=1.0, **CAR)
    expected = {
        "vehicle's speed, 10 m/s": 0.95,
        "vehicle's acceleration, 3 m/s^2": -0.5,
        "vehicle's way to where it passes, scaled": 18 / 28,
        "distance from the vehicle's lane, scaled": 5.2 / 8.2,
        "speed towards the vehicle's lane, m/s": 1.56,
        "vehicle's arrival, scaled": math.tanh(1.8 / 4),
        "vehicle's arrival minus own, at a walking pace, scaled": math.tanh((1.8 - 5.2 / 1.4) / 3),
        "vehicle's arrival minus own, at the present pace, scaled": math.tanh(
            (1.8 - 5.2 / 1.56) / 3
        ),
        "deceleration to stop before, scaled": (9.5**2 / 36) / (3 + 9.5**2 / 36),
        "vehicle's half width, m": 1.06,
        "vehicle's half length, m": 2.0,
        "vehicle is the ego": 1.0,
        # within 40 m, and within 20 m of the lane
        "weight": (1 - (20**2 + 6.24**2) / 40**2) ** 2 * (1 - (5.2 / 20) ** 2) ** 2,
    }
    found = of_vehicle(own, other)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    # The others are those of all pairs of agents, and gaps (test_crossings.py).
    gaps = VEHICLE_EDGE_FEATURES[-8:]
    assert set(found) - set(expected) == {*AGENT_EDGE_FEATURES, *gaps}
    between = of_edge(own, other)
    assert {name: found[name] for name in AGENT_EDGE_FEATURES} == pytest.approx(
        {name: between[name] for name in AGENT_EDGE_FEATURES}, abs=1e-6
    )
    # On the right of the car, and walking north, the same person has the same risk.
    right = own._replace(y=-own.y, velocity_y=-own.velocity_y)
    found = of_vehicle(right, other)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-5)


def test_who_walks_away_from_the_lane_does_not_arrive_earlier_than_slow_walkers() -> None:
    """The person's speed towards the lane counts as 0.3 m/s or more: 5.2 m take 17.3 s at most."""
    name = "vehicle's arrival minus own, at the present pace, scaled"
    for velocity_y, closing in ((1.565, -1.56), (0.0, 0.0)):
        own = agent(x=20.0, y=6.24, velocity_y=velocity_y)
        found = of_vehicle(own, agent(velocity_x=9.5, **CAR))
        assert found["speed towards the vehicle's lane, m/s"] == pytest.approx(closing, abs=1e-6)
        assert found[name] == pytest.approx(math.tanh((1.8 - 5.2 / 0.3) / 3), abs=1e-6)


def test_a_lane_leads_along_the_velocity_and_where_the_vehicle_faces_if_it_stands() -> None:
    """Half a metre per second of the facing is added to the velocity."""
    own = agent(x=0.0, y=20.0)
    stands = of_vehicle(own, agent(facing_x=0.0, facing_y=1.0, **CAR))
    assert stands[WAY] == pytest.approx(18 / 28)
    assert stands["vehicle's arrival, scaled"] == pytest.approx(math.tanh(18 / 0.5 / 4))
    drifts = of_vehicle(own, agent(velocity_y=10.0, **CAR))  # faces east, but goes north
    way = 20 * 10 / math.hypot(10, 0.5) - 2
    assert drifts[WAY] == pytest.approx(way / (10 + way))
    back = of_vehicle(own, agent(facing_x=0.0, facing_y=-1.0, velocity_y=10.0, **CAR))
    assert back[WAY] == pytest.approx(18 / 28)


def test_the_weight_of_an_edge_from_a_vehicle_falls_to_nothing_behind_it_and_beside_it() -> None:
    """The quotient to the weight of any pair of agents, which the range alone determines.

    Once the middle of the car has passed by 8 m, its rear has passed by 6 m: no message.
    """
    other = agent(velocity_x=9.5, **CAR)

    def quotient(x: float, y: float) -> float:
        own = agent(x=x, y=y)
        return of_vehicle(own, other)["weight"] / of_edge(own, other)["weight"]

    for ahead, expected in ((30.0, 1.0), (2.0, 1.0), (-3.0, (1 - 0.25) ** 2), (-8.0, 0), (-9.0, 0)):
        assert quotient(ahead, 0.5) == pytest.approx(expected, abs=1e-6), ahead
    # At y, the distance from the lane is sqrt(y^2 + 0.25) - 1.06: 10 m, 20 m and more.
    for lane_m, expected in ((0.0, 1.0), (10.0, (1 - 0.25) ** 2), (20.0, 0.0), (22.0, 0.0)):
        y = math.sqrt((lane_m + 1.06) ** 2 - 0.25)
        for side in (1, -1):
            assert quotient(10.0, side * y) == pytest.approx(expected, abs=1e-6), lane_m
    # No jump where the weight begins to fall, nor where it ends.
    beside = math.sqrt((20 + 1.06) ** 2 - 0.25)
    for x, y, x_step, y_step in ((2, 0, 1, 0), (-8, 0, 1, 0), (10, beside, 0, 1)):
        before = quotient(x - 1e-3 * x_step, y - 1e-3 * y_step)
        after = quotient(x + 1e-3 * x_step, y + 1e-3 * y_step)
        assert before == pytest.approx(after, abs=1e-5)


def random_edges(count: int = 60) -> tuple[AgentTable, AgentTable]:
    """People and vehicles near each other in double precision; some vehicles stand."""
    generator = torch.Generator().manual_seed(0)

    def draw(scale: float = 1.0) -> Tensor:
        return scale * torch.randn(count, generator=generator, dtype=torch.float64)

    def table(far: float, fast: float) -> AgentTable:
        angle, stands = draw(), torch.arange(count) % 4 == 0
        where, facing = (draw(far), draw(far)), (angle.cos(), angle.sin())
        velocity = [torch.where(stands, 0.0, draw(fast)) for _ in range(2)]
        lookahead, radius, length, width = (draw().abs() for _ in range(4))
        visible, ego = torch.ones(count, dtype=torch.float64), (draw() > 0).double()
        moves = (*where, *facing, draw().sign(), *velocity, lookahead, radius, visible)
        return AgentTable(*moves, length, width, draw(), ego)

    return table(1.0, 1.0), table(4.0, 5.0)


def turned(table: AgentTable, angle: float, shift: tuple[float, float]) -> AgentTable:
    cos, sin = math.cos(angle), math.sin(angle)

    def turn(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return cos * x - sin * y, sin * x + cos * y

    x, y = turn(table.x, table.y)
    facing_x, facing_y = turn(table.facing_x, table.facing_y)
    velocity_x, velocity_y = turn(table.velocity_x, table.velocity_y)
    return table._replace(
        x=x + shift[0],
        y=y + shift[1],
        facing_x=facing_x,
        facing_y=facing_y,
        velocity_x=velocity_x,
        velocity_y=velocity_y,
    )


def test_edges_from_vehicles_do_not_change_when_the_scene_is_moved_turned_or_mirrored() -> None:
    ends, radius = random_edges(), torch.full((60,), 10.0, dtype=torch.float64)
    features, weight = vehicle_edges(*ends, radius, no_way(60), no_lanes(60, torch.float64))
    assert (weight > 0).double().mean() > 0.5
    moved = [turned(each, 2.1, (30.0, -70.0)) for each in ends]
    mirrored = [
        each._replace(
            y=-each.y,
            facing_y=-each.facing_y,
            velocity_y=-each.velocity_y,
            mirror=-each.mirror,
        )
        for each in ends
    ]
    for other in (moved, mirrored):
        found, share = vehicle_edges(*other, radius, no_way(60), no_lanes(60, torch.float64))
        torch.testing.assert_close(found, features)
        torch.testing.assert_close(share, weight)


def test_every_feature_of_an_edge_from_the_map() -> None:
    """A lane 4 m ahead and 3 m to the right of an agent that faces north, towards the south."""
    for mirror in (1.0, -1.0):
        own = agent(x=10.0, y=20.0, facing_x=0.0, facing_y=1.0, mirror=mirror, lookahead_m=99.0)
        poses = torch.tensor([[13.0], [24.0], [0.6], [-0.8]])
        features, weight = map_edges(own, poses, torch.tensor([10.0]))
        expected = [4 / 6, mirror * -3 / 6, math.log(6), -0.8, mirror * -0.6]
        assert features.shape == (1, len(MAP_EDGE_FEATURES))
        assert features.flatten().tolist() == pytest.approx(expected, abs=1e-6)
        assert float(weight) == pytest.approx(0.75**2)  # speed does not extend this range


def test_the_weight_of_an_edge_falls_to_nothing_at_its_range() -> None:
    distance = torch.tensor([0.0, 2.5, 5.0, 9.0], requires_grad=True)
    weight = distance_cutoff(distance, torch.full((4,), 5.0))
    assert weight.tolist() == pytest.approx([1.0, 0.75**2, 0.0, 0.0])
    weight.sum().backward()
    assert distance.grad.tolist() == pytest.approx([0.0, -4 * 0.75 * 2.5 / 25, 0.0, 0.0])


def test_encounters_by_hand() -> None:
    x, y, distance, still, bodies = (torch.full((3,), v) for v in (4.0, 3.0, 5.0, 0.0, 1.0))
    closing = torch.tensor([-2.0, 2.0, 0.0])  # towards, away, at rest
    now, nearest, soon = encounter_features(x, y, distance, closing, still, bodies)
    assert now.tolist() == pytest.approx([math.exp(-4)] * 3, rel=1e-5)
    assert nearest[0].item() == pytest.approx(math.exp(-2), rel=1e-2)  # 3 m aside, after 2 s
    assert nearest[1:].tolist() == pytest.approx([math.exp(-4)] * 2, rel=1e-5)
    assert soon.tolist() == pytest.approx([1 / 3, 1, 1], rel=1e-2)


def test_an_encounter_is_looked_for_only_so_long_ahead() -> None:
    x, rest = torch.tensor([100.0]), torch.zeros(1)
    _, _, soon = encounter_features(x, rest, x, torch.tensor([-1.0]), rest, rest)
    assert float(soon) == pytest.approx(1 / (1 + LONGEST_WAIT_S))


def test_bodies_that_overlap_by_more_than_a_metre_look_like_a_metre() -> None:
    rest = torch.zeros(1)
    now, nearest, _ = encounter_features(rest, rest, rest, rest, rest, torch.tensor([3.0]))
    assert float(now) == float(nearest) == pytest.approx(math.e)


@pytest.mark.parametrize("ego", [0, 1])
def test_the_table_of_a_state_by_hand(ego: int) -> None:
    """Two copies of a person and a vehicle or the ego; only what drives looks ahead."""
    agents = Agents(
        KINDS[[0, 2 + ego]], torch.tensor([[0.6, 0.4, 1.8], [4.0, 2.0, 1.5]]), torch.full((2,), 0.5)
    )
    velocity = torch.tensor([[[3.0, 4.0], [6.0, 8.0]], [[0.0, 1.0], [1.0, 0.0]]])
    position = torch.arange(8.0).view(2, 2, 2)
    facing = torch.tensor([0.6, 0.8]).expand(2, 2, 2)
    motion = Motion(position, velocity, facing, torch.zeros(2, 2))
    yes = torch.ones(2, 2, dtype=torch.bool)
    mirror = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    before = velocity - torch.tensor([[[0.0, 0.0], [3.0, -4.0]], [[0.0, 1.0], [0.6, 0.8]]])
    state = State(torch.zeros(2, 2, 1), motion, before, before, yes, yes, mirror.abs(), mirror)
    visible = torch.tensor([[True, False], [True, True]])
    table = AgentTable.of(agents, state, visible, 3.0)
    expected = {
        "x": [0, 2, 4, 6],
        "y": [1, 3, 5, 7],
        "facing_x": [0.6] * 4,
        "facing_y": [0.8] * 4,
        "mirror": [1, 1, -1, -1],
        "velocity_x": [3, 6, 0, 1],
        "velocity_y": [4, 8, 1, 0],
        "lookahead_m": [0, 30, 0, 3],
        "body_radius_m": [0.25, 1.5, 0.25, 1.5],
        "visible": [1, 0, 1, 1],
        "half_length_m": [0.3, 2, 0.3, 2],
        "half_width_m": [0.2, 1, 0.2, 1],
        # (3, -4) is 3 * 0.6 - 4 * 0.8 = -1.4 m/s along the facing, in half a second; (0, 1) is 0.8.
        "acceleration_mps2": [0, -2.8, 1.6, 2],
        "ego": [0, ego, 0, ego],
    }
    assert expected.keys() == set(AgentTable._fields)
    for name, values in expected.items():
        assert getattr(table, name).tolist() == pytest.approx(values), name
    some = table.rows(torch.tensor([3, 0])).append(table.rows(torch.tensor([1])))
    assert some.x.tolist() == [6, 0, 2]
    assert some.visible.tolist() == [1, 1, 0]


def test_every_pair_of_agents_has_one_relation() -> None:
    agents = Agents(KINDS, torch.ones(4, 3), torch.ones(4))
    source, target = every_pair(4, 4)
    found = {name: rel.connects(agents, source, target) for name, rel in RELATIONS.items()}
    assert torch.stack([*found.values()]).sum(0).eq(1).all()
    people = torch.tensor([True, True, False, False])
    assert torch.equal(found["person_person"], people[target] & people[source])
    assert torch.equal(found["person_vehicle"], people[target] & ~people[source])
    assert torch.equal(found["vehicle_any"], ~people[target])


def test_features_have_names_of_their_own() -> None:
    for names in (
        EGO_FEATURES,
        AGENT_EDGE_FEATURES,
        VEHICLE_EDGE_FEATURES,
        MAP_EDGE_FEATURES,
    ):
        assert len(set(names)) == len(names)
    for relation in RELATIONS.values():
        features, _ = relation.edges(
            agent(), agent(x=1.0), torch.ones(1), no_way(1), no_lanes(1, torch.float64)
        )
        assert features.shape[-1] == len(relation.features)
