"""The loop that imagines: one step after the other, with a hook for controls.

`advance` is the only step and `rollout` the only loop over it. What differs between its users is
where the surroundings come from (`Scenery`) and which agents are controlled (`Control`): the ego by
a plan, an agent of an interactive world by an order, the rows of a reactive rollout by their plans.
Exported and compiled programs replace `Network.update` and `Network.act`, not the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from forecast.models import dynamics
from forecast.models.features import RELATIONS, AgentTable
from forecast.models.message_passing import Replayed, SceneEdges
from forecast.models.neighbors import Candidates, Layout, Places, edges_in_range
from forecast.models.types import Agents, EncodedMap, Motion, Noise, Observation, Plan, State, stack
from forecast.models.world_model import Surroundings, WorldModel, place

Control = Callable[[int, Motion, Motion], Motion]
"""Changes motions after a step: from the step's index, the motions before and the imagined ones."""


class SceneContext(NamedTuple):
    """What stays the same while a scene moves on.

    Attributes:
        agents: Constants of N agents.
        candidates: For each slot of relations, which agents may come into range of which.
        map: The encoded map.
        map_candidates: Which map pieces may come into range of which agent.
    """

    agents: Agents
    candidates: tuple[Candidates, ...]
    map: EncodedMap
    map_candidates: Candidates

    @classmethod
    def of(
        cls,
        world: WorldModel,
        agents: Agents,
        pairs: tuple[Tensor, Tensor],
        pieces: EncodedMap,
        map_pairs: Tensor,
    ) -> SceneContext:
        """The context of a scene.

        Args:
            world: The world model.
            agents: Constants of N agents.
            pairs: Candidate pairs of agents (source, target) ``[2, C]``, sorted by target, and
                their ranges in m, vehicles standing ``[C]``.
            pieces: The encoded map.
            map_pairs: Candidate pairs (piece, agent) ``[2, C']``, sorted by agent.
        """
        count, (both, radius) = len(agents.kind), pairs
        slots = []
        for slot in world.config.slots:
            of_slot = [RELATIONS[relation].connects(agents, *both) for relation in slot]
            mask = torch.stack(of_slot).any(0)
            slots.append(Candidates.of(both[:, mask], radius[mask], count))
        near = torch.full_like(map_pairs[0], world.graph.map_radius_m, dtype=radius.dtype)
        return cls(agents, tuple(slots), pieces, Candidates.of(map_pairs, near, count))

    def edges(self, motion: Motion, lookahead_s: float) -> SceneEdges:
        """The edges of S copies of the scene, whose agents move as given ``[S, N, ...]``."""
        copies, agents = motion.yaw_rate.shape
        places, device = Places.of(self.agents, motion, lookahead_s), motion.position.device
        own = Layout.of_copies(copies, agents, agents, shared=False, device=device)
        poses = self.map.poses
        seen = Layout.of_copies(copies, agents, poses.shape[1], shared=True, device=device)
        return SceneEdges(
            tuple(edges_in_range(slot, own, places, places) for slot in self.candidates),
            edges_in_range(self.map_candidates, seen, *map_places(poses, places)),
        )


def map_places(poses: Tensor, agents: Places) -> tuple[Places, Places]:
    """Where map pieces ``[4, M]`` and agents are; speed does not extend the range to the map."""
    pieces = Places(poses[0], poses[1], torch.zeros_like(poses[0]))
    return pieces, agents.without_lookahead()


@lru_cache(maxsize=64)
def nobody(width: int, slots: int, device: torch.device) -> Replayed:
    """No replayed agents, where messages have some width and relations some number of slots."""
    with torch.inference_mode(False):  # kept values serve with and without gradients
        none = torch.zeros(0, device=device)
        return Replayed(
            AgentTable(*(none for _ in AgentTable._fields)),
            tuple(none.view(0, width) for _ in range(slots)),
            none.view(0, 2),
            none.bool(),
        )


def surroundings(world: WorldModel, context: SceneContext, state: State) -> Surroundings:
    """The surroundings of all agents of S copies of a scene as they are now."""
    config, here = world.config, state.hidden.device
    others = nobody(config.messages, len(config.slots), here)
    edges = context.edges(state.motion, world.graph.vehicle_ahead_s)
    return Surroundings(context.agents, context.map, edges, others)


