from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from pytorch_lightning.loggers import TensorBoardLogger

from forecast.datasets.store import prepare
from forecast.datasets.windows import WindowSpec
from forecast.graphs import GraphConfig
from forecast.graphs.datamodule import SourceConfig, WindowDataset
from forecast.models.forecaster import ForecasterConfig
from forecast.models.world_model import WorldModelConfig
from forecast.training.module import ForecastModule
from forecast.visualization.birds_eye import LIGHT
from forecast.visualization.training_pictures import BirdsEye, CalibrationCurve
from tests.scenes import StreetSource


def test_one_legend_names_what_is_drawn(tmp_path) -> None:
    store = prepare(StreetSource(), tmp_path / "store")
    windows = WindowDataset(
        SourceConfig(str(store.path), "val"), WindowSpec(5, 4, 2), GraphConfig()
    )
    module = ForecastModule(ForecasterConfig(world_model=WorldModelConfig(hidden=16)))
    figure = BirdsEye(windows=2, samples=3).draw(module, windows)
    assert len(figure.axes) == 2
    (legend,) = figure.legends
    named = {
        text.get_text(): to_hex(line.get_color())
        for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
    }
    assert named["observed"] == LIGHT.history
    assert named["samples"] == LIGHT.sample
    assert named["best guess"] == LIGHT.mode
    assert named["ground truth"] == LIGHT.truth


class Logger(TensorBoardLogger):
    """Keeps figures instead of writing them."""

    def __init__(self) -> None:
        self.figures: list = []

    @property
    def experiment(self):
        return SimpleNamespace(add_figure=lambda *given, **step: self.figures.append(given))


def curve_of(*batches: SimpleNamespace, sanity: bool = False) -> list:
    """What a validation with some batches adds to TensorBoard."""
    logger = Logger()
    trainer = SimpleNamespace(
        logger=logger, sanity_checking=sanity, is_global_zero=True, global_step=7
    )
    callback = CalibrationCurve()
    for _ in range(2):  # a second validation begins anew
        callback.on_validation_epoch_start(trainer, None)
        for batch in batches:
            callback.on_validation_batch_end(trainer, None, {"scored": batch}, None, 0)
        callback.on_validation_epoch_end(trainer, None)
    return logger.figures


def drawn_samples(people: int, spread: float, seed: int = 0) -> SimpleNamespace:
    """Twenty standard normal samples and truths that spread by a factor more."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(20, people, 3, 2, generator=generator)
    truth = spread * torch.randn(people, 3, 2, generator=generator)
    return SimpleNamespace(samples_m=samples, truth_m=truth, weights=torch.full((20,), 0.05))


def test_the_curve_of_draws_of_the_truth_is_the_diagonal():
    figures = curve_of(drawn_samples(300, 1.0), drawn_samples(200, 1.0, seed=1))
    assert [name for name, _ in figures] == ["val/calibration"] * 2
    (axes,) = figures[1][1].axes
    assert axes.get_title() == "1500 people and steps"
    levels, shares = axes.get_lines()[1].get_data()
    np.testing.assert_allclose(levels, np.arange(1, 20) / 20)
    np.testing.assert_allclose(shares, levels, atol=0.04)


@pytest.mark.parametrize(("spread", "below"), [(2.0, True), (0.5, False)])
def test_a_curve_below_the_diagonal_is_that_of_too_narrow_samples(spread, below):
    (axes,) = curve_of(drawn_samples(300, spread))[0][1].axes
    levels, shares = axes.get_lines()[1].get_data()
    assert (np.mean(shares - levels) < -0.1) == below
    assert (np.mean(shares - levels) > 0.1) == (not below)


def test_nothing_is_drawn_of_a_sanity_check_or_of_samples_without_spread():
    assert curve_of(drawn_samples(10, 1.0), sanity=True) == []
    still = drawn_samples(10, 1.0)
    still.samples_m[:] = 0
    still.truth_m[:] = 0
    assert curve_of(still) == []
