"""An audit at the shell: at most 40 lines, the verdict first."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from compression_gap.measures.aim import KINDS
from compression_gap.measures.quantity import Quantity
from compression_gap.report.audit_content import NO_CODE, AuditContent, CodeRow, HeadRow, VerdictRow
from compression_gap.report.audit_words import (
    SIGNS,
    aside,
    beside,
    briefly,
    code_failure,
    intervals,
    plain,
    tells,
    verdict_label,
    way,
    what_there_is,
)

WIDTH = 118
LINES = 40
MOST_CODES = 3
CONTROLS = ("shuffled", "random")  # on the page alone
MOST_UPGRADES = 4
GAP = 3  # spaces between columns


def summary(content: AuditContent, page: str) -> list[str]:
    """The lines; what does not fit is on the page."""
    codes = sorted((row for row in content.verdicts if row.code != NO_CODE), key=lambda row: row.openness)
    without = [row for row in content.verdicts if row.code == NO_CODE]
    shown = sorted([*codes[:MOST_CODES], *without], key=lambda row: row.openness)
    first = [line for row in shown[:1] for line in (*_verdict(row), *_upgrades(row))]
    lines = _wrapped(f"{content.source}: {what_there_is(content)}.")
    lines += _aligned(_codes(content.codes, content.continuous))
    for failure in [*content.failures, *filter(None, map(code_failure, content.codes))][:2]:
        lines += _wrapped(failure)
    lines += _aligned(_actions(content))
    lines += [
        line for told in beside(content, [content.seen] if content.seen else []) for line in _wrapped(f"  {told}")
    ]
    last = _wrapped(f"cannot be known from this: {'; '.join(content.unknown)}")
    if content.left_out:
        last += _wrapped(f"left out by --budget {content.budget}: {'; '.join(content.left_out)}")
    signs = ", ".join(f"{sign} {kind}" for kind, sign in SIGNS.items())
    unsure = "; ! denoisers not converged: more demonstrations would tell more bits" if _unsure(content) else ""
    last += _wrapped(f"{signs}; intervals: {intervals(content)}{unsure}")
    last = [*last[: LINES // 2], f"report: {page}"]
    others = [line for row in shown[1:] for line in _wrapped(_said(row))]
    if len(first) + len(others) + len(lines) + len(last) > LINES:
        others = [_in_a_line(row) for row in shown[1:]]
    return [*[*first, *others, *lines][: LINES - len(last)], *last]


def _unsure(content: AuditContent) -> bool:
    return any(row.converged is False for row in content.arms)


def _verdict(row: VerdictRow) -> list[str]:
    """With its evidence, and what would settle it."""
    lines = _wrapped(_said(row))
    for line in row.evidence[:2]:
        lines += _wrapped(f"  {line}")
    return [*lines, *(_wrapped(f"  what would settle it: {row.settle}") if row.settle else [])]


def _said(row: VerdictRow) -> str:
    label = verdict_label(row).replace(row.label, row.label.upper(), 1)
    return f"{label} ({way(row)}): {row.sentence}"


def _in_a_line(row: VerdictRow) -> str:
    """As much as a line holds; all of it is on the page."""
    return textwrap.shorten(_said(row), WIDTH, placeholder=" \N{HORIZONTAL ELLIPSIS}")


def _upgrades(row: VerdictRow) -> list[str]:
    """What each buys."""
    if not row.upgrades:
        return []
    rows, units = [], ""
    for upgrade in row.upgrades[:MOST_UPGRADES]:
        units = f", in {upgrade.gain.unit}" if upgrade.gain.value is not None else units
        chance = (
            f"more than {upgrade.counts:g} with probability {plain(upgrade.chance, 2)}"
            if upgrade.chance is not None
            else ""
        )
        rows.append([f"  {upgrade.name}", briefly(upgrade.gain, 1), chance])
    return [*_wrapped(f"what an upgrade buys {way(row)}{units} (90 % intervals)"), *_aligned(rows)]


def _actions(content: AuditContent) -> list[list[str]]:
    """Bits of actions and about them."""
    held = f"the next {content.horizon} actions hold"
    rows = [[f"bits a chunk, through noise of {content.sigma:g}", "", "beyond the robot's own state", "left open"]]
    rows.append([held, briefly(content.held), "", ""])
    for row in content.arms:
        if row.arm in CONTROLS:
            continue
        unsure = " !" if row.converged is False else ""
        rows.append(
            [
                f"  {row.words} {tells(row.arm)}",
                briefly(row.best) + unsure,
                _or_nothing(row.best_beyond),
                briefly(row.left),
            ]
        )
    return rows


def _codes(codes: Sequence[CodeRow], continuous: Sequence[HeadRow]) -> list[list[str]]:
    """Codes side by side: what they hold, their error, the error of a policy that predicts them, and what the better
    features tell of them more."""
    known = [row for row in codes if row.code is not None][:MOST_CODES]
    rows = [["codes", *(row.name for row in known), *(["no code"] if continuous else [])]]
    end = [""] if continuous else []
    rows.append(["bits of a code", *(briefly(row.code) for row in known), *end])
    rows.append(["bits an ideal code needs for its error", *(briefly(row.needed) for row in known), *end])
    rows.append(["error of the code, % of the variance", *(briefly(row.error, 2, 100) for row in known), *end])
    if any(row.mm for row in known):
        rows.append(["error of the code, mm", *(briefly(row.mm, 2) for row in known), *end])
    of_codes = [{head.arm: head for head in row.heads} for row in known]
    without = [{head.arm: head for head in continuous}] if continuous else []
    more = next(
        (arm for heads in of_codes for arm, head in heads.items() if head.more and head.more.value is not None), ""
    )
    for arm in dict.fromkeys(arm for heads in (*of_codes, *without) for arm in heads if arm not in CONTROLS):
        found = [heads.get(arm) for heads in (*of_codes, *without)]
        words = next(head.words for head in found if head is not None)
        rows.append([f"a policy told {words} errs, %", *(_or_nothing(head and head.error, 1, 100) for head in found)])
        if any(map(aside, found)):
            rows.append([f"  is aside where the gripper {' / '.join(KINDS)}, mm", *map(aside, found)])
        if any(head is not None and head.told is not None for head in found):
            rows.append(["  and is told of the code, bits", *(_or_nothing(head and head.told) for head in found)])
        if arm == more:
            rows.append(["  and is told more of the code, bits", *(_or_nothing(head and head.more) for head in found)])
    return rows


def _or_nothing(quantity: Quantity | None, decimals: int = 1, factor: float = 1.0) -> str:
    return "" if quantity is None else briefly(quantity, decimals, factor)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns under one another: the first to the left, the others to the right.

    Where they are too wide, intervals are left to the page, then long heads are cut, then columns go below others.
    """
    if _too_wide(rows):
        rows = [[re.sub(r" \[[^]]*\]", "", cell) for cell in row] for row in rows]
    if _too_wide(rows):
        first, *widths = _widths(rows[1:])
        most = (WIDTH - first) // len(widths) - GAP
        rows = [[rows[0][0], *map(_cut, rows[0][1:], [max(most, width) for width in widths])], *rows[1:]]
    if _too_wide(rows) and len(rows[0]) > 2:
        half = (len(rows[0]) + 1) // 2
        return [*_aligned([row[:half] for row in rows]), *_aligned([[row[0], *row[half:]] for row in rows])]
    widths, lines = _widths(rows), []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        lines.append((" " * GAP).join(cells).rstrip())
    return lines


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _too_wide(rows: Sequence[Sequence[str]]) -> bool:
    return sum(_widths(rows)) + GAP * (len(rows[0]) - 1) > WIDTH


def _cut(text: str, most: int) -> str:
    """Its beginning and its end, by which names differ."""
    end = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - end]}\N{HORIZONTAL ELLIPSIS}{text[-end:]}"


def _wrapped(text: str) -> list[str]:
    indent = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent + "  ", break_on_hyphens=False)
