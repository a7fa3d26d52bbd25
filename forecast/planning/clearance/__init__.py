"""How close plans come to imagined agents: contact, distance, time to collision, encroachment.

Import the function from `forecast.planning` or from here: `forecast.planning.clearance` as an
attribute is the function, as an import it is this package.
"""

from forecast.planning.clearance.measure import Clearance, ClearanceConfig, check_plans, clearance

__all__ = ["Clearance", "ClearanceConfig", "check_plans", "clearance"]
