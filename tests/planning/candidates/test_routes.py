"""A junction at (0, 0) of a road from the west, with connectors that overlap."""

import numpy as np
import pytest

from forecast import LaneMap
from forecast.planning import EgoState
from forecast.planning.candidates.routes import lane_routes
from forecast.scene import Polylines

BEND_RAD = np.linspace(0, np.pi / 2, 20)
LEFT = 12 * np.stack([np.sin(BEND_RAD), 1 - np.cos(BEND_RAD)], -1)
LINES = {
    "in": np.array([[-40.0, 0], [0, 0]]),
    "right": LEFT * [1, -1],
    "straight": np.array([[0.0, 0], [24, 0]]),
    "left": LEFT,
    "north": np.array([[12.0, 12], [12, 80]]),
    "south": np.array([[12.0, -12], [12, -80]]),
    "east": np.array([[24.0, 0], [80, 0]]),
}
LINKS = [
    ("in", "right"),
    ("in", "straight"),
    ("in", "left"),
    ("right", "south"),
    ("straight", "east"),
    ("left", "north"),
]


def junction(more: dict[str, np.ndarray], links: list[tuple[str, str]]) -> LaneMap:
    lines = LINES | more
    names = list(lines)
    pairs = [[names.index(a), names.index(b)] for a, b in LINKS + links]
    return LaneMap(np.array(names), Polylines.of(lines.values()), np.array(pairs))


def ends(ego: EgoState, lane_map: LaneMap) -> list[tuple[float, float]]:
    """Last points of the routes in an order of their own, to 1 m."""
    routes = lane_routes(ego, lane_map, 40.0)
    return sorted((round(float(line[-1, 0])), round(float(line[-1, 1]))) for line in routes)


# Routes of 40 m from 1 m behind the entry: 41 m from it, of which a turn takes 6 pi m.
TURNED = 12 + 41 - 6 * np.pi
EVERY_WAY = [(12, -TURNED), (12, TURNED), (41, 0)]


@pytest.mark.parametrize("aside_m", [-0.15, 0.0, 0.15])
def test_in_a_junction_every_connector_under_the_ego_is_followed(aside_m):
    """Which one is nearest is a matter of centimetres."""
    ego = EgoState(1.0, aside_m, 0.0, 8.0)
    found = ends(ego, junction({}, []))
    np.testing.assert_allclose(found, EVERY_WAY, atol=1.5)


@pytest.mark.parametrize("x_m", [-20.0, -0.4, -0.1])
def test_a_route_that_begins_at_two_lanes_is_one_route(x_m):
    """Just before the entry, the connectors are as near as the lane that leads to them."""
    assert len(ends(EgoState(x_m, 0.0, 0.0, 8.0), junction({}, []))) == 3


def test_the_limit_of_routes_is_spread_over_the_connectors():
    """The right turn alone has four ways on, as many as there may be."""
    exits = {f"exit {i}": np.array([[12.0, -12], [12 + 30 * i, -80]]) for i in (1, 2, 3)}
    links = [("right", name) for name in exits]
    routes = lane_routes(EgoState(1.0, -0.1, 0.0, 8.0), junction(exits, links), 40.0)
    assert len(routes) == 4
    last = np.array([line[-1] for line in routes])
    assert sorted(np.sign(last[:, 1].round()).tolist()) == [-1, -1, 0, 1]


def test_a_lane_beside_the_own_one_is_not_followed():
    beside = {"beside": np.array([[-40.0, 3.5], [80, 3.5]])}
    assert len(ends(EgoState(-20.0, 0.2, 0.0, 8.0), junction(beside, []))) == 3
