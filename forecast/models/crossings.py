"""The crosswalk on each agent's way, and whether a vehicle leaves too small a gap to walk first.

People who come to a kerb accept or reject gaps between vehicles (gap acceptance, a standard model
of traffic engineering). What decides is the time at which each vehicle reaches the crosswalk, and
the times at which the person would enter and leave its lane. A vehicle that stands, or brakes
visibly and can still stop, is taken to let people cross.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from forecast.models.dynamics import distance_cutoff, length, to_local
from forecast.models.neighbors import Edges
from forecast.models.types import EncodedMap

CROSSING_FEATURES = (
    "a crosswalk is on the way",
    "it has lights",
    "way to its kerb, scaled",
    "way to its far kerb, scaled",
    "direction along",
    "direction across",
)
"""All are 0 without a crosswalk on the way."""

_NEAR_M = 6.0
"""A crosswalk farther away than this is not on the way."""
_HALF_WIDTH_M = 1.5
_OVER_M = 1.0
"""A crosswalk is no longer on the way of somebody who left it this far behind."""
_BY_PLACE = 0.8
"""How much the nearer kerb counts against the facing, in the choice of the direction."""
_CHOICE = 8
"""Power of the weights of several crosswalks: the higher, the more the best one counts alone."""
_FAINT = 1e-6
_SOFT = 0.2
"""Sines of angles, and differences of choices, below which features fade out."""

_PACE_MPS = 1.35
"""Pace at which somebody who stands now is taken to cross."""
_MARGIN_S = 1.0
_LANE_M, _BAND_M = 2.0, 2.0
"""Half the widths of a lane and of a crosswalk."""
_SLOWEST_MPS = 0.3
_STANDS_MPS = 1.5
_VISIBLE_MPS2, _GENTLE_BRAKE_MPS2, _FIRM_BRAKE_MPS2 = 0.4, 2.0, 3.5
_ON_ROAD_MARGIN_S = 0.2
"""Whoever is on the road accepts smaller gaps than whoever decides at the kerb."""
_TURNED_M = 6.0
"""A lane across a vehicle's course counts as this much farther away."""
_OFF_LANE_M = 3.0
"""A vehicle farther than this from every lane drives on none."""


