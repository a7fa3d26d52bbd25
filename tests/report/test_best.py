from forecast.evaluation.scoring.statistics import Estimate
from forecast.models.metrics.registry import MetricSpec
from forecast.report.best import best_columns


def means(**columns: dict[str, float]) -> dict[str, dict[str, Estimate]]:
    return {
        name: {metric: Estimate(value, value, value, 9, 3) for metric, value in column.items()}
        for name, column in columns.items()
    }


def of(metric: str, **values: float) -> set[str]:
    return best_columns(metric, means(**{name: {metric: each} for name, each in values.items()}))


def test_the_lowest_is_the_best_and_for_coverage_the_nearest_to_its_level():
    assert of("top1_fde_m", ours=1.2, kalman=1.4, stationary=5.0) == {"ours"}
    assert of("coverage_90", ours=0.97, kalman=0.86, stationary=float("nan")) == {"kalman"}


def test_below_zero_the_lowest_is_the_best_too():
    assert of("kde_nll_nats", ours=-1.5, kalman=-0.5, stationary=float("nan")) == {"ours"}


def test_metrics_of_ones_own_say_what_is_best():
    found = means(ours={"near": 0.9}, kalman={"near": 0.7}, stationary={"near": 0.2})
    for more, best in (({"higher_is_better": True}, "ours"), ({"target": 0.75}, "kalman")):
        spec = MetricSpec(lambda scored: scored.truth_m[:, 0, 0], "1", "near", **more)
        assert best_columns("near", found, {"near": spec}) == {best}


def test_a_single_contestant_and_rates_of_the_recorded_world_have_no_best():
    assert of("min_fde_20_m", ours=1.0, stationary=float("nan")) == set()
    assert of("collision_rate_ego", ours=0.0, kalman=0.1) == set()


def test_what_predicting_nothing_reaches_is_no_merit():
    assert of("plan_regret_m", ours=0.0, kalman=0.0, stationary=0.0) == set()
    assert of("plan_regret_m", ours=0.2, kalman=0.3, stationary=0.1) == set()
    assert of("plan_regret_m", ours=0.1, kalman=0.3, stationary=0.2) == {"ours"}
    assert of("flicker_top1_m", ours=0.4, kalman=0.3, stationary=0.2) == set()


def test_false_and_missed_conflicts_are_best_together_or_not_at_all():
    found = means(
        ours={"conflict_false": 0.01, "conflict_missed": 0.5},
        careless={"conflict_false": 0.0, "conflict_missed": 1.0},
        stationary={"conflict_false": 0.02, "conflict_missed": 0.9},
    )
    for metric in ("conflict_false", "conflict_missed"):
        assert best_columns(metric, found) == set()
        del found["careless"]
        assert best_columns(metric, found) == {"ours"}
        found["careless"] = {
            "conflict_false": Estimate(0.0, 0, 0, 9, 3),
            "conflict_missed": Estimate(1.0, 1, 1, 9, 3),
        }
    for column in found.values():  # nobody really had a conflict
        column["conflict_missed"] = Estimate(*[float("nan")] * 3, 0, 0)
    assert best_columns("conflict_false", found) == set()
