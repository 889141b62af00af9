"""The answer in words, made from the intervals: no sentence says more than they do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from compression_gap.config import counted
from compression_gap.report import bottleneck
from compression_gap.report.codebooks import DECIMALS, PER, CodebookSize, GainSlope, Unit
from compression_gap.report.content import Gradient, Interaction, ReportContent
from compression_gap.report.convergence import forbidden, unresolved
from compression_gap.report.measured import Measured
from compression_gap.report.numerals import ARROW, interval, log_odds, points, signed

Sign = Literal["resolved", "reversed", "not resolved", "no evidence"]
Label = Sign | Literal["undertrained", "overfitted", "not measured", "incomplete"]

SMOKE_TEST_SEEDS = 2
"""Up to so many seeds an interval, where there is one, is no evidence: neither for a gap nor for its absence."""


@dataclass(frozen=True)
class Verdict:
    """What may be said about one interaction at the primary tolerance."""

    label: Label
    seeds: int
    reasons: tuple[str, ...] = ()
    """Why nothing may be said; empty when something may."""

    @property
    def words(self) -> str:
        """`resolved: the gap exists`, `not resolved with 3 seeds`, `no evidence with 2 seeds`, ..."""
        if self.reasons:
            return f"{self.label}: no verdict"
        with_seeds = f"with {counted(self.seeds, 'seed')}"
        return {
            "resolved": f"resolved {with_seeds}: the gap exists",
            "reversed": f"resolved {with_seeds}, reversed",
        }.get(self.label, f"{self.label} {with_seeds}")


def verdict(content: ReportContent, row: Interaction) -> Verdict:
    """Reads the interval at the primary tolerance, in log-odds where a cell is at the floor or the ceiling.

    None may be read if one of the four cells is not converged or is missing.
    """
    encoders = (row.encoder_from, row.encoder_to)
    return _read(content, row.decisive[content.primary], (row.continuous, row.arm), encoders, "this contrast")


def _read(
    content: ReportContent, number: Measured | None, arms: Sequence[str], encoders: Sequence[str], of: str
) -> Verdict:
    """What may be said of a number that rests on all these arms on all these encoders."""
    cells = [cell for arm in arms for name in encoders if (cell := content.cell(arm, name)) is not None]
    seeds = min((len(cell.per_seed) for cell in cells), default=0)
    if len(cells) < len(arms) * len(encoders):
        return Verdict("incomplete", seeds, (f"cells of {of} are missing",))
    if (found := forbidden(cells)) is not None:
        return Verdict(found.label, seeds, found.reasons)
    return Verdict(sign(number, seeds), seeds)


def sign(number: Measured | None, seeds: int) -> Sign:
    """Which side of zero the whole interval over that many seeds is on."""
    if seeds <= SMOKE_TEST_SEEDS:
        return "no evidence"
    low, high = (None, None) if number is None else (number.low, number.high)
    if low is not None and low > 0:
        return "resolved"
    if high is not None and high < 0:
        return "reversed"
    return "not resolved"


def answer(content: ReportContent) -> tuple[str, ...]:
    """The report's first sentences. What forbids a verdict comes before the numbers that it forbids to read."""
    sizes = (sentence for row in content.codebook_sizes for sentence in along_the_codebooks(content, row))
    gaps = (sentence for row in content.interactions for sentence in about(content, row))
    gradients = (sentence for row in content.gradients for sentence in along_the_encoders(content, row))
    return (*cautions(content), *sizes, *gaps, *gradients, *bottleneck.primary(content))


def along_the_encoders(content: ReportContent, row: Gradient) -> tuple[str, ...]:
    """What may be said about how success follows the measured quality of the encoders, at the primary tolerance."""
    at, (worst, best) = content.primary, (row.errors_mm[0][1], row.errors_mm[-1][1])
    lead = f"Over {counted(len(row.errors_mm), 'encoder')} of {worst:.1f} to {best:.1f} mm, halving the pose error buys"
    slopes = f"{row.continuous} {points(row.continuous_slope[at], unit=True)} and {row.arm} "
    slopes += f"{points(row.discrete_slope[at])}: a difference of {points(row.points[at])}"
    found, flag = gradient_verdict(content, row), row.flags[at]
    if found.reasons:
        return (f"{lead} {slopes} as measured, and no verdict: {' and '.join(found.reasons)}.",)
    told = "resolved, reversed" if found.label == "reversed" else found.label
    odds = f" by log-odds, {log_odds(row.log_odds[at])}, because a cell is at the {flag}" if flag else ""
    return (f"{lead} {slopes}, {told} with {counted(found.seeds, 'seed')}{odds}.",)


