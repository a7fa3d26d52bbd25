"""The example that a planner's author opens first."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import forecast
from forecast.planning import EgoState, road_use
from forecast.simulator.traffic import Observed, Traffic
from scripts import tables


@pytest.fixture(scope="module")
def loop() -> dict[str, Any]:
    return runpy.run_path(str(tables.ROOT / "scripts" / "closed_loop"))


def driven(
    loop: dict[str, Any], scene: int, seconds: float
) -> tuple[Traffic, list[EgoState], list[Observed]]:
    traffic, egos, seen = Traffic(loop["SEED"], scene), [], []
    for ego in loop["drive"](forecast.load("town"), traffic, round(seconds / loop["DT_S"])):
        egos.append(ego)
        seen.append(traffic.observe())
    return traffic, egos, seen


def require_good_driving(
    loop: dict[str, Any], traffic: Traffic, egos: list[EgoState], seen: list[Observed]
) -> None:
    speeds = np.array([ego.speed_mps for ego in egos])
    assert speeds.max() < loop["COST"].speed_limit_mps
    assert np.abs(np.diff(speeds)).max() < 0.1 * 8.1  # no jump: 8 m/s^2 is an emergency stop
    assert min(now.gaps_m.min(initial=np.inf) for now in seen) > 0
    poses = np.stack([ego.pose for ego in egos])[None]
    road = road_use(poses, loop["only_route"](traffic), egos[0])
    assert road.offset_m.max() < 1.75  # half a lane
    assert not road.off_road.any()


def test_the_best_plan_keeps_lane_and_limit_and_meets_nobody(loop, tmp_path: Path) -> None:
    traffic, egos, seen = driven(loop, 1, 1.5)
    assert len(egos) == len(seen) == 15
    assert traffic.ego_pose == pytest.approx(egos[-1].pose)
    require_good_driving(loop, traffic, egos, seen)
    assert 9 < sum(ego.speed_mps for ego in egos) * loop["DT_S"] < 15
    loop["draw"](tmp_path / "new" / "loop.png", traffic, egos, seen)
    assert (tmp_path / "new" / "loop.png").stat().st_size > 20_000


@pytest.mark.slow
@pytest.mark.parametrize(("scene", "least_m"), [(1, 100), (3, 30)])
def test_it_drives_well_for_20_s(loop, scene: int, least_m: float) -> None:
    """And farther than the city's driver, who goes 29 and 21 m in these scenes."""
    traffic, egos, seen = driven(loop, scene, 20)
    require_good_driving(loop, traffic, egos, seen)
    assert sum(ego.speed_mps for ego in egos) * loop["DT_S"] > least_m
