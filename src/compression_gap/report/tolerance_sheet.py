"""Distortion and success side by side: the table's lines, the figure and the page of `cgap tolerance`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from compression_gap.report.sheet import Line, Sheet
from compression_gap.report.svg import SHAPES, Panel, Point, legend, linear, logarithmic
from compression_gap.report.words import MINUS, count

Row = Mapping[str, Any]
COLOURS = 6
NONE = "\N{EN DASH}"
AXES = {"mm": "error integrated over the chunk, mm", "squared_error": "squared error of scaled chunks"}
IN_WORDS = {"mm": "mm", "squared_error": "squared error of scaled chunks"}
HEADS = (
    "tokens",
    "nominal bits",
    "error, mm",
    "error, degrees",
    "squared error, scaled",
    "gripper wrong, %",
    "closed loop, %",
    f"{MINUS} expert, points",
    "arm only, %",
    "open loop, %",
    f"{MINUS} plain, points",
)


def sheet(data: Mapping[str, Any], command: str) -> Sheet:
    """The page of one run, which `command` makes again."""
    drawn, keys, caption = _figure(data)
    return Sheet(
        title=f"What distortion {data['name']} tolerates",
        kicker="tolerance",
        lead=_lead(data),
        heads=HEADS,
        lines=(*_replays(data["rows"]), *_tolerances(data)),
        notes=_notes(data),
        caption=caption,
        figure=drawn,
        legend=keys,
        failures=tuple((title, reason) for title, reason in data["failures"]),
        command=command,
    )


def _lead(data: Mapping[str, Any]) -> str:
    tasks = len(data["tasks"])
    states = f"{data['rollouts']} initial states ({data['protocol']})"
    return (
        f"The expert's chunks of {data['horizon']} actions, of which {data['execute']} are executed before it looks "
        f"again, distorted by codes and by noise, from the same {states} of "
        f"{'each of ' if tasks > 1 else ''}{count(tasks, 'task')}. The replay is a reference and not a ceiling: it is "
        "what imitating this expert through this code gives, and a policy may pass it."
    )


def _notes(data: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    lost = f"{data['lost']:g}"
    notes = [
        (
            "Error",
            "of chunks that nothing was fitted on, as simulators execute them, clipped to the limits of their actions: "
            "integrated over the chunk, root mean square over chunks and steps; and squared, with every action's range "
            "in the demonstrations scaled to [-1, 1], added up over the chunk, without grippers.",
        ),
        (
            "Closed loop",
            "The expert is asked for its next chunk from where the arm really is, as a policy would be. Success in %, "
            "95 % for these weights (Wilson); the difference to the expert's own chunks is of the same initial states, "
            "pair by pair (Bonett and Price). Arm only: the gripper is the expert's, so that what is left is what the "
            "arm's errors cost.",
        ),
        (
            "Open loop",
            "The executed actions of demonstrations that nothing was fitted on, chunk by chunk through the code, from "
            "where each demonstration began; nobody looks, so errors add up. Success in % of those demonstrations that "
            "succeed again without a code (plain, in the expert's line); the difference is over all of them, pair by "
            "pair. The expert's hand trembles, and codes are fitted on what it meant to do: what they smooth away is "
            "missing here. It understates what a code allows to a policy that looks.",
        ),
        (
            "Noise",
            "is normal, on the arm alone, drawn anew for every plan, with equal draws for every size and shape. White: "
            "equal and independent on scaled actions. Like a code: with the covariance of its errors.",
        ),
        (
            "Tolerance",
            f"is the distortion at which success, fitted so that it never rises, has lost {lost} points to the expert; "
            "in brackets 95 % for other initial states, drawn again within their tasks, with these weights. Between "
            "the sizes that were replayed it is interpolated over the logarithm.",
        ),
    ]
    said = [f"{curve['name']}: {curve['note']}" for curve in data["curves"] if curve["note"]]
    said += [
        f"{curve['name']}: {row[axis]['note']}"
        for curve in data["curves"]
        for row in curve["tolerances"][:1]
        for axis in AXES
        if row[axis] and row[axis]["note"]
    ]
    if said:
        notes.append(("Not determined", "; ".join(dict.fromkeys(said)) + "."))
    return tuple(notes)


def _replays(rows: Sequence[Row]) -> tuple[Line, ...]:
    """A line for everything that was replayed."""
    return tuple(
        Line(
            _name(row),
            (
                _told(lambda row: f"{row['tokens']:g}", row),
                _told(lambda row: _plain(row["nominal_bits"]), row),
                _told(lambda row: _plain(row["mm"], 2), row),
                _told(lambda row: _plain(row["degrees"], 2), row),
                _told(lambda row: _plain(row["squared_error"], 3), row),
                _told(lambda row: _plain(100 * row["gripper"], 2), row),
                _told(lambda row: _interval(row["closed_loop"]), row),
                _told(lambda row: _interval(row["closed_loop_change"], signed=True), row),
                _told(lambda row: _interval(row["arm_only"]), row),
                _told(lambda row: _interval(row["open_loop"]), row),
                _told(lambda row: _interval(row["open_loop_change"], signed=True), row),
            ),
            row["group"],
        )
        for row in rows
    )


IN_SHORT = ("bits", "mm", "scaled", "closed, %", "open, %", f"{MINUS} plain")


def in_short(rows: Sequence[Row]) -> tuple[Line, ...]:
    """The lines that a terminal has room for, under `IN_SHORT`."""
    columns = [HEADS.index(name) for name in ("nominal bits", "error, mm", "squared error, scaled")]
    columns += [HEADS.index(name) for name in ("closed loop, %", "open loop, %", f"{MINUS} plain, points")]
    whole = zip(rows, _replays(rows), strict=True)
    return tuple(Line(row["name"], tuple(line.values[n] for n in columns), line.group) for row, line in whole)


def limits(data: Mapping[str, Any]) -> tuple[str, ...]:
    """`white noise: success has lost 5 points at 6.2 mm [5.1, 7.0]`: a sentence for each curve."""
    said = []
    for curve in data["curves"]:
        row = next((row for row in curve["tolerances"] if row["tolerance_mm"] is None), {})
        found = [(axis, row.get(axis)) for axis in AXES]
        words = [f"{_limit(limit, 2)} {IN_WORDS[axis]}" for axis, limit in found if limit is not None]
        if words:
            said.append(f"{curve['name']}: success has lost {data['lost']:g} points at {', '.join(words)}")
        if curve["note"]:
            said.append(f"{curve['name']}: {curve['note']}")
    return tuple(said)


def _name(row: Row) -> str:
    return row["name"] if row["group"] == row["name"] else f"{row['group']}, {row['name']}"


def _tolerances(data: Mapping[str, Any]) -> tuple[Line, ...]:
    """Where success has lost its few points, in the columns of the errors."""
    lines = []
    for curve in data["curves"]:
        for row in curve["tolerances"]:
            if row["tolerance_mm"] is not None:
                continue
            values = [NONE] * len(HEADS)
            for axis, head, decimals in (("mm", "error, mm", 1), ("squared_error", "squared error, scaled", 2)):
                if row[axis] is not None:
                    values[HEADS.index(head)] = _limit(row[axis], decimals)
            values[HEADS.index("closed loop, %")] = f"at {_plain(row['expert'] - data['lost'])}"
            lines.append(Line(f"tolerance, {curve['name']}", tuple(values), "tolerance"))
    return tuple(lines)


def _limit(found: Row, decimals: int) -> str:
    """`6.2 [5.1, 7.0]`, or `> 39` where success has not fallen."""
    beyond = f"> {_plain(found['largest'], decimals)}"
    value = beyond if found["value"] is None else _plain(found["value"], decimals)
    if found["low"] is None:
        return value
    high = beyond if found["high"] is None else _plain(found["high"], decimals)
    return f"{value} [{_plain(found['low'], decimals)}, {high}]"


def _figure(data: Mapping[str, Any]) -> tuple[Markup | None, Markup, str]:
    """Success against distortion: what was measured, the fits, and where they have lost a few points."""
    curves = [curve for curve in data["curves"] if curve["points"]]
    if not curves:
        return None, Markup(""), ""
    axis = curves[0]["axis"]
    inside = [point["distortion"] for curve in curves for point in curve["points"][1:]]
    x = logarithmic(min(inside) / 1.4, max(inside) * 1.4, label=AXES[axis])
    panel = Panel(720, 400, x, linear(0, 100, label="success, %"))
    expert = curves[0]["points"][0]["measured"]
    panel.rule(y=expert, style="grid")
    panel.rule(y=max(expert - data["lost"], 0.0), style="primary")
    keys, said = [], []
    for number, curve in enumerate(curves):
        style, shape = f"s{number % COLOURS}", SHAPES[number % 4]
        points = curve["points"][1:]
        if points[0]["low"] is not None:
            low, high = ([(p["distortion"], p[end]) for p in points] for end in ("low", "high"))
            panel.band(low, high, style)
        panel.line([(p["distortion"], p["fitted"]) for p in points], style)
        for point in points:
            at: Point = (point["distortion"], point["measured"])
            tip = f"{curve['name']}: {_plain(point['measured'], 1)} % at {_plain(point['distortion'], 2)}{_unit(axis)}"
            panel.mark(at, shape, style + " hollow", tip, radius=4)
        found = curve["tolerances"][0][axis]
        if found["value"] is not None:
            level = found["threshold"]
            if found["low"] is not None:
                high = found["high"] if found["high"] is not None else x.high
                panel.line([(max(found["low"], x.low), level), (min(high, x.high), level)], f"{style} thin")
            told = f"tolerance, {curve['name']}: {_limit(found, 2)}{_unit(axis)}"
            panel.mark((max(found["value"], x.low), level), shape, style, told, radius=5.5)
        said.append(f"{curve['name']} {_limit(found, 2)}{_unit(axis)}")
        keys.append((curve["name"], shape, style))
    caption = (
        f"Success of the expert's chunks against their distortion, closed loop from equal initial states. Hollow marks "
        f"were measured; a line is the fit that never rises, and its band 95 % for other initial states. The dashed "
        f"line lies {data['lost']:g} points below the expert ({_plain(expert, 1)} %); the filled marks on it are the "
        "tolerances. Errors of a code are those of its prefixes and of the whole code, on the arm alone."
    )
    return panel.svg("Success against distortion; tolerance: " + "; ".join(said)), legend(keys), caption


def _unit(axis: str) -> str:
    return " mm" if axis == "mm" else ""


def _told(tell: Callable[[Row], str], row: Row) -> str:
    """What a column says; a dash for what was not measured."""
    try:
        return tell(row)
    except (KeyError, TypeError):
        return NONE


def _plain(value: float, decimals: int = 0, *, signed: bool = False) -> str:
    return f"{round(value, decimals) + 0.0:{'+' if signed else ''}.{decimals}f}".replace("-", MINUS)


def _interval(number: Row, *, signed: bool = False) -> str:
    ends = f"[{_plain(number['low'], signed=signed)}, {_plain(number['high'], signed=signed)}]"
    return f"{_plain(number['value'], signed=signed)} {ends}"
