"""Features of agents and edges, and the weight of an edge by distance.

All features are expressed in the frame of the agent (or map piece) that receives a message. So the
output of the network does not depend on the position and rotation of the scene (as in HiVT, Zhou et
al. 2022, and QCNet, Zhou et al. 2023). A frame with mirror = -1 expresses the mirror image of the
scene.

Agents are connected by relations (`RELATIONS`). To add a feature to a relation's edges, add its
name to the relation's feature names, and its value to the relation's function. The widths of layers
follow from the names.

Features of edges are computed one by one, as contiguous vectors ``[E]``. The same operations on
tensors ``[E, 2]`` take several times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from forecast.models.crossings import Approach, Conflicts, Crossings, Gap
from forecast.models.dynamics import distance_cutoff, length, to_local
from forecast.models.neighbors import lookahead_m
from forecast.models.types import TRAITS, Agents, State
from forecast.scene import AgentKind

STILL_MPS = 0.1
"""Added to the relative speed, so that the time to the closest approach stays finite."""
LONGEST_WAIT_S = 8.0
"""Highest time to the closest approach."""

EGO_FEATURES = (
    "velocity along, m/s",
    "velocity across, m/s",
    "change of velocity along, m/s",
    "change of velocity across, m/s",
    "filtered velocity along, m/s",
    "filtered velocity across, m/s",
    "speed, m/s",
    "yaw rate, rad/s",
    "velocity is known",
    "time since the last observation, s",
)
POSE_FEATURES = (
    "scaled offset along",
    "scaled offset across",
    "log(1 + distance in m)",
    "direction along",
    "direction across",
)
AGENT_EDGE_FEATURES = (
    *POSE_FEATURES,
    "relative velocity along, m/s",
    "relative velocity across, m/s",
    "exp(-gap now in m)",
    "exp(-gap at the closest approach in m)",
    "1 / (1 + time to the closest approach in s)",
)
VEHICLE_EDGE_FEATURES = (
    *AGENT_EDGE_FEATURES,
    "vehicle's speed, 10 m/s",
    "vehicle's acceleration, 3 m/s^2",
    "vehicle's way to where it passes, scaled",
    "distance from the vehicle's lane, scaled",
    "speed towards the vehicle's lane, m/s",
    "vehicle's arrival, scaled",
    "vehicle's arrival minus own, at a walking pace, scaled",
    "vehicle's arrival minus own, at the present pace, scaled",
    "deceleration to stop before, scaled",
    "vehicle's half width, m",
    "vehicle's half length, m",
    "vehicle is the ego",
    "vehicle meets one's crosswalk",
    "it comes before one has left its lane there, by s, scaled",
    "it leaves after one enters its lane there, by s, scaled",
    "it comes before one has left its lane where it passes, by s, scaled",
    "it leaves after one enters its lane where it passes, by s, scaled",
    "it blocks one's crosswalk",
    "it blocks where it passes",
    "it endangers whoever is on one's crosswalk",
)
BLOCKS = 3
"""The last features of vehicles' edges are chances that the vehicle leaves too small a gap."""
MAP_EDGE_FEATURES = POSE_FEATURES

WALKING_PACE_MPS = 1.4
"""Pace at which somebody who stands now is taken to cross."""
_ASIDE_M = 20.0
"""A vehicle that passes farther away than this from a person sends no message."""
_BEHIND_M = 6.0
"""A vehicle that has passed by more than this sends no message."""
_SMALLEST_MPS = 0.05
"""Keeps gradients finite for a vehicle that reverses at `_SOFT_MPS`, which has no lane."""
_SOFT_M, _SOFT_MPS = 0.5, 0.5
"""Lengths and speeds that keep features smooth where a direction or a speed is 0."""


