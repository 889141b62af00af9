"""The pipeline drawn as pipes: the width of each is its measured bits, the pale rim their interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from compression_gap.measures.quantity import Quantity
from compression_gap.report.audit_words import briefly, kind_words

WIDTH, HEIGHT = 760, 176
LEFT, PIPE, FUNNEL = 6, 160, 36
"""Pixels: where the first pipe begins, its length, and that of the piece that joins it to the next."""
MIDDLE, THICKEST, THINNEST = 96.0, 92.0, 1.5
FULL = 1.25
"""Times the bits of actions: pipes wider than that are drawn cut, and say so."""


@dataclass(frozen=True)
class Pipe:
    """One stage."""

    name: str
    bits: Quantity | None
    style: str
    inner: Quantity | None = None
    """Of these bits, those that the stage before tells."""
    note: str = ""


def pipes(stages: Sequence[Pipe], largest: float, alt: str) -> Markup:
    """A row of pipes, all on one scale, on which `largest` bits are as thick as the drawing allows."""
    parts, edges = [], []
    scale = THICKEST / largest
    for number, stage in enumerate(stages):
        left = LEFT + number * (PIPE + FUNNEL)
        edges.append((left, _thickness(stage.bits, scale)))
    for (left, here), (right, there), stage in zip(edges, edges[1:], stages, strict=False):
        parts.append(_funnel(left + PIPE, here, right, there, stage.style))
    for (left, thick), stage in zip(edges, stages, strict=True):
        parts += _pipe(left, thick, stage, scale)
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT, alt)
    return head + Markup("").join(parts) + Markup("</svg>")


def _thickness(bits: Quantity | None, scale: float) -> float:
    if bits is None or bits.value is None:
        return THINNEST
    return min(THICKEST, max(THINNEST, bits.value * scale))


def _pipe(left: float, thick: float, stage: Pipe, scale: float) -> list[Markup]:
    found, bits = [], stage.bits
    centre = left + PIPE / 2
    if bits is not None and bits.value is not None:
        if bits.low is not None and bits.high is not None:
            outer = min(THICKEST, max(THINNEST, bits.high * scale))
            found.append(_rect(left, outer, f"band {stage.style}"))
            thick = min(thick, max(THINNEST, bits.low * scale))
        found.append(_rect(left, thick, f"pipe {stage.style}", bits.text))
        if stage.inner is not None and (stage.inner.value or 0.0) > 0:
            found.append(_rect(left, min(thick, (stage.inner.value or 0.0) * scale), f"core {stage.style}"))
        if bits.value * scale > THICKEST:
            found += [_cut(left + PIPE * share) for share in (0.3, 0.7)]
    else:
        found.append(_rect(left, THINNEST, "pipe neutral"))
    found.append(_text(centre, 14, stage.name, "tick"))
    found.append(_text(centre, 31, briefly(bits) if bits is not None else "not measured", "value"))
    under = kind_words(bits) if bits is not None and bits.value is not None else ""
    found.append(_text(centre, HEIGHT - 18, under, "small"))
    found.append(_text(centre, HEIGHT - 4, stage.note, "small"))
    return found


def _rect(left: float, thick: float, style: str, tip: str = "") -> Markup:
    markup = '<rect x="{:.1f}" y="{:.1f}" width="{}" height="{:.1f}" class="{}"><title>{}</title></rect>'
    return Markup(markup).format(left, MIDDLE - thick / 2, PIPE, thick, style, tip)


def _funnel(left: float, here: float, right: float, there: float, style: str) -> Markup:
    path = "M{:.1f} {:.1f}L{:.1f} {:.1f}V{:.1f}L{:.1f} {:.1f}Z"
    markup = '<path d="' + path + '" class="funnel {}"/>'
    up, down = MIDDLE - here / 2, MIDDLE + here / 2
    return Markup(markup).format(left, up, right, MIDDLE - there / 2, MIDDLE + there / 2, left, down, style)


def _cut(at: float) -> Markup:
    top, bottom = MIDDLE - THICKEST / 2 - 4, MIDDLE + THICKEST / 2 + 4
    step = (bottom - top) / 4
    zigzag = "".join(f"l{5 if n % 2 == 0 else -5} {step:.1f}" for n in range(4))
    return Markup('<path d="M{:.1f} {:.1f}{}" class="cut"/>').format(at, top, Markup(zigzag))


def _text(x: float, y: float, text: str, style: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="middle" class="{}">{}</text>').format(x, y, style, text)
