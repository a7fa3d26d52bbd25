"""What produced the numbers: data, software, weights and the command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from forecast.evaluation.output.numbers import counted
from forecast.evaluation.output.writers import own_code_data
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.run.environment import Environment
from forecast.evaluation.run.provenance import changed_predictions
from forecast.report.section import Block, Facts, Folded, Section, Text


def provenance(result: EvaluationResult) -> Section:
    """What is needed to get the same numbers again, and what the predictor was made from."""
    setting, changed = result.setting, changed_predictions(result)
    digest = result.predictions_sha256
    facts = (
        ("Store", f"{setting.source}, {setting.fingerprint}"),
        ("Samples K", str(setting.samples)),
        ("Horizon", f"{setting.horizon_s:g} s"),
        ("History", f"at most {setting.history_s:g} s, shorter ones masked"),
        ("Seed", str(setting.seed)),
        ("Command", result.command),
        ("Acceptance criteria (SHA-256)", result.acceptance_sha256),
        *((("File of predictions", changed),) if changed else ()),
        *((("File of predictions (SHA-256)", digest),) if digest else ()),
        *_own_code(result),
    )
    blocks = (
        Facts(facts),
        Folded("Scenes", ", ".join(setting.scenes)),
        *_environment(result.environment),
        *_model(result.model),
        Text(_AGAIN),
        Text(_ROWS),
    )
    data = {
        "store_fingerprint": setting.fingerprint,
        "command": result.command,
        "environment": None if result.environment is None else asdict(result.environment),
        "model": result.model,
        "predictions_file": result.predictions_file or None,
        "predictions_sha256": digest or None,
        **own_code_data(result),
    }
    return Section("provenance", "Provenance", blocks, data)


_AGAIN = (
    "The same command on the same store gives the same metrics.json and rows.parquet, byte for "
    "byte, on the same machine. Latency and memory are measured anew."
)
_ROWS = (
    "predictions.parquet beside this page holds the raw futures of the predictor for the scored "
    "pedestrians, and the truth: its top-1, mean, best-of-K, joint and distribution scores can be "
    "computed again from it. Rows with sample = -1 and weight 0 are its single best guess where "
    "that is not among the samples; leave them out of minima. rows.parquet holds, for the "
    "predictor and every baseline, one row for every pedestrian and prediction time, with its "
    "slices and every metric. The baselines' futures, the modes, the ego and the map are in "
    "neither."
)


def _own_code(result: EvaluationResult) -> list[tuple[str, str]]:
    """The files of the user's own predictor and metrics."""
    code = result.own_predictor
    predictor = [] if code is None else [("Predictor of one's own", str(code))]
    metrics = [("Metric of one's own", str(own.code)) for own in result.own_metrics.values()]
    return predictor + metrics


def _environment(environment: Environment | None) -> tuple[Block, ...]:
    """Software and hashes of the data."""
    if environment is None:
        return ()
    commit = environment.commit or "not a git checkout"
    facts = (
        ("forecast", environment.version),
        ("Commit", f"{commit}{', with changes' if environment.dirty else ''}"),
        ("Python", f"{environment.python}, {environment.machine}"),
        ("Tables (SHA-256)", environment.tables_sha256),
        ("Maps (SHA-256)", environment.maps_sha256),
        ("Split (SHA-256)", environment.split_sha256),
    )
    return Facts(facts), Folded("Installed packages", "\n".join(environment.lock))


def _model(model: Mapping[str, Any] | None) -> tuple[Block, ...]:
    """Weights, configuration and training scenes."""
    if model is None:
        return ()
    learnt, fitted = model["learnt_from"], model.get("calibrated_on", {})
    stores, on = _stores("Learnt from", learnt), _stores("Tubes calibrated on", fitted)
    facts = (
        ("Weights (SHA-256)", str(model["weights_sha256"])),
        ("Configuration (SHA-256)", str(model["config_sha256"])),
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
        (title, f"{path}, {known['fingerprint']}: {counted(len(known['scenes']), 'scene')}")
        for path, known in sources.items()
    ]