class AgentTable(NamedTuple):
    """The numbers of each agent that edge features are computed from; M rows.

    Attributes:
        x: Position in metres ``[M]``.
        y: ``[M]``.
        facing_x: Unit vector ``[M]``.
        facing_y: ``[M]``.
        mirror: Chirality of the agent's frame ``[M]``.
        velocity_x: In m/s ``[M]``.
        velocity_y: ``[M]``.
        lookahead_m: How much the agent's speed extends the ranges of its edges ``[M]``; 0 for
            agents that are not vehicles.
        body_radius_m: ``[M]``.
        visible: 1 if the agent sends messages, 0 otherwise ``[M]``.
        half_length_m: ``[M]``.
        half_width_m: ``[M]``.
        acceleration_mps2: Change of the velocity along the facing over the last step ``[M]``.
        ego: 1 for the ego, 0 otherwise ``[M]``.
    """

    x: Tensor
    y: Tensor
    facing_x: Tensor
    facing_y: Tensor
    mirror: Tensor
    velocity_x: Tensor
    velocity_y: Tensor
    lookahead_m: Tensor
    body_radius_m: Tensor
    visible: Tensor
    half_length_m: Tensor
    half_width_m: Tensor
    acceleration_mps2: Tensor
    ego: Tensor

    @classmethod
    def of(cls, agents: Agents, state: State, visible: Tensor, lookahead_s: float) -> AgentTable:
        """The table of a state, its copies one after the other (M = S * N).

        Args:
            agents: Constants of the N agents.
            state: Their state in S copies.
            visible: Which of them send messages ``[S, N]``.
            lookahead_s: A vehicle's edges are extended by the distance it drives in this time.
        """
        motion, shape = state.motion, state.seen.shape
        gained = ((motion.velocity - state.velocity_before) * motion.facing).sum(-1)
        columns = (
            *motion.position.unbind(-1),
            *motion.facing.unbind(-1),
            state.mirror,
            *motion.velocity.unbind(-1),
            lookahead_m(agents, motion, lookahead_s),
            agents.body_radius_m.expand(shape),
            visible.to(motion.position.dtype),
            (0.5 * agents.size[:, 0]).expand(shape),
            (0.5 * agents.size[:, 1]).expand(shape),
            gained / agents.dt,
            (agents.kind == int(AgentKind.EGO)).to(motion.position.dtype).expand(shape),
        )
        return cls(*(column.flatten() for column in columns))

    def rows(self, index: Tensor) -> AgentTable:
        """The rows at the ends of edges, by index ``[E]``."""
        return AgentTable(*(column.index_select(0, index) for column in self))

    def append(self, others: AgentTable) -> AgentTable:
        """These rows followed by others."""
        pairs = zip(self, others, strict=True)
        return AgentTable(*(torch.cat(pair) for pair in pairs))

    def course(self) -> tuple[Tensor, Tensor]:
        """Unit vectors along the velocities ``[M]``: a tracker's heading may be wrong."""
        x = self.velocity_x + _SOFT_MPS * self.facing_x
        y = self.velocity_y + _SOFT_MPS * self.facing_y
        norm = length(x, y).clamp(min=_SMALLEST_MPS)
        return x / norm, y / norm

    def local(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Expresses world vectors in the frames of the rows."""
        return to_local((x, y), (self.facing_x, self.facing_y), self.mirror)


def ego_features(agents: Agents, state: State, velocity_before: Tensor) -> Tensor:
    """Each agent's own motion in its own frame, and its constants.

    Args:
        agents: Constants of the N agents.
        state: Their state in S copies.
        velocity_before: Velocities one step earlier ``[S, N, 2]``.

    Returns:
        ``[S, N, EGO_FEATURES + TRAITS]``.
    """
    motion, mirror = state.motion, state.mirror
    facing, change = motion.facing.unbind(-1), motion.velocity - velocity_before
    features = [
        *to_local(motion.velocity.unbind(-1), facing, mirror),
        *to_local(change.unbind(-1), facing, mirror),
        *to_local(state.smoothed.unbind(-1), facing, mirror),
        motion.velocity.norm(dim=-1),
        mirror * motion.yaw_rate,
        state.steady.to(change.dtype),
        state.unseen_s,
    ]
    traits = agents.traits.expand(*mirror.shape, TRAITS)
    return torch.cat([torch.stack(features, -1), traits], -1)


def agent_edges(own: AgentTable, other: AgentTable, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Features and weights of edges between agents.

    Args:
        own: The targets' rows ``[E]``.
        other: The sources' rows ``[E]``.
        radius: Interaction range in m, without the lookahead of the ends ``[E]``.

    Returns:
        Features ``[E, AGENT_EDGE_FEATURES]`` and weights in ``[0, 1]`` ``[E]``.
    """
    x, y = own.local(other.x - own.x, other.y - own.y)
    distance = length(x, y)
    facing = own.local(other.facing_x, other.facing_y)
    velocity = own.local(other.velocity_x - own.velocity_x, other.velocity_y - own.velocity_y)
    body_radii_m = other.body_radius_m + own.body_radius_m
    features = [
        *pose_features(x, y, distance, *facing),
        *velocity,
        *encounter_features(x, y, distance, *velocity, body_radii_m),
    ]
    limit = radius + torch.maximum(other.lookahead_m, own.lookahead_m)
    return torch.stack(features, -1), distance_cutoff(distance, limit) * other.visible


def vehicle_edges(
    own: AgentTable, other: AgentTable, radius: Tensor, ways: Crossings, lanes: Conflicts
) -> tuple[Tensor, Tensor]:
    """Features and weights of edges from vehicles to people.

    The features say when the vehicle arrives where it passes the person, and when the person would
    be there: both at the present speed, and the person also at a walking pace.

    They also say whether the vehicle leaves the person a gap (`forecast.models.crossings.Gap`),
    where it meets the crosswalk on the person's way and where it passes the person.

    The weight falls to 0 with the time to the arrival, the distance from the lane, and behind.

    Args:
        own: The people's rows ``[E]``.
        other: The vehicles' rows ``[E]``.
        radius: Interaction range in m, without the lookahead of the vehicle ``[E]``.
        ways: The crosswalks on the people's ways, E rows.
        lanes: Where the vehicles' lanes meet crosswalks, E rows.

    Returns:
        Features ``[E, VEHICLE_EDGE_FEATURES]`` and weights in ``[0, 1]`` ``[E]``.
    """
    features, weight = agent_edges(own, other, radius)
    lane_x, lane_y = other.course()
    x, y = own.x - other.x, own.y - other.y
    ahead, aside = torch.addcmul(x * lane_x, y, lane_y), torch.addcmul(-x * lane_y, y, lane_x)
    across = torch.addcmul(-own.velocity_x * lane_y, own.velocity_y, lane_x)
    away = (aside.square() + _SOFT_M**2).sqrt()
    closing = -across * aside / away
    speed = length(other.velocity_x, other.velocity_y)
    way, lane = ahead - other.half_length_m, (away - other.half_width_m).clamp(min=0)
    arrival = way.clamp(-10, 100) / (speed + _SOFT_MPS)
    at_pace = lane / WALKING_PACE_MPS
    at_present = lane / closing.clamp(min=0.3)
    stop = speed.square() / (2 * way.clamp(min=1.0))
    risk = [
        speed / 10,
        other.acceleration_mps2.clamp(-6, 6) / 3,
        way / (10 + way.abs()),
        lane / (3 + lane),
        closing,
        torch.tanh(arrival / 4),
        torch.tanh((arrival - at_pace) / 3),
        torch.tanh((arrival - at_present) / 3),
        stop / (3 + stop),
        other.half_width_m,
        other.half_length_m,
        other.ego,
    ]
    vehicle = other.half_length_m, speed, other.acceleration_mps2
    pace = length(own.velocity_x, own.velocity_y)
    there = Approach.at_crosswalks((own.x, own.y), (other.x, other.y, lane_x, lane_y), lanes, ways)
    here = Approach(ahead, away, torch.ones_like(ahead))
    gaps = _gap_features(there, here, vehicle, pace)
    sideways = distance_cutoff(lane, torch.full_like(lane, _ASIDE_M))
    passed = distance_cutoff((-way).clamp(min=0), 2 * other.half_length_m + _BEHIND_M)
    return torch.cat([features, torch.stack([*risk, *gaps], -1)], -1), weight * sideways * passed


def _gap_features(
    there: Approach, here: Approach, vehicle: tuple[Tensor, Tensor, Tensor], pace: Tensor
) -> list[Tensor]:
    """The last features of `vehicle_edges`, ``[E]`` each.

    Args:
        there: Ways to where the vehicles meet the people's crosswalks.
        here: Ways to where they pass the people.
        vehicle: As in `Gap.of`.
        pace: Speed of the people ``[E]``.
    """
    crossing, passing = Gap.of(there, vehicle, pace), Gap.of(here, vehicle, pace)
    return [
        there.meets,
        there.meets * torch.tanh(crossing.after_s / 3),
        there.meets * torch.tanh(crossing.before_s / 3),
        torch.tanh(passing.after_s / 3),
        torch.tanh(passing.before_s / 3),
        crossing.blocks,
        passing.blocks,
        crossing.endangers,
    ]


def map_edges(own: AgentTable, poses: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Features and weights of edges from map pieces to agents.

    Args:
        own: The agents' rows ``[E]``.
        poses: Middle points and directions of the pieces ``[4, E]``.
        radius: Interaction range in m ``[E]``.

    Returns:
        Features ``[E, MAP_EDGE_FEATURES]`` and weights in ``[0, 1]`` ``[E]``.
    """
    middle_x, middle_y, *direction = poses
    x, y = own.local(middle_x - own.x, middle_y - own.y)
    distance = length(x, y)
    features = pose_features(x, y, distance, *own.local(*direction))
    return torch.stack(features, -1), distance_cutoff(distance, radius)


def pose_features(
    x: Tensor, y: Tensor, distance: Tensor, direction_x: Tensor, direction_y: Tensor
) -> list[Tensor]:
    """`POSE_FEATURES` of a source in the frame of the target.

    Args:
        x: Offset of the source, along ``[E]``, in metres.
        y: Offset of the source, across ``[E]``.
        distance: Length of the offset ``[E]``.
        direction_x: Direction of the source, along ``[E]``; a unit vector with ``direction_y``.
        direction_y: Direction of the source, across ``[E]``.

    Returns:
        The features, ``[E]`` each.
    """
    scale = 1 / (1 + distance)
    return [x * scale, y * scale, torch.log1p(distance), direction_x, direction_y]


def encounter_features(
    x: Tensor, y: Tensor, distance: Tensor, velocity_x: Tensor, velocity_y: Tensor, bodies_m: Tensor
) -> list[Tensor]:
    """How near two agents are now, and how near and how soon if both keep their velocities.

    Args:
        x: Offset of the source, along ``[E]``.
        y: Offset of the source, across ``[E]``.
        distance: Length of the offset ``[E]``.
        velocity_x: Velocity of the source relative to the target, along ``[E]``.
        velocity_y: The same, across ``[E]``.
        bodies_m: Sum of both bodies' radii ``[E]``.

    Returns:
        The last three `AGENT_EDGE_FEATURES`, ``[E]`` each. Gaps are between the bodies' surfaces;
        gaps below -1 m count as -1 m.
    """
    # |offset + velocity * t| is smallest at t = -(offset . velocity) / |velocity|^2.
    approach = torch.addcmul(x * velocity_x, y, velocity_y)
    speed2 = torch.addcmul(velocity_x * velocity_x, velocity_y, velocity_y)
    time = (approach / -(speed2 + STILL_MPS**2)).clamp(0.0, LONGEST_WAIT_S)
    nearest = length(x + velocity_x * time, y + velocity_y * time)
    now, then = ((bodies_m - gap).clamp(max=1).exp() for gap in (distance, nearest))
    return [now, then, 1 / (1 + time)]


class Relation(NamedTuple):
    """A kind of edge between agents.

    Attributes:
        source_drives: Whether sources are vehicles (the ego included); None: both kinds.
        target_drives: Whether targets are vehicles (the ego included).
        features: Names of the edge features.
        edges: Computes features and weights of edges from the targets' rows, the sources' rows, the
            ranges, the crosswalks on the targets' ways and the conflict points of the sources, as
            `vehicle_edges` does.
        blocks: Whether the last features are `BLOCKS`.
    """

    source_drives: bool | None
    target_drives: bool
    features: tuple[str, ...]
    edges: Callable[[AgentTable, AgentTable, Tensor, Crossings, Conflicts], tuple[Tensor, Tensor]]
    blocks: bool = False

    def connects(self, agents: Agents, source: Tensor, target: Tensor) -> Tensor:
        """Which pairs of agents, by index ``[E]`` each, are of this relation ``[E]``."""
        drives = agents.drives
        of_target = drives[target] == self.target_drives
        if self.source_drives is None:
            return of_target
        return of_target & (drives[source] == self.source_drives)


def _agent_edges(
    own: AgentTable, other: AgentTable, radius: Tensor, ways: Crossings, lanes: Conflicts
) -> tuple[Tensor, Tensor]:
    return agent_edges(own, other, radius)


RELATIONS = {
    "person_person": Relation(False, False, AGENT_EDGE_FEATURES, _agent_edges),
    "person_vehicle": Relation(True, False, VEHICLE_EDGE_FEATURES, vehicle_edges, blocks=True),
    "vehicle_any": Relation(None, True, AGENT_EDGE_FEATURES, _agent_edges),
}
"""Relations by name, the target first: messages to people from people, to people from vehicles, to
vehicles from all agents. Cyclists count as people."""
