"""``forecast audit``: tests the guarantees of a predictor; a table and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from forecast.datasets.store import SceneStore
from forecast.datasets.windows import WindowSpec
from forecast.errors import ForecastError, require
from forecast.evaluation.audit.guarantees import CHECKS, Finding, audit
from forecast.evaluation.output.numbers import counted
from forecast.evaluation.run.predictors import build
from forecast.evaluation.scoring.subject import Subject

EVERY = "every"
"""Demands every guarantee; see `run_audit`."""


def run_audit(
    *,
    predictor: str,
    store: Path,
    split: str,
    windows: int,
    seed: int,
    also_required: str | None = None,
) -> None:
    """Audits a predictor and prints which guarantees hold.

    Args:
        predictor: As for ``forecast evaluate``; ``package.module:name`` for one's own.
        store: A store that ``forecast prepare`` wrote.
        split: A split of the store, ``all``, or a file of scene names.
        windows: Number of windows to test.
        seed: Seed of everything random.
        also_required: Names of wished guarantees that are required here, such as
            ``frame,placebo``, or `EVERY`; None: none.

    Raises:
        ForecastError: A required guarantee does not hold, or there is nothing to audit.
    """
    required = _required(also_required)
    if windows < 1:
        raise ForecastError(f"windows is {windows}; at least 1 is needed")
    opened = SceneStore.open(store)
    scenes = opened.scenes_of(split)
    spec = WindowSpec.of_protocol(opened.protocol, opened.dt_s)
    subject = build(predictor, opened, split, spec, 20, seed)
    if Subject.of(subject).stored is not None:
        raise ForecastError(
            f"{predictor}: a file cannot be repeated with changed scenes; give a model to audit"
        )
    findings = audit(subject, opened, scenes, spec, seed, windows)
    print(f"{subject.name} on {opened.path}, {split}")
    print(table(findings))
    held = {each.guarantee.id: each.held for each in findings}
    if untried := [name for name in required if held[name] is None and also_required]:
        print(f"required but not tried: {', '.join(untried)}; no window allows it")
    if broken := [name for name in required if held[name] is False]:
        raise ForecastError(f"{subject.name}: required guarantees do not hold: {', '.join(broken)}")


def _required(more: str | None) -> list[str]:
    """The guarantees that are always required and those that are named."""
    known = {guarantee.id: guarantee.required for guarantee, _ in CHECKS}
    words = [] if more is None else [name.strip() for name in more.split(",")]
    named = list(known) if more == EVERY else words
    for name in named:
        one = f"{EVERY} or one or more of {', '.join(known)}, with commas,"
        require(name in known, "require", f"'{name}'", one)
    return [name for name, always in known.items() if always or name in named]


def table(findings: Sequence[Finding]) -> str:
    """One line for each guarantee."""
    lines = []
    for finding in findings:
        guarantee = finding.guarantee
        kind = "required" if guarantee.required else "wished"
        lines.append(
            f"{outcome(finding):<10} {kind:<9} {guarantee.id:<8} {guarantee.words}{detail(finding)}"
        )
    return "\n".join(lines)


def outcome(finding: Finding) -> str:
    """Whether the guarantee held, as text."""
    return {True: "holds", False: "BROKEN", None: "not tried"}[finding.held]


def detail(finding: Finding) -> str:
    """The number of windows; the largest difference and its place unless it held exactly."""
    if finding.held is None:
        return ""
    count = f"; {counted(finding.windows, 'window')}"
    if finding.worst_m == 0:
        return count
    off = "no answer" if finding.worst_m == float("inf") else f"up to {finding.worst_m:.3g} m off"
    return f"{count}, {off}{f', {finding.note}' if finding.note else ''}"
