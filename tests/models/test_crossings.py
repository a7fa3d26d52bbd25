"""The crosswalk on a person's way, and the gaps that vehicles leave there."""

import math

import pytest
import torch
from torch import Tensor

from forecast.graphs.conflicts import CONFLICTS
from forecast.models.crossings import (
    CROSSING_FEATURES,
    Approach,
    Conflicts,
    Crossings,
    Gap,
    any_of,
)
from forecast.models.neighbors import Edges
from forecast.models.types import EncodedMap
from tests.models.crowds import no_lanes

AXES = [((0.0, 0.0), (0.0, 1.0), 8.0, 1.0), ((20.0, 0.0), (1.0, 0.0), 6.0, 0.0)]
"""Middle, direction, length and lights of two crosswalks: the first leads north over the origin."""


def ways(
    where: tuple[float, float], facing: tuple[float, float], axes: list = AXES, turn: float = 0.0
) -> Crossings:
    """The crosswalk on the way of one person, in a scene turned counter-clockwise by an angle."""
    cos, sin = math.cos(turn), math.sin(turn)

    def turned(vector: tuple[float, float]) -> list[float]:
        return [cos * vector[0] - sin * vector[1], sin * vector[0] + cos * vector[1]]

    poses = torch.tensor([[*turned(m), *turned(d)] for m, d, _, _ in axes], dtype=torch.float64)
    kinds = torch.tensor([[half / 2, lit] for _, _, half, lit in axes], dtype=torch.float64)
    source = torch.arange(len(axes))
    edges = Edges(source, torch.zeros_like(source), torch.full((len(axes),), 10.0))
    person = torch.tensor([*turned(where), *turned(facing)], dtype=torch.float64)[:, None].unbind(0)
    return Crossings.of(person, poses.t(), kinds.t(), edges)


def features(found: Crossings, facing: tuple[float, float], mirror: float = 1.0) -> dict:
    x, y = (torch.tensor([value], dtype=torch.float64) for value in facing)
    row = found.features((x, y), torch.tensor([mirror], dtype=torch.float64))[0]
    return dict(zip(CROSSING_FEATURES, row.tolist(), strict=True))


def test_somebody_at_a_kerb_has_the_crosswalk_before_them() -> None:
    found = ways((0.0, -5.0), (0.0, 1.0))
    assert found.weight.item() > 0.9
    assert found.length_m.item() == pytest.approx(8.0, rel=1e-3)
    assert found.before_m().item() == pytest.approx(1.0, rel=1e-3)
    assert (found.along_x.item(), found.along_y.item()) == pytest.approx((0.0, 1.0), abs=1e-3)
    assert found.lights.item() == pytest.approx(1.0, rel=1e-3)
    seen = features(found, (0.0, 1.0))
    assert seen["direction along"] == pytest.approx(found.weight.item(), rel=1e-3)
    assert seen["way to its kerb, scaled"] == pytest.approx(0.25 * found.weight.item(), rel=1e-2)


@pytest.mark.parametrize(("facing", "direction"), [((0.0, 1.0), 1.0), ((0.0, -1.0), -1.0)])
def test_who_is_on_the_road_goes_where_it_faces(facing, direction) -> None:
    found = ways((0.5, 0.0), facing)
    assert found.along_y.item() == pytest.approx(direction, rel=1e-3)
    assert found.before_m().item() == pytest.approx(-4.0, rel=1e-3)


def test_the_crosswalk_of_the_nearer_kerb_counts() -> None:
    """Two crosswalks at a corner; whoever stands at one of them does not see the other."""
    corner = [AXES[0], ((6.0, 6.0), (1.0, 0.0), 8.0, 0.0)]
    assert ways((0.0, -5.0), (0.0, 1.0), corner).along_y.item() == pytest.approx(1.0, rel=1e-2)
    east = ways((1.5, 6.2), (1.0, 0.0), corner)
    assert east.along_x.item() == pytest.approx(1.0, rel=1e-2)
    assert east.lights.item() < 0.05


@pytest.mark.parametrize(
    ("where", "facing"),
    [((0.0, -12.0), (0.0, 1.0)), ((0.0, 6.0), (0.0, 1.0)), ((9.0, 0.0), (0.0, 1.0))],
    ids=["far before it", "behind it", "far beside it"],
)
def test_other_places_have_no_crosswalk_on_the_way(where, facing) -> None:
    found = ways(where, facing)
    assert found.weight.item() < 0.05
    assert all(abs(value) < 0.05 for value in features(found, facing).values())


