"""A little SVG: axes and marks coloured by the page's style sheet, so that one picture serves light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

NO_LEGEND = Markup("")
Point = tuple[float, float]
SHAPES = ("circle", "square", "triangle", "diamond", "bar")


@dataclass(frozen=True)
class Figure:
    """Drawings that are read together."""

    key: str
    """The template keeps its title and its caption under this name."""
    panels: tuple[tuple[str, Markup], ...]
    """Heading and drawing; side by side where the page is wide enough."""
    legend: Markup = NO_LEGEND


@dataclass(frozen=True)
class Axis:
    """A scale from data to one side of a panel."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...] = ()
    """Where, and what is written there."""
    label: str = ""
    log: bool = False
    grid: bool = True

    def fraction(self, value: float) -> float:
        """0 at `low`, 1 at `high`."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return (at - low) / (high - low)


def linear(low: float, high: float, *, label: str = "", count: int = 5) -> Axis:
    """An axis with round ticks; its ends are moved outwards to ticks."""
    step = _round_step((high - low) / count or 1.0)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    values = [index * step for index in range(first, max(last, first + 1) + 1)]
    return Axis(values[0], values[-1], tuple((value, _tick(value)) for value in values), label)


def logarithmic(low: float, high: float, *, label: str = "", ticks: Sequence[float] = ()) -> Axis:
    """A logarithmic axis; ticks as given, or at 1, 2 and 5 times powers of ten, fewer when there are many."""
    if ticks:
        return Axis(low, high, tuple((value, _tick(value)) for value in ticks), label, log=True)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        inside = [value for power in powers for f in factors if low <= (value := f * 10.0**power) <= high]
        if len(inside) <= 5:
            break
    return Axis(low, high, tuple((value, _tick(value)) for value in inside), label, log=True)


class Panel:
    """One drawing: add marks in data coordinates, then take `svg`."""

    def __init__(
        self,
        width: int,
        height: int,
        x: Axis,
        y: Axis,
        *,
        left: int = 44,
        right: int = 14,
        top: int = 22,
        bottom: int = 42,
    ) -> None:
        self.width, self.height, self._x, self._y = width, height, x, y
        self.left, self.right, self.top, self.bottom = left, width - right, top, height - bottom
        self._parts: list[Markup] = []
        self._draw_axes()

    def x(self, value: float) -> float:
        return self.left + self._x.fraction(value) * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.bottom - self._y.fraction(value) * (self.bottom - self.top)

    def text(self, x: float, y: float, text: str, style: str = "", anchor: str = "middle") -> None:
        """Words at a place in pixels."""
        markup = '<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}">{}</text>'
        self._parts.append(Markup(markup).format(x, y, anchor, style, text))

    def line(self, points: Iterable[Point], style: str) -> None:
        path = "M" + "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in points)
        self._parts.append(Markup('<path d="{}" class="line {}"/>').format(path, style))

    def band(self, lower: Sequence[Point], upper: Sequence[Point], style: str) -> None:
        ring = "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in [*lower, *reversed(upper)])
        self._parts.append(Markup('<path d="M{}Z" class="band {}"/>').format(ring, style))

    def whisker(self, x: float, low: float, high: float, style: str) -> None:
        """A vertical interval."""
        markup = '<path d="M{:.1f} {:.1f}V{:.1f}" class="whisker {}"/>'
        self._parts.append(Markup(markup).format(self.x(x), self.y(low), self.y(high), style))

    def span(self, low: float, high: float, y: float, style: str) -> None:
        """A horizontal interval; `y` in pixels."""
        markup = '<path d="M{:.1f} {:.1f}H{:.1f}" class="whisker {}"/>'
        self._parts.append(Markup(markup).format(self.x(low), y, self.x(high), style))

    def bar(self, low: float, high: float, top: float, thickness: float, style: str, tip: str) -> None:
        """A horizontal bar along x; `top` and `thickness` in pixels."""
        left, right = sorted((self.x(low), self.x(high)))
        markup = '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="{}"><title>{}</title></rect>'
        self._parts.append(Markup(markup).format(left, top, max(right - left, 1.0), thickness, style, tip))

    def mark(self, at: Point, shape: str, style: str, tip: str, *, radius: float = 4.5) -> None:
        """A marker in data coordinates; `tip` is shown when the pointer rests on it."""
        path = outline(shape, self.x(at[0]), self.y(at[1]), radius)
        self._parts.append(Markup('<path d="{}" class="mark {}"><title>{}</title></path>').format(path, style, tip))

    def rule(self, *, x: float | None = None, y: float | None = None, style: str = "") -> None:
        """A line across the panel at one value."""
        if x is not None:
            path = f"M{self.x(x):.1f} {self.top}V{self.bottom}"
        else:
            assert y is not None, "a rule is at x or at y"
            path = f"M{self.left} {self.y(y):.1f}H{self.right}"
        self._parts.append(Markup('<path d="{}" class="rule {}"/>').format(path, style))

    def svg(self, alt: str) -> Markup:
        """The drawing as an inline element; `alt` is what a screen reader says."""
        head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(self.width, self.height, alt)
        return head + Markup("").join(self._parts) + Markup("</svg>")

    def _draw_axes(self) -> None:
        for value, label in self._y.ticks:
            if self._y.grid:
                self.rule(y=value, style="grid")
            self.text(self.left - 8, self.y(value) + 4, label, "tick", "end")
        for value, label in self._x.ticks:
            for row, words in enumerate(label.split("\n")):
                self.text(self.x(value), self.bottom + 18 + 15 * row, words, "tick" if row == 0 else "tick faint")
        if self._x.label:
            self.text((self.left + self.right) / 2, self.height - 4, self._x.label, "axis")
        if self._y.label:
            self.text(2, 12, self._y.label, "axis", "start")


def outline(shape: str, x: float, y: float, r: float) -> str:
    """The path of a marker around a point, in pixels."""
    if shape == "circle":
        return f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0Z"
    if shape == "square":
        return f"M{x - 0.9 * r:.1f} {y - 0.9 * r:.1f}h{1.8 * r:.1f}v{1.8 * r:.1f}h{-1.8 * r:.1f}Z"
    if shape == "triangle":
        return f"M{x:.1f} {y - 1.2 * r:.1f}l{1.15 * r:.1f} {2 * r:.1f}h{-2.3 * r:.1f}Z"
    if shape == "diamond":
        d = round(1.3 * r, 1)
        return f"M{x:.1f} {y - d:.1f}l{d} {d}l{-d} {d}l{-d} {-d}Z"
    assert shape == "bar", f"unknown marker {shape!r}"
    return f"M{x - 0.4 * r:.1f} {y - 1.3 * r:.1f}h{0.8 * r:.1f}v{2.6 * r:.1f}h{-0.8 * r:.1f}Z"


def legend(entries: Iterable[tuple[str, str, str]]) -> Markup:
    """Keys as a wrapping list; an entry is a name, a marker's shape and the style of its line."""
    key = '<li><svg viewBox="0 0 30 14" aria-hidden="true"><path d="M1 7H29" class="line {}"/>{}</svg>{}</li>'
    marker = '<path d="{}" class="mark {}"/>'
    items = Markup("").join(
        Markup(key).format(style, Markup(marker).format(outline(shape, 15, 7, 4.5), style) if shape else "", name)
        for name, shape, style in entries
    )
    return Markup('<ul class="legend">{}</ul>').format(items)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if rough <= power * factor * 1.0001)


def _tick(value: float) -> str:
    text = f"{value / 1000:.10g}k" if abs(value) >= 1000 else f"{value:.10g}"
    return text.replace("-", "\N{MINUS SIGN}")
