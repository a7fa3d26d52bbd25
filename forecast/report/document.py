"""The report as JSON: the text of the page, and its numbers under stable names."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from forecast.evaluation.scoring.statistics import Estimate
from forecast.report.section import (
    Block,
    Facts,
    Folded,
    FoldedTables,
    Gallery,
    Section,
    Table,
    Text,
)

FORMAT = "forecast-report-1"
COMPARISON_FORMAT = "forecast-compare-1"
ADAPTATION_FORMAT = "forecast-adaptation-1"
"""Versions of the documents; raised when a name changes its meaning."""


def document(title: str, sections: Sequence[Section], form: str = FORMAT) -> str:
    """The content of ``report.json``; ``sections.<id>.data`` holds exact numbers.

    NaN (not defined) is null. Infinity, which only times can be, is the string ``"inf"``.
    """
    content = {
        "format": form,
        "title": title,
        "sections": {
            section.id: {
                "title": section.title,
                "data": plain(section.data),
                "blocks": [_block(block) for block in section.blocks],
            }
            for section in sections
        },
    }
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def plain(value: Any) -> Any:
    """Converts numbers, texts, sequences and mappings to JSON types."""
    if isinstance(value, Estimate):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, bool):
        return value
    if isinstance(value, Sequence):
        return [plain(part) for part in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf"
    return value


def _block(block: Block) -> dict[str, Any]:
    """The text of a block; drawings are only in the page."""
    if isinstance(block, Text):
        return {"kind": block.kind, "text": block.text, "tone": block.tone}
    if isinstance(block, Facts):
        return {"kind": block.kind, "facts": dict(block.facts)}
    if isinstance(block, Folded):
        return {"kind": block.kind, "summary": block.summary, "text": block.text}
    if isinstance(block, Table):
        rows = [[cell.text for cell in row] for row in block.rows]
        return {"kind": block.kind, "caption": block.caption, "header": block.header, "rows": rows}
    if isinstance(block, FoldedTables):
        tables = [_block(table) for table in block.tables]
        return {"kind": block.kind, "summary": block.summary, "tables": tables}
    if isinstance(block, Gallery):
        captions = [figure.caption for figure in block.figures]
        return {"kind": block.kind, "caption": block.caption, "figures": captions}
    return {"kind": block.kind, "caption": block.caption}
