"""Which cells forbid a verdict because their training has not come to its end, and how that is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from compression_gap.report.content import Cell
from compression_gap.report.numerals import points

Unconverged = Literal["undertrained", "overfitted", "not measured"]
UNCONVERGED: tuple[Unconverged, ...] = ("undertrained", "overfitted", "not measured")
LEADS = {
    "undertrained": "{} is undertrained",
    "overfitted": "{} is overfitted",
    "not measured": "the convergence of {} was not measured",
}


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
            return Forbidden(label, tuple(_sentences(LEADS[label], found)))
    return None


def unresolved(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Of which cells it was measured too coarsely whether they are converged: sentences, one an arm."""
    found = [cell for cell in cells if cell.convergence == "not resolved"]
    return tuple(f"{sentence}." for sentence in _sentences("Whether {} is converged is not resolved", found))


def _sentences(lead: str, cells: Sequence[Cell]) -> Iterator[str]:
    """`Diffusion is undertrained on weak and strong (points with twice the steps: +14 [6, 22] and +11 [3, 19])`, arm by
    arm."""
    for arm, group in groupby(cells, key=lambda cell: cell.arm):
        of_arm = list(group)
        changes = [points(cell.change_on_doubling) for cell in of_arm if cell.change_on_doubling is not None]
        tail = f" (points with twice the steps: {' and '.join(changes)})" if changes else ""
        yield f"{lead.format(arm)} on {' and '.join(cell.encoder for cell in of_arm)}{tail}"
