"""The ladder drawn: from the expert down to each cell, which part lost how much, and the verdict."""

from __future__ import annotations

from itertools import groupby

from compression_gap.report import bottleneck
from compression_gap.report.content import ReportContent
from compression_gap.report.ladder import Ladder
from compression_gap.report.measured import Measured
from compression_gap.report.numerals import points, signed
from compression_gap.report.svg import Axis, Figure, Panel, legend, linear

COLOURS = ("s3", "s4", "s5")  # of the losses; no method of the usual grids has them
ROW, LANE, BAR = 66, 13, 10  # pixels


def ladders(content: ReportContent) -> Figure | None:
    """One panel a method, one row an encoder."""
    panels = []
    for arm, group in groupby(content.ladders, key=lambda ladder: ladder.arm):
        rows = list(group)
        axis = linear(0, 100, label="success, %")
        panel = Panel(380, 50 + ROW * len(rows), axis, Axis(0, 1), left=58, right=36, top=4, bottom=42)
        for value, _ in axis.ticks:
            panel.rule(x=value, style="grid")
        for index, ladder in enumerate(rows):
            _row(panel, ladder, bottleneck.verdict(content, ladder), 6 + ROW * index)
        panels.append((arm, panel.svg(f"Ladder of {arm}: " + "; ".join(_words(content, row) for row in rows))))
    if not panels:
        return None
    entries = zip(bottleneck.LOSSES, COLOURS, strict=True)
    return Figure("ladder", tuple(panels), legend((name, "square", f"{colour} bare") for (name, _), colour in entries))


def _row(panel: Panel, ladder: Ladder, verdict: str, top: float) -> None:
    panel.text(panel.left - 8, top + 11, ladder.encoder, "tick", "end")
    panel.text(panel.left + 5, top + 11, verdict, "note", "start")
    rungs = [rung.value for rung in (ladder.expert, ladder.replay, ladder.state, ladder.policy)]
    for lane, ((name, field), colour) in enumerate(zip(bottleneck.LOSSES, COLOURS, strict=True)):
        loss: Measured = getattr(ladder, field)
        high, low = rungs[lane], rungs[lane + 1]
        y = top + 17 + LANE * lane
        style = f"step {colour}" + (" hollow" if loss.value < 0 else "")
        panel.bar(low, high, y, BAR, style, f"{name}: {points(loss)} points lost")
        ends = [low, high]
        if loss.low is not None and loss.high is not None and loss.low < loss.high:
            ends += [min(max(high - end, 0.0), 100.0) for end in (loss.low, loss.high)]
            panel.span(min(ends[2:]), max(ends[2:]), y + BAR / 2, "plain")
        change = signed(-loss.value) if loss.value else "0"
        panel.text(panel.x(max(ends)) + 4, y + 9, change, "small", "start")


def _words(content: ReportContent, row: Ladder) -> str:
    lost = ", ".join(f"{name} {points(getattr(row, field))}" for name, field in bottleneck.LOSSES)
    level = f"{row.encoder} {row.policy.value:.0f} % of the expert's {row.expert.value:.0f} %"
    return f"{level}, lost to {lost}: {bottleneck.verdict(content, row)}"
