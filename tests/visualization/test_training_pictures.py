from matplotlib.colors import to_hex

from forecast.datasets.store import prepare
from forecast.datasets.windows import WindowSpec
from forecast.graphs import GraphConfig
from forecast.graphs.datamodule import SourceConfig, WindowDataset
from forecast.models.forecaster import ForecasterConfig
from forecast.models.world_model import WorldModelConfig
from forecast.training.module import ForecastModule
from forecast.visualization.birds_eye import LIGHT
from forecast.visualization.training_pictures import BirdsEye
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
