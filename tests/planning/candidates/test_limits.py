import numpy as np
import pytest

from forecast import ForecastError
from forecast.planning import EgoState, MotionLimits, candidates, feasible


@pytest.mark.parametrize(
    ("change", "limits"),
    [
        (lambda p: p * [3, 1, 1], MotionLimits()),  # too fast
        (lambda p: p + np.array([0, 3, 0]), MotionLimits()),  # a jump to the side
        (lambda p: p + np.array([0, 0, 0.5]), MotionLimits()),  # turned against its motion
        (lambda p: p, MotionLimits(jerk_mps3=0.5)),
        (lambda p: p, MotionLimits(braking_mps2=0.5)),
    ],
)
def test_the_checker_finds_what_it_is_for(change, limits):
    ego = EgoState(0, 0, 0, 10.0)
    braking = candidates(ego, n=2)[1:]
    assert feasible(braking, ego, 0.5).all()
    assert not feasible(change(braking), ego, 0.5, limits).any()


def test_the_checker_finds_a_bend_that_is_too_sharp_or_too_fast():
    def arc(radius, speed):
        angle = speed / radius * np.arange(1, 13) * 0.5
        return np.stack([np.sin(angle), 1 - np.cos(angle), angle / radius], -1)[None] * radius

    assert feasible(arc(10, 3), EgoState(0, 0, 0, 3.0), 0.5).all()
    assert not feasible(arc(3, 3), EgoState(0, 0, 0, 3.0), 0.5).any()
    assert not feasible(arc(10, 9), EgoState(0, 0, 0, 9.0), 0.5).any()


def test_limits_must_be_positive():
    with pytest.raises(ForecastError, match="jerk_mps3 is 0; a number above 0 is needed"):
        MotionLimits(jerk_mps3=0)
