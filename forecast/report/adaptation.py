"""What ``forecast adapt`` did as one self-contained HTML page, and as JSON of the same content."""

from __future__ import annotations

from forecast.adaptation.ledger import Ledger
from forecast.evaluation.output.folder import DOCUMENT_FILE, REPORT_FILE
from forecast.report.document import ADAPTATION_FORMAT, document
from forecast.report.page import page
from forecast.report.sections.adaptation import adaptation


def render_adaptation(ledger: Ledger) -> dict[str, str]:
    """The files of the page: ``report.html`` and ``report.json``, by name."""
    sections = [adaptation(ledger)]
    title = f"Adaptation of {ledger.folder.stem}"
    return {
        REPORT_FILE: page(title, sections),
        DOCUMENT_FILE: document(title, sections, ADAPTATION_FORMAT),
    }
