"""Random walks and scenes that baselines predict from."""

import numpy as np

from forecast.scene import AgentKind, Scene

DT_S = 0.5
HISTORY, HORIZON = 5, 4


def walks(count: int, seed: int = 0) -> np.ndarray:
    """Random walks with a drift: ``[N, HISTORY + HORIZON, 2]``."""
    rng = np.random.default_rng(seed)
    drift = rng.normal(0, 0.5, (count, 1, 2))
    return np.cumsum(drift + rng.normal(0, 0.1, (count, HISTORY + HORIZON, 2)), axis=1)


def scene(seed: int = 0, steps: int = 9) -> Scene:
    """Two pedestrians (the second with gaps), a car, the ego, and one seen only at the end."""
    positions = np.concatenate([walks(3, seed), walks(2, seed + 1)])[:, :steps]
    positions[1, [0, 2]] = np.nan
    positions[4, :4] = np.nan
    kinds = [AgentKind.PEDESTRIAN] * 2 + [AgentKind.VEHICLE, AgentKind.EGO, AgentKind.PEDESTRIAN]
    return Scene.from_arrays(positions, kinds, DT_S, origin_m=(3.0, -2.0))


def line(*xs: float) -> Scene:
    """One pedestrian on the x axis; NaN where it was not seen."""
    positions = np.stack([np.array(xs), np.where(np.isnan(xs), np.nan, 0.0)], -1)
    return Scene.from_arrays(positions[None], [AgentKind.PEDESTRIAN], DT_S)
