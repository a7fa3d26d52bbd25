"""One word on an evaluation, and what it rests on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from forecast.evaluation.output.numbers import interval, number, signed
from forecast.evaluation.result import EvaluationResult
from forecast.evaluation.run.provenance import learnt_by_heart, not_scored
from forecast.evaluation.scoring.statistics import Estimate, scene_means
from forecast.evaluation.verdict.acceptance import FAIL, PASS, TOO_FEW
from forecast.models.metrics.registry import METRICS

GOOD, UNDECIDED, BAD = "good", "open", "bad"

WORDS = {BAD: "Not acceptable", UNDECIDED: "Not decided", GOOD: "Acceptable"}
"""What is said of the whole: the worst of its parts."""

COVERAGE_MARGIN = 0.05
"""Coverage within this of its level is good."""

RATE_MARGIN = 0.01
"""Collisions more frequent than the recorded world's by no more than this are good."""

_COVERAGES = {"coverage_90": "the 90 % regions", "tube_coverage_90": "the 90 % tubes"}
_RATES = {"collision_rate_pedestrians": "with pedestrians", "collision_rate_ego": "with the ego"}


@dataclass(frozen=True)
class Part:
    """What one side of the evaluation says.

    Attributes:
        name: Which side.
        tone: `GOOD`, `UNDECIDED` or `BAD`.
        words: Why, in a sentence.
    """

    name: str
    tone: str
    words: str


@dataclass(frozen=True)
class Judgement:
    """What is said of the whole.

    Attributes:
        parts: What it rests on.
    """

    parts: tuple[Part, ...]

    @property
    def tone(self) -> str:
        """The worst tone of the parts."""
        return _worst([part.tone for part in self.parts])

    @property
    def sentence(self) -> str:
        """The word, and the parts that keep it from being a better one."""
        why = [part.name for part in self.parts if part.tone == self.tone != GOOD]
        return f"{WORDS[self.tone]}{': ' if why else ''}{', '.join(why)}."


def judge_result(result: EvaluationResult) -> Judgement:
    """Judges an evaluation by criteria, calibration, collisions, audit and what it is of."""
    parts = (_criteria(result), _calibration(result), _collisions(result), _audit(result))
    return Judgement((*parts, *_validity(result)))


def _worst(tones: list[str]) -> str:
    return next((tone for tone in (BAD, UNDECIDED) if tone in tones), GOOD)


def _criteria(result: EvaluationResult) -> Part:
    counts = Counter(outcome.verdict for outcome in result.outcomes)
    few = f", {counts[TOO_FEW]} could not be decided" if counts[TOO_FEW] else ""
    whose = "" if result.acceptance else " (the package's example)"
    words = f"{counts[PASS]} passed, {counts[FAIL]} failed{few}{whose}"
    tone = BAD if counts[FAIL] else UNDECIDED if few or not counts else GOOD
    return Part("acceptance criteria", tone, words)


def _calibration(result: EvaluationResult) -> Part:
    """Whether regions and tubes hold the truth as often as they say, all origins."""
    columns = {name: result.values[name] for name in _COVERAGES}
    stated = {n: e for n, e in scene_means(columns, result.rows.scene_ids).items() if e.n}
    if not stated:
        return Part("calibration", UNDECIDED, "no spread of futures is stated")
    tones = [_near(found, METRICS[name].target or 0.0) for name, found in stated.items()]
    words = [f"{_COVERAGES[name]} hold {_found(found)}" for name, found in stated.items()]
    return Part("calibration", _worst(tones), "; ".join(words))


def _near(found: Estimate, level: float) -> str:
    low, high = level - COVERAGE_MARGIN, level + COVERAGE_MARGIN
    if np.isnan(found.low):
        return UNDECIDED
    if found.high < low or found.low > high:
        return BAD
    return GOOD if low <= found.low and found.high <= high else UNDECIDED


def _collisions(result: EvaluationResult) -> Part:
    """Whether people collide more often than in the recorded world, all origins."""
    excess = {name: result.values[name] - result.recorded[name] for name in _RATES}
    known = {n: e for n, e in scene_means(excess, result.rows.scene_ids).items() if e.n}
    if not known:
        return Part("collisions", UNDECIDED, "not known")
    tones = [_no_more(found) for found in known.values()]
    words = [f"{_RATES[name]} {_found(found, sign=True)}" for name, found in known.items()]
    return Part("collisions", _worst(tones), f"beyond the recorded world's: {'; '.join(words)}")


def _no_more(found: Estimate) -> str:
    if np.isnan(found.low):
        return UNDECIDED
    return BAD if found.low > RATE_MARGIN else GOOD if found.high <= RATE_MARGIN else UNDECIDED


def _found(found: Estimate, sign: bool = False) -> str:
    value = signed(found.value) if sign else number(found.value)
    return f"{value} ({interval(found, signed=sign) or 'too few scenes for an interval'})"


def _audit(result: EvaluationResult) -> Part:
    """Broken guarantees by their words; required ones that could not be tried are counted."""
    if not result.findings:
        return Part("audit", UNDECIDED, "predictions from a file cannot be audited")
    broken = [each.guarantee for each in result.findings if each.held is False]
    untried = sum(each.held is None and each.guarantee.required for each in result.findings)
    said = [f"BROKEN ({'required' if g.required else 'wished'}): {g.words}" for g in broken]
    said += [f"{untried} required guarantees could not be tried"] if untried else []
    tone = BAD if any(g.required for g in broken) else UNDECIDED if untried else GOOD
    return Part("audit", tone, "; ".join(said) or "every guarantee holds")


def _validity(result: EvaluationResult) -> list[Part]:
    """Why the numbers are not of what they seem to be of."""
    flags = [flag for flag in (not_scored(result), learnt_by_heart(result)) if flag]
    return [Part("validity", UNDECIDED, "; ".join(flags))] if flags else []
