"""The page of `cgap audit`: the verdict, the pipeline as pipes, the rate-distortion plane and the learning curves."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from compression_gap.config import counted
from compression_gap.measures.aim import KINDS
from compression_gap.measures.quantity import Quantity
from compression_gap.report.audit_content import AuditContent, CodeRow, HeadRow
from compression_gap.report.audit_words import (
    EVIDENCE,
    aside,
    beside,
    briefly,
    code_failure,
    intervals,
    kind_words,
    plain,
    sentence,
    tells,
    verdict_label,
    what_there_is,
)
from compression_gap.report.pipes import FULL, Pipe, pipes
from compression_gap.report.svg import SHAPES, Panel, legend, linear, logarithmic

COLOURS = 6
LEAST_SHARE = 1e-5  # of the variance: the plane ends there


def render(content: AuditContent) -> str:
    """The whole page: style and figures inside, no scripts, no requests. Every text is escaped."""
    folder = files("compression_gap.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    plane, keys = rate_distortion(content)
    curves, curve_keys = learning_curves(content)
    return environment.from_string((folder / "audit.html.jinja").read_text("utf-8")).render(
        content=content,
        style=Markup((folder / "page.css").read_text("utf-8")),
        rows=[(row, pipeline(content, row)) for row in content.codes if row.code is not None],
        plane=plane,
        plane_keys=keys,
        curves=curves,
        curve_keys=curve_keys,
        failures=[*content.failures, *(told for row in content.codes if (told := code_failure(row)))],
        heads=[
            (name, heads)
            for name, heads in (("continuous", content.continuous), *((row.name, row.heads) for row in content.codes))
            if heads
        ],
        what=what_there_is(content),
        intervals=intervals(content),
        aims=KINDS,
        aside=aside,
        beside=[sentence(told) for told in beside(content, content.arms)],
        briefly=briefly,
        evidence_words=lambda name: EVIDENCE.get(name, name),
        kind_words=kind_words,
        plain=plain,
        sentence=sentence,
        unsure=any(row.converged is False for row in content.arms),
        verdict_label=verdict_label,
    )


def pipeline(content: AuditContent, row: CodeRow) -> Markup:
    """From what the policy sees, through one code, to the actions that come out, drawn on one scale for all codes."""
    seen = content.seen
    told = next((head for head in row.heads if seen is not None and head.arm == seen.arm), None)
    of_code = told.told if told is not None else None
    words = "features" if seen is None else seen.words
    stages = (
        Pipe("actions hold", content.held, "neutral", note="of the expert's chunk"),
        Pipe(f"{words} tell", seen.best if seen else None, "s0", note="about the chunk"),
        Pipe("a code holds", row.code, "s1", of_code, note=_core(of_code)),
        Pipe("read back", row.needed, "s2", note="needed for its error"),
    )
    said = "; ".join(f"{stage.name} {briefly(stage.bits)} bits" for stage in stages)
    return pipes(stages, FULL * max(content.held.value or 1.0, 1.0), f"{row.name}: {said}")


def _core(told: Quantity | None) -> str:
    """What the dark core of a code's pipe is, where it was measured; the pipe is too narrow for why it was not."""
    if told is None:
        return ""
    return f"told: {briefly(told)}" if told.value is None else f"dark: told, {briefly(told)}"


