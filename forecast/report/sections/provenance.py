"""Where the numbers come from."""

from __future__ import annotations

import platform

from forecast import __version__
from forecast.evaluation.result import EvaluationResult
from forecast.report.section import Facts, Section, Text


def provenance(result: EvaluationResult) -> Section:
    """What is needed to get the same numbers again."""
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
        "same machine; predictions.parquet beside this page holds every future scored here."
    )
    return Section("provenance", "Provenance", (Facts(facts), again))
