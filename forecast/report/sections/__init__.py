"""The sections of the report, in their order. Each is a function of the result."""

from collections.abc import Callable

from forecast.evaluation.result import EvaluationResult
from forecast.report.section import Section
from forecast.report.sections.calibration import calibration
from forecast.report.sections.causality import causality
from forecast.report.sections.collisions import collisions
from forecast.report.sections.cost import cost
from forecast.report.sections.criticality import criticality
from forecast.report.sections.gallery import gallery
from forecast.report.sections.headline import headline
from forecast.report.sections.horizon import horizon
from forecast.report.sections.key_figures import key_figures
from forecast.report.sections.limitations import limitations
from forecast.report.sections.protocol import protocol
from forecast.report.sections.provenance import provenance
from forecast.report.sections.scores import scores
from forecast.report.sections.slices import slices
from forecast.report.sections.stability import stability
from forecast.report.sections.triggering import triggering

SECTIONS: tuple[Callable[[EvaluationResult], Section], ...] = (
    headline,
    key_figures,
    triggering,
    protocol,
    scores,
    horizon,
    slices,
    collisions,
    criticality,
    calibration,
    stability,
    causality,
    cost,
    gallery,
    limitations,
    provenance,
)
"""To add one, write its file and list it here."""
