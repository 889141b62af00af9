"""An audit in words: short lines that say of every number whether it is a bound or an estimate."""

from __future__ import annotations

from collections.abc import Sequence

from compression_gap.config import counted
from compression_gap.measures.aim import KINDS
from compression_gap.measures.quantity import BITS, Kind, Quantity
from compression_gap.report.audit_content import NO_CODE, ArmRow, AuditContent, CodeRow, HeadRow, VerdictRow

MINUS = "\N{MINUS SIGN}"
NOT_ABOVE = ", not above 0"
TOO_FEW = "too few"
SIGNS: dict[Kind, str] = {
    "upper bound": "\N{LESS-THAN OR EQUAL TO}",
    "lower bound": "\N{GREATER-THAN OR EQUAL TO}",
    "estimate": "\N{ALMOST EQUAL TO}",
}


EVIDENCE = {
    "D_pol": "error of the policy, D_pol",
    "D_tok": "error of the code itself, D_tok",
    "D_resid": "what the policy adds to that, D_resid",
    "D_tok, larger code": "error of the code that is judged for its place",
    "D_pol, better encoder": "error of the policy with the better encoder",
    "CE(T | Z)": "length of the code given the features, CE(T | Z)",
    "CE(T | better Z)": "the same given the better encoder's",
    "H(T)": "length of the code when nothing is told, H(T)",
}
"""What numbers that a verdict stands on are, by the names of `verdict.offline`."""


def briefly(quantity: Quantity | None, decimals: int = 1, factor: float = 1.0) -> str:
    """`≤ 76.0 [75.6, 76.5]`: the sign says which kind of number it is; the reason where there is none.

    Bits that are estimated below zero are written as they came out, and what that means.
    """
    if quantity is None:
        return "\N{EN DASH}"
    if quantity.value is None:
        return quantity.note.partition(":")[0]
    text = f"{SIGNS[quantity.kind]} {plain(factor * quantity.value, decimals)}"
    if quantity.low is not None and quantity.high is not None:
        text += f" [{plain(factor * quantity.low, decimals)}, {plain(factor * quantity.high, decimals)}]"
    return text + NOT_ABOVE * (quantity.unit == BITS and text.startswith(f"{SIGNS['estimate']} {MINUS}"))


def kind_words(quantity: Quantity) -> str:
    """`upper bound`, and why there is no interval if that is so."""
    few = "; no interval" if quantity.note.startswith("no interval") else ""
    return quantity.kind + few


def aside(head: HeadRow | None) -> str:
    """How far to the side the hand is where the gripper closes and opens; empty where that is not known. Where only a
    few of the tested demonstrations tell, no number invites comparisons."""
    if head is None or not head.aims:
        return ""

    def told(aim: Quantity | None) -> str:
        return TOO_FEW if aim is not None and aim.low is None and head.error.low is not None else briefly(aim)

    return " / ".join(told(head.aims.get(kind)) for kind in KINDS)


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def plain(value: float, decimals: int) -> str:
    """A number with a proper minus, never −0."""
    return f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", MINUS)


def what_there_is(content: AuditContent) -> str:
    """Of what the numbers are."""
    thinned = f"{content.chunks:,} of " if content.chunks < content.chunks_there else ""
    demonstrations = counted(content.demonstrations, "demonstration")
    turns, tested = content.divisions, content.test_demonstrations
    in_turn = f"; policies on {turns * tested}, in {turns} divisions" if turns > 1 else ""
    return (
        f"{counted(content.steps, 'step')} of {demonstrations}, {counted(content.tasks, 'task')}; "
        f"{thinned}{counted(content.chunks_there, 'chunk')} of {counted(content.horizon, 'action')}, one at every "
        f"{'step' if content.stride == 1 else counted(content.stride, 'step')}; tested on {content.test_chunks:,} of "
        f"{counted(tested, 'demonstration')} that nothing was fitted on{in_turn}"
    )


def intervals(content: AuditContent) -> str:
    """What they are for, or why there are none. Of few demonstrations only policies are tested on enough."""
    note, words = content.held.note, "95 %, for other demonstrations"
    if not note.startswith("no interval"):
        return words
    return note if content.divisions == 1 else f"{words}; of bits {note}"


def verdict_label(row: VerdictRow) -> str:
    """`encoder-bound, probability 0.93`, or `undetermined, leaning encoder-bound, probability 0.55`."""
    leaning = f", leaning {row.leaning}" if row.leaning else ""
    chance = "" if row.probability is None else f", probability {plain(row.probability, 2)}"
    return f"{row.label}{leaning}{chance}"


def way(row: VerdictRow) -> str:
    """On which way through a policy a verdict is."""
    return "without a code" if row.code == NO_CODE else f"through {row.code}"


def tells(arm: str) -> str:
    """The verb that goes with an arm's words."""
    return "tells" if arm == "state" else "tell"


def beside(content: AuditContent, arms: Sequence[ArmRow]) -> list[str]:
    """What else was found out about arms: bits that are certain, and those of gripper commands."""
    told = []
    certain = [f"{row.words} {briefly(row.certified)}" for row in arms if row.certified is not None]
    if certain:
        told.append(f"certain with 95 %, whatever the probe: {', '.join(certain)}")
    about = [f"{row.words} {tells(row.arm)} {briefly(row.gripper)}" for row in arms if row.gripper is not None]
    if about and content.gripper is not None:
        told.append(f"gripper commands, not part of the above, hold {briefly(content.gripper)}: {', '.join(about)}")
    return told


def code_failure(row: CodeRow) -> str | None:
    """What a reader has to know of chunks that were lost, or of a tokenizer that failed; None if all went well."""
    if row.failed:
        return f"{row.name}: {row.failed}"
    return f"{row.name}: {counted(row.lost, 'test chunk')} could not be written or read" if row.lost else None
