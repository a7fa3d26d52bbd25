"""Scenes from datasets in nuScenes format: the official ones, or a user's own."""

from forecast.datasets.nuscenes.source import NuScenesSource

__all__ = ["NuScenesSource"]
