import subprocess
import sys

import pytest

STATEMENTS = [
    "import forecast.planning",
    "import forecast.planning.candidates.routes, forecast.planning.clearance.bodies",
    "import forecast.planning.clearance.measure, forecast.planning.candidates",
    "import forecast.planning.ranking",
    "from forecast.planning.clearance import ClearanceConfig",
]


@pytest.mark.parametrize("first", STATEMENTS)
def test_functions_keep_their_names_beside_packages_of_the_same_name(first):
    script = f"""
{first}
from forecast.planning import candidates, clearance, feasible
from forecast.planning.candidates import candidates as from_package
from forecast.planning.candidates.lattice import candidates as from_module
from forecast.planning.clearance import clearance as measured
import forecast.planning as planning
assert candidates is from_package is from_module is planning.candidates
assert clearance is measured is planning.clearance
assert callable(candidates) and callable(clearance)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_planning_does_not_load_torchmetrics():
    """It shares the geometry of contact with the metrics, but not their classes with state."""
    script = "import sys, forecast.planning; assert 'torchmetrics' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
