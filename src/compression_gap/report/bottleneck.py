"""What the ladders say in words: which loss binds a cell, how sure that is, and what would settle it."""

from __future__ import annotations

from compression_gap.report.content import Cell, ReportContent
from compression_gap.report.convergence import Forbidden, forbidden
from compression_gap.report.ladder import Bottleneck, Ladder
from compression_gap.report.numerals import chance, points

ABOUT = "This is about losses; about upgrades cgap audit answers."
LOSSES = (("codebook", "codebook_loss"), ("policy and data", "policy_loss"), ("encoder", "encoder_loss"))


def primary(content: ReportContent) -> tuple[str, ...]:
    """Where the first discrete method loses success on the better encoder, and what that does not say; nothing without
    a ladder."""
    for row in content.interactions[:1]:
        for ladder in content.ladders:
            if (ladder.arm, ladder.encoder) == (row.arm, row.encoder_to):
                return (told(content, ladder), ABOUT)
    return ()


def told(content: ReportContent, row: Ladder) -> str:
    """The losses of one cell and the verdict on them."""
    lost = ", ".join(f"{name} {points(getattr(row, field))}" for name, field in LOSSES)
    lead = f"Of the expert's {row.expert.value:.0f} %, {row.arm} on {row.encoder} loses in points: {lost}"
    found = no_verdict(content, row)
    if found is not None:
        return f"{lead}, as measured, and no verdict: {' and '.join(found.reasons)}."
    return " ".join((f"{lead}: {verdict(content, row)}.", *open_case(content, row)))


def label(content: ReportContent, row: Ladder) -> str:
    """The verdict's name, or why there is none."""
    found = no_verdict(content, row)
    return row.bottleneck.label if found is None else found.label


def verdict(content: ReportContent, row: Ladder) -> str:
    """`encoder-bound (P > .99)`, `undetermined (encoder P .74)` or `undertrained: no verdict`."""
    found, bottleneck = no_verdict(content, row), row.bottleneck
    if found is not None:
        return f"{found.label}: no verdict"
    which = f"{bottleneck.likeliest} " if bottleneck.label == "undetermined" else ""
    return f"{bottleneck.label} ({which}P {chance(bottleneck.probability)})"


def in_short(content: ReportContent, row: Ladder) -> str:
    """For a column headed "bound by": `encoder > .99`, `? encoder .74` where it is undetermined, or `undertrained`."""
    found, bottleneck = no_verdict(content, row), row.bottleneck
    if found is not None:
        return found.label
    name = bottleneck.label.removesuffix("-bound").partition(":")[0]
    if bottleneck.label == "undetermined":
        name = f"? {bottleneck.likeliest}"
    return f"{name} {chance(bottleneck.probability)}"


def open_case(content: ReportContent, row: Ladder) -> tuple[str, ...]:
    """Why a case is undetermined and what would settle it, as sentences; none for a case that is closed."""
    if row.bottleneck.label != "undetermined" or no_verdict(content, row) is not None:
        return ()
    reason = row.bottleneck.reason
    return (f"{reason[0].upper()}{reason[1:]}.", settling(row.bottleneck))


def settling(bottleneck: Bottleneck) -> str:
    """What would settle an undetermined case, as a sentence."""
    if bottleneck.seeds == 1:
        return f"A verdict needs at least {bottleneck.seeds_needed} seeds."
    ways = [
        f"{needed:,} {noun} instead of {had:,}"
        for needed, had, noun in (
            (bottleneck.seeds_needed, bottleneck.seeds, "seeds"),
            (_rounded(bottleneck.states_needed), bottleneck.states, "initial states"),
        )
        if needed is not None
    ]
    if not ways:
        return "More seeds or more initial states alone would hardly settle it."
    return f"What would probably settle it, if the losses are what they seem: {', or '.join(ways)}."


def no_verdict(content: ReportContent, row: Ladder) -> Forbidden | None:
    """Whether a policy of the ladder is not converged: then its losses are not those of the method."""
    names = dict.fromkeys((row.reference, row.encoder))
    return forbidden([cell for name in names if (cell := _cell(content, row.arm, name)) is not None])


def _cell(content: ReportContent, arm: str, encoder: str) -> Cell | None:
    cells = (*content.cells, *content.blind)
    return next((cell for cell in cells if (cell.arm, cell.encoder) == (arm, encoder)), None)


def _rounded(states: int | None) -> int | None:
    """Up to two digits: it is an estimate."""
    if states is None:
        return None
    step = 10 ** max(len(str(states)) - 2, 0)
    return -(-states // step) * step