class Crossings(NamedTuple):
    """The crosswalk on the way of each agent; M rows, all 0 without one.

    Attributes:
        start_x: Where the crosswalk begins, relative to the agent, in metres ``[M]``.
        start_y: ``[M]``.
        along_x: Unit vector from there to the far kerb ``[M]``.
        along_y: ``[M]``.
        length_m: ``[M]``.
        lights: 1 if it is known to have lights ``[M]``.
        weight: How surely it is on the agent's way, in ``[0, 1]`` ``[M]``.
    """

    start_x: Tensor
    start_y: Tensor
    along_x: Tensor
    along_y: Tensor
    length_m: Tensor
    lights: Tensor
    weight: Tensor

    @classmethod
    def of(
        cls, where: tuple[Tensor, ...], poses: Tensor, crossings: Tensor, edges: Edges
    ) -> Crossings:
        """The crosswalk on each agent's way: the nearest one, in the direction of its facing.

        Several near ones are averaged with weights that leave little but the best one, so that the
        result is a continuous function of the positions.

        Args:
            where: x and y of each agent in metres, then x and y of its facing ``[M]`` each.
            poses: As in `EncodedMap` ``[4, P]``.
            crossings: As in `EncodedMap` ``[2, P]``.
            edges: From ways over crosswalks to agents.
        """
        x, y, facing_x, facing_y = (value.index_select(0, edges.target) for value in where)
        pieces = (*poses, *crossings)
        middle_x, middle_y, axis_x, axis_y, half, lights = (
            value.index_select(0, edges.source) for value in pieces
        )
        x, y = middle_x - x, middle_y - y
        ahead, aside = x * axis_x + y * axis_y, (x * axis_y - y * axis_x).abs()
        facing = facing_x * axis_x + facing_y * axis_y
        # Whoever is at a kerb may go over; whoever is on the road goes where it faces.
        choice = facing + _BY_PLACE * (ahead / half.clamp(min=0.5)).clamp(-1.25, 1.25)
        side = torch.where(choice >= 0, 1.0, -1.0)
        before, over = side * ahead - half, -side * ahead - half
        away = before.clamp(min=0) + (aside - _HALF_WIDTH_M).clamp(min=0)
        weight = distance_cutoff(away, _NEAR_M) * distance_cutoff(over.clamp(min=0), _OVER_M)
        weight = weight * _beyond(choice) * (0.6 + 0.4 * side * facing)
        values = (
            x - side * half * axis_x,
            y - side * half * axis_y,
            side * axis_x,
            side * axis_y,
            2 * half,
            lights,
            weight,
        )
        share = weight**_CHOICE
        columns = torch.stack([*(value * share for value in values), share], -1)
        total = scatter(columns, edges.target, dim_size=where[0].shape[0], reduce="sum")
        *sums, shares = total.unbind(-1)
        return cls(*(each / (shares + _FAINT) for each in sums))

    def rows(self, index: Tensor) -> Crossings:
        """The rows at the ends of edges, by index ``[E]``."""
        return Crossings(*(column.index_select(0, index) for column in self))

    def before_m(self) -> Tensor:
        """Way to the kerb ``[M]``; negative on the road."""
        return self.start_x * self.along_x + self.start_y * self.along_y

    def features(self, facing: tuple[Tensor, Tensor], mirror: Tensor) -> Tensor:
        """`CROSSING_FEATURES` ``[M, 6]``.

        Args:
            facing: x and y of the agents' facings ``[M]`` each.
            mirror: Chirality of the agents' frames ``[M]``.
        """
        before = self.before_m()
        far = before + self.length_m
        scaled = [
            self.lights,
            before / (3 + before.abs()),
            far / (10 + far.abs()),
            *to_local((self.along_x, self.along_y), facing, mirror),
        ]
        return torch.stack([self.weight, *(self.weight * value for value in scaled)], -1)


class Conflicts(NamedTuple):
    """Where the lanes ahead of agents meet crosswalks; M rows.

    Attributes:
        along_m: Way from the agent's centre; negative once it has passed ``[M, K]``.
        x: Of the conflict point, in metres ``[M, K]``.
        y: ``[M, K]``.
        chance: Chance that a vehicle comes there ``[M, K]``; 0 without a conflict point.
        on_lane: How surely the agent drives on a lane, in ``[0, 1]`` ``[M]``.
    """

    along_m: Tensor
    x: Tensor
    y: Tensor
    chance: Tensor
    on_lane: Tensor

    @classmethod
    def of(cls, where: tuple[Tensor, ...], pieces: EncodedMap, edges: Edges) -> Conflicts:
        """The conflict points of the lane that each agent drives on: the one that fits best.

        Args:
            where: x and y of each agent in metres, then x and y of its course ``[M]`` each.
            pieces: The encoded map.
            edges: From lanes to vehicles.
        """
        cost, gone = _fit(where, pieces.lanes.index_select(0, edges.source), edges.target)
        rows = where[0].shape[0]
        least = scatter(cost, edges.target, dim_size=rows, reduce="min")
        best = (cost <= least.index_select(0, edges.target)).to(cost.dtype)
        ties = scatter(best, edges.target, dim_size=rows, reduce="sum")
        share = best / ties.index_select(0, edges.target)
        along, x, y, chance = pieces.conflicts.index_select(0, edges.source).unbind(-1)
        on = (_OFF_LANE_M - cost).clamp(0, 1)[:, None]
        columns = torch.cat([along - gone[:, None], x, y, chance, on], -1) * share[:, None]
        total = scatter(columns, edges.target, dim_size=rows, reduce="sum")
        points, on_lane = total[:, :-1].unflatten(1, (4, -1)), total[:, -1]
        along, x, y, chance = points.unbind(1)
        return cls(along, x, y, chance, on_lane)

    def rows(self, index: Tensor) -> Conflicts:
        """The rows at the ends of edges, by index ``[E]``."""
        return Conflicts(*(column.index_select(0, index) for column in self))

    def append(self, others: Conflicts) -> Conflicts:
        """These rows followed by others."""
        return Conflicts(*(torch.cat(pair) for pair in zip(self, others, strict=True)))


