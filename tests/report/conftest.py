import pytest

from forecast.datasets.store import SceneStore
from forecast.evaluation import EvaluationConfig, EvaluationResult, run_evaluation
from tests.streets import street_store


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> SceneStore:
    return street_store(tmp_path_factory.mktemp("streets") / "store")


def _run(store, folder, predictor: str) -> EvaluationResult:
    config = EvaluationConfig(store.path, "val", predictor, samples=10, horizon_s=2.0)
    return run_evaluation(config, folder / predictor, render=lambda result: {})


@pytest.fixture(scope="session")
def kalman(store, tmp_path_factory) -> EvaluationResult:
    """A predictor with samples, a mode and a spread, with all baselines."""
    return _run(store, tmp_path_factory.mktemp("runs"), "kalman")


@pytest.fixture(scope="session")
def constant(store, tmp_path_factory) -> EvaluationResult:
    """A predictor of a single future, with all baselines."""
    return _run(store, tmp_path_factory.mktemp("runs"), "constant_velocity")
