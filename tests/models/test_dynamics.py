import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast.models import dynamics
from forecast.models.dynamics import (
    BODY_GAP_M,
    avoid_collisions,
    choose,
    drive,
    follow,
    follow_all,
    length,
    moved_to,
    step,
    to_local,
    to_world,
    turn_between,
    turn_towards,
    walk,
)
from forecast.models.types import Motion

EAST = torch.tensor([1.0, 0.0])
LEFT = torch.tensor(1.0)


def motion(velocity: list[float], facing: list[float], yaw_rate: float = 0.0) -> Motion:
    return Motion(
        torch.zeros(2), torch.tensor(velocity), torch.tensor(facing), torch.tensor(yaw_rate)
    )


def local(vector: torch.Tensor, facing: torch.Tensor, mirror: torch.Tensor) -> torch.Tensor:
    return torch.stack(to_local(vector.unbind(-1), facing.unbind(-1), mirror), -1)


def test_local_and_world_are_inverse() -> None:
    facing = torch.tensor([0.6, 0.8])
    vector = torch.tensor([1.0, -2.0])
    for mirror in (LEFT, -LEFT):
        torch.testing.assert_close(local(facing, facing, mirror), EAST)
        torch.testing.assert_close(to_world(local(vector, facing, mirror), facing, mirror), vector)


def test_the_left_is_positive_and_in_a_mirrored_frame_negative() -> None:
    north = torch.tensor([0.0, 1.0])
    torch.testing.assert_close(local(north, EAST, LEFT), north)
    torch.testing.assert_close(local(north, EAST, -LEFT), -north)


def test_walking_without_a_change_is_constant_velocity() -> None:
    before = motion([1.0, 0.5], [0.0, 1.0])
    after = walk(before, before.velocity, torch.tensor(0.5))
    torch.testing.assert_close(after.position, torch.tensor([0.5, 0.25]))
    torch.testing.assert_close(after.velocity, torch.tensor([1.0, 0.5]))


def both_ways(*pairs: tuple[int, int]) -> torch.Tensor:
    """Edges (source, target) of undirected pairs ``[2, E]``, sorted by target."""
    edges = sorted([*pairs, *((b, a) for a, b in pairs)], key=lambda edge: edge[::-1])
    return torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t()


PAIR = both_ways((0, 1))


def avoiding(
    position: torch.Tensor,
    velocity: torch.Tensor,
    edges: torch.Tensor = PAIR,
    walking: torch.Tensor | bool = True,
) -> torch.Tensor:
    """Velocities after collision avoidance in a step of 0.5 s."""
    each = torch.full(edges.shape[1:], 0.5)
    walks = torch.ones_like(each, dtype=torch.bool) & walking
    return avoid_collisions(position, velocity, each, *edges, walks, len(position))


def nearest(position: torch.Tensor, velocity: torch.Tensor) -> float:
    """The least distance of two people within a step."""
    times = torch.linspace(0, 0.5, 201)[:, None, None]
    path = position + times * velocity
    return float((path[:, 0] - path[:, 1]).norm(dim=-1).min())


def test_agents_that_keep_their_distance_go_as_intended() -> None:
    position = torch.tensor([[0.0, 0.0], [2.0, 0.5]])
    velocity = torch.tensor([[1.5, 0.0], [-1.5, 0.0]])
    torch.testing.assert_close(avoiding(position, velocity), velocity)


def test_two_that_meet_each_avoid_by_half_to_their_own_side() -> None:
    # They would pass at 0.1 m in the middle of the step; 0.15 m are missing, twice that at its end.
    position = torch.tensor([[0.0, 0.0], [1.0, 0.1]])
    velocity = torch.tensor([[2.0, 0.0], [-2.0, 0.0]])
    passing = avoiding(position, velocity)
    aside = torch.tensor([[0.0, -0.3], [0.0, 0.3]])
    torch.testing.assert_close(passing, velocity + aside, atol=0.01, rtol=0)
    assert nearest(position, passing) == pytest.approx(0.25, abs=0.003)


def test_two_that_meet_head_on_pass() -> None:
    position = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    velocity = torch.tensor([[1.5, 0.0], [-1.5, 0.0]])
    assert nearest(position, velocity) < 0.01
    assert nearest(position, avoiding(position, velocity)) > 0.2


def test_two_that_are_near_come_no_nearer_and_may_stay() -> None:
    position = torch.tensor([[0.0, 0.0], [0.1, 0.0]])
    still = torch.zeros(2, 2)
    torch.testing.assert_close(avoiding(position, still), still)
    together = torch.tensor([[0.1, 0.0], [0.0, 0.0]])
    passing = avoiding(position, together)
    torch.testing.assert_close(passing, torch.tensor([[0.05, 0.0], [0.05, 0.0]]))


