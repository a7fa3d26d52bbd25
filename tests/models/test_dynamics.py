import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forecast.models.kinematics import (
    Motion,
    drive,
    moved_to,
    pass_by,
    to_local,
    to_world,
    turn_towards,
    walk,
)

EAST = torch.tensor([1.0, 0.0])
LEFT = torch.tensor(1.0)


def motion(velocity: list[float], facing: list[float], yaw_rate: float = 0.0) -> Motion:
    return Motion(
        torch.zeros(2), torch.tensor(velocity), torch.tensor(facing), torch.tensor(yaw_rate)
    )


def test_local_and_world_are_inverse() -> None:
    facing = torch.tensor([0.6, 0.8])
    vector = torch.tensor([1.0, -2.0])
    for hand in (LEFT, -LEFT):
        torch.testing.assert_close(to_local(facing, facing, hand), EAST)
        torch.testing.assert_close(to_world(to_local(vector, facing, hand), facing, hand), vector)


def test_the_left_is_positive_for_a_left_hand_and_negative_for_a_right_one() -> None:
    north = torch.tensor([0.0, 1.0])
    torch.testing.assert_close(to_local(north, EAST, LEFT), north)
    torch.testing.assert_close(to_local(north, EAST, -LEFT), -north)


def test_walking_without_a_change_is_constant_velocity() -> None:
    before = motion([1.0, 0.5], [0.0, 1.0])
    after = walk(before, before.velocity, torch.tensor(0.5))
    torch.testing.assert_close(after.position, torch.tensor([0.5, 0.25]))
    torch.testing.assert_close(after.velocity, torch.tensor([1.0, 0.5]))


PAIR = torch.tensor([0]), torch.tensor([1])
STEP = torch.tensor([0.5, 0.5])


def nearest(position: torch.Tensor, velocity: torch.Tensor) -> float:
    """The least distance of two people within a step."""
    times = torch.linspace(0, 0.5, 201)[:, None, None]
    path = position + times * velocity
    return float((path[:, 0] - path[:, 1]).norm(dim=-1).min())


def test_who_keeps_clear_goes_as_planned() -> None:
    position = torch.tensor([[0.0, 0.0], [2.0, 0.5]])
    velocity = torch.tensor([[1.5, 0.0], [-1.5, 0.0]])
    torch.testing.assert_close(pass_by(position, velocity, STEP, PAIR, 0.25), velocity)


def test_two_who_meet_give_way_by_half_each_to_their_own_side() -> None:
    # They would pass at 0.1 m in the middle of the step; 0.15 m are missing, twice that at its end.
    position = torch.tensor([[0.0, 0.0], [1.0, 0.1]])
    velocity = torch.tensor([[2.0, 0.0], [-2.0, 0.0]])
    passing = pass_by(position, velocity, STEP, PAIR, 0.25)
    aside = torch.tensor([[0.0, -0.3], [0.0, 0.3]])
    torch.testing.assert_close(passing, velocity + aside, atol=0.01, rtol=0)
    assert nearest(position, passing) == pytest.approx(0.25, abs=0.003)


def test_two_who_meet_head_on_pass() -> None:
    position = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    velocity = torch.tensor([[1.5, 0.0], [-1.5, 0.0]])
    assert nearest(position, velocity) < 0.01
    assert nearest(position, pass_by(position, velocity, STEP, PAIR, 0.25)) > 0.2


def test_two_who_are_near_come_no_nearer_and_may_stay() -> None:
    position = torch.tensor([[0.0, 0.0], [0.1, 0.0]])
    still = torch.zeros(2, 2)
    torch.testing.assert_close(pass_by(position, still, STEP, PAIR, 0.25), still)
    together = torch.tensor([[0.1, 0.0], [0.0, 0.0]])
    passing = pass_by(position, together, STEP, PAIR, 0.25)
    torch.testing.assert_close(passing, torch.tensor([[0.05, 0.0], [0.05, 0.0]]))


def test_who_gives_way_to_one_does_not_walk_into_another() -> None:
    # The first goes between two who stand; to one alone it would give way into the other.
    position = torch.tensor([[0.0, 0.0], [0.5, 0.1], [0.5, -0.15]])
    velocity = torch.tensor([[1.5, 0.0], [0.0, 0.0], [0.0, 0.0]])
    pairs = torch.tensor([0, 0, 1]), torch.tensor([1, 2, 2])
    step = torch.full((3,), 0.5)
    passing = pass_by(position, velocity, step, pairs, 0.25)
    apart = [nearest(position[[i, j]], passing[[i, j]]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert min(apart) > 0.2


@given(seed=st.integers(0, 2**16))
def test_people_hardly_ever_walk_through_each_other(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    position = torch.rand(2, 2, generator=generator) * 2
    velocity = torch.randn(2, 2, generator=generator)
    passing = pass_by(position, velocity, STEP, PAIR, 0.25)
    torch.testing.assert_close(passing.sum(0), velocity.sum(0))
    assert nearest(position, passing) >= nearest(position, velocity) - 1e-5


def test_driving_turns_along_an_arc() -> None:
    # 1.5 rad of a circle of radius 10 m at 5 m/s, in 30 steps of 0.1 s.
    state = motion([5.0, 0.0], [1.0, 0.0], yaw_rate=0.5)
    for _ in range(30):
        state = drive(state, torch.zeros(()), torch.zeros(()), torch.tensor(0.1))
    expected = torch.tensor([10 * np.sin(1.5), 10 * (1 - np.cos(1.5))], dtype=torch.float32)
    torch.testing.assert_close(state.position, expected, atol=0.02, rtol=0)
    torch.testing.assert_close(state.velocity.norm(), torch.tensor(5.0), atol=1e-3, rtol=0)


def test_a_vehicle_at_rest_does_not_turn() -> None:
    still = motion([0.0, 0.0], [1.0, 0.0], 0.7)
    after = drive(still, torch.zeros(()), torch.zeros(()), torch.tensor(0.5))
    torch.testing.assert_close(after.facing, EAST)
    torch.testing.assert_close(after.position, torch.zeros(2))


def test_standing_noise_does_not_turn_a_person_but_walking_does() -> None:
    slightly = turn_towards(EAST, torch.tensor([0.0, 0.02]))
    assert torch.atan2(slightly[1], slightly[0]) < 0.1
    walked = turn_towards(EAST, torch.tensor([0.0, 0.7]))
    assert torch.atan2(walked[1], walked[0]) > 1.2


def test_moved_to_gives_the_mean_velocity_and_turn() -> None:
    after = moved_to(
        motion([9.0, 9.0], [1.0, 0.0]),
        torch.tensor([2.0, 0.0]),
        torch.tensor([0.0, 1.0]),
        torch.tensor(2.0),
    )
    torch.testing.assert_close(after.velocity, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(after.yaw_rate, torch.tensor(np.pi / 4, dtype=torch.float32))
