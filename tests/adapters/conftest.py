import numpy as np
import pytest

from forecast import AgentKind, Prediction, Scene

ORIGIN = np.array([664_000.0, 3_997_000.0])
"""As far from 0 as nuPlan's maps."""

STEPS, DT_S = 12, 0.5


@pytest.fixture
def scene() -> Scene:
    """An ego, a pedestrian who walks left at 1 m/s, a parked car, a cyclist not seen now."""
    t = np.arange(3) * DT_S
    ways = [
        np.stack([5 * t, 0 * t], -1),
        np.stack([20 + 0 * t, -3 + t], -1),
        np.tile([10.0, 4.0], (3, 1)),
        np.stack([4 * t, 9 + 0 * t], -1),
    ]
    valid = np.ones((4, 3), bool)
    valid[3, 2] = False
    kinds = [AgentKind.EGO, AgentKind.PEDESTRIAN, AgentKind.VEHICLE, AgentKind.CYCLIST]
    return Scene.from_arrays(
        np.array(ways) + ORIGIN,
        kinds,
        DT_S,
        valid=valid,
        headings_rad=np.array([[0.0] * 3, [np.pi / 2] * 3, [0.5] * 3, [0.0] * 3]),
        agent_ids=["ego", "ped", "car", "bike"],
        origin_m=ORIGIN,
        start_us=1_600_000_000_000_000,
        id="adapters",
    )


@pytest.fixture
def prediction(scene: Scene) -> Prediction:
    """Half of the samples walk on, half stop; the car stays; the ego drives on."""
    t = np.arange(1, STEPS + 1) * DT_S
    walk = np.stack([0 * t + 20, -2 + t], -1)
    stop = np.tile([20.0, -2.0], (STEPS, 1))
    drive = np.stack([5 + 5 * t, 0 * t], -1)
    car = np.tile([10.0, 4.0], (STEPS, 1))
    samples = [[drive, walk, car]] * 4 + [[drive, stop, car]] * 4
    return Prediction(
        positions_m=np.array(samples, np.float32),
        weights=np.full(8, 1 / 8),
        agent_ids=np.array(["ego", "ped", "car"]),
        valid=np.ones(3, bool),
        at_us=int(scene.timestamps_us[-1]),
        dt_s=DT_S,
        origin_m=ORIGIN,
    )