def observe(
    world: WorldModel, context: SceneContext, state: State, observation: Observation
) -> State:
    """Filters one new frame; O(agents), however many frames came before.

    Args:
        world: The world model.
        context: The scene's constants.
        state: The state before.
        observation: The new frame.
    """
    placed, valid = (
        place(context.agents, state, observation),
        observation.valid.expand_as(state.seen),
    )
    hidden = world.update(surroundings(world, context, placed), placed, valid)
    return placed._replace(hidden=torch.where(valid[..., None], hidden, state.hidden))


class Moment(NamedTuple):
    """What a step of a rollout takes.

    Attributes:
        state: The state, perhaps of fewer rows than after the step before.
        around: The surroundings.
        intent: Latent intents ``[S, N, I]``.
        noise: Stochastic input of the step ``[S, N, J]``.
    """

    state: State
    around: Surroundings
    intent: Tensor
    noise: Tensor


class Scenery(Protocol):
    """Where a rollout takes place."""

    steps: int

    def at(self, index: int, state: State) -> Moment:
        """What a step takes, from its index and the state after the step before."""
        ...


class WholeScene:
    """All agents of a scene, each of them imagined.

    Args:
        world: The world model.
        context: The scene's constants.
        noise: Random numbers of S futures of T steps.
    """

    def __init__(self, world: WorldModel, context: SceneContext, noise: Noise) -> None:
        self.world, self.context, self.noise = world, context, noise
        self.steps = len(noise.steps)

    def at(self, index: int, state: State) -> Moment:
        """See `Scenery`."""
        around = surroundings(self.world, self.context, state)
        return Moment(state, around, self.noise.intent, self.noise.steps[index])


def advance(world: WorldModel, moment: Moment, index: int, controls: Iterable[Control]) -> State:
    """One imagined step.

    Args:
        world: The world model.
        moment: What the step takes.
        index: Index of the step since the rollout began. The first step acts on the hidden state
            that observing left; later ones update it first.
        controls: Applied to the imagined motions in order.
    """
    state, around, intent, noise = moment
    if index > 0:
        state = state._replace(hidden=world.update(around, state, state.seen))
    before, motion = state.motion, world.act(around, state, intent, noise)
    for control in controls:
        motion = control(index, before, motion)
    return state._replace(motion=motion, velocity_before=before.velocity)


def rollout(
    world: WorldModel, scenery: Scenery, state: State, controls: Iterable[Control] = ()
) -> Iterator[State]:
    """The states after each of T steps.

    Args:
        world: The world model.
        scenery: Where the rollout takes place.
        state: The state before the first step, with the latent intents injected.
        controls: Applied to the imagined motions in order.
    """
    for index in range(scenery.steps):
        state = advance(world, scenery.at(index, state), index, controls)
        yield state


def follow_plan(plan: Plan, dt_s: Tensor) -> Control:
    """Lets some agents follow given poses; step t uses the poses of step t alone.

    Args:
        plan: The poses.
        dt_s: Step length ``[N]``.
    """

    def control(index: int, before: Motion, imagined: Motion) -> Motion:
        planned = dynamics.follow(before, plan.poses[index], dt_s)
        return dynamics.choose(plan.follows.expand_as(before.yaw_rate), planned, imagined)

    return control


def imagine(
    world: WorldModel,
    context: SceneContext,
    state: State,
    noise: Noise,
    plan: Plan | None = None,
) -> Motion:
    """Imagines joint futures of all agents of a scene.

    Args:
        world: The world model.
        context: The scene's constants.
        state: State after the last observation, in both chiralities.
        noise: Random numbers of S futures of T steps.
        plan: Poses that some agents (the ego) follow.

    Returns:
        Kinematic states of all steps, shapes ``[S, N, T, ...]``.
    """
    controls = [] if plan is None else [follow_plan(plan, context.agents.dt)]
    begun = world.inject(state.with_mirror(noise.mirror), noise.intent)
    states = rollout(world, WholeScene(world, context, noise), begun, controls)
    return stack([state.motion for state in states], 2)
