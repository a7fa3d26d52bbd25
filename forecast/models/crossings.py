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

from forecast.models.dynamics import distance_cutoff, to_local
from forecast.models.neighbors import Edges

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
_VISIBLE_BRAKE_MPS2, _FIRM_BRAKE_MPS2 = 0.4, 3.5


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
        cls, offset: tuple[Tensor, Tensor], lane: tuple[Tensor, Tensor], ways: Crossings
    ) -> Approach:
        """Where the lanes of vehicles, taken as straight, meet the crosswalks of people.

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
    """

    after_s: Tensor
    before_s: Tensor
    blocks: Tensor

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
        brakes = torch.sigmoid((-acceleration - _VISIBLE_BRAKE_MPS2) / 0.1)
        can_stop = torch.sigmoid((2 * _FIRM_BRAKE_MPS2 * front - speed.square()) / 5)
        stands = torch.sigmoid((_STANDS_MPS - speed) / 0.2) * torch.sigmoid((front - 0.3) / 0.3)
        overlap = torch.sigmoid((torch.minimum(after, before) + _MARGIN_S) / 0.3)
        comes = torch.sigmoid(rear / 0.3) * (1 - brakes * can_stop) * (1 - stands)
        return cls(after, before, approach.meets * overlap * comes)


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
