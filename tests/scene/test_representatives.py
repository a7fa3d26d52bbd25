import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast.errors import ForecastError
from forecast.scene import Prediction


def prediction(positions, weights=None, valid=None) -> Prediction:
    positions = np.asarray(positions, np.float32)
    samples, agents = positions.shape[:2]
    return Prediction(
        positions_m=positions,
        weights=np.full(samples, 1 / samples) if weights is None else np.asarray(weights),
        agent_ids=np.array([str(a) for a in range(agents)]),
        valid=np.ones(agents, bool) if valid is None else np.asarray(valid),
        at_us=0,
        dt_s=0.5,
        origin_m=np.zeros(2),
    )


def two_walkers(first: list[float], second: list[float]) -> np.ndarray:
    """Futures of one step in which two agents end at the given x."""
    return np.stack([first, second], -1)[:, :, None, None] * [1.0, 0.0]


def test_groups_of_futures_by_hand():
    # Either both go left (0, 0) or both right (9, 9); one future is in the middle of each group.
    many = prediction(two_walkers([0, 0.1, 0.2, 9.0, 9.1], [0, 0.1, 0.2, 9.0, 9.3]))
    few = many.representatives(2)
    assert few.weights.tolist() == pytest.approx([0.6, 0.4])
    assert few.positions_m[0, :, 0, 0].tolist() == pytest.approx([0.1, 0.1])
    assert few.positions_m[1, :, 0, 0].tolist() in (
        pytest.approx([9.0, 9.0]),
        pytest.approx([9.1, 9.3]),
    )


def test_weights_pull():
    many = prediction(two_walkers([0, 1, 2], [0, 0, 0]), weights=[0.1, 0.1, 0.8])
    assert many.representatives(1).positions_m[0, 0, 0, 0] == 2


def test_agents_that_are_not_predicted_do_not_count():
    many = prediction(two_walkers([0, 1, 2], [50, 0, 90]), valid=[True, False])
    assert many.representatives(1).positions_m[0, 0, 0, 0] == 1


def assignment_cost(many: np.ndarray, few: np.ndarray) -> float:
    return np.square(many[:, None] - few[None]).sum((2, 3, 4)).min(1).mean()


@settings(max_examples=25)
@given(seed=st.integers(0, 2**16), k=st.integers(1, 12))
def test_futures_stay_joint(seed, k):
    rng = np.random.default_rng(seed)
    many = prediction(rng.normal(size=(12, 3, 4, 2)).cumsum(2))
    few = many.representatives(k)
    assert few.weights.sum() == pytest.approx(1)
    assert (np.diff(few.weights) <= 1e-12).all()
    rows = {future.tobytes() for future in many.positions_m}
    assert len({future.tobytes() for future in few.positions_m} & rows) == k


def test_futures_stand_for_the_others_better_than_the_first_draws():
    rng = np.random.default_rng(0)
    walks = rng.normal(size=(40, 60, 3, 4, 2)).cumsum(3)
    first = np.mean([assignment_cost(many, many[:6]) for many in walks])
    chosen = [prediction(many).representatives(6).positions_m for many in walks]
    costs = [assignment_cost(many, few) for many, few in zip(walks, chosen, strict=True)]
    assert np.mean(costs) < 0.85 * first


def test_refuses_more_than_there_are():
    with pytest.raises(ForecastError, match="k is 4; 1 to 3 futures; draw more samples for more"):
        prediction(two_walkers([0, 1, 2], [0, 0, 0])).representatives(4)
