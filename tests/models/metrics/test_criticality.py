import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forecast import geometry
from forecast.models.metrics.criticality import (
    BRAKING_MPS2,
    CONFLICT_S,
    CONTACT_COST_M,
    RADIUS_M,
    braked_plans,
    conflict_false,
    conflict_missed,
    plan_regret,
    planner_weight,
    post_encroachment_time,
    time_to_collision,
)

SIZE = (4.0, 2.0)
DT = 0.5
STEPS = 12
ONE = torch.ones(1, dtype=torch.float64)


def straight(speed: float = 10.0) -> torch.Tensor:
    """An ego that drives along x from 0; step 0 is after the first DT."""
    time = DT * torch.arange(1, STEPS + 1, dtype=torch.float64)
    return torch.stack([speed * time, 0 * time, 0 * time], -1)


def walk(x: float, y: float, vx: float, vy: float) -> torch.Tensor:
    """A walker ``[1, 1, T, 2]`` from (x, y) at time 0."""
    time = DT * torch.arange(1, STEPS + 1, dtype=torch.float64)
    return torch.stack([x + vx * time, y + vy * time], -1)[None, None]


def ttc(offset, velocity, heading=0.0) -> float:
    return float(time_to_collision(np.array([offset]), np.array([velocity]), heading, SIZE)[0])


class TestTimeToCollision:
    @pytest.mark.parametrize(
        ("offset", "velocity", "expected"),
        [
            ((20, 0), (-10, 0), (20 - 2 - RADIUS_M) / 10),  # ahead, run into
            ((20, 0), (10, 0), math.inf),  # runs away
            ((0, 5), (0, -1), 5 - 1 - RADIUS_M),  # steps into the side
            ((20, 1.2), (-10, 0), 1.77),  # just touched: 1.2 < 1 + 0.3
            ((20, 1.4), (-10, 0), math.inf),  # just missed
            ((0, 0), (0, 0), 0.0),  # inside
            ((1, 0), (3, 0), 0.0),
            ((20, 0), (0, 0), math.inf),
            ((20, 10), (-10, -5), 1.77),  # both axes at once: x decides
        ],
    )
    def test_by_hand(self, offset, velocity, expected):
        assert ttc(offset, velocity) == pytest.approx(expected)

    @given(
        st.tuples(st.floats(-30, 30), st.floats(-30, 30)),
        st.tuples(st.floats(-15, 15), st.floats(-15, 15)),
    )
    def test_is_the_first_touch_of_a_fine_simulation(self, offset, velocity):
        times = np.linspace(0, 60, 60_001)
        path = np.array(offset) + times[:, None] * np.array(velocity)
        reach = np.array(SIZE) / 2 + RADIUS_M
        margin = (reach - np.abs(path)).min(-1)
        found = ttc(offset, velocity)
        if (margin > 0.02).any():
            assert found <= times[(margin > 0).argmax()] + 1e-9
            assert found >= times[(margin > -0.02).argmax()] - 1e-2
        elif (margin < -0.02).all():
            assert found > 60

    @given(st.floats(-3, 3))
    def test_turns_with_the_scene(self, angle):
        offset, velocity = np.array([[12.0, 3.0]]), np.array([[-6.0, -1.0]])
        turn = np.asarray(angle)
        turned = time_to_collision(
            geometry.rotate(offset, turn), geometry.rotate(velocity, turn), angle, SIZE
        )
        assert turned == pytest.approx(time_to_collision(offset, velocity, 0.0, SIZE))


class TestPostEncroachmentTime:
    def test_by_hand(self):
        """She crosses x = 20 at y = 0 at 4 s; the ego's box covers that from 1.77 s to 2.23 s."""
        found = post_encroachment_time(walk(20, -4, 0, 1), straight(), SIZE, DT)
        # she touches the corridor (|y| <= 1.3) from 2.7 s on; the ego has left by 2.23 s
        assert found.item() == pytest.approx(2.7 - 2.23, abs=DT / 2)

    def test_a_collision_is_0_and_paths_that_do_not_meet_are_inf(self):
        together = post_encroachment_time(walk(20, -2, 0, 1), straight(), SIZE, DT)
        assert together.item() == 0
        apart = post_encroachment_time(walk(20, -8, 0, -1), straight(), SIZE, DT)
        assert apart.item() == math.inf

    @pytest.mark.parametrize("seed", range(4))
    def test_is_the_naive_loop(self, seed):
        people, ego = crowd(seed), straight(6.0)[:6]
        assert post_encroachment_time(people, ego, SIZE, DT).tolist() == naive_pet(people, ego)

    @given(st.integers(0, 2**31), st.floats(-3, 3))
    def test_turns_with_the_scene(self, seed, angle):
        people, ego = crowd(seed), straight(6.0)[:6]
        found = post_encroachment_time(people, ego, SIZE, DT)
        turn = torch.tensor(angle, dtype=torch.float64)
        turned_ego = torch.cat([geometry.rotate(ego[:, :2], turn), ego[:, 2:] + turn], -1)
        turned = post_encroachment_time(geometry.rotate(people, turn), turned_ego, SIZE, DT)
        assert turned.flatten().tolist() == pytest.approx(found.flatten().tolist())


