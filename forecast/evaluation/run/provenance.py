"""What a predictor was made from, and whether it has learnt from what it is scored on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from forecast.datasets.store import SceneStore
from forecast.evaluation.output.numbers import counted
from forecast.evaluation.result import EvaluationResult
from forecast.parallel import named
from forecast.scene import Predictor

_NAMES_SHOWN = 5


@runtime_checkable
class Traceable(Protocol):
    """A predictor that knows what it was made from."""

    def provenance(self) -> dict[str, Any]:
        """What the predictor is, in plain JSON values.

        Returns:
            ``weights_sha256``; ``config``, a nested dict; ``version`` of the package that trained
            it; ``learnt_from``, ``{"fingerprint": …, "scenes": [name, …]}`` by the store's path;
            ``calibrated_on``, the same of what its tubes were fitted on, if they were.
        """
        ...


def provenance_of(predictor: Predictor) -> dict[str, Any] | None:
    """What a predictor was made from, with a hash of its config; None if it does not know."""
    if not isinstance(predictor, Traceable):
        return None
    known = predictor.provenance()
    config = json.dumps(known["config"], sort_keys=True).encode()
    return {**known, "config_sha256": hashlib.sha256(config).hexdigest()}


def scenes_learnt_from(
    store: SceneStore, scenes: Iterable[str], model: Mapping[str, Any] | None
) -> tuple[str, ...]:
    """The scored scenes that were learnt from: themselves, a part of them, or their whole.

    Args:
        store: Where the scored scenes are.
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
    return tuple(store.known_from(scenes, learnt))


def not_scored(result: EvaluationResult) -> str:
    """Says which of the scenes asked for are not in the numbers; "" if all are."""
    failed = result.failed
    if not failed:
        return ""
    asked = len(failed) + len(result.setting.scenes)
    return f"{len(failed)} of {counted(asked, 'scene')} could not be scored: {named(failed)}"


def learnt_by_heart(result: EvaluationResult) -> str:
    """Says which of the scored scenes the predictor has learnt from; "" if none."""
    known, scored = result.scenes_learnt_from, len(result.setting.scenes)
    if not known:
        return ""
    names = ", ".join(known[:_NAMES_SHOWN]) + (", …" if len(known) > _NAMES_SHOWN else "")
    return (
        f"{result.predictor} has learnt from {len(known)} of the "
        f"{counted(scored, 'scored scene')} ({names}); these scores say how well it "
        "remembers, not how well it predicts"
    )