def _fit(where: tuple[Tensor, ...], points: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """How badly lanes fit agents, in metres, and how far along them the agents are.

    Args:
        where: As in `Conflicts.of`.
        points: Points of lanes ``[E, P, 2]``.
        target: Rows of the agents ``[E]``.

    Returns:
        ``[E]`` each.
    """
    x, y, course_x, course_y = (value.index_select(0, target)[:, None] for value in where)
    begin_x, begin_y = points[:, :-1].unbind(-1)  # [E, P - 1]
    step_x, step_y = points.diff(dim=1).unbind(-1)
    size = length(step_x, step_y)
    step_x, step_y = step_x / size, step_y / size
    x, y = x - begin_x, y - begin_y
    ahead, aside = x * step_x + y * step_y, (x * step_y - y * step_x).abs()
    beyond = (ahead - size).clamp(min=0) + (-ahead).clamp(min=0)
    turned = 1 - (course_x * step_x + course_y * step_y)
    cost, nearest = (aside + beyond + _TURNED_M * turned).min(1)
    gone = size.cumsum(1) - size + torch.minimum(ahead.clamp(min=0), size)
    return cost, gone.gather(1, nearest[:, None])[:, 0]


class Approach(NamedTuple):
    """Vehicles and people who may meet, for E pairs.

    Attributes:
        vehicle_m: Way of the vehicle's centre to where it meets the person's way ``[E]``; negative
            once it has passed.
        person_m: Way of the person to the middle of the vehicle's lane ``[E]``; negative beyond.
        meets: Whether they can meet, in ``[0, 1]`` ``[E]``.
    """

    vehicle_m: Tensor
    person_m: Tensor
    meets: Tensor

    @classmethod
    def at_crosswalks(
        cls,
        own: tuple[Tensor, Tensor],
        other: tuple[Tensor, ...],
        ahead: Conflicts,
        ways: Crossings,
    ) -> Approach:
        """Where vehicles meet the crosswalks of people: on their lanes, or straight on without one.

        Args:
            own: x and y of the people in metres ``[E]`` each.
            other: x and y of the vehicles, then x and y of their courses ``[E]`` each.
            ahead: The conflict points of the vehicles, E rows.
            ways: The crosswalks on the people's ways, E rows.
        """
        x, y, *course = other
        straight = cls._straight((x - own[0], y - own[1]), course, ways)
        lanes = cls._on_lanes(own, ahead, ways)
        shares = ahead.on_lane * lanes.meets, (1 - ahead.on_lane) * straight.meets
        meets = shares[0] + shares[1]
        ends = zip(lanes, straight, strict=True)
        mixed = ((shares[0] * a + shares[1] * b) / (meets + _FAINT) for a, b in ends)
        vehicle, person, _ = mixed
        return cls(vehicle, person, meets)

    @classmethod
    def _on_lanes(cls, own: tuple[Tensor, Tensor], ahead: Conflicts, ways: Crossings) -> Approach:
        """Where the lanes ahead of vehicles meet the crosswalks of people."""
        x = ahead.x - (own[0] + ways.start_x)[:, None]
        y = ahead.y - (own[1] + ways.start_y)[:, None]
        along_x, along_y = ways.along_x[:, None], ways.along_y[:, None]
        at, aside = x * along_x + y * along_y, (x * along_y - y * along_x).abs()
        inside = (at + 1).clamp(0, 1) * (ways.length_m[:, None] + 1 - at).clamp(0, 1)
        share = ahead.chance * inside * (1.5 - aside).clamp(0, 1)
        total = share.sum(1)
        vehicle, at = ((share * value).sum(1) / (total + _FAINT) for value in (ahead.along_m, at))
        return cls(vehicle, at + ways.before_m(), ways.weight * total.clamp(max=1))

    @classmethod
    def _straight(
        cls, offset: tuple[Tensor, Tensor], lane: list[Tensor], ways: Crossings
    ) -> Approach:
        """Where vehicles that go straight on meet the crosswalks of people.

        Args:
            offset: From the person to the vehicle, x and y in metres ``[E]`` each.
            lane: Unit vectors along the vehicles' ways ``[E]`` each.
            ways: The crosswalks on the people's ways, E rows.
        """
        x, y = ways.start_x - offset[0], ways.start_y - offset[1]
        across = lane[0] * ways.along_y - lane[1] * ways.along_x
        inverse = across / (across.square() + _SOFT**4)
        vehicle = (x * ways.along_y - y * ways.along_x) * inverse
        at = (x * lane[1] - y * lane[0]) * inverse
        inside = torch.sigmoid((at + 0.5) / 0.3) * torch.sigmoid((ways.length_m + 0.5 - at) / 0.3)
        meets = ways.weight * inside * _beyond(across)
        return cls(vehicle.clamp(-100, 100), (at + ways.before_m()).clamp(-50, 50), meets)


class Gap(NamedTuple):
    """The gap that a vehicle leaves to a person, for E pairs.

    Attributes:
        after_s: By how much the vehicle comes before the person has left its lane ``[E]``.
        before_s: By how much the vehicle leaves after the person enters its lane ``[E]``.
        blocks: Whether both are positive and the vehicle does not let the person cross first, in
            ``[0, 1]`` ``[E]``.
        endangers: Whether whoever is on the road already cannot rely on the vehicle: both are
            positive, and it speeds up, or would have to brake hard and does not ``[E]``.
    """

    after_s: Tensor
    before_s: Tensor
    blocks: Tensor
    endangers: Tensor

    @classmethod
    def of(cls, approach: Approach, vehicle: tuple[Tensor, Tensor, Tensor], pace: Tensor) -> Gap:
        """Compares the times of vehicles and people at the places where they meet.

        Args:
            approach: Their ways to these places.
            vehicle: Half length in m, speed in m/s and acceleration in m/s^2 ``[E]`` each.
            pace: Speed of the people ``[E]``; slower ones are taken to cross at a usual pace.
        """
        half, speed, acceleration = vehicle
        front = approach.vehicle_m - half - _BAND_M
        rear = approach.vehicle_m + half + _BAND_M
        pace, moving = pace.clamp(min=_PACE_MPS), speed.clamp(min=_SLOWEST_MPS)
        after = (approach.person_m + _LANE_M) / pace - front / moving
        before = rear / moving - (approach.person_m - _LANE_M) / pace
        brakes = torch.sigmoid((-acceleration - _VISIBLE_MPS2) / 0.1)
        can_stop = torch.sigmoid((2 * _FIRM_BRAKE_MPS2 * front - speed.square()) / 5)
        stands = torch.sigmoid((_STANDS_MPS - speed) / 0.2) * torch.sigmoid((front - 0.3) / 0.3)
        overlap = torch.minimum(after, before)
        comes = approach.meets * torch.sigmoid(rear / 0.3) * (1 - stands) * (1 - brakes * can_stop)
        blocks = comes * torch.sigmoid((overlap + _MARGIN_S) / 0.3)
        gently = torch.sigmoid((2 * _GENTLE_BRAKE_MPS2 * front - speed.square()) / 5)
        trusted = gently * torch.sigmoid((_VISIBLE_MPS2 - acceleration) / 0.1)
        ahead = torch.sigmoid((approach.person_m + 1) / 0.3)
        soon = torch.sigmoid((overlap + _ON_ROAD_MARGIN_S) / 0.3)
        return cls(after, before, blocks, comes * soon * ahead * (1 - trusted))


def any_of(chances: Tensor, target: Tensor, rows: int) -> Tensor:
    """The chance that at least one of several independent things holds, by target.

    Args:
        chances: ``[E, K]`` in ``[0, 1]``.
        target: Row of each ``[E]``.
        rows: Number of rows N.

    Returns:
        ``[N, K]``.
    """
    none = torch.log1p(-chances.clamp(max=0.999))
    return 1 - scatter(none, target, dim_size=rows, reduce="sum").exp()


def _beyond(value: Tensor) -> Tensor:
    """0 at 0, near 1 for values far beyond `_SOFT`."""
    return value.square() / (value.square() + _SOFT**2)
