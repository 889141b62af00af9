"""Tokenizers side by side: the table's lines, the figure and the page, from what `cgap tokenizers` measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from compression_gap.config import counted
from compression_gap.report.numerals import plain
from compression_gap.report.sheet import NONE, Line, Sheet, told
from compression_gap.report.svg import SHAPES, Panel, Point, legend, logarithmic

Row = Mapping[str, Any]
COLOURS = 6
Y_LABEL = "squared error, % of the variance"
CAPTION = (
    "Squared error of held-out chunks, in % of their variance, against bits a chunk. A filled mark stands at the "
    "least upper bound of its bits, the bar at the nominal bits, hollow marks at the prefixes from which an ordered "
    "code has learned to be read. The curve is what a Gaussian needs that has the variances of held-out chunks along "
    "the directions in which training chunks are uncorrelated: the best code needs no more, so one that lies above "
    "spends more than it must, and one for actions that are not Gaussian may lie below. The variances are of a "
    "sample, so the curve is an estimate. The broken curve is what a denoiser needs that has learnt what these chunks"
    " are like; the best code needs no more than that either. It ends at the finest noise that the denoiser knows. "
)

NOTES = (
    (
        "Code length",
        "bounds a code's bits from above in expectation: it is the held-out length under a small autoregressive model, "
        "which knows nothing but the earlier tokens. Given something, the model also knows that (of a suite the true "
        "state; of files the features, else the state), proprioception and the task: what is left a policy must find "
        "out, or guess. By marginals: the held-out length when each place is written alone, by the shares of its "
        "ids in training chunks, which leaves out what tokens have in common. Nominal are all codes of this shape; "
        "where codes differ in length, log2 of the vocabulary for each token that was written, and log2 of the longest "
        "for the length.",
    ),
    (
        "Error",
        "is of held-out chunks, integrated over the chunk, because the sum of its moves is where the arm ends up: root "
        "mean square over chunks and steps; the largest error of a chunk, which 99 % and all of the chunks stay below.",
    ),
    (
        "Above Gaussian",
        "are the least of code length, marginals and nominal bits, less the bits that the Gaussian needs for the same "
        "squared error; and the squared error over the one that the Gaussian has at the same bits. Estimates: the "
        "code length is an upper bound, and the variances are of a sample. Above the least bound: the same, "
        "beside the smaller of the Gaussian's bits and those of a denoiser, both of which bound what the best code "
        "needs from above.",
    ),
    (
        "Not written or read",
        "are chunks that the code does not know. They are left out of all other numbers, which may flatter these.",
    ),
    (
        "Learned codes",
        "are trained for equally many steps, and otherwise as each is by default: the small OAT with gates, patches "
        "and squared errors of all prefixes in balance, QueST and residual VQ plainly, on absolute errors, as "
        "published. Squared errors compare what came of it, and not the ideas.",
    ),
    (
        "Ids in use, dead, new",
        "are averages over the places of a code, as often as codes reach them: the share of the vocabulary that came "
        "there in training chunks; what was not, beyond those ids that the ones seen once or twice say are still to "
        "come; and how likely the next chunk has one that was not seen yet (Good and Turing). An id may be dead at one "
        "place and in use at another.",
    ),
    (
        "Replaced, dropped, wrong",
        "are codes with one token replaced by another, or one left out, at a random place. A wrong token that can "
        "still be read moves the arm: root mean square of how far, for each place of the token.",
    ),
)


def table(rows: Sequence[Row], given: str | None) -> tuple[Line, ...]:
    """The lines of the table; `given` is what a model of codes was told."""
    lines: tuple[tuple[str, str, Callable[[Row], str]], ...] = (
        ("rate", "tokens", lambda row: f"{round(row['tokens'], 1):g} of {row['vocab_size']}"),
        ("rate", "nominal bits", lambda row: plain(row["nominal_bits"])),
        ("rate", "code length, bits ≤", lambda row: _quantity(row["code_length_bits"])),
        ("rate", "marginals, bits ≤", lambda row: _quantity(row["marginal_bits"])),
        ("rate", f"given {given or 'the state'}, bits ≤", lambda row: _quantity(row["given_bits"])),
        ("use", "perplexity", lambda row: plain(row["perplexity"])),
        ("use", "ids in use, % ≥", lambda row: _percent(row["used"])),
        ("use", "dead ids, % ≤", lambda row: _percent(row["dead"])),
        ("use", "next id is new, %", lambda row: _percent(row["unseen"])),
        ("error", "error, mm", lambda row: _quantity(row["mm"], 2)),
        ("error", "99 %, worst, mm", lambda row: _pair(row["mm_99"], row["mm_worst"])),
        ("error", "error, degrees", lambda row: plain(row["degrees"], 2)),
        ("error", "99 %, worst, degrees", lambda row: _pair(row["degrees_99"], row["degrees_worst"])),
        ("error", "gripper wrong, %", lambda row: _percent(row["gripper"], 2)),
        ("bound", "bits above Gaussian", lambda row: plain(row["excess"]["bits"], signed=True)),
        ("bound", "dB above Gaussian", lambda row: plain(row["excess"]["decibels"], 1, signed=True)),
        ("bound", "bits above the least bound", lambda row: plain(row["above_least"], signed=True)),
        ("wrong", "not written or read", lambda row: f"{_lost(row)} of {row['chunks']}"),
        ("wrong", "replaced: unreadable, %", lambda row: _percent(row["undecodable"]["substituted"])),
        ("wrong", "dropped: unreadable, %", lambda row: _percent(row["undecodable"]["dropped"])),
        ("wrong", "wrong, first to last, mm", lambda row: _along(row["sensitivity_mm"])),
        ("wrong", "wrong at worst, mm", lambda row: _worst(row["sensitivity_mm"])),
    )
    return tuple(Line(label, tuple(told(tell, row) for row in rows), group) for group, label, tell in lines)


def speeds(rows: Sequence[Row]) -> tuple[Line, ...]:
    """Further lines for who looks on: timings are printed, and never written down."""
    lines: tuple[tuple[str, Callable[[Row], str]], ...] = (
        ("written, chunks/s", lambda row: _briefly(row["speed"]["encode"])),
        ("read, chunks/s", lambda row: _briefly(row["speed"]["decode"])),
    )
    return tuple(Line(label, tuple(told(tell, row) for row in rows), "speed") for label, tell in lines)


def sheet(data: Mapping[str, Any], command: str) -> Sheet:
    """The page of one run, which `command` makes again."""
    rows = data["tokenizers"]
    measured = [row for row in rows if "nominal_bits" in row]
    drawn, keys, caption = _figure(measured, data["gaussian_curve"], data["denoiser_curve"])
    failures = [(row["name"], reason) for row in rows for reason in (row["failed"], row.get("failure")) if reason]
    if data["denoiser_failed"]:
        failures.append(("the denoiser's bound", data["denoiser_failed"]))
    return Sheet(
        title=f"Action tokenizers on {data['name']}",
        kicker="tokenizers",
        lead=_lead(data, measured),
        heads=tuple(row["name"] for row in rows),
        lines=table(rows, data["given"]),
        notes=NOTES,
        caption=caption,
        figure=drawn,
        legend=keys,
        failures=tuple(failures),
        command=command,
    )


def _lead(data: Mapping[str, Any], measured: Sequence[Row]) -> str:
    """What the numbers are of."""
    tasks, who = len(data["tasks"]), "demonstrations of people" if data["recorded"] else "attempts of the expert"
    which = f"{data['episodes']} {who} at {'each of ' if tasks > 1 else ''}{counted(tasks, 'task')}"
    if data["source"]:
        which = f"{data['source']}: {counted(data['episodes'], 'demonstration')} of {counted(tasks, 'task')}"
    text = f"Chunks of {data['horizon']} actions from {which}, one at every {data['stride']} steps."
    text += "".join(f" {note[0].upper()}{note[1:]}." for note in data["notes"])
    if not measured:
        return text
    first = measured[0]
    held = counted(first["demonstrations"], "demonstration")
    text += f" All numbers are of {first['chunks']} chunks of {held} that nothing "
    note = first["code_length_bits"]["note"]
    return text + f"was fitted on; {note or 'intervals: 95 % for other demonstrations'}."


def bound_words(rows: Sequence[Row]) -> str:
    """Which actions are in the Gaussian's bound, or why there is none; empty if nothing was measured."""
    gaussian = next((row["gaussian"] for row in rows if "gaussian" in row), None)
    if gaussian is None:
        return ""
    if gaussian["note"]:
        return f"There is no Gaussian to compare with: {gaussian['note']}."
    text = f"In the error and the Gaussian: {', '.join(gaussian['actions'])}. "
    if gaussian["constant"]:
        text += f"Left out, because they never change: {', '.join(gaussian['constant'])}. "
    return text + "Grippers are left out of both; their bits are part of every code's."


