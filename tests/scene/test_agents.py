from dataclasses import replace

import numpy as np
import pytest

from forecast import AgentKind, ForecastError
from forecast.scene.agents import TYPICAL_SIZE_M, Tracks


@pytest.fixture
def tracks() -> Tracks:
    return Tracks(
        agent_ids=np.array(["a", "b", "c"]),
        kinds=np.array([0, 2, 4], np.int8),
        categories=np.array(["human", "car", "cone"]),
        positions_m=np.arange(24, dtype=np.float32).reshape(3, 4, 2),
        headings_rad=np.arange(12, dtype=np.float32).reshape(3, 4),
        sizes_m=np.arange(9, dtype=np.float32).reshape(3, 3) + 1,
        valid=np.array([[1, 1, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1]], bool),
        visibility=np.arange(12, dtype=np.int8).reshape(3, 4),
    )


def test_the_values_on_disk_stay_what_they_are():
    assert [kind.value for kind in AgentKind] == [0, 1, 2, 3, 4]
    assert [kind.name for kind in AgentKind] == [
        "PEDESTRIAN",
        "CYCLIST",
        "VEHICLE",
        "EGO",
        "STATIC",
    ]


def test_every_kind_has_a_typical_size():
    assert set(TYPICAL_SIZE_M) == set(AgentKind)


def test_counts(tracks):
    assert len(tracks) == 3
    assert tracks.steps == 4


def test_between_cuts_every_array_over_time(tracks):
    part = tracks.between(1, 3)
    assert part.steps == 2
    assert part.agent_ids.tolist() == ["a", "b", "c"]
    assert part.positions_m[0].tolist() == [[2, 3], [4, 5]]
    assert part.headings_rad[1].tolist() == [5, 6]
    assert part.valid[1].tolist() == [True, True]
    assert part.visibility[2].tolist() == [9, 10]
    assert part.positions_m.base is not None, "a view, not a copy"


@pytest.mark.parametrize("agents", [np.array([2, 0]), np.array([True, False, True])])
def test_select_takes_agents_by_index_or_mask(tracks, agents):
    part = tracks.select(agents)
    order = [2, 0] if agents.dtype != bool else [0, 2]
    assert part.agent_ids.tolist() == [["a", "b", "c"][i] for i in order]
    for name in ("kinds", "categories", "positions_m", "headings_rad", "sizes_m", "valid"):
        np.testing.assert_array_equal(getattr(part, name), getattr(tracks, name)[order])
    np.testing.assert_array_equal(part.visibility, tracks.visibility[order])


def test_visibility_may_be_unknown_as_a_whole(tracks):
    unknown = replace(tracks, visibility=None)
    assert unknown.between(0, 2).visibility is None
    assert unknown.select(np.array([1])).visibility is None


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("agent_ids", (2,), r"agent_ids has shape \[2\]; \[3\] was expected"),
        ("kinds", (3, 1), r"kinds has shape \[3, 1\]; \[3\] was expected"),
        ("positions_m", (3, 4, 3), r"positions_m has shape \[3, 4, 3\]; \[3, 4, 2\] was"),
        ("headings_rad", (3, 5), r"headings_rad has shape \[3, 5\]; \[3, 4\] was"),
        ("sizes_m", (3, 2), r"sizes_m has shape \[3, 2\]; \[3, 3\] was"),
        ("visibility", (4, 3), r"visibility has shape \[4, 3\]; \[3, 4\] was"),
    ],
)
def test_a_wrong_shape_is_refused(tracks, name, shape, message):
    wrong = np.zeros(shape, getattr(tracks, name).dtype)
    with pytest.raises(ForecastError, match=message):
        replace(tracks, **{name: wrong})


@pytest.mark.parametrize("name", ["positions_m", "headings_rad"])
def test_a_value_that_is_not_finite_is_refused_where_valid_alone(tracks, name):
    values = getattr(tracks, name).copy()
    values[1, 0] = np.nan
    replace(tracks, **{name: values})
    values[1, 2] = np.inf
    with pytest.raises(ForecastError, match=r"agent 'b' step 2: position or heading is not finite"):
        replace(tracks, **{name: values})


def test_a_size_that_is_not_finite_is_refused(tracks):
    with pytest.raises(ForecastError, match="sizes_m holds a value that is not finite"):
        replace(tracks, sizes_m=np.full((3, 3), np.nan, np.float32))


def test_a_name_used_twice_is_refused(tracks):
    with pytest.raises(ForecastError, match="agent 'b' appears 2 times; agent_ids must be unique"):
        replace(tracks, agent_ids=np.array(["b", "a", "b"]))
