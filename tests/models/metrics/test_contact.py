import math

import numpy as np
import pytest
import shapely
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from forecast.models.metrics import contact, post_encroachment_time, time_to_collision
from forecast.planning import EgoState, clearance
from tests.planning.any_futures import futures, straight, walking

HALF = 2.0, 1.0
SIZE = (4.0, 2.0)
RADIUS_M = 0.3
EGO = EgoState(0.0, 0.0, 0.0, 10.0, length_m=4.0, width_m=2.0)
DISC = {"sizes": [[2 * RADIUS_M, 2 * RADIUS_M]]}

offsets = st.tuples(st.floats(-9, 9), st.floats(-9, 9))
steps = st.tuples(st.floats(-9, 9), st.floats(-9, 9))


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        ((12, 0, -10, 0), 0.97),  # the front: 12 - 2 - 0.3 at 10 per unit of time
        ((0, 5, 0, -1), 3.7),  # the side
        ((12, 1.4, -10, 0), math.inf),  # passes 0.1 beside the disc
        ((12, 0, 10, 0), math.inf),  # goes away
        ((1, 0, 3, 0), 0.0),  # touches from the start
        ((12, 1.2, -10, 0), (12 - 2 - math.sqrt(0.3**2 - 0.2**2)) / 10),  # a round corner
    ],
)
def test_entry_of_a_disc_by_hand(move, expected):
    assert contact.disc_entry(tuple(map(float, move)), *HALF, RADIUS_M) == pytest.approx(expected)


def test_a_widened_box_has_square_corners():
    corner = (12.0, 1.2, -10.0, 0.0)
    assert contact.widened_box_entry(corner, *HALF, RADIUS_M) == pytest.approx(0.97)
    assert contact.widened_box_entry(corner, *HALF, RADIUS_M) < contact.disc_entry(
        corner, *HALF, RADIUS_M
    )


@given(offsets, steps)
def test_a_disc_enters_no_earlier_than_the_widened_box(offset, step):
    move = (*offset, *step)
    disc, box = (
        entry(move, *HALF, RADIUS_M) for entry in (contact.disc_entry, contact.widened_box_entry)
    )
    assert disc >= box


@pytest.mark.parametrize(
    ("time", "comes", "leaves", "expected"),
    [(1.0, 2.0, 3.0, 1.0), (2.5, 2.0, 3.0, 0.0), (4.5, 2.0, 3.0, 1.5), (1.0, 3.0, 3.0, 2.0)],
)
def test_encroachment_is_the_gap_between_a_time_and_an_interval(time, comes, leaves, expected):
    assert contact.encroachment(time, comes, leaves) == expected


@settings(max_examples=50)
@given(offsets, steps)
def test_the_distance_of_a_segment_from_the_box_is_shapelys(offset, step):
    (x, y), (dx, dy) = offset, step
    assume(abs(dx) + abs(dy) > 1e-3)
    way = shapely.LineString([(x, y), (x + dx, y + dy)])
    expected = shapely.distance(shapely.box(-2, -1, 2, 1), way)
    assert contact.distance_to_box((x, y, dx, dy), *HALF) == pytest.approx(expected, abs=1e-6)
    point = shapely.distance(shapely.box(-2, -1, 2, 1), shapely.Point(x, y))
    assert contact.outside_box(x, y, *HALF) == pytest.approx(point, abs=1e-9)


class TestMetricsAndPlannerAgree:
    """On pedestrians who meet a side of the ego, where corners do not matter."""

    @pytest.mark.parametrize("ahead_m", [8.0, 14.0, 30.0])
    def test_time_to_collision(self, ahead_m):
        standing = walking([[ahead_m, 0.5]], [[0, 0]], steps=1, **DISC)
        planner = clearance(straight([2.0], steps=1), standing, EGO)
        metric = time_to_collision(np.array([[ahead_m, 0.5]]), np.array([[-2.0, 0.0]]), 0.0, SIZE)
        assert planner.ttc_s[0, 0] == pytest.approx(min(metric[0], 8.0), abs=1e-5)

    @pytest.mark.parametrize("speed_mps", [0.8, 1.5, 2.5])
    @pytest.mark.parametrize("from_m", [-5.0, -3.0])
    def test_post_encroachment_time(self, speed_mps, from_m):
        """The metric samples the paths every half and third of a step, so it may exceed by both."""
        people = walking([[20, from_m]], [[0, speed_mps]], steps=12, **DISC)
        plans = straight([10.0], steps=12)
        planner = clearance(plans, people, EGO).pet_s[0, 0]
        now = np.array([[[[20, from_m]]]])
        paths = np.concatenate([now, people.positions_m], axis=2)
        poses = np.concatenate([np.zeros((1, 1, 3)), plans], axis=1)[0]
        metric = post_encroachment_time(
            torch.as_tensor(paths), torch.as_tensor(poses), SIZE, people.dt_s
        )
        assert planner - 1e-4 <= min(float(metric), 3.0) <= planner + people.dt_s * (1 / 2 + 1 / 3)

    def test_without_a_collision_course(self):
        aside = futures([[[[20, 9], [20, 9]]]], [[20, 9]], **DISC)
        assert clearance(straight([10.0], steps=2), aside, EGO).ttc_s[0, 0] == 8
        never = time_to_collision(np.array([[20.0, 9.0]]), np.array([[-10.0, 0.0]]), 0.0, SIZE)
        assert np.isinf(never).all()