def _figure(
    rows: Sequence[Row], curve: Sequence[Point], denoiser: Sequence[Point]
) -> tuple[Markup | None, Markup, str]:
    """Error against bits with the Gaussian's curve and the denoiser's, its keys and its caption; no figure without the
    first.

    The curves have bits and squared errors.
    """
    shown = [row for row in rows if row["squared_error"] > 0 and row["code_length_bits"]["value"] > 0]
    if not shown or not curve:
        return None, Markup(""), ""
    percent = sum(shown[0]["gaussian"]["variances"]) / 100
    bits = [
        bits for row in shown for bits in (row["rate_bits"], row["nominal_bits"], *(p["bits"] for p in row["prefixes"]))
    ]
    errors = [
        error for row in shown for error in (row["squared_error"], *(p["squared_error"] for p in row["prefixes"]))
    ]
    x = logarithmic(max(min(bits), 0.5) / 1.3, max(bits) * 1.3, label="bits a chunk")
    y = logarithmic(min(errors) / percent / 3, max(120.0, max(errors) / percent * 1.2), label=Y_LABEL)
    panel = Panel(720, 440, x, y, left=58)
    keys: list[tuple[str, str, str]] = []
    for name, points, style in (
        ("the Gaussian with the chunks' covariance", curve, "plain"),
        ("a denoiser", denoiser, "plain dash1"),
    ):
        shares = [(bits, error / percent) for bits, error in points]
        inside = [(bits, error) for bits, error in shares if x.low <= bits <= x.high and y.low <= error <= y.high]
        if inside:
            panel.line(inside, style)
            keys.append((name, "", style))
    said = []
    for number, row in enumerate(shown):
        style, shape = f"s{number % COLOURS}", SHAPES[number % 4]
        at: Point = (row["rate_bits"], row["squared_error"] / percent)
        along = [(max(p["bits"], x.low), p["squared_error"] / percent) for p in row["prefixes"]]
        if along:
            panel.line(along, style)
        for prefix, place in zip(row["prefixes"], along, strict=True):
            tip = f"{row['name']}, first {prefix['tokens']} tokens: {prefix['bits']:.1f} bits" + _mm(prefix["mm"])
            panel.mark(place, shape, style + " hollow", tip, radius=3)
        panel.line([at, (row["nominal_bits"], at[1])], style + " thin")
        panel.mark(
            (row["nominal_bits"], at[1]), "bar", style, f"{row['name']}, nominal: {row['nominal_bits']:.1f} bits"
        )
        told = f"{row['name']}: {at[0]:.1f} bits, {at[1]:.3g} % of the variance" + _mm((row["mm"] or {}).get("value"))
        panel.mark(at, shape, style, told, radius=5)
        keys.append((row["name"], shape, style))
        said.append(told)
    alt = "Squared error against bits a chunk. " + "; ".join(said)
    return panel.svg(alt), legend(keys), CAPTION + bound_words(rows)


