import pytest
from scipy import stats

from forecast.evaluation.comparison.changes import BETTER, LESS, OPEN, WORSE, Change
from forecast.evaluation.comparison.correction import corrected
from forecast.evaluation.scoring.statistics import Estimate

SCENES = 40
METRIC = "mean_fde_m"


def change(p: float, where: str = "all", metric: str = METRIC, sign: int = 1) -> Change:
    """A change of 1 m whose interval has a p-value."""
    reach = stats.t.isf(0.025, SCENES - 1) / stats.t.isf(p / 2, SCENES - 1)
    ends = sorted([sign * (1 - reach), sign * (1 + reach)])
    return Change(where, metric, LESS, 4.0, 4.0 + sign, (60, 60), Estimate(sign, *ends, 60, SCENES))


def decided(changes: list[Change]) -> list[str]:
    return [one.where for one in corrected(changes) if one.verdict in (WORSE, BETTER)]


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ((0.2, 0.03, 0.001, 0.02), 3),  # the bounds are 0.0125, 0.025, 0.0375 and 0.05
        ((0.02, 0.2, 0.03, 0.04), 0),
        ((0.049,), 1),
        ((0.3, 0.024), 1),
        ((0.3, 0.026), 0),
    ],
)
def test_benjamini_and_hochberg_by_hand(values, kept):
    changes = [change(p, f"slice {place}") for place, p in enumerate(values)]
    assert sum(one.verdict == WORSE for one in changes) == sum(p < 0.05 for p in values)
    found = decided(changes)
    order = sorted(range(len(values)), key=values.__getitem__)
    assert sorted(found) == sorted(f"slice {place}" for place in order[:kept])


def test_chance_alone_decides_nothing():
    """Without any difference, p-values are uniform: 15 of 300 intervals exclude 0."""
    changes = [
        change((place + 0.5) / 300, f"slice {place}", sign=1 - 2 * (place % 2))
        for place in range(300)
    ]
    assert sum(one.verdict != OPEN for one in changes) == 15
    assert decided(changes) == []


def test_headline_errors_and_safety_metrics_are_not_corrected_for_the_others():
    others = [change(0.9, f"slice {place}") for place in range(100)]
    few = [
        change(0.04, "movers", "top1_fde_m"),
        change(0.02, "all", "conflict_missed"),
        change(0.02, "all", METRIC),
        change(0.02, "speed: fast", "conflict_missed"),
    ]
    found = {one.metric for one in corrected([*few, *others]) if one.verdict == WORSE}
    assert found == {"top1_fde_m", "conflict_missed"}
    assert sorted(decided([*few, *others])) == ["all", "movers"]


def test_undecided_changes_come_after_the_decided_ones():
    others = [change(0.9, f"slice {place}") for place in range(100)]
    found = corrected([change(0.02, "slice a"), *others, change(1e-9, "slice b", sign=-1)])
    verdicts = [one.verdict for one in found]
    assert verdicts == [OPEN] * 101 + [BETTER]
