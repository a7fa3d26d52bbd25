"""Any scene at all: hypothesis strategies, a small map, and bit-for-bit comparison."""

import numpy as np
from hypothesis import strategies as st

from forecast.scene import AgentKind, LaneMap, Polygons, Polylines, Scene, Tracks

SQUARE = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])


def small_map() -> LaneMap:
    """Two lanes, a crosswalk with lights, walkways with a hole, a divider, a drivable area."""
    return LaneMap(
        lane_ids=np.array(["lane-1", "Straße-2"]),
        centerlines=Polylines.of([np.array([[0, 0], [5, 0]]), np.array([[5, 0], [9, 1], [12, 3]])]),
        successors=np.array([[0, 1]]),
        crosswalks=Polygons.of([[SQUARE]]),
        walkways=Polygons.of([[SQUARE + 9], [SQUARE, SQUARE / 4 + 1]]),
        dividers=Polylines.of([np.array([[0, 2], [5, 2]])]),
        drivable_area=Polygons.of([[SQUARE * 10]]),
        signalled=np.array([True]),
    )


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Any scene: any number of agents, any gaps, any text, with and without map and visibility."""
    agents, steps = draw(st.integers(0, 4)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    valid = rng.random((agents, steps)) < draw(st.sampled_from([0.0, 0.5, 1.0]))
    text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
    names = draw(st.lists(text, min_size=agents, max_size=agents, unique=True))
    tracks = Tracks(
        agent_ids=np.array(names, np.str_),
        kinds=rng.integers(0, len(AgentKind), agents).astype(np.int8),
        categories=np.array([draw(text) for _ in range(agents)], np.str_),
        positions_m=_where(valid[..., None], rng.normal(size=(agents, steps, 2)) * 100),
        headings_rad=_where(valid, rng.uniform(-np.pi, np.pi, (agents, steps))),
        sizes_m=rng.uniform(0.3, 5, (agents, 3)).astype(np.float32),
        valid=valid,
        visibility=draw(st.sampled_from([None, (valid * 3).astype(np.int8)])),
    )
    return Scene(
        id=draw(text.filter(bool)),
        location=draw(text),
        description=draw(text),
        dt_s=draw(st.sampled_from([0.1, 0.4, 0.5])),
        timestamps_us=np.cumsum(rng.integers(1, 10**6, steps)) + 1_532_402_927_000_000,
        tracks=tracks,
        lane_map=draw(st.sampled_from([None, LaneMap(), small_map()])),
        origin_m=rng.normal(size=2) * 1e4,
        frame_ids=np.array([draw(text) for _ in range(steps)], np.str_),
        headings_recorded=draw(st.booleans()),
    )


def assert_equal(left: Scene, right: Scene) -> None:
    """Every value of both scenes is the same, bit for bit, and of the same type."""
    for name in ("id", "location", "description", "dt_s", "headings_recorded"):
        assert getattr(left, name) == getattr(right, name)
    for name in ("timestamps_us", "origin_m", "frame_ids"):
        _assert_same(getattr(left, name), getattr(right, name), name)
    for name in Tracks.__dataclass_fields__:
        _assert_same(getattr(left.tracks, name), getattr(right.tracks, name), name)
    assert (left.lane_map is None) == (right.lane_map is None)
    if left.lane_map is not None and right.lane_map is not None:
        _assert_same_map(left.lane_map, right.lane_map)


def _assert_same_map(left: LaneMap, right: LaneMap) -> None:
    for name in LaneMap.__dataclass_fields__:
        ours, theirs = getattr(left, name), getattr(right, name)
        if isinstance(ours, Polygons):
            _assert_same(ours.offsets, theirs.offsets, name)
            ours, theirs = ours.rings, theirs.rings
        if isinstance(ours, Polylines):
            _assert_same(ours.offsets, theirs.offsets, name)
            ours, theirs = ours.points_m, theirs.points_m
        _assert_same(ours, theirs, name)


def _assert_same(left: object, right: object, name: str) -> None:
    if left is None or right is None:
        assert left is right, name
        return
    left, right = np.asarray(left), np.asarray(right)
    assert left.dtype.kind == right.dtype.kind, name
    np.testing.assert_array_equal(left, right, err_msg=name, strict=left.dtype.kind != "U")


def _where(valid: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.where(valid, values, 0).astype(np.float32)
