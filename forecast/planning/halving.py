"""Sequential halving: few samples for all plans, more for those whose rank is still undecided.

After each round, only the cheaper plans get more samples. All plans of a round meet the same
samples (common random numbers), so their differences are less uncertain than their costs.

Source: Karnin, Koren and Somekh, "Almost optimal exploration in multi-armed bandits", ICML 2013.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from forecast.planning.clearance import Clearance

FEWEST_SAMPLES = 4
"""Samples of the first round. Samples 2 i and 2 i + 1 have opposite chiralities, and any four
samples that begin at a multiple of four are spread evenly (`forecast.models.noise`)."""

FEWEST_PLANS = 25
"""Plans that at least are compared to the end."""

Plans = NDArray[np.int64]
"""Indices of plans."""


def rounds(plans: int, samples: int, kept: int, factor: int) -> Iterator[tuple[int, int]]:
    """Each round's number of samples and of plans.

    Each round has so many times the samples and the plans of the round before. The last one has all
    samples. A round with more than half of them is left out.

    Args:
        plans: Number of plans.
        samples: Number of samples.
        kept: Plans that at least are compared with all samples.
        factor: How many times more samples, and how many times fewer plans, each round has.
    """
    count = FEWEST_SAMPLES
    while 2 * count <= samples and plans > kept:
        yield count, plans
        count, plans = factor * count, max(-(-plans // factor), kept)
    yield samples, plans


def cheapest(
    plans: Plans, number: int, risk: NDArray[np.float64], cost: NDArray[np.float64]
) -> Plans:
    """The cheapest plans, in ascending order; of two or more, one is that of the lowest risk.

    Args:
        plans: The plans.
        number: How many to choose.
        risk: Their risk, one value each.
        cost: Their cost.
    """
    order = np.argsort(cost, kind="stable")
    if number > 1:
        safest = np.lexsort((cost, risk))[0]
        order = np.append(safest, order[order != safest])
    return np.sort(plans[order[:number]])


def measure_in_rounds(
    met: Clearance,
    plans: Plans,
    kept: int,
    factor: int,
    measure: Callable[[Plans, slice], Clearance],
    judge: Callable[[Plans], tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> NDArray[np.int64]:
    """Measures plans in rounds.

    Args:
        met: Output: measurements ``[P, K]``. Those of other samples stay as they are.
        plans: The plans to measure.
        kept: As in `rounds`.
        factor: As in `rounds`.
        measure: Measures some plans against some samples.
        judge: Risk and cost of some plans, by ``met``. The cheapest go on to the next round, and
            with them the one with the lowest risk.

    Returns:
        Number of samples that each of the P plans was measured with ``[P]``; 0 for other plans.
    """
    samples, done = np.zeros(len(met.distance_m), np.int64), 0
    for count, number in rounds(len(plans), met.distance_m.shape[1], kept, factor):
        if number < len(plans):
            plans = cheapest(plans, number, *judge(plans))
        met.put(plans, slice(done, count), measure(plans, slice(done, count)))
        samples[plans], done = count, count
    return samples
