"""Futures and plans for tests, and slow references sampled densely in time."""

import numpy as np
import shapely
from hypothesis import strategies as st

from forecast.planning import EgoState, Futures

DT_S = 0.5
PEOPLE = st.just(True)
"""Discs; `st.booleans()` draws boxes too."""


def futures(positions, now, *, sizes=None, disc=True, headings=None, weights=None, dt_s=DT_S):
    """Futures of pedestrian discs unless said otherwise."""
    positions = np.asarray(positions, np.float32)
    samples, agents = positions.shape[-4:-2]
    return Futures(
        positions_m=positions,
        agent_ids=np.array([f"agent-{agent}" for agent in range(agents)]),
        now_m=np.asarray(now, np.float32).reshape(agents, 2),
        headings_rad=np.zeros(agents, np.float32) if headings is None else np.float32(headings),
        sizes_m=np.full((agents, 2), 0.7, np.float32) if sizes is None else np.float32(sizes),
        disc=np.full(agents, disc) if np.isscalar(disc) else np.asarray(disc),
        weights=np.full(samples, 1 / samples) if weights is None else np.asarray(weights),
        dt_s=dt_s,
    )


def walking(now, velocity, steps=6, dt_s=DT_S, **kwargs):
    """One sample of people who keep their velocity."""
    now, velocity = np.reshape(now, (-1, 2)), np.reshape(velocity, (-1, 2))
    times = np.arange(1, steps + 1)[:, None] * dt_s
    return futures((now[:, None] + velocity[:, None] * times)[None], now, dt_s=dt_s, **kwargs)


def straight(speeds, steps=6, dt_s=DT_S):
    """Plans along x at constant speeds."""
    x = np.asarray(speeds, float)[:, None] * np.arange(1, steps + 1) * dt_s
    return np.stack([x, np.zeros_like(x), np.zeros_like(x)], -1)


@st.composite
def scenes(draw, *, disc=PEOPLE):
    """Plans that turn, people who wander, an ego somewhere on the map."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    plans, samples = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    agents, steps = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    turns = rng.normal(0, 0.12, (plans, steps)).cumsum(1)
    speeds = rng.uniform(0, 10, (plans, 1)) + rng.normal(0, 0.5, (plans, steps)).cumsum(1)
    steps_m = np.stack([np.cos(turns), np.sin(turns)], -1) * speeds[..., None] * DT_S
    poses = np.concatenate([steps_m.cumsum(1), turns[..., None]], -1)
    now = rng.uniform([-6, -7], [25, 7], (agents, 2))
    velocity = rng.normal(0, 1.5, (samples, agents, 1, 2))
    walk = (velocity + rng.normal(0, 0.4, (samples, agents, steps, 2))) * DT_S
    is_disc = draw(disc)
    sizes = rng.uniform(0.4, 1.0, (agents, 1)).repeat(2, 1)
    sizes = sizes if is_disc else rng.uniform(0.5, 5, (agents, 2))
    headings = rng.uniform(-3, 3, agents)
    people = futures(
        now[:, None] + walk.cumsum(2), now, sizes=sizes, disc=is_disc, headings=headings
    )
    return poses, people, EgoState(0.0, 0.0, 0.0, float(speeds[0, 0].clip(0)))


def box(x, y, heading, length, width):
    """An oriented rectangle as a polygon."""
    corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * [length / 2, width / 2]
    cos, sin = np.cos(heading), np.sin(heading)
    return shapely.Polygon(corners @ np.array([[cos, sin], [-sin, cos]]) + [x, y])


def bodies(plans, people, ego, plan, sample, share):
    """Polygon of the ego, and of everybody with their radii, ``share`` steps from now."""
    poses = np.concatenate([ego.pose[None], plans[plan]])
    poses[:, 2] = np.unwrap(poses[:, 2])
    ways = people.from_now_m()
    ways = (ways[plan] if people.reactive else ways)[sample]
    turned = people.step_headings_rad()
    turned = (turned[plan] if people.reactive else turned)[sample]
    step = min(int(share), len(poses) - 2)
    rest = share - step
    pose = poses[step] * (1 - rest) + poses[step + 1] * rest
    places = ways[:, step] * (1 - rest) + ways[:, step + 1] * rest
    others = [
        shapely.Point(place) if disc else box(*place, heading, *size)
        for place, heading, size, disc in zip(
            places, turned[:, step], people.sizes_m, people.disc, strict=True
        )
    ]
    radii = np.where(people.disc, people.sizes_m.mean(-1) / 2, 0)
    return box(*pose, ego.length_m, ego.width_m), others, radii


def dense_clearance(plans, people, ego, pieces=40):
    """Smallest distance and first contact (in s, infinite if none) ``[P, K]``, by sampling."""
    distance = np.full((len(plans), people.samples), np.inf)
    contact = distance.copy()
    shares = np.linspace(0, people.steps, people.steps * pieces + 1)
    for plan, sample in np.ndindex(distance.shape):
        for share in shares[::-1]:
            own, others, radii = bodies(plans, people, ego, plan, sample, share)
            apart = max((shapely.distance(own, others) - radii).min(), 0.0)
            distance[plan, sample] = min(distance[plan, sample], apart)
            if apart == 0:
                contact[plan, sample] = share * people.dt_s
    return distance, contact


def dense_encroachment(plans, people, ego, limit_s=3.0, pieces=10):
    """Smallest time between ego and person at one place ``[P, K]``, by sampling both times."""
    smallest = np.full((len(plans), people.samples), limit_s)
    shares = np.linspace(0, people.steps, people.steps * pieces + 1)
    lags = np.abs(shares[:, None] - shares) * people.dt_s
    for plan, sample in np.ndindex(smallest.shape):
        seen = [bodies(plans, people, ego, plan, sample, share) for share in shares]
        own = np.array([one for one, _, _ in seen])
        places = np.array([others for _, others, _ in seen])  # [time, A]
        radii = np.array([radii for _, _, radii in seen])
        apart = shapely.distance(own[:, None, None], places) - radii  # [ego's time, time, A]
        meeting = lags[(apart <= 0).any(-1)]
        smallest[plan, sample] = min(meeting.min(initial=limit_s), limit_s)
    return smallest
