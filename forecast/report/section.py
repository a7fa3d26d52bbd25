"""What a report is made of: sections of text, facts, tables and figures."""

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
        tone: ``good``, ``bad``, ``open`` (not decided) or ``plain``: how it bears on the
            predictor; ``flag``: why the numbers must not be taken at their word.
        overall: Whether it is the word on the whole, to be seen first.
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
    """Long text, shown when it is asked for.

    Attributes:
        summary: What it is.
        text: Plain text; its line breaks are kept.
    """

    summary: str
    text: str
    kind: ClassVar[str] = "folded"


@dataclass(frozen=True)
class Cell:
    """One number or word of a table.

    Attributes:
        text: What it says.
        note: A second, smaller line.
        best: Whether it is the best of its row.
        tone: ``pass``, ``fail`` or ``too-few``: a verdict to be seen at a glance.
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
        cards: Whether each row becomes a card on a phone, so that no column is out of sight.
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
        anchor: What links to it name; "" for none.
        key: What its colours mean: names of colours of
            `forecast.visualization.birds_eye.Palette` and words.
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


Block = Text | Facts | Folded | Table | Figure | Gallery


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Attributes:
        id: Its anchor.
        title: Its heading.
        blocks: What it holds, from top to bottom.
        data: The numbers behind it under stable names, for the report's JSON.
    """

    id: str
    title: str
    blocks: tuple[Block, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
