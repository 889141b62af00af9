"""The result at the shell: a short table with the answer in words, or one JSON object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from compression_gap.report import bottleneck, words
from compression_gap.report.codebooks import CodebookSize
from compression_gap.report.content import Cell, ReportContent
from compression_gap.report.ladder import Ladder
from compression_gap.report.measured import Measured
from compression_gap.report.numerals import percent, points

MARKS = {"converged": "", "undertrained": " u", "overfitted": " o", "not resolved": " ~", "not measured": " ?"}
LEGEND = {
    "undertrained": "u undertrained",
    "overfitted": "o overfitted",
    "not resolved": "~ convergence not resolved",
    "not measured": "? convergence not measured",
}


def show(content: ReportContent, console: Console) -> None:
    """Prints success by method and encoder at the primary tolerance, where it is lost, and the answer."""
    where = f" at {content.columns[content.primary]}" if content.tolerances_mm else ""
    labels = dict.fromkeys(cell.convergence for cell in content.cells)
    legend = "".join(f"; {LEGEND[label]}" for label in labels if label in LEGEND)
    paragraphs = [
        words.cautions(content),
        *(words.along_the_codebooks(content, row) for row in content.codebook_sizes),
        *(words.about(content, row) for row in content.interactions),
        *(words.along_the_encoders(content, row) for row in content.gradients),
        bottleneck.primary(content),
    ]
    console.print(
        Text(f"{content.grid}: success in %{where}, intervals {words.intervals(content)}{legend}", style="bold"),
        _table(content),
        "",
        *_ladders(content),
        *(Text(" ".join(sentences)) for sentences in paragraphs if sentences),
        sep="\n",
    )


def summary(content: ReportContent, report: str) -> dict[str, Any]:
    """What `cgap run --json` ends with; `report` is the page's path.

    Every interaction stands there at every tolerance, in points and in log-odds, with the primary tolerance marked.
    """
    return {
        "grid": content.grid,
        "seeds": content.seeds,
        "failed": len(content.failures),
        "seconds": content.seconds,
        "report": report,
        "verdict_words": list(words.answer(content)),
        "interaction": _interactions(content),
        "gradient": _gradients(content),
        "ladder": [_ladder(content, row) for row in content.ladders],
        "codebook_size": [_codebook_size(content, row) for row in content.codebook_sizes],
        "cells": [_cell(content, cell) for cell in content.cells + content.blind],
    }


def _table(content: ReportContent) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("method")
    for encoder in content.encoder_order:
        table.add_column(encoder, justify="right")
    for arm in content.arms:
        found = [content.cell(arm, encoder) for encoder in content.encoder_order]
        table.add_row(Text(arm), *(Text(_success(content, cell)) for cell in found))
    return table


def _ladders(content: ReportContent) -> Iterator[Text | Table | str]:
    if not content.ladders:
        return
    yield Text("points lost between the expert and each cell, and what binds it; ? undetermined", style="bold")
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("method")
    table.add_column("on")
    for name, _ in bottleneck.LOSSES:
        table.add_column(name.replace(" and ", " and\n"), justify="right", no_wrap=True)
    table.add_column("bound by, P", no_wrap=True)
    last = ""
    for row in content.ladders:
        lost = (points(getattr(row, field)) for _, field in bottleneck.LOSSES)
        cells = (row.arm if row.arm != last else "", row.encoder, *lost, bottleneck.in_short(content, row))
        table.add_row(*(Text(cell) for cell in cells))
        last = row.arm
    yield table
    yield ""


def _success(content: ReportContent, cell: Cell | None) -> str:
    return "" if cell is None else percent(cell.success[content.primary]) + MARKS[cell.convergence]


def _interactions(content: ReportContent) -> list[dict[str, Any]]:
    rows = []
    for row in content.interactions:
        found = words.verdict(content, row)
        for at, tolerance in enumerate(content.tolerances_mm or (None,)):
            rows.append(
                {
                    "discrete": row.arm,
                    "continuous": row.continuous,
                    "from": row.encoder_from,
                    "to": row.encoder_to,
                    "tolerance_mm": tolerance,
                    "primary": at == content.primary,
                    **_interval(row.points[at]),
                    "unit": "points",
                    "log_odds": _interval(row.log_odds[at]),
                    "flag": row.flags[at],
                    "verdict": found.words if at == content.primary else None,
                }
            )
    return rows


def _gradients(content: ReportContent) -> list[dict[str, Any]]:
    return [
        {
            "discrete": row.arm,
            "continuous": row.continuous,
            "errors_mm": dict(row.errors_mm),
            "tolerance_mm": tolerance,
            "primary": at == content.primary,
            "unit": "points for every halving of the pose error",
            "continuous_slope": {**_interval(row.continuous_slope[at]), "rank_p": row.continuous_rank_p[at]},
            "discrete_slope": {**_interval(row.discrete_slope[at]), "rank_p": row.discrete_rank_p[at]},
            **_interval(row.points[at]),
            "log_odds": _interval(row.log_odds[at]),
            "flag": row.flags[at],
            "verdict": words.gradient_verdict(content, row).label if at == content.primary else None,
        }
        for row in content.gradients
        for at, tolerance in enumerate(content.tolerances_mm or (None,))
    ]


def _ladder(content: ReportContent, row: Ladder) -> dict[str, Any]:
    found, told = row.bottleneck, bottleneck.no_verdict(content, row) is None
    return {
        "method": row.arm,
        "encoder": row.encoder,
        "unit": "points",
        **{field: _interval(getattr(row, field)) for _, field in bottleneck.LOSSES},
        "over": row.policy_loss.over,
        "about": "losses, not upgrades",
        "label": bottleneck.label(content, row),
        "probability": found.probability if told else None,
        "largest": dict(found.largest) if told else None,
        "delta": found.delta,
        "reason": found.reason if told else "",
        "seeds_needed": found.seeds_needed if told else None,
        "states_needed": found.states_needed if told else None,
        "words": bottleneck.told(content, row),
    }


def _codebook_size(content: ReportContent, row: CodebookSize) -> dict[str, Any]:
    tolerances = content.tolerances_mm or (None,)
    return {
        "from": row.encoder_from,
        "to": row.encoder_to,
        "verdict": words.codebook_verdict(content, row).label,
        "codebooks": [
            {
                "method": arm,
                "nominal_bits": book.nominal_bits,
                "realised_bits_at_most": book.realised_bits.value,
                "gain": [
                    {
                        "tolerance_mm": tolerance,
                        "points": _interval(book.gain[at]),
                        "log_odds": _interval(book.log_odds[at]),
                        "replay_percent": _interval(book.replay[at]),
                        "flag": book.flags[at],
                    }
                    for at, tolerance in enumerate(tolerances)
                ],
            }
            for arm, book in zip(row.arms, row.codebooks, strict=True)
        ],
        "slopes": [
            {
                "on": part.size,
                "tolerance_mm": tolerance,
                "primary": at == content.primary,
                "points": _if_any(part.points[at]),
                "log_odds": _if_any(part.log_odds[at]),
            }
            for part in row.slopes
            for at, tolerance in enumerate(tolerances)
        ],
    }


def _cell(content: ReportContent, cell: Cell) -> dict[str, Any]:
    pairs = zip(content.tolerances_mm or (None,), cell.success, strict=True)
    return {
        "method": cell.arm,
        "encoder": cell.encoder,
        "convergence": cell.convergence,
        "change_on_doubling": _if_any(cell.change_on_doubling),
        "seeds": len(cell.per_seed),
        "episodes": cell.episodes,
        "success": [
            {"tolerance_mm": tolerance, **_interval(number), "over": number.over, "unit": "%"}
            for tolerance, number in pairs
        ],
    }


def _if_any(number: Measured | None) -> dict[str, float | None] | None:
    return None if number is None else _interval(number)


def _interval(number: Measured) -> dict[str, float | None]:
    return {"estimate": number.value, "low": number.low, "high": number.high}
