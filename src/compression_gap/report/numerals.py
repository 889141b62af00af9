"""How numbers are written: signs, intervals and chances, the same in every place."""

from __future__ import annotations

from dataclasses import replace

from compression_gap.report.measured import Measured

MINUS, ARROW = "\N{MINUS SIGN}", "\N{RIGHTWARDS ARROW}"
NOISE = 9  # decimals behind which a number is nothing but rounding


def plain(value: float, decimals: int = 0, *, signed: bool = False) -> str:
    """`31` with a true minus sign, never `-0`."""
    return f"{round(value, decimals) + 0.0:{'+' if signed else ''}.{decimals}f}".replace("-", MINUS)


def signed(value: float, decimals: int = 0) -> str:
    """`+31` with a true minus sign; a small value keeps as many decimals as show that it is not zero, so that an
    interval never seems to touch it."""
    value = round(value, NOISE)
    if 0 < abs(value) < 10.0**-decimals:
        decimals += 1
    while value and not round(value, decimals):
        decimals += 1
    text = f"{abs(value):.{decimals}f}"
    return ("+" if value >= 0 else MINUS) + text


def points(number: Measured, *, unit: bool = False) -> str:
    """`+31 points [18, 44]`."""
    return signed(number.value) + (" points" if unit else "") + interval(number)


def log_odds(number: Measured) -> str:
    """`+0.82 [0.10, 1.54]`."""
    return signed(number.value, 2) + interval(number, 2)


def percent(number: Measured) -> str:
    """`96 [93, 99]`, without the part of an interval that no success can reach."""
    return f"{number.value:.0f}{interval(bounded(number))}"


def bounded(number: Measured) -> Measured:
    """A success whose interval is cut at 0 and 100 %: Welch's does not know them."""
    if number.low is None or number.high is None:
        return number
    return replace(number, low=max(number.low, 0.0), high=min(number.high, 100.0))


def interval(number: Measured, decimals: int = 0) -> str:
    """` [18, 44]`, or nothing when there is none."""
    if number.low is None or number.high is None:
        return ""
    low, high = (signed(end, decimals).removeprefix("+") for end in (number.low, number.high))
    return f" [{low}, {high}]"


def chance(probability: float) -> str:
    """`.74`; never a certainty: `> .99`, `< .01`."""
    if probability > 0.99:
        return "> .99"
    return "< .01" if probability < 0.01 else f"{probability:.2f}".removeprefix("0")