def test_avoiding_one_agent_does_not_lead_into_another() -> None:
    # The first goes between two who stand; avoiding one alone would lead into the other.
    position = torch.tensor([[0.0, 0.0], [0.5, 0.1], [0.5, -0.15]])
    velocity = torch.tensor([[1.5, 0.0], [0.0, 0.0], [0.0, 0.0]])
    passing = avoiding(position, velocity, both_ways((0, 1), (0, 2), (1, 2)))
    apart = [nearest(position[[i, j]], passing[[i, j]]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert min(apart) > 0.2


@given(seed=st.integers(0, 2**16))
def test_people_hardly_ever_walk_through_each_other(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    position = torch.rand(2, 2, generator=generator) * 2
    velocity = torch.randn(2, 2, generator=generator)
    passing = avoiding(position, velocity)
    torch.testing.assert_close(passing.sum(0), velocity.sum(0))
    assert nearest(position, passing) >= nearest(position, velocity) - 1e-5


def test_driving_turns_along_an_arc() -> None:
    # 1.5 rad of a circle of radius 10 m at 5 m/s, in 30 steps of 0.1 s.
    # The velocity before is that of the chord, half of a step's turn behind the facing.
    state = motion([5 * math.cos(0.025), -5 * math.sin(0.025)], [1.0, 0.0], yaw_rate=0.5)
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


def test_a_step_to_the_side_is_not_driven() -> None:
    # Noise of a vehicle at rest, or a heading that is wrong by 90 degrees: either sign is wrong.
    for aside in (0.2, -0.2):
        noisy = motion([0.0, 0.0], [1.0, 0.0])._replace(velocity=torch.tensor([0.0, aside]))
        after = drive(noisy, torch.zeros(()), torch.zeros(()), torch.tensor(0.5))
        torch.testing.assert_close(after.velocity, torch.zeros(2), atol=1e-6, rtol=0)


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


def test_the_length_of_nothing_has_a_gradient_of_zero() -> None:
    x, y = torch.tensor([3.0, 0.0], requires_grad=True), torch.tensor([4.0, 0.0])
    torch.testing.assert_close(length(x, y), torch.tensor([5.0, 0.0]), atol=2e-6, rtol=0)
    length(x, y).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([0.6, 0.0]))


def test_angles_are_signed_counter_clockwise() -> None:
    north = torch.tensor([0.0, 1.0])
    assert float(turn_between(EAST, north)) == pytest.approx(np.pi / 2)
    assert float(turn_between(north, EAST)) == pytest.approx(-np.pi / 2)


def test_a_heading_that_flips_is_no_turn() -> None:
    for aside in (0.0, 1e-6, -1e-6):
        assert float(turn_between(EAST, torch.tensor([-1.0, aside]))) == pytest.approx(0, abs=1e-5)
    nearly = torch.tensor([np.cos(3.0), np.sin(3.0)], dtype=torch.float32)
    assert float(turn_between(EAST, nearly)) == pytest.approx(np.pi - 3.0)


def test_following_all_poses_is_following_one_after_the_other() -> None:
    torch.manual_seed(0)
    facing = torch.nn.functional.normalize(torch.randn(2, 3, 2), dim=-1)
    before = Motion(torch.randn(2, 3, 2), torch.randn(2, 3, 2), facing, torch.zeros(2, 3))
    poses, dt_s = torch.randn(4, 2, 3, 3), torch.tensor([0.5, 0.4, 0.5])
    found = follow_all(before, poses, dt_s)
    for step_of, pose in enumerate(poses):
        before = follow(before, pose, dt_s)
        for name, value in before._asdict().items():
            assert torch.equal(getattr(found, name)[step_of], value), name


def test_following_a_pose_gives_the_mean_velocity_and_turn() -> None:
    before = motion([9.0, 9.0], [1.0, 0.0])
    after = follow(before, torch.tensor([1.0, 2.0, 0.3]), torch.tensor(0.5))
    torch.testing.assert_close(after.position, torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(after.velocity, torch.tensor([2.0, 4.0]))
    torch.testing.assert_close(after.facing, torch.tensor([np.cos(0.3), np.sin(0.3)]).float())
    assert float(after.yaw_rate) == pytest.approx(0.6)


def test_motions_are_chosen_agent_by_agent() -> None:
    one, other = (
        Motion(*(torch.full(shape, value) for shape in ((2, 2), (2, 2), (2, 2), (2,))))
        for value in (1.0, 2.0)
    )
    chosen = choose(torch.tensor([True, False]), one, other)
    assert [value[0].unique().tolist() for value in chosen] == [[1.0]] * 4
    assert [value[1].unique().tolist() for value in chosen] == [[2.0]] * 4


def test_in_a_step_vehicles_drive_and_all_others_walk() -> None:
    copies, drives = 2, torch.tensor([True, False])
    before = Motion(
        *(value.expand(copies, 2, *value.shape) for value in motion([2.0, 0.0], [1.0, 0.0]))
    )
    change = torch.tensor([1.0, 0.4]).expand(copies, 2, 2)
    free = torch.tensor([0.0, 1.0]).expand(copies, 2, 2)
    dt_s, mirror = torch.full((2,), 0.5), torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    after = step(before, change, free, drives, dt_s, mirror)
    torch.testing.assert_close(after.velocity[:, 1], free[:, 1])
    torch.testing.assert_close(after.velocity[:, 0].norm(dim=-1), torch.full((2,), 3.0))
    torch.testing.assert_close(after.yaw_rate, torch.tensor([[0.4, 0.0], [-0.4, 0.0]]))
    # The same change turns the vehicle the other way in a mirrored frame.
    torch.testing.assert_close(after.position[0, 0], after.position[1, 0] * torch.tensor([1, -1]))


def test_backing_up_is_a_negative_speed() -> None:
    after = drive(
        motion([-1.0, 0.0], [1.0, 0.0]), torch.tensor(0.5), torch.zeros(()), torch.tensor(0.5)
    )
    torch.testing.assert_close(after.velocity, torch.tensor([-0.5, 0.0]))


def test_only_edges_between_pedestrians_avoid() -> None:
    position = torch.tensor([[0.0, 0.0], [1.0, 0.1]])
    velocity = torch.tensor([[2.0, 0.0], [-2.0, 0.0]])
    assert torch.equal(avoiding(position, velocity, walking=False), velocity)


def test_an_agent_that_is_only_a_source_is_avoided_and_does_not_avoid() -> None:
    position = torch.tensor([[0.0, 0.0], [1.0, 0.1]])
    velocity = torch.tensor([[2.0, 0.0], [-2.0, 0.0]])
    passing = avoiding(position, velocity, torch.tensor([[1], [0]]))
    assert torch.equal(passing[1], velocity[1])
    assert passing[0, 1] < -0.2
    assert nearest(position, passing) > nearest(position, velocity) + 0.05


def test_an_agent_between_two_that_approach_from_both_sides_does_not_move_aside() -> None:
    """What both add to its velocity cancels."""
    position = torch.tensor([[0.0, 0.0], [0.5, 0.0], [-0.5, 0.0]])
    velocity = torch.tensor([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    passing = avoiding(position, velocity, both_ways((0, 1), (0, 2)))
    torch.testing.assert_close(passing[0], torch.zeros(2), atol=1e-4, rtol=0)


crowds = given(
    agents=st.integers(2, 6),
    spread_m=st.sampled_from([0.0, 0.2, 2.0]),
    seed=st.integers(0, 2**16),
)


def drawn(agents: int, spread_m: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    position = spread_m * torch.randn(agents, 2, generator=generator)
    return position, torch.randn(agents, 2, generator=generator)


@settings(max_examples=30)
@crowds
def test_collision_avoidance_is_that_of_a_loop_over_pairs(
    agents: int, spread_m: float, seed: int
) -> None:
    position, velocity = drawn(agents, spread_m, seed)
    pairs = [(a, b) for a in range(agents) for b in range(a) if (a + b + seed) % 3]
    before, expected = velocity.clone(), velocity.double().numpy()
    places = position.double().numpy()
    for _ in range(dynamics.AVOIDANCE_ROUNDS):
        now = expected.copy()
        for a, b in [*pairs, *((b, a) for a, b in pairs)]:
            apart, way = places[a] - places[b], 0.5 * (now[a] - now[b])
            share = np.clip(-apart @ way / max(way @ way, dynamics.TINY), 0, 1)
            near = apart + share * way
            missing = min(np.linalg.norm(apart), BODY_GAP_M) - np.linalg.norm(near)
            side = near + dynamics.TINY * np.array([-way[1], way[0]])
            if missing > 0:
                speed = missing / 2 / (max(share, dynamics.EARLIEST_SHARE) * 0.5)
                expected[a] += speed * side / max(np.linalg.norm(side), dynamics.TINY)
    found = avoiding(position, velocity, both_ways(*pairs))
    np.testing.assert_allclose(found, expected, atol=2e-3, rtol=1e-3)
    assert torch.equal(velocity, before)


@settings(max_examples=30)
@crowds
def test_a_superset_of_the_pairs_that_may_meet_gives_the_same(
    agents: int, spread_m: float, seed: int
) -> None:
    position, velocity = drawn(agents, spread_m, seed)
    everyone = both_ways(*((a, b) for a in range(agents) for b in range(a)))
    apart = (position[everyone[0]] - position[everyone[1]]).norm(dim=-1)
    # Both rounds together change a velocity by at most some m/s.
    may_meet = everyone[:, apart < BODY_GAP_M + 0.5 * 2 * float(velocity.norm(dim=-1).max() + 5)]
    found, expected = (avoiding(position, velocity, e) for e in (may_meet, everyone))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    far = torch.cat([position, position + 1000])
    twice = both_ways(*((a, b) for a in range(2 * agents) for b in range(a)))
    torch.testing.assert_close(
        avoiding(far, velocity.repeat(2, 1), twice)[:agents], expected, atol=1e-5, rtol=0
    )


def test_no_velocity_exceeds_the_limit():
    velocity = torch.tensor([[3.0, 4.0], [30.0, 40.0], [0.0, 0.0]], requires_grad=True)
    slowed = dynamics.limit_speed(velocity, torch.full((3,), 12.0))
    torch.testing.assert_close(slowed.detach(), torch.tensor([[3.0, 4.0], [7.2, 9.6], [0.0, 0.0]]))
    slowed.sum().backward()
    assert velocity.grad.isfinite().all()
