"""Where the numbers come from."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from typing import Any

from forecast import __version__
from forecast.evaluation.result import EvaluationResult
from forecast.report.section import Block, Facts, Folded, Section, Text


def provenance(result: EvaluationResult) -> Section:
    """What is needed to get the same numbers again, and what the predictor was made from."""
    setting = result.setting
    facts = (
        ("Store", f"{setting.source}, {setting.fingerprint}"),
        ("Scenes", ", ".join(setting.scenes)),
        ("forecast", __version__),
        ("Python", platform.python_version()),
        ("Seed", str(setting.seed)),
        ("Command", result.command),
    )
    again = Text(
        "The same command on the same store gives the same metrics.json, byte for byte, on the "
        "same machine."
    )
    rows = Text(
        f"predictions.parquet beside this page holds the raw futures of {result.predictor} for the "
        "scored pedestrians, and the truth: its top-1, mean, best-of-K, joint and distribution "
        "scores can be computed again from it. Rows with sample = -1 and weight 0 are its single "
        "best guess where that is not among the samples; leave them out of minima. The floors' "
        "futures, the draws behind the selected scores, the ego and the map are not in it."
    )
    blocks = (Facts(facts), *_model(result.model), again, rows)
    return Section("provenance", "Provenance", blocks)


def _model(model: Mapping[str, Any] | None) -> tuple[Block, ...]:
    """Weights, configuration and what they were learnt from."""
    if model is None:
        return ()
    learnt, fitted = model["learnt_from"], model.get("calibrated_on", {})
    stores, on = _stores("Learnt from", learnt), _stores("Tubes calibrated on", fitted)
    facts = (
        ("Weights (SHA-256)", str(model["weights_sha256"])),
        ("Trained with forecast", str(model["version"])),
        *(stores or [("Learnt from", "not known")]),
        *on,
    )
    scenes = (
        Folded(f"Scenes {verb} in {path}", ", ".join(known["scenes"]))
        for verb, sources in (("learnt from", learnt), ("calibrated on", fitted))
        for path, known in sources.items()
    )
    config = Folded("Configuration", json.dumps(model["config"], indent=2, ensure_ascii=False))
    return Facts(facts), config, *scenes


def _stores(title: str, sources: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A fact for each store."""
    return [
        (title, f"{path}, {known['fingerprint']}: {len(known['scenes'])} scenes")
        for path, known in sources.items()
    ]
