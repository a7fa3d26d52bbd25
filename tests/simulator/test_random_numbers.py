import numpy as np
from scipy import stats

from forecast.simulator import random_numbers


def test_numbers_depend_on_key_step_and_channel_alone():
    keys = random_numbers.agent_keys(3, 1, 10)
    whole = random_numbers.normal(keys, 7, 2)
    assert np.array_equal(whole[4:6], random_numbers.normal(keys[4:6], 7, 2))
    for other in (random_numbers.normal(keys, 8, 2), random_numbers.normal(keys, 7, 3)):
        assert not np.isclose(whole, other).any()


def test_keys_differ_between_seeds_scenes_and_agents():
    keys = [random_numbers.agent_keys(seed, scene, 50) for seed in range(3) for scene in range(3)]
    assert len(np.unique(np.concatenate(keys))) == 450


def test_normal_numbers_are_standard_normal_and_independent():
    keys = random_numbers.agent_keys(0, 0, 400)
    drawn = np.stack([random_numbers.normal(keys, step, 0) for step in range(50)])
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 0.01
    lagged = np.corrcoef(drawn[1:].ravel(), drawn[:-1].ravel())[0, 1]
    between = np.corrcoef(drawn[:, 1:].ravel(), drawn[:, :-1].ravel())[0, 1]
    assert abs(lagged) < 0.03
    assert abs(between) < 0.03


def test_uniform_numbers_are_uniform():
    drawn = random_numbers.uniform(random_numbers.agent_keys(1, 2, 5000), 0, 0)
    assert stats.kstest(drawn, "uniform").pvalue > 0.01
