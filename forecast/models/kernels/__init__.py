"""Loops over edges and agents as machine code, for imagining and learning on the processor.

The modules beside this folder say what is computed, in passes over long vectors that gradients and
any device can follow. Where neither is asked for (`forecast.models.edges.in_machine_code`), the
same is done here edge by edge, in one pass, with nothing written down in between. Where gradients
are, `forecast.models.learning` pairs a loop with one that goes back.

Numba compiles a loop when it is first called and keeps it for later processes.
"""

from forecast.models.kernels.arithmetic import arrays
from forecast.models.kernels.cell import recur, recur_back
from forecast.models.kernels.edges import pairs_in_range, runs_in_range
from forecast.models.kernels.message_gradients import (
    encounters,
    encounters_back,
    gather,
    gather_back,
    sights,
    sights_back,
)
from forecast.models.kernels.messages import from_agents, from_map, hear_agents, hear_map, looks
from forecast.models.kernels.motion import (
    give_way_near,
    motion_features,
    move,
    pass_by,
    step_on,
)
from forecast.models.kernels.motion_gradients import (
    looks_back,
    motion_features_back,
    move_back,
    pass_by_back,
)

__all__ = [
    "arrays",
    "encounters",
    "encounters_back",
    "from_agents",
    "from_map",
    "gather",
    "gather_back",
    "give_way_near",
    "hear_agents",
    "hear_map",
    "looks",
    "looks_back",
    "motion_features",
    "motion_features_back",
    "move",
    "move_back",
    "pairs_in_range",
    "pass_by",
    "pass_by_back",
    "recur",
    "recur_back",
    "runs_in_range",
    "sights",
    "sights_back",
    "step_on",
]