def _quantity(quantity: Mapping[str, Any], decimals: int = 1) -> str:
    """A number with its interval."""
    text = plain(quantity["value"], decimals)
    if quantity["low"] is None:
        return text
    return f"{text} [{plain(quantity['low'], decimals)}, {plain(quantity['high'], decimals)}]"


def _percent(share: float, decimals: int = 0) -> str:
    return plain(100 * share, decimals)


def _pair(usual: float, worst: float) -> str:
    return f"{plain(usual, 1)}, {plain(worst, 1)}"


def _lost(row: Row) -> int:
    return row["unwritten"] + row["unreadable"]


def _along(by_place: Sequence[float | None]) -> str:
    known = [value for value in by_place if value is not None]
    if not known:
        return NONE
    return plain(known[0], 1) if len(known) == 1 else f"{plain(known[0], 1)} to {plain(known[-1], 1)}"


def _worst(by_place: Sequence[float | None]) -> str:
    known = [(value, place) for place, value in enumerate(by_place, start=1) if value is not None]
    if not known:
        return NONE
    value, place = max(known)
    return f"{plain(value, 1)} at {place}"


def _briefly(rate: float) -> str:
    """Two digits: `3.4k`, `1.7M`."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if rate >= size:
            return f"{rate / size:.2g}{letter}" if rate < 100 * size else f"{rate / size:.0f}{letter}"
    return f"{rate:.2g}"


def _mm(value: float | None) -> str:
    return "" if value is None else f", {value:.2f} mm"
