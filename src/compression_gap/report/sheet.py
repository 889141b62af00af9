"""A small page: one figure and one table, for a command that compares parts of one family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

NO_LEGEND = Markup("")
NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class Line:
    """One line of a table: a measure, and its value for every part."""

    label: str
    values: tuple[str, ...]
    group: str = ""
    """Heading above it; lines of one group follow each other."""


@dataclass(frozen=True)
class Sheet:
    """What the page says. Every text is escaped."""

    title: str
    kicker: str
    lead: str
    """What the numbers are of."""
    heads: tuple[str, ...]
    """Names of the parts."""
    lines: tuple[Line, ...]
    notes: tuple[tuple[str, str], ...]
    """A term of the table and what it means."""
    caption: str
    command: str
    """What makes the page again."""
    figure: Markup | None = None
    legend: Markup = NO_LEGEND
    failures: tuple[tuple[str, str], ...] = ()
    """A part and what went wrong with it."""


def told(tell: Callable[[Mapping[str, Any]], str], row: Mapping[str, Any]) -> str:
    """What a table says of a row; a dash for what was not measured."""
    try:
        return tell(row)
    except (KeyError, TypeError):
        return NONE


def render(sheet: Sheet) -> str:
    """The whole page: style and figure inside, no scripts, no requests."""
    folder = files("compression_gap.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((folder / "sheet.html.jinja").read_text("utf-8"))
    return template.render(sheet=sheet, style=Markup((folder / "page.css").read_text("utf-8")))
