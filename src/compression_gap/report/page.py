"""The report as one HTML file that asks nothing of anybody: style and figures inside, no scripts, no requests."""

from __future__ import annotations

import re
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from compression_gap.config import counted
from compression_gap.report import bottleneck, codebooks, numerals, paper, words
from compression_gap.report.codebook_figure import codebook_figure
from compression_gap.report.content import ReportContent
from compression_gap.report.figures import figures


def render(content: ReportContent) -> str:
    """The whole page. Every text in `content` is escaped."""
    folder = files("compression_gap.report")
    verdicts = [(row, words.verdict(content, row)) for row in content.interactions]
    sizes = [words.codebook_verdict(content, row) for row in content.codebook_sizes]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((folder / "page.html.jinja").read_text("utf-8")).render(
        content=content,
        style=Markup((folder / "page.css").read_text("utf-8")),
        figures={figure.key: figure for figure in (*figures(content), codebook_figure(content)) if figure},
        cautions=words.cautions(content),
        about=words.about,
        along_the_encoders=words.along_the_encoders,
        along_the_codebooks=words.along_the_codebooks,
        codebook_verdict=words.codebook_verdict,
        decimals=codebooks.DECIMALS,
        per=codebooks.PER,
        answers=[found.label for found in (*sizes, *(found for _, found in verdicts))],
        verdicts=verdicts,
        bottleneck=bottleneck,
        paper=paper,
        intervals=words.intervals(content),
        range=numerals.interval,
        unbroken=_unbroken,
        points=numerals.points,
        signed=numerals.signed,
        plain=numerals.plain,
        bounded=numerals.bounded,
        count=counted,
        duration=_duration,
    )


def _unbroken(text: str) -> str:
    """Keeps a number and its unit, and the two ends of an interval, on one line."""
    return re.sub(r"(?<=\d) (?=mm|points|seeds|\[)|(?<=\d,) (?=\S+\])", "\N{NO-BREAK SPACE}", text)


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 2:
        return f"{hours:.1f} h"
    return f"{minutes:.0f} min" if minutes >= 2 else f"{seconds:.0f} s"