def gradient_verdict(content: ReportContent, row: Gradient) -> Verdict:
    """Whether success follows the encoders more closely with one method than with the other: reads the difference of
    the slopes at the primary tolerance, in log-odds where a cell is at the floor or the ceiling."""
    encoders = [name for name, _ in row.errors_mm]
    return _read(content, row.decisive[content.primary], (row.continuous, row.arm), encoders, "this gradient")


def codebook_verdict(content: ReportContent, row: CodebookSize) -> Verdict:
    """Whether a larger codebook brings a larger encoder gain: reads the slope on nominal bits at the primary tolerance,
    unless a cell is not converged or is missing."""
    at = content.primary
    decisive = row.slope("nominal bits").at(at, row.units(at)[0])
    return _read(content, decisive, row.arms, (row.encoder_from, row.encoder_to), "these codebooks")


def along_the_codebooks(content: ReportContent, row: CodebookSize) -> tuple[str, ...]:
    """What may be said about how the gain of one encoder upgrade follows the codebook, at the primary tolerance: a
    claim about its nominal bits, the same in the other unit, and the slopes on the other measures of its size."""
    at, found = content.primary, codebook_verdict(content, row)
    (unit, other), flag, seeds = row.units(at), row.flag(at), counted(found.seeds, "seed")
    gain, nominal = f"gain from {row.upgrade}", row.slope("nominal bits")
    over = f"over {counted(len(row.arms), 'codebook')} a larger one brings on the whole a"
    claim = {
        "resolved": f"{over} larger {gain}, resolved with {seeds}",
        "reversed": f"{over} smaller {gain}, resolved with {seeds}",
        "no evidence": f"no evidence with {seeds} on whether {over} larger {gain}",
    }.get(found.label, f"whether {over} larger {gain} is not resolved with {seeds}")
    if found.reasons:
        claim = f"no verdict on whether {over} larger {gain}, because {' and '.join(found.reasons)}; as measured"
    where = f"at {content.columns[at]} " if content.tolerances_mm else ""
    scale = "in log-odds " if flag else ""
    lead = f"A cell is at the {flag}, where points mislead: in points" if flag else "In log-odds"
    others = [part for part in row.slopes if part is not nominal]
    known = " and ".join(_slope(part, at, unit) for part in others if part.at(at, unit) is not None)
    unknown = " and ".join(part.size for part in others if part.at(at, unit) is None)
    slope = f"{where}{scale}{_slope(nominal, at, unit)} from {row.arms[0]} to {row.arms[-1]}"
    return (
        f"{claim[0].upper()}{claim[1:]}: {slope}.",
        f"{lead} it is {_slope(nominal, at, other)}.",
        *([f"By other measures of their size it is {scale}{known}."] if known else []),
        *([f"In {unknown} they do not differ beyond the intervals: there is no slope."] if unknown else []),
    )


def _slope(part: GainSlope, at: int, unit: Unit) -> str:
    """`+0.21 points [0.05, 0.37] for every nominal bit`; without the word for log-odds, which are a pure number."""
    number, decimals = part.at(at, unit), DECIMALS[unit]
    assert number is not None, "asked only for slopes that there are"
    return (
        f"{signed(number.value, decimals)}{' points' * (unit == 'points')}{interval(number, decimals)} {PER[part.size]}"
    )


def cautions(content: ReportContent) -> tuple[str, ...]:
    """What to know before any number."""
    return tuple(_cautions(content))


