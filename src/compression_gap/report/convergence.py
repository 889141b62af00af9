"""Which cells forbid a verdict because their training has not come to its end, and how that is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from compression_gap.report.content import Cell
from compression_gap.report.numerals import signed

Unconverged = Literal["undertrained", "overfitted", "not measured"]
UNCONVERGED: tuple[Unconverged, ...] = ("undertrained", "overfitted", "not measured")


@dataclass(frozen=True)
class Forbidden:
    """No verdict may be read from these cells."""

    label: Unconverged
    reasons: tuple[str, ...]
    """Whole sentences without their full stops, one an arm."""


def forbidden(cells: Sequence[Cell]) -> Forbidden | None:
    """The first of the reasons that any of the cells gives; None if all are converged."""
    for label in UNCONVERGED:
        found = [cell for cell in cells if cell.convergence == label]
        if found:
            return Forbidden(label, tuple(_sentences(label, found)))
    return None


def _sentences(label: Unconverged, cells: Sequence[Cell]) -> Iterator[str]:
    """`Diffusion is undertrained on weak and strong (twice the steps: +14 and +11 points)`, arm by arm."""
    for arm, group in groupby(cells, key=lambda cell: cell.arm):
        of_arm = list(group)
        lead = f"the convergence of {arm} was not measured" if label == "not measured" else f"{arm} is {label}"
        changes = [signed(cell.change_on_doubling) for cell in of_arm if cell.change_on_doubling is not None]
        tail = f" (twice the steps: {' and '.join(changes)} points)" if changes else ""
        yield f"{lead} on {' and '.join(cell.encoder for cell in of_arm)}{tail}"
