"""The crosswalk on a person's way, and the gaps that vehicles leave there."""

import math

import pytest
import torch
from torch import Tensor

from forecast.models.crossings import CROSSING_FEATURES, Approach, Crossings, Gap, any_of
from forecast.models.neighbors import Edges

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


def gap(
    distance_m: float, speed: float = 8.0, acceleration: float = 0.0, y: float = -2.0
) -> dict[str, float]:
    """A vehicle that comes from the west in a lane, for somebody at the south kerb."""
    way = ways((0.0, -4.5), (0.0, 1.0))

    def one(value: float) -> Tensor:
        return torch.tensor([value], dtype=torch.float64)

    offset = one(-distance_m), one(y + 4.5)
    approach = Approach.at_crosswalks(offset, (one(1.0), one(0.0)), way)
    found = Gap.of(approach, (one(2.0), one(speed), one(acceleration)), one(0.0))
    return {name: value.item() for name, value in zip(Gap._fields, found, strict=True)} | {
        "vehicle_m": approach.vehicle_m.item(),
        "person_m": approach.person_m.item(),
        "meets": approach.meets.item(),
    }


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


def test_the_chance_that_any_of_several_holds() -> None:
    found = any_of(torch.tensor([0.5, 0.5, 0.1, 1.0])[:, None], torch.tensor([0, 0, 2, 3]), 5)
    expected = torch.tensor([0.75, 0.0, 0.1, 0.999, 0.0])
    torch.testing.assert_close(found[:, 0], expected, atol=1e-5, rtol=0)