def about(content: ReportContent, row: Interaction) -> tuple[str, ...]:
    """What may be said about one interaction; the first of the content is told in full, the others in short."""
    found = verdict(content, row)
    gains = _gains(content, row) if row == content.interactions[0] else _gains_in_short(content, row)
    if found.reasons:
        return (
            f"No verdict on {row.arm}: {' and '.join(found.reasons)}.",
            f"{gains} as measured.",
            *_flag(content, row),
        )
    told = f"{gains}. {found.words[0].upper()}{found.words[1:]}."
    return (told, *_flag(content, row), *_along_the_tolerances(content, row, found.seeds))


def intervals(content: ReportContent) -> str:
    """What the intervals of a success are over, for captions."""
    return "95 % for these checkpoints only (Wilson)" if content.seeds == 1 else "95 % over training seeds (Welch)"


def _cautions(content: ReportContent) -> Iterator[str]:
    if content.failures:
        yield f"{counted(len(content.failures), 'job')} failed; nothing is put in place of the missing results."
    if content.missing:
        missing = f"{counted(content.missing, 'result')} {'is' if content.missing == 1 else 'are'} missing"
        yield f"{missing}: cells may be missing, or rest on fewer seeds."
    if content.demonstrates_only:
        yield "This study demonstrates how the question is asked; it proves nothing."
    if content.seeds == 1:
        yield "One seed: no interval over training can be given."
    elif content.seeds <= SMOKE_TEST_SEEDS:
        yield f"{counted(content.seeds, 'seed')}: a smoke test, not evidence."
    if not content.interactions:
        yield "No continuous and discrete method were both run on two encoders: there is no gap to report."
    yield from unresolved(content.cells)


def _gains(content: ReportContent, row: Interaction) -> str:
    at = content.primary
    where = f"At {content.tolerances_mm[at]:g} mm the" if content.tolerances_mm else "The"
    upgrade = f"{where} encoder upgrade {row.encoder_from} {ARROW} {row.encoder_to}"
    gains = (
        f"{row.continuous} {points(row.continuous_gain[at], unit=True)} and {row.arm} {points(row.discrete_gain[at])}"
    )
    return f"{upgrade} buys {gains}: a compression gap of {points(row.points[at])}"


def _gains_in_short(content: ReportContent, row: Interaction) -> str:
    at = content.primary
    gain = f"{row.arm} gains {points(row.discrete_gain[at])} from {row.encoder_from} {ARROW} {row.encoder_to}"
    return f"{gain}: a gap of {points(row.points[at])} to {row.continuous}"


def _along_the_tolerances(content: ReportContent, row: Interaction, seeds: int) -> Iterator[str]:
    if len(content.tolerances_mm) < 2 or seeds <= SMOKE_TEST_SEEDS:
        return
    signs = [sign(number, seeds) for number in row.decisive]
    parts = [
        f"{name} {' and '.join(_stretches(content.tolerances_mm, signs, label))}"
        for label, name in (("resolved", "positive"), ("reversed", "reversed"))
        if label in signs
    ]
    if parts:
        rest = " and of unresolved sign elsewhere" if "not resolved" in signs else ""
        yield f"Along the tolerances it is {', '.join(parts)}{rest}."
    else:
        yield "Along the tolerances its sign is resolved nowhere."


def _stretches(tolerances: tuple[float, ...], signs: list[str], label: str) -> Iterator[str]:
    """`up to 4 mm`, `at 6 mm`, `from 6 to 8 mm`, `above 10 mm`: the runs of one sign."""
    for value, group in groupby(range(len(signs)), key=lambda index: signs[index]):
        run = list(group)
        first, last = f"{tolerances[run[0]]:g}", f"{tolerances[run[-1]]:g}"
        if value != label:
            continue
        if len(run) == len(signs):
            yield "at every tolerance"
        elif run[-1] == len(signs) - 1:
            yield f"above {tolerances[run[0] - 1]:g} mm"
        elif run[0] == 0:
            yield f"up to {last} mm"
        else:
            yield f"at {first} mm" if len(run) == 1 else f"from {first} to {last} mm"


def _flag(content: ReportContent, row: Interaction) -> Iterator[str]:
    flag = row.flags[content.primary]
    if flag:
        odds = log_odds(row.log_odds[content.primary])
        yield f"A cell is at the {flag}, where points mislead and log-odds decide: there the gap is {odds}."
