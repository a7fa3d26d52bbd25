"""The parts of a report: sections of text, facts, tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from markupsafe import Markup


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
        text: Plain text.
        tone: ``good``, ``bad``, ``open`` (not decided) or ``plain``: what it means for the
            predictor; ``flag``: a reason not to trust the numbers.
        overall: Whether it is the verdict on the whole evaluation, shown first.
    """

    text: str
    tone: str = "plain"
    overall: bool = False
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Facts:
    """Names with values.

    Attributes:
        facts: Pairs of a name and a value.
    """

    facts: tuple[tuple[str, str], ...]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Folded:
    """Long text, shown on a click.

    Attributes:
        summary: Its title.
        text: Plain text; its line breaks are kept.
    """

    summary: str
    text: str
    kind: ClassVar[str] = "folded"


@dataclass(frozen=True)
class Cell:
    """One number or word of a table.

    Attributes:
        text: Its text.
        note: A second, smaller line.
        best: Whether it is the best of its row.
        tone: ``pass``, ``fail`` or ``undecided``: the style of a verdict.
        link: Anchor of a picture that shows it; "" for none.
    """

    text: str
    note: str = ""
    best: bool = False
    tone: str = ""
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
        caption: What it shows and what good looks like.
        header: Names of the columns.
        rows: Cells of each row, as many as there are columns.
        cards: Whether each row becomes a card on a phone, so that all columns are visible.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    cards: bool = False
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Figure:
    """A drawing.

    Attributes:
        caption: What it shows and what good looks like.
        svg: The drawing.
        anchor: Its name for links; "" for none.
        key: What its colours mean: names of colours of
            `forecast.visualization.birds_eye.Palette` and their text.
    """

    caption: str
    svg: Markup
    anchor: str = ""
    key: tuple[tuple[str, str], ...] = ()
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Gallery:
    """Several small drawings side by side.

    Attributes:
        caption: What they show and what good looks like.
        figures: The drawings.
    """

    caption: str
    figures: tuple[Figure, ...]
    kind: ClassVar[str] = "gallery"


@dataclass(frozen=True)
class FoldedTables:
    """Tables that are shown on a click.

    Attributes:
        summary: Their title.
        tables: The tables.
    """

    summary: str
    tables: tuple[Table, ...]
    kind: ClassVar[str] = "folded-tables"


Block = Text | Facts | Folded | Table | Figure | Gallery | FoldedTables


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Attributes:
        id: Its anchor.
        title: Its heading.
        blocks: What it holds, from top to bottom.
        data: Its numbers under stable names, for the report's JSON.
    """

    id: str
    title: str
    blocks: tuple[Block, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
