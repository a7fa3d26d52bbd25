import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forecast.graphs import MapKind
from forecast.graphs.pieces import CROSSINGS, cut_map
from forecast.scene import LaneMap, Polylines
from forecast.scene.lanes import Polygons

SQUARE = np.array([[0.0, 0.0], [8.0, 0.0], [8.0, 8.0], [0.0, 8.0]])


def test_lanes_are_cut_into_linked_pieces() -> None:
    lines = [[[0.0, 0.0], [24.0, 0.0]], [[24.0, 0.0], [24.0, 6.0]]]
    lanes = LaneMap(
        np.array(["a", "b"]), Polylines.of(map(np.array, lines)), successors=np.array([[0, 1]])
    )
    pieces = cut_map(lanes, piece_m=12.0, points=3)
    np.testing.assert_allclose(pieces.points_m[0], [[0, 0], [6, 0], [12, 0]])
    np.testing.assert_allclose(pieces.points_m[1], [[12, 0], [18, 0], [24, 0]])
    np.testing.assert_allclose(pieces.points_m[2], [[24, 0], [24, 3], [24, 6]])
    assert pieces.kinds.tolist() == [MapKind.LANE] * 3
    assert pieces.follows.T.tolist() == [[0, 1], [1, 2]]


def test_an_edge_is_cut_into_a_ring_of_pieces() -> None:
    pieces = cut_map(LaneMap(walkways=Polygons.of([[SQUARE]])), piece_m=8.0, points=2)
    np.testing.assert_allclose(pieces.points_m[:, 0], SQUARE)
    np.testing.assert_allclose(pieces.points_m[:, 1], np.roll(SQUARE, -1, axis=0))
    assert pieces.kinds.tolist() == [MapKind.WALKWAY] * 4
    assert pieces.follows.T.tolist() == [[0, 1], [1, 2], [2, 3], [3, 0]]


@settings(max_examples=20)
@given(st.booleans(), st.booleans())
def test_the_inside_is_on_the_left_of_every_edge(outer: bool, inner: bool) -> None:
    hole = 0.25 * SQUARE + 3.0
    polygon = [SQUARE[::-1] if outer else SQUARE, hole[::-1] if inner else hole]
    found = cut_map(LaneMap(crosswalks=Polygons.of([polygon])), piece_m=2.0, points=3)
    pieces = found.points_m[found.kinds == MapKind.CROSSWALK]
    along = pieces[:, -1] - pieces[:, 0]
    left = np.stack([-along[:, 1], along[:, 0]], -1) / np.linalg.norm(along, axis=-1)[:, None]
    beside = pieces[:, 1] + 0.5 * left
    in_square = ((beside > 0) & (beside < 8)).all(-1)
    in_hole = ((beside > 3) & (beside < 5)).all(-1)
    assert (in_square & ~in_hole).all()


def test_an_empty_map_has_no_pieces() -> None:
    pieces = cut_map(LaneMap(), piece_m=10.0, points=5)
    assert pieces.points_m.shape == (0, 5, 2)
    assert pieces.follows.shape == (2, 0)


def test_the_way_over_a_crosswalk_is_one_piece_from_kerb_to_kerb() -> None:
    def rectangle(x: float, y: float) -> list[NDArray[np.float64]]:
        return [np.array([[x, y], [x + 3, y], [x + 3, y + 14], [x, y + 14]])]

    areas = Polygons.of([rectangle(0, 0), rectangle(20, 5)])
    lanes = LaneMap(crosswalks=areas, signalled=np.array([False, True]))
    pieces = cut_map(lanes, piece_m=5.0, points=3)
    for kind, x, y in ((MapKind.CROSSING, 1.5, 0), (MapKind.SIGNALLED_CROSSING, 21.5, 5)):
        (way,) = pieces.points_m[pieces.kinds == kind]
        ends = sorted(way[[0, -1]].tolist())
        np.testing.assert_allclose(ends, [[x, y], [x, y + 14]], atol=1e-5)
        assert not np.isin(pieces.follows, np.flatnonzero(pieces.kinds == kind)).any()


def test_a_crosswalk_without_an_area_has_no_way() -> None:
    line = LaneMap(crosswalks=Polygons.of([[np.array([[0.0, 0.0], [4.0, 0.0], [8.0, 0.0]])]]))
    assert not np.isin(cut_map(line, piece_m=5.0, points=3).kinds, CROSSINGS).any()
