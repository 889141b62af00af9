"""The figure of the codebook's size: what a better encoder buys, against the bits that a code realises."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from compression_gap.report.codebooks import CodebookSize
from compression_gap.report.content import ReportContent
from compression_gap.report.figures import Figure
from compression_gap.report.numerals import points
from compression_gap.report.svg import Axis, Panel, legend, linear

ROOM = 0.12  # of the range of bits, left and right of the marks
CODE, NO_CODE = "s1", "s0"


def codebook_figure(content: ReportContent) -> Figure | None:
    """One panel an encoder upgrade, at the primary tolerance; None without codebooks to compare."""
    if not content.codebook_sizes:
        return None
    panels = tuple((_heading(content, row), _panel(content, row)) for row in content.codebook_sizes)
    continuous = dict.fromkeys(row.continuous for row in content.codebook_sizes if row.continuous)
    entries = [("a codebook", "circle", f"{CODE} bare"), ("least-squares line", "", f"{CODE} thin")]
    entries += [(f"{name}, without a code", "", f"{NO_CODE} dash1") for name in continuous]
    return Figure("codebook_size", panels, legend(entries))


def _heading(content: ReportContent, row: CodebookSize) -> str:
    where = f" at {content.columns[content.primary]}" if content.tolerances_mm else ""
    return f"{row.upgrade}{where}" + (f" ({row.decoding})" if row.decoding else "")


def _panel(content: ReportContent, row: CodebookSize) -> Markup:
    at, books = content.primary, row.codebooks
    bits = [book.realised_bits.value for book in books]
    reference = row.continuous_gain[at : at + 1]
    ends = [end for number in (*(book.gain[at] for book in books), *reference) for end in number.ends]
    room = ROOM * (max(bits) - min(bits)) or 1.0
    ticks = linear(min(bits), max(bits), count=5).ticks
    low, high = min(bits) - room, max(bits) + room
    x = Axis(low, high, tuple(tick for tick in ticks if low <= tick[0] <= high), "realised bits a chunk, at most")
    y = linear(min(0, 1.15 * min(ends)), max(0, 1.15 * max(ends)), label="encoder gain, points")
    panel = Panel(380, 290, x, y)
    panel.rule(y=0, style="zero")
    for number in reference:
        below, above = number.ends
        panel.band([(low, below), (high, below)], [(low, above), (high, above)], NO_CODE)
        panel.line([(low, number.value), (high, number.value)], f"{NO_CODE} dash1")
    slope = row.slope("realised bits").points[at]
    if slope is not None:
        middle = sum(bits) / len(bits), sum(book.gain[at].value for book in books) / len(books)
        line = [(end, middle[1] + slope.value * (end - middle[0])) for end in (min(bits), max(bits))]
        panel.line(line, f"{CODE} thin")
    for number, book in enumerate(sorted(books, key=lambda book: book.realised_bits.value)):
        where, (below, above) = book.realised_bits.value, book.gain[at].ends
        panel.whisker(where, below, above, CODE)
        tip = f"{book.method}: {points(book.gain[at], unit=True)}, {where:.1f} realised bits at most"
        panel.mark((where, book.gain[at].value), "circle", CODE, tip)
        height = panel.y(below) + 13 if number % 2 else panel.y(above) - 6  # neighbours' names do not touch
        panel.text(panel.x(where), height, _short(book.method), "small")
    return panel.svg(f"Encoder gain against realised bits, {_heading(content, row)}: {'; '.join(_said(row, at))}")


def _short(name: str) -> str:
    """`8x1000` of `OAT 8x1000`."""
    return name.rsplit(" ", 1)[-1]


def _said(row: CodebookSize, at: int) -> Iterator[str]:
    for book in row.codebooks:
        yield f"{book.method} {book.realised_bits.value:.1f} bits, {points(book.gain[at], unit=True)}"
    for number in row.continuous_gain[at : at + 1]:
        yield f"{row.continuous} {points(number, unit=True)}"
