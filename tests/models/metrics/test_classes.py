import pickle
from dataclasses import replace
from datetime import timedelta

import pytest
import torch
from torch import distributed, multiprocessing

from forecast.errors import ForecastError
from forecast.models.metrics import METRICS, Scored, per_agent
from forecast.models.metrics.classes import PerAgentMean, ScoredMean, collection


def _scored(seed, agents, samples=20):
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(samples + 1, agents, 4, 2, generator=generator, dtype=torch.float64)
    weights = torch.full((samples,), 1 / samples, dtype=torch.float64)
    return Scored(draws[:-1], weights, draws[0], draws[-1], dt_s=0.5)


WINDOWS = [_scored(0, 3), _scored(1, 5), _scored(2, 1), _scored(3, 4, samples=1)]


def test_mean_counts_what_is_known():
    metric = PerAgentMean()
    metric.update(torch.tensor([1.0, float("nan"), 2.0]))
    metric.update(torch.tensor([6.0]))
    assert metric.compute().item() == 3
    assert metric.count.item() == 3


def test_nothing_known_is_nan():
    metric = PerAgentMean()
    metric.update(torch.tensor([float("nan")]))
    assert metric.compute().isnan()
    assert metric.count.item() == 0


def test_many_small_values_do_not_drown_in_float32():
    metric = PerAgentMean()
    metric.update(torch.tensor([3e8]))
    for _ in range(100):
        metric.update(torch.ones(10))
    assert metric.total.item() == 3e8 + 1000


@pytest.mark.parametrize("name", METRICS)
def test_mean_over_windows_is_the_mean_over_agents(name):
    metric = ScoredMean(name)
    for window in WINDOWS:
        metric.update(window)
    values = torch.cat([per_agent(window, [name])[name] for window in WINDOWS])
    assert torch.allclose(metric.compute(), values.nanmean(), equal_nan=True)
    assert metric.count.item() == (~values.isnan()).sum()


@pytest.mark.parametrize("name", ["min_ade_20_m", "energy_score_m", "coverage_90"])
def test_two_halves_merge_to_the_whole(name):
    whole, left, right = ScoredMean(name), ScoredMean(name), ScoredMean(name)
    for window, half in zip(WINDOWS, (left, left, right, right), strict=True):
        whole.update(window)
        half.update(window)
    left.merge_state(right)
    assert torch.allclose(left.compute(), whole.compute())
    assert left.count == whole.count


def _worker(rank, folder):
    address = (folder / "rendezvous").as_uri()
    distributed.init_process_group(
        "gloo", init_method=address, rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    metric = ScoredMean("min_ade_20_m")
    for window in WINDOWS[rank::2]:
        metric.update(window)
    torch.save(metric.compute(), folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_agree_on_the_whole(tmp_path):
    other = multiprocessing.get_context("spawn").Process(target=_worker, args=(1, tmp_path))
    other.start()
    _worker(0, tmp_path)
    other.join()
    whole = ScoredMean("min_ade_20_m")
    for window in WINDOWS:
        whole.update(window)
    for rank in range(2):
        assert torch.allclose(torch.load(tmp_path / f"{rank}.pt"), whole.compute())


def test_reset_forgets():
    metric = ScoredMean("top1_ade_m")
    metric.update(WINDOWS[0])
    metric.reset()
    metric.update(WINDOWS[1])
    assert torch.allclose(metric.compute(), per_agent(WINDOWS[1])["top1_ade_m"].mean())


def test_collection_holds_all_metrics_under_a_prefix():
    metrics = collection(prefix="val/")
    metrics.update(WINDOWS[0])
    expected = {f"val/{name}": value.mean() for name, value in per_agent(WINDOWS[0]).items()}
    result = metrics.compute()
    assert result.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(result[name], value, equal_nan=True), name


def test_metrics_that_agree_at_first_stay_apart():
    first = _scored(4, 2)
    same_best = replace(first, samples_m=first.samples_m[:1].expand(20, -1, -1, -1))
    metrics = collection(["min_ade_5_m", "min_ade_20_m"])
    for window in (same_best, WINDOWS[1]):
        metrics.update(window)
    result = metrics.compute()
    assert result["min_ade_20_m"] < result["min_ade_5_m"]


def test_state_survives_pickling():
    metric = ScoredMean("top1_ade_m")
    metric.update(WINDOWS[0])
    copy = pickle.loads(pickle.dumps(metric))
    copy.update(WINDOWS[1])
    assert copy.count == 8
    assert metric.count == 3


def test_an_unknown_name_is_refused():
    with pytest.raises(ForecastError, match="metric 'mystery' is unknown"):
        ScoredMean("mystery")
