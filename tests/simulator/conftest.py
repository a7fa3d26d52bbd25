from pathlib import Path

import pytest

from forecast.simulator import write_town
from forecast.simulator.map import layouts
from forecast.simulator.map.district import District, build_district

SCENES, SEED = 3, 5


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("town") / "town"
    write_town(out, scenes=SCENES, seed=SEED)
    return out


@pytest.fixture(scope="session", params=layouts.LOCATIONS)
def district(request: pytest.FixtureRequest) -> District:
    return build_district(layouts.layout_of(request.param, SEED))
