"""Loops over edges and agents as machine code, for imagining on the processor.

The modules beside this folder say what is computed, in passes over long vectors that gradients and
any device can follow. Where neither is asked for (`forecast.models.edges.in_machine_code`), the
same is done here edge by edge, in one pass, with nothing written down in between.

Numba compiles a loop when it is first called and keeps it for later processes.
"""

from forecast.models.kernels.arithmetic import arrays
from forecast.models.kernels.cell import recur
from forecast.models.kernels.edges import pairs_in_range, runs_in_range
from forecast.models.kernels.messages import from_agents, from_map, hear_agents, hear_map, looks
from forecast.models.kernels.motion import (
    give_way_near,
    motion_features,
    move,
    pass_by,
    step_on,
)

__all__ = [
    "arrays",
    "from_agents",
    "from_map",
    "give_way_near",
    "hear_agents",
    "hear_map",
    "looks",
    "motion_features",
    "move",
    "pairs_in_range",
    "pass_by",
    "recur",
    "runs_in_range",
    "step_on",
]