def rate_distortion(content: AuditContent) -> tuple[Markup | None, Markup]:
    """Error against bits with the Gaussian's curve, every code on it; no figure without a code that errs."""
    shown = [(row, *placed) for row in content.codes if (placed := _place(row)) is not None]
    if not shown or not content.curve:
        return None, Markup("")
    bits = [number for row, rate, _ in shown for number in (rate, _value(row.nominal) or rate)]
    bits += [prefix["nominal_bits"] for row, *_ in shown for prefix in row.prefixes]
    shares = [max(100 * error, 100 * LEAST_SHARE) for *_, error in shown]
    shares += [100 * head.error.value for head in _heads(content) if head.error.value]
    seen = content.seen
    if seen is not None and (told := _value(seen.best)):
        bits.append(max(told, 1.0))
    x = logarithmic(max(min(bits), 1.0) / 1.5, max(bits) * 1.3, label="bits a chunk")
    y = logarithmic(min(shares) / 3, max(140.0, max(shares) * 1.2), label="squared error, % of the variance")
    panel = Panel(720, 420, x, y, left=62)
    inside = [(b, 100 * d) for b, d in content.curve if x.low <= b <= x.high and y.low <= 100 * d <= y.high]
    panel.line(inside, "plain")
    keys = [("a source with this covariance needs at most", "", "plain")]
    denoised = [(b, 100 * d) for b, d in content.denoised_curve if x.low <= b <= x.high and y.low <= 100 * d <= y.high]
    if len(denoised) > 1:
        panel.line(denoised, "plain dash1")
        keys.append(("this one, by a denoiser", "", "plain dash1"))
    if seen is not None and (told := _value(seen.best)) and told > x.low:
        panel.rule(x=told, style="primary")
        panel.text(
            panel.x(told) + 5, panel.top + 12, f"{seen.words} {tells(seen.arm)} {briefly(seen.best)}", "note", "start"
        )
    for number, (row, rate, error) in enumerate(shown):
        style, shape = f"s{number % COLOURS}", SHAPES[number % 4]
        at = (rate, max(100 * error, 100 * LEAST_SHARE))
        along = [(max(p["nominal_bits"], x.low), 100 * p["error"]) for p in row.prefixes]
        along = [point for point in along if y.low <= point[1] <= y.high]
        if along:
            panel.line(along, f"{style} thin")
        for place in along:
            panel.mark(place, shape, f"{style} hollow", f"{row.name}, a prefix: {place[0]:.0f} bits nominal", radius=3)
        nominal = _value(row.nominal)
        if nominal is not None:
            panel.line([at, (nominal, at[1])], f"{style} thin")
            panel.mark((nominal, at[1]), "bar", style, f"{row.name}, nominal: at most {nominal:.0f} bits")
        panel.mark(
            at, shape, style, f"{row.name}: {briefly(row.code)} bits, error {briefly(row.error, 3, 100)} %", radius=5
        )
        keys.append((row.name, shape, style))
    alt = "Error against bits. " + "; ".join(
        f"{row.name}: {briefly(row.code)} bits, {briefly(row.error, 3, 100)} % of the variance" for row, *_ in shown
    )
    return panel.svg(alt), legend(keys)


def learning_curves(content: AuditContent) -> tuple[Markup | None, Markup]:
    """Error of policy heads against demonstrations; none where there is no curve of two points."""
    curves = [("continuous", head) for head in content.continuous if len(head.curve) > 1]
    curves += [(row.name, head) for row in content.codes for head in row.heads if len(head.curve) > 1]
    if not curves:
        return None, Markup("")
    counts = [count for _, head in curves for count, _ in head.curve]
    shares = [100 * error for _, head in curves for _, error in head.curve]
    ticks = sorted(set(counts))
    x = logarithmic(ticks[0] / 1.15, ticks[-1] * 1.15, label="demonstrations to learn from", ticks=ticks)
    y = linear(0.0, max(shares), label="squared error of actions, % of the variance")
    panel, keys = Panel(720, 320, x, y, left=52), []
    for number, (name, head) in enumerate(curves):
        style, shape = f"s{number % COLOURS}", SHAPES[number % 4]
        points = [(float(count), 100 * error) for count, error in head.curve]
        panel.line(points, style)
        for point in points:
            learned = counted(int(point[0]), "demonstration")
            panel.mark(point, shape, style, f"{name}, {head.words}: {point[1]:.1f} % with {learned}")
        keys.append((f"{name}, {head.words}", shape, style))
    return panel.svg("Error of policy heads against the number of demonstrations"), legend(keys)


def _heads(content: AuditContent) -> list[HeadRow]:
    return [*content.continuous, *(head for row in content.codes for head in row.heads)]


def _place(row: CodeRow) -> tuple[float, float] | None:
    """Bits and share of the variance of a code; None where one is missing."""
    rate, error = _value(row.code), _value(row.error)
    return None if rate is None or error is None or rate <= 0 else (rate, error)


def _value(quantity: Quantity | None) -> float | None:
    return None if quantity is None else quantity.value
