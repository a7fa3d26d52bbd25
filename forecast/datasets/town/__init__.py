"""The simulated city: a nuScenes-format dataset that anyone can generate and share."""

from forecast.datasets.town.write import VERSION, write_town

__all__ = ["VERSION", "write_town"]
