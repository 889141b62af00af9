"""An audit in words: short lines that say of every number whether it is a bound or an estimate."""

from __future__ import annotations

from compression_gap.measures.quantity import Kind, Quantity
from compression_gap.report.audit_content import AuditContent, CodeRow, VerdictRow

MINUS = "\N{MINUS SIGN}"
SIGNS: dict[Kind, str] = {
    "upper bound": "\N{LESS-THAN OR EQUAL TO}",
    "lower bound": "\N{GREATER-THAN OR EQUAL TO}",
    "estimate": "\N{ALMOST EQUAL TO}",
}


def briefly(quantity: Quantity | None, decimals: int = 1, factor: float = 1.0) -> str:
    """`≤ 76.0 [75.6, 76.5]`: the sign says which kind of number it is; the reason where there is none."""
    if quantity is None:
        return "\N{EN DASH}"
    if quantity.value is None:
        return quantity.note.partition(":")[0]
    text = f"{SIGNS[quantity.kind]} {plain(factor * quantity.value, decimals)}"
    if quantity.low is None or quantity.high is None:
        return text
    return f"{text} [{plain(factor * quantity.low, decimals)}, {plain(factor * quantity.high, decimals)}]"


def kind_words(quantity: Quantity) -> str:
    """`upper bound`, and why there is no interval if that is so."""
    few = "; no interval" if quantity.note.startswith("no interval") else ""
    return quantity.kind + few


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def plain(value: float, decimals: int) -> str:
    """A number with a proper minus, never −0."""
    return f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", MINUS)


def what_there_is(content: AuditContent) -> str:
    """Of what the numbers are."""
    tasks = f"{content.tasks} tasks" if content.tasks > 1 else "1 task"
    thinned = f" of {content.chunks_there:,}" if content.chunks < content.chunks_there else ""
    return (
        f"{content.steps:,} steps of {content.demonstrations:,} demonstrations, {tasks}; "
        f"{content.chunks:,}{thinned} chunks of {content.horizon} actions, one at every {content.stride} steps; "
        f"tested on {content.test_chunks:,} of {content.test_demonstrations} demonstrations that nothing was fitted on"
    )


def few(content: AuditContent) -> str:
    """Why there are no intervals; empty if there are."""
    note = content.held.note
    return note if note.startswith("no interval") else ""


def verdict_label(row: VerdictRow) -> str:
    """`encoder-bound, probability 0.93`, or `undetermined, leaning encoder-bound, probability 0.55`."""
    leaning = f", leaning {row.leaning}" if row.leaning else ""
    chance = "" if row.probability is None else f", probability {plain(row.probability, 2)}"
    return f"{row.label}{leaning}{chance}"


def tells(arm: str) -> str:
    """The verb that goes with an arm's words."""
    return "tells" if arm == "state" else "tell"


def beside(content: AuditContent) -> list[str]:
    """What else was found out about the arms: bits that are certain, and those of gripper commands."""
    told = []
    certain = [f"{row.words} {briefly(row.certified)}" for row in content.arms if row.certified is not None]
    if certain:
        told.append(f"certain with 95 %, whatever the probe: {', '.join(certain)}")
    about = [f"{row.words} {tells(row.arm)} {briefly(row.gripper)}" for row in content.arms if row.gripper is not None]
    if about and content.gripper is not None:
        told.append(f"gripper commands, not part of the above, hold {briefly(content.gripper)}: {', '.join(about)}")
    return told


def code_failure(row: CodeRow) -> str | None:
    """What a reader has to know of chunks that were lost, or of a tokenizer that failed; None if all went well."""
    if row.failed:
        return f"{row.name}: {row.failed}"
    return f"{row.name}: {row.lost} test chunks could not be written or read" if row.lost else None
