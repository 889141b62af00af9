"""The page of `cgap encoders`: what encoders tell about actions against how exactly they see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from compression_gap.report.measured import Measured
from compression_gap.report.numerals import plain
from compression_gap.report.svg import Panel, legend, linear

LETTER, LINE = 6.6, 15.0  # about the size of a letter of a label, in pixels
KINDS = {  # what an encoder is shown: marker and style
    "reads pictures": ("circle", "s0"),
    "is shown the state": ("square", "s1"),
    "control": ("triangle", "neutral hollow"),
}


@dataclass(frozen=True)
class EncoderRow:
    """What was measured of one encoder; numbers are of test demonstrations."""

    name: str
    control: str
    """What a control arm shows; empty for others."""
    sees: bool
    """Whether it reads pictures."""
    width: int
    """Numbers a frame."""
    error_mm: Measured | None
    """Of the place of what the task is about; None where the state has none."""
    error_degrees: Measured | None
    bits: Measured | None
    """About the next chunk, with proprioception and task."""
    beyond: Measured | None
    """Bits more than proprioception and task tell; None for the arm that has only these."""
    gripper: Measured | None
    """Of these, bits about gripper commands; None where there are none."""
    sigma: float
    linear_bits: float
    converged: bool
    interface: str
    test_demonstrations: int
    test_chunks: int
    left_out: tuple[str, ...]
    """Action values that the bits are not about."""

    @property
    def kind(self) -> str:
        """One of KINDS."""
        return "control" if self.control else "reads pictures" if self.sees else "is shown the state"


def render(suite: str, rows: Sequence[EncoderRow], command: str) -> str:
    """The page, which asks nothing of anybody. Every text is escaped."""
    folder = files("compression_gap.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((folder / "encoders.html.jinja").read_text("utf-8")).render(
        suite=suite,
        rows=rows,
        command=command,
        style=Markup((folder / "page.css").read_text("utf-8")),
        figure=figure(rows),
        legend=legend((name, *KINDS[name]) for name in KINDS if any(row.kind == name for row in rows)),
        plain=plain,
    )


def figure(rows: Sequence[EncoderRow]) -> Markup:
    """Bits beyond proprioception against the error of the pose, with the intervals of both."""
    placed = [(row, row.error_mm, row.beyond) for row in rows if row.error_mm is not None and row.beyond is not None]
    if not placed:
        return Markup("")
    x = linear(0, max(error.ends[1] for _, error, _ in placed), label="error of the pose, mm")
    ends = [end for _, _, bits in placed for end in bits.ends]
    y = linear(min(0.0, *ends), max(0.5, *ends), label="bits beyond proprioception and task")
    panel = Panel(520, 340, x, y, right=20)
    panel.rule(y=0, style="zero")
    for row, error, bits in placed:
        shape, style = KINDS[row.kind]
        low, high = error.ends
        panel.line([(low, bits.value), (high, bits.value)], f"{style} thin")
        panel.whisker(error.value, *bits.ends, style)
        unsure = "" if row.converged else ", not converged"
        tip = f"{row.name}: {plain(bits.value, 1)} bits, {plain(error.value, 1)} mm{unsure}"
        panel.mark((error.value, bits.value), shape, style, tip)
    for left, baseline, name in _labels(
        [(panel.x(e.value), panel.y(b.value), row.name) for row, e, b in placed], panel
    ):
        panel.text(left, baseline, name, "note", "start")
    said = "; ".join(
        f"{row.name} {plain(bits.value, 1)} bits at {plain(error.value, 1)} mm" for row, error, bits in placed
    )
    return panel.svg(f"Bits beyond proprioception against pose error: {said}")


def _labels(marks: Sequence[tuple[float, float, str]], panel: Panel) -> list[tuple[float, float, str]]:
    """Where each name begins, in pixels: beside its mark, and below the names that are there already."""
    written: list[tuple[float, float, str]] = []
    for x, y, name in sorted(marks, key=lambda mark: mark[1]):
        length = LETTER * len(name)
        left = x + 9 if x + 9 + length < panel.right else x - 9 - length
        baseline = y - 7
        for other, line, text in written:
            if left < other + LETTER * len(text) and other < left + length and baseline < line + LINE:
                baseline = line + LINE
        written.append((left, baseline, name))
    return written