def test_nothing_jumps_on_a_walk_over_a_crosswalk() -> None:
    steps = torch.linspace(-14, 14, 2801).tolist()
    rows = [list(features(ways((0.3, y), (0.0, 1.0)), (0.0, 1.0)).values()) for y in steps]
    assert torch.tensor(rows).diff(dim=0).abs().max() < 0.03


@pytest.mark.parametrize("turn", [0.7, 2.5, 4.0])
def test_features_do_not_depend_on_the_frame_of_the_scene(turn) -> None:
    facing = (math.sin(0.4), math.cos(0.4))
    cos, sin = math.cos(turn), math.sin(turn)
    other = (cos * facing[0] - sin * facing[1], sin * facing[0] + cos * facing[1])
    first = features(ways((0.4, -4.6), facing), facing)
    assert features(ways((0.4, -4.6), facing, turn=turn), other) == pytest.approx(first)
    backwards = [(m, (-d[0], -d[1]), length, lit) for m, d, length, lit in AXES]
    assert features(ways((0.4, -4.6), facing, backwards), facing) == pytest.approx(first)
    mirrored = features(ways((-0.4, -4.6), (-facing[0], facing[1])), (-facing[0], facing[1]), -1.0)
    assert mirrored == pytest.approx(first)


def one(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


def described(
    approach: Approach, speed: float, acceleration: float, length_m: float = 4.0
) -> dict[str, float]:
    """An approach and its gap, for a person who stands."""
    found = Gap.of(approach, (one(length_m / 2), one(speed), one(acceleration)), one(0.0))
    values = {**found._asdict(), **approach._asdict()}
    return {name: value.item() for name, value in values.items()}


def gap(
    distance_m: float,
    speed: float = 8.0,
    acceleration: float = 0.0,
    y: float = -2.0,
    person_y: float = -4.5,
) -> dict[str, float]:
    """A vehicle that comes from the west without a lane, for somebody at the south kerb."""
    way, own = ways((0.0, person_y), (0.0, 1.0)), (one(0.0), one(person_y))
    other = one(-distance_m), one(y), one(1.0), one(0.0)
    lanes = no_lanes(1, torch.float64)
    return described(Approach.at_crosswalks(own, other, lanes, way), speed, acceleration)


def test_a_vehicle_meets_the_crosswalk_where_its_lane_does() -> None:
    found = gap(20.0)
    assert found["vehicle_m"] == pytest.approx(20.0, rel=1e-2)
    assert found["person_m"] == pytest.approx(2.5, rel=1e-2)
    assert found["meets"] > 0.8
    assert gap(20.0, y=-12.0)["meets"] < 0.01  # it passes south of the kerb


def test_gaps_are_differences_of_the_times_of_both() -> None:
    """The front needs 16 m at 8 m/s, the person 4.5 m at 1.35 m/s to be across the lane."""
    found = gap(20.0)
    assert found["after_s"] == pytest.approx(4.5 / 1.35 - 16 / 8, abs=0.05)
    assert found["before_s"] == pytest.approx(24 / 8 - 0.5 / 1.35, abs=0.05)


@pytest.mark.parametrize(
    ("why", "vehicle", "blocks"),
    [
        ("comes", {"distance_m": 20.0}, True),
        ("far away", {"distance_m": 80.0}, False),
        ("has passed", {"distance_m": -12.0}, False),
        ("stands before it", {"distance_m": 10.0, "speed": 0.0}, False),
        ("brakes and can stop", {"distance_m": 25.0, "acceleration": -2.0}, False),
        ("brakes and cannot stop", {"distance_m": 10.0, "acceleration": -2.0}, True),
        ("speeds up", {"distance_m": 20.0, "acceleration": 1.0}, True),
    ],
)
def test_a_vehicle_blocks_unless_it_lets_people_cross(why, vehicle, blocks) -> None:
    chance = gap(**vehicle)["blocks"]
    assert chance > 0.6 if blocks else chance < 0.1, why


@pytest.mark.parametrize(
    ("why", "vehicle", "endangers"),
    [
        ("goes on and can stop gently", {"distance_m": 30.0}, False),
        ("speeds up", {"distance_m": 22.0, "acceleration": 1.0}, True),
        ("would have to brake hard", {"distance_m": 16.0}, True),
        ("brakes hard and can stop", {"distance_m": 16.0, "acceleration": -3.0}, False),
        ("speeds up far away", {"distance_m": 80.0, "acceleration": 1.0}, False),
        ("speeds up in a lane behind", {"distance_m": 22.0, "acceleration": 1.0, "y": -5.5}, False),
    ],
)
def test_a_vehicle_endangers_whoever_is_on_the_road(why, vehicle, endangers) -> None:
    chance = gap(**vehicle, person_y=-3.4)["endangers"]
    assert chance > 0.6 if endangers else chance < 0.15, why


TURN = [
    [[-20.0, 4.0], [-15.0, 4.0], [-10.0, 4.0], [-5.0, 4.0], [0.0, 4.0]],
    [[0.0, 4.0], [2.5, 4.0], [5.0, 4.0], [7.5, 4.0], [10.0, 4.0]],
    [[0.0, 4.0], [1.5, 3.8], [2.8, 2.8], [3.8, 1.5], [4.0, 0.0]],
]
"""A lane to the east that parts: straight on, or to the right and south."""
SOUTH = [((4.0, -6.0), (1.0, 0.0), 8.0, 0.0)]
"""The crosswalk that those meet who turn, 6 m after the turn."""


def on_lane(x: float, y: float, course: tuple[float, float], known: bool = True) -> Approach:
    """A vehicle that comes to the turn, for somebody at the crosswalk's west kerb."""
    way, own = ways((-0.4, -6.0), (1.0, 0.0), SOUTH), (one(-0.4), one(-6.0))
    lanes = torch.tensor(TURN, dtype=torch.float64)
    conflicts = torch.zeros(3, CONFLICTS, 4, dtype=torch.float64)
    arc = (lanes[2, 1:] - lanes[2, :-1]).norm(dim=-1).sum().item()
    conflicts[0, 0] = torch.tensor([20 + arc + 6, 4.0, -6.0, 0.5])
    conflicts[2, 0] = torch.tensor([arc + 6, 4.0, -6.0, 1.0])
    none = torch.zeros(0)
    pieces = EncodedMap(none, none, none, lanes, conflicts)
    near = torch.arange(3 if known else 0)
    edges = Edges(near, torch.zeros_like(near), torch.full((len(near),), 10.0))
    other = (one(x), one(y), one(course[0]), one(course[1]))
    return Approach.at_crosswalks(own, other, Conflicts.of(other, pieces, edges), way)


def test_a_vehicle_comes_to_the_crosswalks_of_its_lane() -> None:
    turns = on_lane(2.8, 2.8, (0.7, -0.7))
    assert turns.meets.item() > 0.8
    assert turns.vehicle_m.item() == pytest.approx(
        6 + math.hypot(1.0, 1.3) + math.hypot(0.2, 1.5), abs=0.2
    )
    assert turns.person_m.item() == pytest.approx(4.4, abs=0.1)
    before = on_lane(-6.0, 4.2, (1.0, 0.0))
    assert before.meets.item() == pytest.approx(turns.meets.item() / 2, rel=0.05)
    assert before.vehicle_m.item() == pytest.approx(turns.vehicle_m.item() + 6 + 3.2, abs=0.5)
    assert on_lane(6.0, 4.1, (1.0, 0.0)).meets.item() < 0.01  # it goes straight on


def test_a_vehicle_without_a_lane_goes_straight_on() -> None:
    for found in (on_lane(4.0, 0.0, (0.0, -1.0), known=False), on_lane(6.0, 0.5, (0.0, -1.0))):
        assert found.meets.item() > 0.7
    assert on_lane(4.0, 0.0, (0.0, -1.0), known=False).vehicle_m.item() == pytest.approx(
        6, rel=0.02
    )
    assert on_lane(2.8, 2.8, (0.7, -0.7), known=False).meets.item() < 0.1
    far = on_lane(-6.0, 12.0, (0.4, -0.9))  # on a car park beside the lane
    assert far.meets.item() == pytest.approx(
        on_lane(-6.0, 12.0, (0.4, -0.9), known=False).meets.item()
    )


def test_the_chance_that_any_of_several_holds() -> None:
    found = any_of(torch.tensor([0.5, 0.5, 0.1, 1.0])[:, None], torch.tensor([0, 0, 2, 3]), 5)
    expected = torch.tensor([0.75, 0.0, 0.1, 0.999, 0.0])
    torch.testing.assert_close(found[:, 0], expected, atol=1e-5, rtol=0)
