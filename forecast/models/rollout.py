"""The rollout loop: imagines one step after the other, with a hook for controls.

`advance` is the only step and `rollout` the only loop over it. Users of the loop differ in the
source of the surroundings (`Scenery`) and in the controlled agents (`Control`). A plan controls the
ego, a command controls an agent of an interactive world, and plans control the ego rows of a
reactive rollout. Exported and compiled programs replace `WorldModel.update` and `WorldModel.act`,
not the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from forecast.graphs.conflicts import CONFLICTS
from forecast.models import dynamics
from forecast.models.crossings import Conflicts
from forecast.models.features import RELATIONS, AgentTable
from forecast.models.message_passing import Replayed, SceneEdges
from forecast.models.neighbors import Candidates, Edges, Layout, Places, edges_in_range
from forecast.models.types import Agents, EncodedMap, Motion, Noise, Observation, Plan, State, stack
from forecast.models.world_model import Surroundings, WorldModel

Control = Callable[[int, Motion, Motion], Motion]
"""Changes motions after a step. Arguments: the index of the step, the motions before it, and the
imagined motions after it. Returns the motions to use, of the same shapes ``[S, N, ...]``."""


class SceneContext(NamedTuple):
    """The constants of a scene over all steps.

    Attributes:
        agents: Constants of N agents.
        candidates: For each slot of relations, the pairs of agents that may come into range.
        map: The encoded map.
        map_candidates: The pairs of map piece and agent that may come into range. Ways over
            crosswalks are not among them.
        crossing_candidates: The pairs of a way over a crosswalk and an agent, likewise.
        lane_candidates: The pairs of a piece of a lane and a vehicle, likewise.
        pieces: Where the map pieces are.
        heading_known: Whether each agent's heading is known when imagining begins ``[N]``.
    """

    agents: Agents
    candidates: tuple[Candidates, ...]
    map: EncodedMap
    map_candidates: Candidates
    crossing_candidates: Candidates
    lane_candidates: Candidates
    pieces: Places
    heading_known: Tensor

    @classmethod
    def of(
        cls,
        world: WorldModel,
        agents: Agents,
        pairs: tuple[Tensor, Tensor],
        pieces: EncodedMap,
        map_pairs: Tensor,
        heading_known: Tensor | None = None,
    ) -> SceneContext:
        """The context of a scene.

        Args:
            world: The world model.
            agents: Constants of N agents.
            pairs: Candidate pairs of agents (source, target) ``[2, C]``, sorted by target, and
                their ranges in m for vehicles at rest ``[C]``.
            pieces: The encoded map.
            map_pairs: Candidate pairs (piece, agent) ``[2, C']``, sorted by agent.
            heading_known: Whether each agent's heading is known ``[N]``; default: all are.
        """
        if heading_known is None:
            heading_known = torch.ones_like(agents.kind, dtype=torch.bool)
        count, (both, radius) = len(agents.kind), pairs
        slots = [Candidates.of(both, radius, count)]  # relations cover all pairs
        if len(world.config.slots) > 1:
            slots = [
                Candidates.of(both[:, mask], radius[mask], count)
                for mask in (slot_mask(agents, slot, *both) for slot in world.config.slots)
            ]
        near = torch.full_like(map_pairs[0], world.graph.map_radius_m, dtype=radius.dtype)
        crosses = pieces.crossings[0, map_pairs[0]] > 0
        lane = pieces.lanes[map_pairs[0], 0, 0].isfinite() & agents.drives[map_pairs[1]]
        edge, crossing, lanes = (
            Candidates.of(map_pairs[:, m], near[m], count) for m in (~crosses, crosses, lane)
        )
        x, y, *_ = pieces.poses
        return cls(
            agents,
            tuple(slots),
            pieces,
            edge,
            crossing,
            lanes,
            Places(x, y, torch.zeros_like(x)),
            heading_known,
        )

    def edges(self, motion: Motion, lookahead_s: float) -> SceneEdges:
        """The edges of S copies of the scene.

        Args:
            motion: Motions of the agents ``[S, N, ...]``.
            lookahead_s: A vehicle's edges are extended by the distance it drives in this time.
        """
        copies, agents = motion.yaw_rate.shape
        places, device = Places.of(self.agents, motion, lookahead_s), motion.position.device
        own = Layout.of_copies(copies, agents, agents, shared=False, device=device)
        seen = Layout.of_copies(copies, agents, len(self.pieces.x), shared=True, device=device)
        here = places.without_lookahead()
        return SceneEdges(
            tuple(edges_in_range(slot, own, places, places, copies) for slot in self.candidates),
            edges_in_range(self.map_candidates, seen, self.pieces, here, copies),
            edges_in_range(self.crossing_candidates, seen, self.pieces, here, copies),
            self._from_lanes(here, copies),
        )

    def lanes(self, motion: Motion) -> Edges:
        """Edges from lanes to the vehicles of S copies of the scene.

        Args:
            motion: Motions of the agents ``[S, N, ...]``.
        """
        return self._from_lanes(Places.of(self.agents, motion, 0.0), len(motion.yaw_rate))

    def _from_lanes(self, here: Places, copies: int) -> Edges:
        """`lanes`, from where the agents are, without lookahead."""
        shape = copies, len(self.agents.kind), len(self.pieces.x)
        seen = Layout.of_copies(*shape, shared=True, device=here.x.device)
        return edges_in_range(self.lane_candidates, seen, self.pieces, here, copies)


def slot_mask(agents: Agents, slot: list[str], source: Tensor, target: Tensor) -> Tensor:
    """Which pairs of agents, by index ``[C]`` each, are of a slot's relations ``[C]``."""
    of_slot = [RELATIONS[relation].connects(agents, source, target) for relation in slot]
    return torch.stack(of_slot).any(0)


@lru_cache(maxsize=64)
def no_replayed(width: int, slots: int, device: torch.device) -> Replayed:
    """`Replayed` with 0 rows.

    Args:
        width: Width of messages.
        slots: Number of slots of relations.
        device: Device of the tensors.
    """
    with torch.inference_mode(False):  # cached tensors must also work where gradients are needed
        none = torch.zeros(0, device=device)
        points = none.view(0, CONFLICTS)
        return Replayed(
            AgentTable(*(none for _ in AgentTable._fields)),
            Conflicts(points, points, points, points, none),
            tuple(none.view(0, width) for _ in range(slots)),
            none.view(0, 2),
            none.bool(),
        )


def surroundings(world: WorldModel, context: SceneContext, state: State) -> Surroundings:
    """The surroundings of all agents of S copies of a scene, from their present positions.

    Args:
        world: The world model.
        context: The scene's constants.
        state: The state of the S copies.
    """
    config, here = world.config, state.hidden.device
    others = no_replayed(config.messages, len(config.slots), here)
    edges = context.edges(state.motion, world.graph.vehicle_ahead_s)
    return Surroundings(context.agents, context.map, edges, others)


def observe(
    world: WorldModel, context: SceneContext, state: State, observation: Observation
) -> State:
    """Filters one new frame; the cost does not depend on the number of earlier frames.

    Args:
        world: The world model.
        context: The scene's constants.
        state: The state before.
        observation: The new frame.

    Returns:
        The state after the frame. Hidden states of agents not observed do not change.
    """
    placed, valid = (
        world.place(context.agents, state, observation),
        observation.valid.expand_as(state.seen),
    )
    hidden = world.update(surroundings(world, context, placed), placed, valid)
    return placed._replace(hidden=torch.where(valid[..., None], hidden, state.hidden))


class Moment(NamedTuple):
    """The inputs of one step of a rollout.

    Attributes:
        state: The state. A reactive rollout may have dropped rows since the step before.
        around: The surroundings.
        intent: Latent intents ``[S, N, I]``.
        noise: Noise of the step ``[S, N, J]``.
        decisions: Known decisions, see `WorldModel.intend`.
    """

    state: State
    around: Surroundings
    intent: Tensor
    noise: Tensor
    decisions: Tensor | None = None


class Scenery(Protocol):
    """Provides the inputs of a rollout's steps.

    Attributes:
        steps: Number of steps T.
    """

    steps: int

    def at(self, index: int, state: State) -> Moment:
        """The inputs of a step.

        Args:
            index: Index of the step.
            state: State after the step before.
        """
        ...


class WholeScene:
    """A scenery in which all agents of a scene are imagined.

    Args:
        world: The world model.
        context: The scene's constants.
        noise: Random numbers of S futures of T steps.
        decisions: Known decisions of every step ``[T, S, N]``, see `WorldModel.intend`.
    """

    def __init__(
        self,
        world: WorldModel,
        context: SceneContext,
        noise: Noise,
        decisions: Tensor | None = None,
    ) -> None:
        self.world, self.context, self.noise = world, context, noise
        self.decisions = decisions
        self.steps = len(noise.steps)

    def at(self, index: int, state: State) -> Moment:
        """See `Scenery`."""
        around = surroundings(self.world, self.context, state)
        known = None if self.decisions is None else self.decisions[index]
        return Moment(state, around, self.noise.intent, self.noise.steps[index], known)


def advance(world: WorldModel, moment: Moment, index: int, controls: Iterable[Control]) -> State:
    """One imagined step.

    Args:
        world: The world model.
        moment: The inputs of the step.
        index: Index of the step since the rollout began.
        controls: Applied to the imagined motions in order.

    Returns:
        The state after the step.
    """
    state, around, intent, noise, decisions = moment
    controls = list(controls)
    state = updated(world, around, state, index, controls)
    # Compiled programs take no decisions.
    known = () if decisions is None else (decisions,)
    before, imagined = state.motion, world.act(around, state, intent, noise, *known)
    motion, smoothed = imagined, state.smoothed
    for control in controls:
        motion = control(index, before, motion)
    if controls:  # who was moved by a control goes on from the velocity it was given
        given = (motion.velocity != imagined.velocity).any(-1) & ~around.agents.drives
        smoothed = torch.where(given[..., None], motion.velocity, smoothed)
    return state._replace(motion=motion, velocity_before=before.velocity, smoothed=smoothed)


def updated(
    world: WorldModel,
    around: Surroundings,
    state: State,
    index: int,
    controls: Sequence[Control],
) -> State:
    """The first half of a step: new hidden states, before anybody moves.

    Args:
        world: The world model.
        around: The surroundings.
        state: The state before the step.
        index: Index of the step since the rollout began.
        controls: See `advance`.
    """
    seen = with_given_velocities(state, index, controls) if controls else state
    return state._replace(hidden=world.update(around, seen, state.seen))


def with_given_velocities(state: State, index: int, controls: Sequence[Control]) -> State:
    """The state in which controlled agents move as they will in this step, from where they are.

    People see a car brake while it brakes. With its velocity of the step before they would react a
    step later. Nothing is revealed of later steps.

    Args:
        state: The state before the step.
        index: Index of the step.
        controls: See `advance`. One that depends on the imagined motion has no effect here.
    """
    before = state.motion
    given = Motion(*(torch.full_like(value, torch.nan) for value in before))
    for control in controls:
        given = control(index, before, given)
    known = given.velocity.isfinite().all(-1, keepdim=True)
    return state._replace(
        motion=before._replace(velocity=torch.where(known, given.velocity, before.velocity)),
        velocity_before=torch.where(known, before.velocity, state.velocity_before),
    )


def rollout(
    world: WorldModel, scenery: Scenery, state: State, controls: Iterable[Control] = ()
) -> Iterator[State]:
    """Imagines T steps.

    Args:
        world: The world model.
        scenery: Provides the inputs of the steps.
        state: The state before the first step, with the latent intents injected.
        controls: Applied to the imagined motions in order.

    Yields:
        The state after each step.
    """
    for index in range(scenery.steps):
        state = advance(world, scenery.at(index, state), index, controls)
        yield state


def follow_plan(plan: Plan, dt_s: Tensor) -> Control:
    """A control by which some agents follow given poses; step t uses the poses of step t only.

    Args:
        plan: The poses.
        dt_s: Step length ``[N]``.
    """

    def control(index: int, before: Motion, imagined: Motion) -> Motion:
        planned = dynamics.follow(before, plan.poses[index], dt_s)
        return dynamics.choose(plan.follows.expand_as(before.yaw_rate), planned, imagined)

    return control


def settle(world: WorldModel, context: SceneContext, state: State) -> State:
    """What all futures start from, after the last observation; see `WorldModel.settle`.

    Args:
        world: The world model.
        context: The scene's constants.
        state: State after the last observation, in both chiralities.
    """
    return world.settle(surroundings(world, context, state), state)


def begin(world: WorldModel, context: SceneContext, settled: State, noise: Noise) -> State:
    """The state of S futures when imagining begins.

    An agent with an unknown heading faces another way in every sample. Otherwise all futures of a
    person seen for the first time would lead the same way. In the mode, an agent observed once has
    no direction. So it stays where it is until somebody comes too near.

    Args:
        world: The world model.
        context: The scene's constants.
        settled: What all futures start from, in both chiralities (`settle`).
        noise: Random numbers of S futures.
    """
    state = settled.with_mirror(noise.mirror)
    before, is_mode = state.motion.facing, (noise.turn == 0).all(-1)
    kept = context.heading_known | (is_mode & state.steady)
    cos, sin = noise.turn.unbind(-1)
    turned = dynamics.turned_by(before, torch.stack([cos, state.mirror * sin], -1))
    facing = torch.where(kept[..., None], before, turned)
    state = state._replace(motion=state.motion._replace(facing=facing))
    return world.inject(state, noise.intent)


def imagine(
    world: WorldModel,
    context: SceneContext,
    settled: State,
    noise: Noise,
    plan: Plan | None = None,
    decisions: Tensor | None = None,
) -> Motion:
    """Imagines joint futures of all agents of a scene.

    Args:
        world: The world model.
        context: The scene's constants.
        settled: What all futures start from, in both chiralities (`settle`).
        noise: Random numbers of S futures of T steps.
        plan: Poses that some agents (the ego) follow.
        decisions: Known decisions of every step ``[T, S, N]``, see `WorldModel.intend`.

    Returns:
        Kinematic states of all steps, shapes ``[S, N, T, ...]``.
    """
    controls = [] if plan is None else [follow_plan(plan, context.agents.dt)]
    begun = begin(world, context, settled, noise)
    states = rollout(world, WholeScene(world, context, noise, decisions), begun, controls)
    return stack([state.motion for state in states], 2)
