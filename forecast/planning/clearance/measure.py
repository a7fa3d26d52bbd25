"""Contact, distance, TTC and PET between many plans and the agents of imagined futures.

Between two steps the centres and headings of all bodies are interpolated linearly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forecast.errors import require
from forecast.models.machine_code import Floats, compiled, forget_older_code
from forecast.models.metrics import contact
from forecast.models.threads import side_by_side
from forecast.planning.clearance.approach import SLACK_M, nearest, time_to_collision
from forecast.planning.clearance.bodies import Agents, Plans
from forecast.planning.clearance.encroachment import smallest_gap
from forecast.planning.ego import EgoState
from forecast.planning.futures import Futures
from forecast.planning.plan_poses import require_places
from forecast.scene.arguments import real_number

forget_older_code(Path(__file__).parent, Path(contact.__file__).parent)

_NOBODY = -1


@dataclass(frozen=True)
class ClearanceConfig:
    """Limits of what is measured.

    Attributes:
        ttc_limit_s: A longer time-to-collision is reported as this.
        pet_limit_s: A longer post-encroachment time is reported as this.
        tolerance_m: Between steps, the curved path of a body in the frame of the turning ego is
            replaced by chords that deviate from it by at most this.
    """

    ttc_limit_s: float = 8.0
    pet_limit_s: float = 3.0
    tolerance_m: float = 0.05

    def __post_init__(self) -> None:
        """Checks the limits; raises `ForecastError`."""
        for name in ("ttc_limit_s", "pet_limit_s", "tolerance_m"):
            value, need = getattr(self, name), "a finite number above 0"
            require(0 < real_number(name, value, need) < np.inf, name, value, need)


@dataclass(frozen=True, eq=False)
class Clearance:
    """Contact and near misses between each plan and the agents of each sample, all ``[P, K]``.

    Attributes:
        contact_s: Time from now of the first contact; infinite if there is none.
        distance_m: Smallest distance of the bodies over the horizon, 0 on contact; infinite if
            there is no agent.
        ttc_s: Smallest time to collision over the horizon: at the start of each step, the time
            until contact if ego and agent kept the velocity of that step and their headings
            (Hayward 1972). 0 on contact, at most the limit.
        pet_s: Post-encroachment time: smallest time between the ego leaving a place and an agent
            arriving there, or the reverse (Allen et al. 1978). 0 on contact, at most the limit.
        agent: Index of the agent that is touched first, or without contact comes closest; -1 if
            there is none.
    """

    contact_s: NDArray[np.float32]
    distance_m: NDArray[np.float32]
    ttc_s: NDArray[np.float32]
    pet_s: NDArray[np.float32]
    agent: NDArray[np.int64]

    @property
    def collided(self) -> NDArray[np.bool_]:
        """Whether the bodies touch within the horizon ``[P, K]``."""
        return np.isfinite(self.contact_s)

    @classmethod
    def unknown(cls, plans: int, samples: int) -> Clearance:
        """Measurements that are still to be made ``[P, K]``: NaN, and -1 for the agent."""
        contact, distance, ttc, pet = np.full((4, plans, samples), np.nan, np.float32)
        return cls(contact, distance, ttc, pet, np.full((plans, samples), _NOBODY))

    def put(self, plans: NDArray[np.int64], samples: slice, measured: Clearance) -> None:
        """Fills in measurements ``[P', K']`` of some plans and samples."""
        for name, values in vars(measured).items():
            getattr(self, name)[plans, samples] = values

    def forget(self, samples: NDArray[np.int64]) -> None:
        """Makes unknown what comes after the first ``samples`` of each plan ``[P]``."""
        after = np.arange(self.ttc_s.shape[1]) >= samples[:, None]
        for values in vars(self).values():
            values[after] = _NOBODY if values is self.agent else np.nan

    def part(self, plans: NDArray[Any], samples: slice) -> Clearance:
        """Measurements ``[P', K']`` of some plans, by index or mask, and samples."""
        return Clearance(*(values[plans, samples] for values in vars(self).values()))


def clearance(
    plans: NDArray[np.float64],
    futures: Futures,
    ego: EgoState,
    config: ClearanceConfig | None = None,
) -> Clearance:
    """Measures every plan against every sample of the futures.

    Args:
        plans: Poses ``[P, T, 3]`` (x_m, y_m, heading_rad) of the ego's centre, at the steps of the
            futures.
        futures: Shared by all plans, or separate ones for each plan.
        ego: The ego now; its motion up to the first step is included.
        config: Limits; default `ClearanceConfig`.

    Raises:
        ForecastError: The shapes of plans and futures do not fit each other.
    """
    config = config or ClearanceConfig()
    poses = np.asarray(plans, np.float64)
    check_plans(poses, futures)
    lags = math.ceil(config.pet_limit_s / futures.dt_s)
    limits = config.tolerance_m, config.ttc_limit_s / futures.dt_s, lags
    bodies, shared = Plans.of(poses, ego), None if futures.reactive else Agents.of(futures, ego)

    def measured(part: slice) -> Floats:
        agents = shared or Agents.of(futures.met_by(part), ego)
        return _measured(bodies.rows(part), agents, futures.samples, *limits)

    found = np.concatenate(side_by_side(measured, _parts(len(poses))), axis=1)
    contact, distance, ttc, pet, agent = found
    return Clearance(
        contact_s=contact * np.float32(futures.dt_s),
        distance_m=distance,
        ttc_s=np.minimum(ttc * np.float32(futures.dt_s), np.float32(config.ttc_limit_s)),
        pet_s=np.minimum(pet * np.float32(futures.dt_s), np.float32(config.pet_limit_s)),
        agent=agent.astype(np.int64),
    )


def check_plans(plans: NDArray[np.float64], futures: Futures) -> None:
    """Raises `ForecastError` unless plans are ``[P, T, 3]``, finite, and fit the futures."""
    good = plans.ndim == 3 and plans.shape[1:] == (futures.steps, 3) and len(plans) > 0
    require(good, "shape of plans", list(plans.shape), f"[P, {futures.steps}, 3]")
    require_places(plans)
    given = len(futures.positions_m)
    fits = not futures.reactive or given == len(plans)
    require(fits, "number of plans the futures are for", given, str(len(plans)))


def _parts(plans: int) -> list[slice]:
    """The plans that each thread takes."""
    size = -(-plans // torch.get_num_threads())
    return [slice(begin, begin + size) for begin in range(0, plans, size)]


@compiled
def _measured(
    plans: Plans,
    agents: Agents,
    samples: int,
    tolerance_m: float,
    ttc_limit_steps: float,
    lag_steps: int,
) -> Floats:
    """Contact, distance, TTC, PET and agent ``[5, P, K]``; times in steps, distances in metres."""
    count, (steps, bodies) = len(plans.x), agents.middle.shape[2:]
    gap2, least = np.empty((steps, bodies), np.float32), np.empty(bodies, np.float32)
    meeting = np.empty(bodies, np.float32)
    found = np.zeros((5, count, samples), np.float32)
    for p in range(count):
        _bounds(plans, agents, p, gap2, least, meeting)
        for k in range(samples):
            contact, distance, met = nearest(plans, agents, p, k, gap2, least, tolerance_m)
            found[0, p, k], found[1, p, k], found[4, p, k] = contact, distance, met
            if contact == math.inf:
                found[2, p, k] = time_to_collision(plans, agents, p, k, meeting, ttc_limit_steps)
                found[3, p, k] = smallest_gap(plans, agents, p, k, gap2, least, lag_steps)
    return found


@compiled
def _bounds(
    plans: Plans, agents: Agents, p: int, gap2: Floats, least: Floats, meeting: Floats
) -> None:
    """Fills in bounds for one plan, by which `nearest` and the others skip most agents.

    Given offset d and relative velocity v, two circles whose radii sum to r meet, now or later, if
    and only if ``(d x v)^2 + max(d.v, 0)^2 <= r^2 v^2``. The test needs no division and no root.

    Args:
        plans: The ego's plans.
        agents: The agents' bodies.
        p: Index of the plan.
        gap2: Output: squared distance of the centres half way through each step ``[T, N]``.
        least: Output: the smallest over the steps ``[N]``.
        meeting: Output: the largest ``r^2 v^2 - (d x v)^2 - max(d.v, 0)^2`` over the steps ``[N]``.
    """
    r, zero = min(p, len(agents.x) - 1), np.float32(0)
    reach = np.float32(math.hypot(plans.half_x, plans.half_y) + SLACK_M)
    least[:], meeting[:] = math.inf, -math.inf
    for t in range(len(gap2)):
        middle_x, middle_y = plans.middle[0, p, t], plans.middle[1, p, t]
        own_x, own_y = plans.x[p, t], plans.y[p, t]
        step_x, step_y = plans.step[0, p, t], plans.step[1, p, t]
        for n in range(len(least)):
            x, y = agents.middle[0, r, t, n] - middle_x, agents.middle[1, r, t, n] - middle_y
            gap2[t, n] = x * x + y * y
            least[n] = min(least[n], gap2[t, n])
        for n in range(len(least)):
            x, y = agents.x[r, t, n] - own_x, agents.y[r, t, n] - own_y
            dx, dy = agents.step[0, r, t, n] - step_x, agents.step[1, r, t, n] - step_y
            cross, along = x * dy - y * dx, max(x * dx + y * dy, zero)
            outer = reach + agents.reach[n]
            margin = outer * outer * (dx * dx + dy * dy) - cross * cross - along * along
            meeting[n] = max(meeting[n], margin)
