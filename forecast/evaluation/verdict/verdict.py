"""The verdict on a whole evaluation and its parts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from forecast.evaluation.output.numbers import NO_INTERVAL, counted, interval, number, signed
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.run.provenance import not_scored, train_test_leakage
from forecast.evaluation.scoring.statistics import Estimate, scene_means
from forecast.evaluation.verdict.acceptance import FAIL, NOT_DECIDED, PASS
from forecast.models.metrics.registry import METRICS

GOOD, UNDECIDED, BAD = "good", "open", "bad"

WORDS = {BAD: "Not acceptable", UNDECIDED: "Not decided", GOOD: "Acceptable"}
"""The verdict by tone; the whole evaluation gets the worst tone of its parts."""

COVERAGE_MARGIN = 0.05
"""Coverage within this of its level is good."""

RATE_MARGIN = 0.01
"""Collision rates that exceed the ground truth's by no more than this are good."""

_COVERAGES = {"coverage_90": "the 90 % regions", "tube_coverage_90": "the 90 % tubes"}
_RATES = {"collision_rate_pedestrians": "with pedestrians", "collision_rate_ego": "with the ego"}


@dataclass(frozen=True)
class VerdictPart:
    """The verdict on one aspect of an evaluation.

    Attributes:
        name: The aspect.
        tone: `GOOD`, `UNDECIDED` or `BAD`.
        words: The reason, as text.
    """

    name: str
    tone: str
    words: str


@dataclass(frozen=True)
class Verdict:
    """The verdict on a whole evaluation.

    Attributes:
        parts: Its aspects.
    """

    parts: tuple[VerdictPart, ...]

    @property
    def tone(self) -> str:
        """The worst tone of the parts."""
        return _worst([part.tone for part in self.parts])

    @property
    def sentence(self) -> str:
        """The verdict as text, with the aspects that cause it."""
        why = [part.name for part in self.parts if part.tone == self.tone != GOOD]
        return f"{WORDS[self.tone]}{': ' if why else ''}{', '.join(why)}."


def verdict_of(result: EvaluationResult) -> Verdict:
    """The verdict from criteria, calibration, collisions, the audit and the scenes scored."""
    parts = (_criteria(result), _calibration(result), _collisions(result), _audit(result))
    return Verdict((*parts, *_validity(result)))


def _worst(tones: list[str]) -> str:
    return next((tone for tone in (BAD, UNDECIDED) if tone in tones), GOOD)


def _criteria(result: EvaluationResult) -> VerdictPart:
    counts = Counter(outcome.verdict for outcome in result.outcomes)
    few = f", {counts[NOT_DECIDED]} could not be decided" if counts[NOT_DECIDED] else ""
    whose = "" if result.acceptance else " (the package's example)"
    words = f"{counts[PASS]} passed, {counts[FAIL]} failed{few}{whose}"
    tone = BAD if counts[FAIL] else UNDECIDED if few or not counts else GOOD
    return VerdictPart("acceptance criteria", tone, words)


def _calibration(result: EvaluationResult) -> VerdictPart:
    """Whether regions and tubes hold the truth as often as stated, over all rows."""
    stated = {name: each for name, each in result.estimates(names=_COVERAGES).items() if each.n}
    if not stated:
        return VerdictPart("calibration", UNDECIDED, "no spread of futures is stated")
    scored = len(result.rows)
    tones = [_near(found, METRICS[name].target or 0.0) for name, found in stated.items()]
    # What is stated at some prediction times says nothing of the others.
    tones += [UNDECIDED for found in stated.values() if found.n < scored]
    words = [
        f"{_COVERAGES[name]} hold {_found(found)}{_of_some(found, scored)}"
        for name, found in stated.items()
    ]
    return VerdictPart("calibration", _worst(tones), "; ".join(words))


def _of_some(found: Estimate, scored: int) -> str:
    """How many of the rows a mean is of, as text; "" for all."""
    times = counted(scored, "prediction time")
    return f", stated at {found.n} of {times}" if found.n < scored else ""


def _near(found: Estimate, level: float) -> str:
    low, high = level - COVERAGE_MARGIN, level + COVERAGE_MARGIN
    if np.isnan(found.low):
        return UNDECIDED
    if found.high < low or found.low > high:
        return BAD
    return GOOD if low <= found.low and found.high <= high else UNDECIDED


def _collisions(result: EvaluationResult) -> VerdictPart:
    """Whether people collide more often than in the ground truth, over all rows."""
    excess = {name: result.values[name] - result.ground_truth[name] for name in _RATES}
    known = {n: e for n, e in scene_means(excess, result.rows.scene_ids).items() if e.n}
    if not known:
        return VerdictPart("collisions", UNDECIDED, "not known")
    tones = [_no_more(found) for found in known.values()]
    words = [f"{_RATES[name]} {_found(found, sign=True)}" for name, found in known.items()]
    return VerdictPart(
        "collisions", _worst(tones), f"beyond the recorded world's: {'; '.join(words)}"
    )


def _no_more(found: Estimate) -> str:
    if np.isnan(found.low):
        return UNDECIDED
    return BAD if found.low > RATE_MARGIN else GOOD if found.high <= RATE_MARGIN else UNDECIDED


def _found(found: Estimate, sign: bool = False) -> str:
    value = signed(found.value) if sign else number(found.value)
    return f"{value} ({interval(found, signed=sign) or NO_INTERVAL})"


def _audit(result: EvaluationResult) -> VerdictPart:
    """Broken guarantees by their words, and the number of required ones that were not tested."""
    if not result.findings:
        return VerdictPart("audit", UNDECIDED, "predictions from a file cannot be audited")
    broken = [each.guarantee for each in result.findings if each.held is False]
    untried = sum(each.held is None and each.guarantee.required for each in result.findings)
    said = [f"BROKEN ({'required' if g.required else 'wished'}): {g.words}" for g in broken]
    said += [f"{untried} required guarantees could not be tried"] if untried else []
    tone = BAD if any(g.required for g in broken) else UNDECIDED if untried else GOOD
    return VerdictPart("audit", tone, "; ".join(said) or "every guarantee holds")


def _validity(result: EvaluationResult) -> list[VerdictPart]:
    """Reasons why the numbers do not mean what they seem to: missing scenes, leakage."""
    flags = [flag for flag in (not_scored(result), train_test_leakage(result)) if flag]
    return [VerdictPart("validity", UNDECIDED, "; ".join(flags))] if flags else []
