import numpy as np
import pytest

from forecast.planning import Clearance
from forecast.planning.halving import cheapest, measure_in_rounds, rounds


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((1000, 20, 50, 2), [(4, 1000), (8, 500), (20, 250)]),
        ((50, 20, 10, 4), [(4, 50), (20, 13)]),
        ((1000, 100, 50, 2), [(4, 1000), (8, 500), (16, 250), (32, 125), (100, 63)]),
        ((1000, 100, 100, 2), [(4, 1000), (8, 500), (16, 250), (32, 125), (100, 100)]),
        ((40, 20, 30, 2), [(4, 40), (20, 30)]),
        ((10, 20, 10, 2), [(20, 10)]),
        ((1000, 7, 10, 2), [(7, 1000)]),
    ],
)
def test_rounds_by_hand(given, expected):
    assert list(rounds(*given)) == expected


class Fixed:
    """Plans whose risk in each sample is given ``[P, K]``, as the time to collision."""

    def __init__(self, risk, price):
        self.risk, self.price = np.asarray(risk, np.float32), np.asarray(price, float)
        self.met = Clearance.unknown(*self.risk.shape)
        self.asked = []

    def measure(self, plans, samples):
        self.asked.append((plans.tolist(), samples.start, samples.stop))
        measured = self.risk[plans, samples]
        return Clearance(*[measured] * 4, np.zeros(measured.shape, np.int64))

    def judge(self, plans):
        risk = np.nanmean(self.met.ttc_s[plans], axis=1)
        return risk, risk + self.price[plans]

    def run(self, plans, kept, factor):
        return measure_in_rounds(
            self.met, np.array(plans), kept, factor, self.measure, self.judge
        ).tolist()


def test_the_cheaper_half_gets_more_samples():
    """Plan i costs i in the first four samples and 20 - 3 i in the others: 10 - i in eight."""
    risk = np.repeat(np.arange(8.0)[:, None], 20, axis=1)
    risk[:, 4:] = 20 - 3 * np.arange(8.0)[:, None]
    plans = Fixed(risk, np.zeros(8))
    assert plans.run(range(8), kept=2, factor=2) == [8, 8, 20, 20, 4, 4, 4, 4]
    assert plans.asked == [(list(range(8)), 0, 4), ([0, 1, 2, 3], 4, 8), ([2, 3], 8, 20)]
    np.testing.assert_array_equal(plans.met.ttc_s[3], risk[3])
    assert np.isnan(plans.met.ttc_s[4:, 4:]).all()


def test_the_safest_plan_goes_on_with_the_cheapest():
    risk = np.repeat([[5.0], [5.0], [5.0], [0.0]], 8, axis=1)
    plans = Fixed(risk, price=[0, 1, 2, 50])
    assert plans.run(range(4), kept=2, factor=2) == [8, 4, 4, 8]


def test_the_safest_plan_is_among_the_cheapest_unless_one_alone_is_chosen():
    plans, risk, cost = np.array([3, 5, 7, 9]), np.array([2.0, 1, 2, 0]), np.array([1.0, 2, 3, 4])
    assert cheapest(plans, 2, risk, cost).tolist() == [3, 9]
    assert cheapest(plans, 3, risk, cost).tolist() == [3, 5, 9]
    assert cheapest(plans, 1, risk, cost).tolist() == [3]


def test_other_plans_stay_as_they_are():
    plans = Fixed(np.ones((6, 8)), np.arange(6))
    assert plans.run([1, 3, 5], kept=1, factor=3) == [0, 8, 0, 4, 0, 4]
    assert np.isnan(plans.met.ttc_s[[0, 2, 4]]).all()
