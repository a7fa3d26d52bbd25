"""What a predictor was made from, and whether it was trained on the scored scenes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from forecast.datasets.store import SceneStore
from forecast.evaluation.output.numbers import counted
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.scoring.subject import Subject
from forecast.models.baselines import NamedPredictor
from forecast.parallel import named

_NAMES_SHOWN = 5


def provenance_of(predictor: NamedPredictor) -> dict[str, Any] | None:
    """What a predictor was made from, with a hash of its config; None if it does not know."""
    known = Subject.of(predictor).provenance()
    if known is None:
        return None
    config = json.dumps(known["config"], sort_keys=True).encode()
    return {**known, "config_sha256": hashlib.sha256(config).hexdigest()}


def counts_of_file(predictor: NamedPredictor) -> dict[str, int]:
    """See `RecordedAnswers.counts`; empty for a predictor without stored predictions."""
    stored = Subject.of(predictor).stored
    return {} if stored is None else dict(stored.counts)


def hash_of_file(predictor: NamedPredictor) -> str:
    """Hash of the file that a predictor was read from; "" for others."""
    return str(getattr(Subject.of(predictor).stored, "sha256", ""))


def scenes_learnt_from(
    store: SceneStore, scenes: Iterable[str], model: Mapping[str, Any] | None
) -> tuple[str, ...]:
    """The scored scenes that overlap training scenes: the same, a part or the whole of one.

    Args:
        store: The store of the scored scenes.
        scenes: Their names.
        model: What `Traceable.provenance` says, if anything.

    Returns:
        Names of scored scenes, in their order; stores of another fingerprint do not count.
    """
    model = model or {}
    sources = [*model.get("learnt_from", {}).values(), *model.get("calibrated_on", {}).values()]
    learnt = [
        name
        for known in sources
        if known["fingerprint"] == store.fingerprint
        for name in known["scenes"]
    ]
    return tuple(store.leaked_scenes(scenes, learnt))


def not_scored(result: EvaluationResult) -> str:
    """A sentence on the scenes that could not be scored; "" if there are none."""
    failed = result.failed
    if not failed:
        return ""
    wanted = len(failed) + len(result.setting.scenes)
    return f"{len(failed)} of {counted(wanted, 'scene')} could not be scored: {named(failed)}"


def train_test_leakage(result: EvaluationResult) -> str:
    """A sentence on the scored scenes that the predictor was trained on; "" if there are none."""
    known, scored = result.scenes_learnt_from, len(result.setting.scenes)
    if not known:
        return ""
    names = ", ".join(known[:_NAMES_SHOWN]) + (", …" if len(known) > _NAMES_SHOWN else "")
    return (
        f"{result.predictor} has learnt from {len(known)} of the "
        f"{counted(scored, 'scored scene')} ({names}); these scores say how well it "
        "remembers, not how well it predicts"
    )


def changed_predictions(result: EvaluationResult) -> str:
    """A sentence on the predictions of a file that were skipped or changed; "" if none was."""
    words = {
        "skipped": "in scenes that are not scored, skipped",
        "renormalised": "whose weights did not sum to 1, divided by their sum",
        "padded": "with fewer samples than others of their window, scored with their own alone: "
        "joint metrics are not defined, nor best-of-k ones for fewer than k",
    }
    counts = result.predictions_file
    parts = [f"{counts[key]} {what}" for key, what in words.items() if counts.get(key)]
    if not parts:
        return ""
    return f"{counted(counts['read'], 'prediction')} of the file read; {'; '.join(parts)}"
