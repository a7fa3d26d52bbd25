"""``forecast fit``, ``validate`` and ``test``: Lightning's command line on our module and data."""

from __future__ import annotations

from collections.abc import Sequence

from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from forecast.graphs.datamodule import ForecastDataModule
from forecast.training.module import ForecastModule


class ForecastCLI(LightningCLI):
    """LightningCLI that builds the graphs the model expects."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Takes the graph's ranges from the model's configuration."""
        parser.link_arguments(
            "model",
            "data.graph",
            compute_fn=lambda model: model.config.graph,
            apply_on="instantiate",
        )


def main(command: str, args: Sequence[str]) -> None:
    """Runs a command of the Lightning trainer.

    Args:
        command: ``fit``, ``validate`` or ``test``.
        args: What follows it on the command line, such as ``--config configs/nuscenes.yaml``.
    """
    ForecastCLI(
        ForecastModule,
        ForecastDataModule,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        auto_configure_optimizers=False,
        args=[command, *args],
    )
