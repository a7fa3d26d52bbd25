"""Official and custom splits of a dataset in nuScenes format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from forecast.datasets.nuscenes.rows import read_json
from forecast.errors import ForecastError

CUSTOM_SPLITS = "splits.json"
"""The devkit's file of custom splits, in the version folder: ``{split: [scene name, …]}``."""


def read_splits(folder: Path, scene_names: Iterable[str]) -> dict[str, list[str]]:
    """Reads the official splits and those of ``splits.json``, restricted to existing scenes.

    Args:
        folder: The version folder.
        scene_names: Names of the dataset's scenes.

    Returns:
        Scene names of each split that has at least one scene.

    Raises:
        ForecastError: ``splits.json`` is malformed, or it changes an official split.
    """
    from nuscenes.utils.splits import create_splits_scenes  # slow: it imports matplotlib

    present = set(scene_names)
    splits = _restricted(create_splits_scenes(), present)
    path = folder / CUSTOM_SPLITS
    if not path.exists():
        return splits
    custom = _restricted(read_json(path, dict[str, list[str]]), present)
    for name in custom.keys() & splits.keys():
        if set(custom[name]) != set(splits[name]):
            raise ForecastError(
                f"{path}: split '{name}' has other scenes than the official split of that name; "
                "rename it"
            )
    return {**splits, **custom}


def _restricted(splits: Mapping[str, list[str]], present: set[str]) -> dict[str, list[str]]:
    kept = {name: [s for s in scenes if s in present] for name, scenes in splits.items()}
    return {name: scenes for name, scenes in kept.items() if scenes}