def crowd(seed: int) -> torch.Tensor:
    """Two futures of three walkers around the road ``[2, 3, 6, 2]``."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand(2, 3, 1, 2, generator=generator, dtype=torch.float64) * 12 - 3
    steps = torch.randn(2, 3, 6, 2, generator=generator, dtype=torch.float64)
    return start + steps.cumsum(2) * 0.6


def naive_pet(people: torch.Tensor, ego: torch.Tensor) -> list[list[float]]:
    """All pairs of instants, written out."""
    poses = [ego[i] + s / 3 * (ego[i + 1] - ego[i]) for i in range(5) for s in range(3)]
    poses.append(ego[-1])
    rows = []
    for sample in people:
        row = []
        for path in sample:
            fine = [path[i] + s / 2 * (path[i + 1] - path[i]) for i in range(5) for s in (0, 1)]
            fine.append(path[-1])
            best = math.inf
            for i, point in enumerate(fine):
                for j, pose in enumerate(poses):
                    off = (point - pose[:2]).abs() - torch.tensor(SIZE) / 2
                    if torch.linalg.vector_norm(off.clamp_min(0)) <= RADIUS_M:
                        best = min(best, abs(i * DT / 2 - j * DT / 3))
            row.append(best)
        rows.append(row)
    return [pytest.approx(row) for row in rows]


def test_conflicts_missed_and_made_up():
    predicted = torch.tensor([[1.0, math.inf], [math.inf, 2.0], [math.inf, 5.0]])
    weights = torch.tensor([0.5, 0.3, 0.2])
    truth = torch.tensor([CONFLICT_S, math.inf])
    missed, false = (f(predicted, weights, truth) for f in (conflict_missed, conflict_false))
    assert missed.tolist() == [pytest.approx(0.5), pytest.approx(math.nan, nan_ok=True)]
    assert false.tolist() == [pytest.approx(math.nan, nan_ok=True), pytest.approx(0.3)]


class TestPlans:
    def test_the_first_plan_is_the_real_path_and_braking_loses_progress(self):
        ego = straight()
        plans, lost = braked_plans(ego, DT)
        assert torch.allclose(plans[0], ego)
        assert lost[0] == 0
        assert (lost.diff() > 0).all()
        # 1 m/s² for k steps after the first: sum of k * 0.5 s * 1 m/s² * 0.5 s
        assert lost[BRAKING_MPS2.index(1.0)].item() == pytest.approx(
            sum(0.25 * k for k in range(1, STEPS))
        )

    def test_never_drives_backwards_nor_leaves_the_path(self):
        turn = torch.linspace(0, 1.5, STEPS, dtype=torch.float64)
        ego = torch.stack([20 * turn.sin(), 20 * (1 - turn.cos()), turn], -1)
        plans, _ = braked_plans(ego, DT)
        assert (plans[..., 0].diff(dim=1) >= -1e-9).all()
        assert (torch.hypot(plans[..., 0], plans[..., 1] - 20) - 20).abs().max() < 0.1

    def test_a_right_prediction_costs_nothing(self):
        truth = walk(30, -3, 0, 1)
        assert plan_regret(truth, ONE, truth[0], straight(), SIZE, DT).item() == 0

    def test_an_overlooked_walker_costs_a_contact(self):
        truth = walk(40, 0, 0, 0)  # stands in the way
        regret = plan_regret(walk(40, 30, 0, 0), ONE, truth[0], straight(), SIZE, DT).item()
        plans, lost = braked_plans(straight(), DT)
        stops = [p for p in range(len(lost)) if plans[p, -1, 0] < 40 - 2 - RADIUS_M - 1]
        assert regret == pytest.approx(CONTACT_COST_M - lost[stops[0]].item())

    def test_a_phantom_costs_the_braking(self):
        truth, phantom = walk(40, 30, 0, 0), walk(40, 0, 0, 0)
        regret = plan_regret(phantom, ONE, truth[0], straight(), SIZE, DT).item()
        assert 0 < regret < CONTACT_COST_M

    def test_weight_is_for_who_is_of_concern(self):
        people = torch.cat([walk(30, 1.8, 0, 0)[0], walk(30, 40, 0, 0)[0]])
        weight = planner_weight(people, straight(), SIZE, DT)
        assert weight[0] > 1
        assert weight[1] == 0

    def test_an_ego_that_stands_still_has_no_choice(self):
        assert plan_regret(
            walk(5, 0, 0, 0), ONE, walk(9, 9, 0, 0)[0], straight(0.0), SIZE, DT
        ).tolist() == [0]
