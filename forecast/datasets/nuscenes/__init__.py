"""Scenes from datasets in nuScenes format: the official ones, or custom ones."""

from forecast.datasets.nuscenes.source import NuScenesSource

__all__ = ["NuScenesSource"]
