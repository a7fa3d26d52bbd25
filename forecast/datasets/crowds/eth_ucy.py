"""The ETH and UCY pedestrian recordings (Pellegrini et al. 2009, Lerner et al. 2007).

Text files with one row ``frame  pedestrian  x_m  y_m`` per person and annotated frame; 10 frames
are 0.4 s. A folder holds ``all/`` (whole recordings) and ``train/``, ``val/`` (each recording cut
in time). There are no vehicles and no map.
"""

from __future__ import annotations

from pathlib import Path

from forecast.datasets.crowds.row_files import hash_of, read_rows_file
from forecast.errors import ForecastError
from forecast.scene import Scene

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

_FRAMES_PER_STEP = 10
_PARTS = {"train": "_train", "val": "_val", "all": ""}
"""Folder -> suffix of its file names."""


class EthUcySource:
    """Scenes of the ETH/UCY recordings.

    A whole recording has its own name (``biwi_eth``). Its parts are ``biwi_eth_train`` and
    ``biwi_eth_val``. A fold f has the splits ``f_train`` and ``f_val``, the parts of all recordings
    that f does not test on, and ``f_test``. The split ``all_recordings`` is all whole recordings.
    """

    name = "eth_ucy"
    protocol = "eth-ucy-v1"
    dt_s = 0.4

    def __init__(self, dataroot: Path | str) -> None:
        """Checks that every file exists.

        Args:
            dataroot: Folder that holds ``all/``, ``train/`` and ``val/``.

        Raises:
            ForecastError: A folder or file is missing.
        """
        self._files = {
            f"{recording}{suffix}": Path(dataroot) / folder / f"{recording}{suffix}.txt"
            for folder, suffix in reversed(_PARTS.items())
            for recording in RECORDINGS
        }
        for path in self._files.values():
            if not path.is_file():
                raise ForecastError(
                    f"{path}: no such file; give a folder with all/, train/ and val/ of the "
                    f"{len(RECORDINGS)} ETH/UCY recordings"
                )

    def fingerprint(self) -> str:
        """Returns a hash of all files."""
        return hash_of(self.protocol, self._files)

    def scene_names(self) -> list[str]:
        """Returns the names of the whole recordings, then of their parts."""
        return list(self._files)

    def splits(self) -> dict[str, list[str]]:
        """Returns the splits of the leave-one-out folds, and ``all_recordings``."""
        splits = {}
        for fold, tested in FOLDS.items():
            others = [recording for recording in RECORDINGS if recording not in tested]
            splits[f"{fold}_train"] = [f"{recording}_train" for recording in others]
            splits[f"{fold}_val"] = [f"{recording}_val" for recording in others]
            splits[f"{fold}_test"] = tested
        return splits | {"all_recordings": list(RECORDINGS)}

    def read(self, name: str) -> tuple[Scene, dict[str, int]]:
        """Reads one recording or part. No record is ever dropped.

        Nobody is seen at a step whose frame has no annotation.

        Raises:
            ForecastError: The name is unknown, or a row is wrong; the message names its line.
        """
        if name not in self._files:
            raise ForecastError(
                f"scene '{name}' is unknown; one of {', '.join(self._files)} is needed"
            )
        site = RECORDINGS[name.removesuffix("_train").removesuffix("_val")]
        rows = read_rows_file(self._files[name], _FRAMES_PER_STEP)
        return rows.scene(name, site, self.dt_s), {}
