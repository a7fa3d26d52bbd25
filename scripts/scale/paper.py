"""The cost of much more driving, extrapolated from the measured costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scale.reading import SCENES, Reading
from scale.storing import Storing
from scale.training import Training

HOURS = (1_000, 1_000_000)
CORES_PER_MACHINE, GPUS_PER_MACHINE, DAY_H = 64, 8, 24
GPU_FLOPS, GPU_SHARE, LAUNCH_S, GPU_BATCH = 67e12, 0.1, 5e-6, 512
"""Single precision of an H200 by its data sheet, the assumed share of it for small matrices, the
time to start an operator, and windows per batch."""
_MACHINES = (f" of {CORES_PER_MACHINE} cores", f" of {GPUS_PER_MACHINE} GPUs")


@dataclass(frozen=True)
class PerHour:
    """The cost of an hour of driving.

    Attributes:
        scenes: Scenes.
        windows: Training windows.
        tables_gb: Tables as nuScenes has them.
        store_gb: A store, maps included.
        manifest_gb: Its ``store.json``.
        prepare_h: Core-hours of `prepare`.
        index_h: Core-hours to find the windows, for every training process at its start.
        data_h: Core-hours of the data path in an epoch.
        step_h: Core-hours of the training steps in an epoch.
        gpu_h: The same in hours of a GPU, extrapolated.
    """

    scenes: float
    windows: float
    tables_gb: float
    store_gb: float
    manifest_gb: float
    prepare_h: float
    index_h: float
    data_h: float
    step_h: float
    gpu_h: float


def gpu_s(training: Training) -> float:
    """Time of a window on a GPU: the larger of its arithmetic and of starting its operators."""
    arithmetic = training.flop / (GPU_SHARE * GPU_FLOPS)
    return max(arithmetic, training.operations * LAUNCH_S / GPU_BATCH)


def per_hour(reading: Reading, storing: Storing, training: Training) -> PerHour:
    """Scales the measured costs to an hour of driving."""
    store = reading.store
    hours = store.counts["steps"] * store.dt_s / 3600
    learnt = len(store.scenes_of("town_train"))
    windows = training.windows * len(store) / learnt
    prepare_s = reading.by_scenes[SCENES]
    return PerHour(
        scenes=len(store) / hours,
        windows=windows / hours,
        tables_gb=reading.tables_bytes / 1e9 / hours,
        store_gb=storing.bytes / 1e9 / hours,
        manifest_gb=(store.path / "store.json").stat().st_size / 1e9 / hours,
        prepare_h=prepare_s / 3600 / hours,
        index_h=training.index_s * len(store) / learnt / 3600 / hours,
        data_h=windows * training.data_s / 3600 / hours,
        step_h=windows * training.step_s / 3600 / hours,
        gpu_h=windows * gpu_s(training) / 3600 / hours,
    )


def table(reading: Reading, storing: Storing, training: Training) -> str:
    """The Markdown table and the derivation of its GPU-hours."""
    each = per_hour(reading, storing, training)
    rows = {
        "scenes of 20 s": (each.scenes, ""),
        "windows": (each.windows, ""),
        "tables, as nuScenes has them": (each.tables_gb, " GB"),
        "store": (each.store_gb, " GB"),
        "its `store.json`": (each.manifest_gb, " GB"),
        "`prepare`": (each.prepare_h, " core-hours"),
        "in a day": (each.prepare_h / CORES_PER_MACHINE / DAY_H, _MACHINES[0]),
        "find the windows, in every training process": (each.index_h, " hours"),
        "an epoch, data path": (each.data_h, " core-hours"),
        "an epoch, steps on processors": (each.step_h, " core-hours"),
        "an epoch, steps on GPUs (extrapolated)": (each.gpu_h, " GPU-hours"),
        "one such epoch a day": (each.gpu_h / GPUS_PER_MACHINE / DAY_H, _MACHINES[1]),
    }
    heads = " | ".join(f"{hours:,} h of driving" for hours in HOURS)
    lines = [f"| on paper | {heads} |", "|---|" + "---|" * len(HOURS)]
    for name, (value, unit) in rows.items():
        cells = " | ".join(_amount(value * hours, unit) for hours in HOURS)
        lines.append(f"| {name} | {cells} |")
    return "\n".join([*lines, "", _how(training)])


def _how(training: Training) -> str:
    arithmetic = training.flop / (GPU_SHARE * GPU_FLOPS)
    starting = training.operations * LAUNCH_S / GPU_BATCH
    seconds = gpu_s(training)
    return (
        "No GPU was measured. A window takes "
        f"{training.flop / 1e9:.1f} GFLOP in matrix products; at {GPU_SHARE:.0%} of "
        f"{GPU_FLOPS / 1e12:.0f} TFLOP/s that is {1e3 * arithmetic:.2f} ms. A step starts "
        f"{training.operations:,} operators; at {LAUNCH_S * 1e6:.0f} µs each and {GPU_BATCH} "
        f"windows that is {1e3 * starting:.2f} ms a window. The larger counts: "
        f"{1 / seconds:,.0f} windows/s, fed by {training.data_s / seconds:.0f} cores."
    )


def _short(value: float) -> str:
    """Two significant digits."""
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 10 else f"{value:.2g}"


def _amount(value: float, unit: str) -> str:
    """A value with its unit; machines are whole, and thousands of gigabytes are terabytes."""
    if unit in _MACHINES:
        return f"{math.ceil(value):,}{unit}"
    if unit == " GB" and value >= 1000:
        return f"{_short(value / 1000)} TB"
    return _short(value) + unit
