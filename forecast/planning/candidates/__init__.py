"""Candidate plans for a planner that has none, and the limits of motion that they keep.

Import the function from `forecast.planning` or from here: `forecast.planning.candidates` as an
attribute is the function, as an import it is this package.
"""

from forecast.planning.candidates.lattice import candidates
from forecast.planning.candidates.limits import MotionLimits, feasible

__all__ = ["MotionLimits", "candidates", "feasible"]
