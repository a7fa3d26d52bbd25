"""Where the lanes ahead meet crosswalks, on a junction that is measured by hand."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from forecast.graphs.conflicts import AHEAD_M, BEHIND_M, CONFLICTS, conflict_points
from forecast.graphs.pieces import cut_map
from forecast.scene import LaneMap, Polylines
from forecast.scene.lanes import Polygons

POINTS = 5

LINES = {
    "into": [[-20.0, 0.0], [0.0, 0.0]],
    "straight": [[0.0, 0.0], [10.0, 0.0]],
    "left": [[0.0, 0.0], [6.0, 0.0], [6.0, 6.0]],
    "east": [[10.0, 0.0], [40.0, 0.0]],
    "north": [[6.0, 6.0], [6.0, 30.0]],
}
"""A lane from the west that parts into one to the east and one to the north."""
LINKS = [("into", "straight"), ("into", "left"), ("straight", "east"), ("left", "north")]
WEST, EAST, NORTH = (-8.0, 0.0), (15.0, 0.0), (6.0, 12.0)
"""Where the lanes meet three crosswalks."""


def crosswalk(x: float, y: float, along_x: bool) -> list[NDArray[np.float64]]:
    """An area 8 m long and 3 m wide around a point."""
    half = np.array([4.0, 1.5] if along_x else [1.5, 4.0])
    return [np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half + [x, y]]


def junction(piece_m: float = 100.0) -> tuple[NDArray[np.float32], dict[str, int]]:
    """Conflict points of all pieces, and the first piece of each lane by name."""
    names = list(LINES)
    areas = [crosswalk(*WEST, False), crosswalk(*EAST, False), crosswalk(*NORTH, True)]
    lanes = LaneMap(
        np.array(names),
        Polylines.of([np.array(LINES[name]) for name in names]),
        successors=np.array([[names.index(a), names.index(b)] for a, b in LINKS]),
        crosswalks=Polygons.of(areas),
    )
    pieces = cut_map(lanes, piece_m=piece_m, points=POINTS)
    starts = {
        name: int(np.linalg.norm(pieces.points_m[:, 0] - LINES[name][0], axis=-1).argmin())
        for name in ("into", "east", "north")
    }
    return pieces.conflicts, starts


def listed(conflicts: NDArray[np.float32]) -> list[list[float]]:
    return np.round(conflicts[conflicts[:, 3] > 0], 3).tolist()


@pytest.mark.parametrize("piece_m", [100.0, 5.0])
def test_a_lane_meets_crosswalks_on_all_ways_ahead(piece_m: float) -> None:
    found, starts = junction(piece_m)
    one, *others = listed(found[starts["into"]])
    assert one == pytest.approx([12.0, *WEST, 1.0])
    # The way north over the corner: 20 m to the junction, 12 m through it, 6 m to the crosswalk.
    north, east = sorted(others, key=lambda row: row[1])
    assert east == pytest.approx([35.0, *EAST, 0.5])
    assert north[1:] == pytest.approx([*NORTH, 0.5])
    assert north[0] == pytest.approx(38.0, abs=0.5)  # the corner is cut at sampled points
    assert [row[0] for row in listed(found[starts["into"]])] == sorted([one[0], north[0], east[0]])


def test_after_the_junction_the_way_is_known() -> None:
    found, starts = junction()
    assert listed(found[starts["east"]]) == [pytest.approx([5.0, *EAST, 1.0])]
    assert listed(found[starts["north"]]) == [pytest.approx([6.0, *NORTH, 1.0])]


def test_a_crosswalk_just_passed_is_still_there() -> None:
    found, _ = junction(piece_m=5.0)
    behind = found[(found[..., 0] < 0).any(axis=1)]
    assert len(behind) > 0
    assert (behind[..., 0] > -BEHIND_M).all()
    assert any(row[1:] == pytest.approx([*WEST, 1.0]) for rows in behind for row in listed(rows))


def test_crosswalks_far_ahead_do_not_count() -> None:
    line = np.array([[0.0, 0.0], [200.0, 0.0]])
    areas = Polygons.of([crosswalk(float(x), 0.0, False) for x in range(10, 200, 6)])
    lanes = LaneMap(np.array(["a"]), Polylines.of([line]), crosswalks=areas)
    found = cut_map(lanes, piece_m=10.0, points=POINTS).conflicts
    assert (found[..., 0] < AHEAD_M).all()
    first = found[0]
    assert first[:, 0].tolist() == pytest.approx([10.0 + 6 * k for k in range(CONFLICTS)])


def test_lanes_in_a_circle_come_to_an_end() -> None:
    turn = np.linspace(0, 2 * np.pi, 5)
    ring = 5 * np.stack([np.cos(turn), np.sin(turn)], -1)
    points = np.stack([np.linspace(a, b, POINTS) for a, b in pairwise(ring)])
    way = np.linspace([3.0, 0.5], [6.0, 0.5], POINTS)[None]
    pieces = np.concatenate([points, way]).astype(np.float32)
    lane = np.array([True] * 4 + [False])
    follows = np.array([[0, 1, 2, 3], [1, 2, 3, 0]])
    found = conflict_points(pieces, lane, ~lane, follows)
    assert (found[:4, 0, 3] == 1).all()  # each piece comes there once, on the first round
    assert not found[:, 1:].any()
    assert not found[4].any()


def test_without_lanes_or_crosswalks_there_are_no_conflicts() -> None:
    pieces = np.zeros((3, POINTS, 2), np.float32)
    links = np.zeros((2, 0), np.int64)
    for lane, over in ((True, False), (False, True)):
        found = conflict_points(pieces, np.full(3, lane), np.full(3, over), links)
        assert found.shape == (3, CONFLICTS, 4)
        assert not found.any()
