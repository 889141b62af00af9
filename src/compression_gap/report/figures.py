"""The report's figures: content in, inline SVG out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from compression_gap.report.content import LossCurve, ReportContent, TokenizerRow
from compression_gap.report.ladder_figure import ladders
from compression_gap.report.numerals import bounded, percent, points
from compression_gap.report.svg import SHAPES, Axis, Figure, Panel, Point, legend, linear, logarithmic
from compression_gap.report.words import sign, verdict

COLOURS = 6
CURVE_POINTS = 150


def figures(content: ReportContent) -> tuple[Figure, ...]:
    """Every figure whose numbers are there, in reading order."""
    made = (make(content) for make in (slopes, gap, tolerances, ladders, tokenizers, losses))
    return tuple(figure for figure in made if figure is not None)


def slopes(content: ReportContent) -> Figure | None:
    """The factorial: success against encoder, one line an arm, at the primary tolerance."""
    if not content.cells:
        return None
    at, encoders, look = content.primary, content.encoder_order, _Look(content)
    place = places(content)
    first, last = place[encoders[0]], place[encoders[-1]]
    step = (last - first) / (len(encoders) - 1) if len(encoders) > 1 else 1.0
    x = Axis(first - 0.35 * step, last + 0.35 * step, _encoder_ticks(content, place, 0.55 * step))
    lower = any(label.startswith("\n") for _, label in x.ticks)
    width, bottom = 440 if len(encoders) < 5 else 640, 76 if lower else 44
    panel = Panel(width, 276 + bottom, x, linear(0, 100, label="success, %"), bottom=bottom)
    for number, arm in enumerate(content.arms):
        shift = 0.075 * step * (number - (len(content.arms) - 1) / 2)
        cells = [(place[name] + shift, cell) for name in encoders if (cell := content.cell(arm, name))]
        panel.line([(where, cell.success[at].value) for where, cell in cells], look.style(arm))
        for where, cell in cells:
            for seed in cell.per_seed:
                panel.mark(
                    (where + 0.03 * step, seed[at]), "circle", f"seed {look.colour(arm)}", f"{seed[at]:.0f} %", radius=2
                )
            panel.whisker(where, *bounded(cell.success[at]).ends, look.style(arm))
            tip = f"{arm} on {cell.encoder}: {percent(cell.success[at])} %, {cell.convergence}"
            panel.mark((where, cell.success[at].value), look.shape(arm), look.style(arm), tip)
    where = "" if content.primary_tolerance_mm is None else f" at {content.columns[at]}"
    return Figure(
        "factorial",
        (("", panel.svg(f"Success against encoder{where}: " + "; ".join(_slope_words(content)))),),
        legend((arm, look.shape(arm), look.style(arm)) for arm in content.arms),
    )


def gap(content: ReportContent) -> Figure | None:
    """Every interaction along the tolerances."""
    if len(content.tolerances_mm) < 2 or not content.interactions:
        return None
    everything = [end for row in content.interactions for number in row.points for end in number.ends]
    x, look = _tolerance_axis(content), _Look(content)
    y = linear(min(0, *everything), max(0, *everything), label="gap, points", count=5)
    panels = []
    for row in content.interactions:
        panel, style, found = Panel(380, 270, x, y), look.colour(row.arm), verdict(content, row)
        _primary_rule(panel, content)
        panel.rule(y=0, style="zero")
        values = list(zip(content.tolerances_mm, row.points, strict=True))
        panel.band([(t, n.ends[0]) for t, n in values], [(t, n.ends[1]) for t, n in values], style)
        panel.line(((t, n.value) for t, n in values), style)
        for (tolerance, number), decisive, flag in zip(values, row.decisive, row.flags, strict=True):
            side = found.words if found.reasons else sign(decisive, found.seeds)
            hollow = "" if side in ("resolved", "reversed") else " hollow"
            tip = f"{tolerance:g} mm: {points(number)} points, {side}" + (f", {flag}" if flag else "")
            panel.mark((tolerance, number.value), "circle", style + hollow, tip, radius=4)
            if flag:
                symbol = {"floor": "▾", "ceiling": "▴"}.get(flag, "◆")
                panel.text(panel.x(tolerance), panel.bottom - 4, symbol, "tick faint")
        said = ", ".join(f"{t:g} mm {points(n)}" for t, n in values)
        heading = f"{row.continuous} against {row.arm}: {found.words}"
        panels.append((heading, panel.svg(f"{heading}. Gap in points: {said}")))
    return Figure(
        "gap",
        tuple(panels),
    )


def tolerances(content: ReportContent) -> Figure | None:
    """Success against tolerance for every cell: where the sign of the gap comes from."""
    if len(content.tolerances_mm) < 2:
        return None
    look, panels = _Look(content), []
    for arm in content.arms:
        panel = Panel(380, 250, _tolerance_axis(content), linear(0, 100, label="success, %"))
        _primary_rule(panel, content)
        cells = [(i, cell) for i, name in enumerate(content.encoder_order) if (cell := content.cell(arm, name))]
        for rank, cell in cells:
            style = f"{look.colour(arm)} rank{rank % 3}"
            curve = list(zip(content.tolerances_mm, cell.success, strict=True))
            panel.line([(t, n.value) for t, n in curve], style)
            for tolerance, number in curve:
                tip = f"{cell.encoder}, {tolerance:g} mm: {percent(number)} %"
                panel.mark((tolerance, number.value), SHAPES[rank % 4], style, tip, radius=3.2)
        panels.append(
            (arm, panel.svg(f"Success of {arm} against tolerance on {', '.join(c.encoder for _, c in cells)}"))
        )
    return Figure(
        "tolerances",
        tuple(panels),
        legend((name, SHAPES[i % 4], f"neutral rank{i % 3}") for i, name in enumerate(content.encoder_order)),
    )


def tokenizers(content: ReportContent) -> Figure | None:
    """Rate and distortion: nominal and realised bits against reconstruction error."""
    rows = [(row, row.error_mm) for row in content.tokenizers if row.error_mm is not None and _rates(row)]
    if not rows:
        return None
    rates = [bits for row, _ in rows for bits, _, _ in _rates(row)]
    x = logarithmic(min(rates) * 0.7, max(rates) * 1.5, label="bits a chunk")
    y = linear(0, 1.2 * max(error.value for _, error in rows), label="reconstruction error, mm", count=4)
    panel = Panel(440, 270, x, y)
    look = _Look(content)
    for row, error in rows:
        style, found = look.colour(row.name), _rates(row)
        panel.line([(min(bits for bits, _, _ in found), error.value), (row.nominal_bits, error.value)], f"{style} thin")
        for bits, shape, name in found:
            hollow = "" if name == "code length" else " hollow"
            panel.mark((bits, error.value), shape, style + hollow, f"{row.name}, {name}: {bits:.1f} bits")
        replay = f", replay {row.replay[content.primary].value:.0f} %" if row.replay else ""
        left = found[-1][0]
        near_right = x.fraction(left) > 0.55
        panel.text(
            panel.x(left), panel.y(error.value) - 11, row.name + replay, "note", "end" if near_right else "start"
        )
    said = "; ".join(f"{row.name}: nominal {row.nominal_bits:.1f} bits, error {e.value:.2f} mm" for row, e in rows)
    return Figure(
        "tokenizers",
        (("", panel.svg(said)),),
        legend(
            (
                ("held-out code length", "circle", "neutral thin"),
                ("sum of marginals", "diamond", "neutral thin hollow"),
                ("nominal", "bar", "neutral thin hollow"),
            )
        ),
    )


def losses(content: ReportContent) -> Figure | None:
    """Training and held-out loss of every arm."""
    panels = []
    for arm in dict.fromkeys(curve.arm for curve in content.losses):
        curves = [curve for curve in content.losses if curve.arm == arm]
        values = [v for c in curves for v in c.train + c.held_out if math.isfinite(v)]
        if not values:
            continue
        last = max(step for c in curves for step in c.train_steps + c.held_out_steps)
        y = logarithmic(min(values), max(values)) if min(values) > 0 else linear(min(values), max(values), count=4)
        panel = Panel(250, 170, linear(0, max(last, 1), count=3), y, left=42, top=8, bottom=26)
        for curve in curves:
            panel.line(_thinned(curve.train_steps, curve.train), "neutral thin")
            panel.line(_thinned(curve.held_out_steps, curve.held_out), "plain")
        panels.append((arm, panel.svg(f"Loss of {arm}. Held out, last: {_last_held_out(curves)}")))
    if not panels:
        return None
    return Figure(
        "losses",
        tuple(panels),
        legend((("training", "", "neutral thin"), ("held-out demonstrations", "", "plain"))),
    )


class _Look:
    """Colour and marker say the method, a dashed line and a hollow marker its further decodings."""

    def __init__(self, content: ReportContent) -> None:
        self._decodings: dict[str, list[str]] = {}
        for cell in content.cells:
            arms = self._decodings.setdefault(cell.method, [])
            if cell.arm not in arms:
                arms.append(cell.arm)
        for row in content.tokenizers:
            self._decodings.setdefault(row.name, [row.name])

    def _place(self, arm: str) -> tuple[int, int]:
        for index, (method, arms) in enumerate(self._decodings.items()):
            if arm == method or arm in arms:
                return index, arms.index(arm) if arm in arms else 0
        return len(self._decodings), 0

    def colour(self, arm: str) -> str:
        return f"s{self._place(arm)[0] % COLOURS}"

    def style(self, arm: str) -> str:
        return self.colour(arm) + (f" hollow dash{min(self._place(arm)[1], 2)}" if self._place(arm)[1] else "")

    def shape(self, arm: str) -> str:
        return SHAPES[self._place(arm)[0] % 4]


def _rates(row: TokenizerRow) -> list[tuple[float, str, str]]:
    """Bits, marker and name of each rate, largest bound first; none of a collapsed code has a place on the axis."""
    found = [(row.nominal_bits, "bar", "nominal")]
    if row.marginal_bits is not None:
        found.append((row.marginal_bits.value, "diamond", "sum of marginals"))
    if row.code_length_bits is not None:
        found.append((row.code_length_bits.value, "circle", "code length"))
    return [rate for rate in found if rate[0] > 0]


def _tolerance_axis(content: ReportContent) -> Axis:
    low, high = content.tolerances_mm[0], content.tolerances_mm[-1]
    margin = 0.04 * (high - low)
    ticks = tuple((tolerance, f"{tolerance:g}") for tolerance in content.tolerances_mm)
    return Axis(low - margin, high + margin, ticks, "tolerance, mm")


def _primary_rule(panel: Panel, content: ReportContent) -> None:
    assert content.primary_tolerance_mm is not None, "a tolerance axis has a primary tolerance"
    panel.rule(x=content.primary_tolerance_mm, style="primary")


def _thinned(steps: Sequence[int], values: Sequence[float]) -> list[Point]:
    stride = max(1, len(steps) // CURVE_POINTS)
    kept = [(float(s), v) for s, v in zip(steps, values, strict=True) if math.isfinite(v)]
    return kept[::stride] + ([kept[-1]] if kept and (len(kept) - 1) % stride else [])


def places(content: ReportContent) -> dict[str, float]:
    """Where encoders stand on an axis of quality: by the logarithm of their measured error, better ones to the right.

    One whose error is not measured, such as the true state, stands a typical step behind the one before it; where fewer
    than two are measured, or one that is not measured stands before one that is, or the order is not that of the
    errors, all stand one step apart.
    """
    error = {row.name: row.error_mm.value for row in content.encoders if row.error_mm is not None}
    known = [-math.log2(error[name]) for name in content.encoder_order if error.get(name, 0.0) > 0]
    first = content.encoder_order[: len(known)]
    if len(known) < 2 or known != sorted(set(known)) or not all(error.get(name, 0.0) > 0 for name in first):
        return {name: float(i) for i, name in enumerate(content.encoder_order)}
    found: dict[str, float] = {}
    at, step = known[0], (known[-1] - known[0]) / (len(known) - 1)
    for name in content.encoder_order:
        at = -math.log2(error[name]) if name in first else at + step
        found[name] = at
    return found


def _encoder_ticks(content: ReportContent, place: dict[str, float], room: float) -> tuple[tuple[float, str], ...]:
    """Names and errors under the axis; what would run into its neighbour stands two lines lower."""
    ticks: list[tuple[float, str]] = []
    for name in content.encoder_order:
        crowded = bool(ticks) and place[name] - ticks[-1][0] < room and not ticks[-1][1].startswith("\n")
        ticks.append((place[name], "\n\n" * crowded + _encoder_label(content, name)))
    return tuple(ticks)


def _encoder_label(content: ReportContent, name: str) -> str:
    error = next((row.error_mm for row in content.encoders if row.name == name), None)
    return name if error is None else f"{name}\n{error.value:.1f} mm"


def _slope_words(content: ReportContent) -> Iterator[str]:
    for arm in content.arms:
        cells = [cell for name in content.encoder_order if (cell := content.cell(arm, name))]
        yield f"{arm} " + ", ".join(f"{cell.encoder} {percent(cell.success[content.primary])} %" for cell in cells)


def _last_held_out(curves: Sequence[LossCurve]) -> str:
    return ", ".join(f"seed {c.seed} {c.held_out[-1]:.3g}" for c in curves if c.held_out)
