"""The ETH and UCY pedestrian recordings (Pellegrini et al. 2009, Lerner et al. 2007).

Text files with one row ``frame  pedestrian  x_m  y_m`` per person and annotated frame; a step of
0.4 s is 10 frame numbers, or 6 in the original of biwi_eth. A folder holds ``all/`` (whole
recordings) and ``train/``, ``val/`` (each recording cut in time). Folders in other layouts are read
as `CrowdSource` does. There are no vehicles and no map.
"""

from __future__ import annotations

from pathlib import Path

from forecast.datasets.crowds.crowd import CrowdSource
from forecast.datasets.crowds.recordings import files_of_rows, find_recordings
from forecast.errors import ForecastError

RECORDINGS = {
    "biwi_eth": "eth",
    "biwi_hotel": "hotel",
    "crowds_zara01": "zara",
    "crowds_zara02": "zara",
    "crowds_zara03": "zara",
    "students001": "university",
    "students003": "university",
    "uni_examples": "university",
}
"""The recordings and their sites."""

FOLDS = {
    "eth": ["biwi_eth"],
    "hotel": ["biwi_hotel"],
    "univ": ["students001", "students003"],
    "zara1": ["crowds_zara01"],
    "zara2": ["crowds_zara02"],
}
"""The recordings that each leave-one-out fold is tested on."""

_PARTS = {"train": "_train", "val": "_val", "all": ""}
"""Folder -> suffix of its file names."""


class EthUcySource(CrowdSource):
    """Scenes of the ETH/UCY recordings.

    A whole recording has its own name (``biwi_eth``). Its parts are ``biwi_eth_train`` and
    ``biwi_eth_val``. A fold f has the splits ``f_train`` and ``f_val``, the parts of all recordings
    that f does not test on, and ``f_test``. The split ``all_recordings`` is all whole recordings.
    """

    name = "eth_ucy"

    def _find(self, dataroot: Path) -> tuple[dict[str, Path], dict[str, list[str]]]:
        files = {
            f"{recording}{suffix}": dataroot / folder / f"{recording}{suffix}.txt"
            for folder, suffix in reversed(_PARTS.items())
            for recording in RECORDINGS
        }
        missing = [path for path in files.values() if not path.is_file()]
        other = len(missing) == len(files) or (dataroot / "test").is_dir()
        if other and files_of_rows(dataroot):
            return find_recordings(dataroot)
        if missing:
            raise ForecastError(
                f"{missing[0]}: no such file; give a folder with all/, train/ and val/ of the "
                f"{len(RECORDINGS)} ETH/UCY recordings, or in another layout of --source crowd"
            )
        return files, _fold_splits()

    def _location(self, name: str) -> str:
        recording = Path(name).name.removesuffix("_train").removesuffix("_val")
        return RECORDINGS.get(recording, recording)


def _fold_splits() -> dict[str, list[str]]:
    """The splits of the leave-one-out folds, and ``all_recordings``."""
    splits = {}
    for fold, tested in FOLDS.items():
        others = [recording for recording in RECORDINGS if recording not in tested]
        splits[f"{fold}_train"] = [f"{recording}_train" for recording in others]
        splits[f"{fold}_val"] = [f"{recording}_val" for recording in others]
        splits[f"{fold}_test"] = tested
    return splits | {"all_recordings": list(RECORDINGS)}
