"""Distortion and success side by side: the table's lines, the figure and the page of `cgap tolerance`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from compression_gap.config import counted
from compression_gap.report.numerals import MINUS, plain
from compression_gap.report.sheet import NONE, Line, Sheet, told
from compression_gap.report.svg import SHAPES, Panel, Point, legend, linear, logarithmic

Row = Mapping[str, Any]
COLOURS = 6
AXES = {"mm": "error integrated over the chunk, mm", "squared_error": "squared error of scaled chunks"}
IN_WORDS = {"mm": "mm", "squared_error": "squared error of scaled chunks"}
HEADS = (
    "bits",
    "mm",
    "scaled",
    "gripper",
    "closed, %",
    f"{MINUS} expert",
    "open, %",
    f"{MINUS} plain",
)
IN_SHORT = ("bits", "mm", "scaled", "closed, %", "open, %", f"{MINUS} plain")
"""The columns that a terminal has room for."""
NOTES = (
    (
        "mm, scaled, gripper",
        "are errors of chunks that nothing was fitted on, as simulators execute them, clipped to the limits of their "
        "actions: integrated over the chunk, root mean square over chunks and steps; squared, with every action's "
        "range in the demonstrations scaled to [-1, 1], added up over the chunk without grippers; and of how "
        "many steps in a hundred the gripper command is another. Bits of codes are nominal.",
    ),
    (
        "Closed",
        "loop: the expert is asked for its next chunk where the arm really is, as a policy would be. Success in %, "
        "95 % for these weights (Wilson); the difference to the expert's own chunks, in points, is of the same initial "
        "states, pair by pair (Bonett and Price). Errors of a code are its arm's alone: the gripper is left to the "
        "expert, as it is with noise.",
    ),
    (
        "Open",
        "loop: the executed actions of demonstrations that nothing was fitted on, chunk by chunk through the code, "
        "from where each began; nobody looks, so errors add up. Success in % of those demonstrations that succeed "
        "again without a code (plain, in the first line); the difference is over all of them, pair by pair. It "
        "understates what a code allows to a policy that looks.",
    ),
    (
        "Fitted",
        "on what the scripted expert meant to do, while what it executes trembles.",
    ),
    (
        "Noise",
        "is normal, on the arm alone, and drawn anew for every plan, with equal draws for every size and shape. White: "
        "equal and independent on scaled actions. Like a code: with the covariance of its errors. A code's own errors "
        "are the same whenever the situation is, so they need not average out as noise does.",
    ),
    (
        "Tolerance",
        "is the distortion at which success, fitted so that it never rises, has lost a few points to the expert; in "
        "brackets 95 % for other initial states, drawn again within their tasks, with these weights. Between the "
        "sizes that were replayed it is interpolated over the logarithm, which the interval does not know. "
        "Bits of a tolerance are enough for the best code of that squared error: those of a Gaussian with the "
        "variances of held-out chunks, which bound what chunks like these need from above. The best code's errors are "
        "like white noise, so that line is the one to read.",
    ),
)
OF_RECORDINGS = ("mm, scaled, gripper", "Open")
"""The notes that are about people's demonstrations too."""


def sheet(data: Mapping[str, Any], command: str) -> Sheet:
    """The page of one run, which `command` makes again."""
    drawn, keys, caption = _figure(data)
    return Sheet(
        title=f"What distortion {data['name']} tolerates",
        kicker="tolerance",
        lead=_lead(data),
        heads=HEADS,
        lines=_headed([*_replays(data["rows"]), *_tolerances(data)]),
        notes=tuple(_notes(data)),
        caption=caption,
        figure=drawn,
        legend=keys,
        failures=tuple((title, reason) for title, reason in data["failures"]),
        command=command,
    )


def _lead(data: Mapping[str, Any]) -> str:
    tasks = len(data["tasks"])
    of_each = f"{'each of ' if tasks > 1 else ''}{counted(tasks, 'task')}"
    within = data["suite"].get("tolerance_mm")
    success = "" if within is None else f" Success is an error of at most {within:g} mm."
    if data["recorded"]:
        return (
            f"What people did, chunk by chunk of {data['horizon']} actions through codes, from where each of "
            f"{counted(data['rollouts'], 'demonstration')} of {of_each} began. Nobody looks where the arm is, "
            "and nobody knows what people would have done elsewhere, so there is no closed loop: read a code beside "
            "the demonstrations as they were recorded, of which not all need succeed again in this simulator."
        )
    return (
        f"The expert's chunks of {data['horizon']} actions, of which {data['execute']} are executed before it looks "
        f"again, distorted by codes and by noise, from the same {data['rollouts']} initial states "
        f"({data['protocol']}) of {of_each}.{success} The replay is a reference and not a ceiling: it is what "
        "imitating this expert through this code gives, and a policy may pass it."
    )


def _notes(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    said = _undetermined(data)
    notes = [note for note in NOTES if note[0] in OF_RECORDINGS] if data["recorded"] else NOTES
    return [*notes, *([("Not determined or left out", "; ".join(said) + ".")] if said else [])]


def in_short(rows: Sequence[Row]) -> tuple[Line, ...]:
    """The lines for a terminal, under `IN_SHORT`."""
    columns = [HEADS.index(name) for name in IN_SHORT]
    return tuple(Line(line.label, tuple(line.values[n] for n in columns), line.group) for line in _replays(rows))


def limits(data: Mapping[str, Any]) -> tuple[str, ...]:
    """`white noise: success has lost 5 points at 6.2 [5.1, 7.0] mm`: a sentence for each curve."""
    said = []
    for curve, row in _primary(data):
        words = [f"{_limit(row[axis], 2)} {IN_WORDS[axis]}" for axis in AXES if row[axis] is not None]
        if words:
            said.append(f"{curve['name']}: success has lost {data['lost']:g} points at {', '.join(words)}")
    return (*said, *_undetermined(data))


def _undetermined(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Why a tolerance or its interval is not there, and which chunks are left out."""
    lost = [row for row in data["rows"] if row.get("lost") and "open_loop" in row]
    said = [
        f"{row['group']}, {row['name']}: {row['lost']} of {row['chunks']} chunks cannot be written or read, and are "
        "left out of its errors"
        for row in lost
    ]
    said += [f"{curve['name']}: {curve['note']}" for curve in data["curves"] if curve["note"]]
    for curve, row in _primary(data):
        said += [f"{curve['name']}: {row[axis]['note']}" for axis in AXES if row[axis] and row[axis]["note"]]
    return tuple(dict.fromkeys(said))


def _primary(data: Mapping[str, Any]) -> list[tuple[Row, Row]]:
    """Every curve with its tolerance at what the suite counts as success."""
    rows = [(curve, row) for curve in data["curves"] for row in curve["tolerances"]]
    return [(curve, row) for curve, row in rows if row["tolerance_mm"] is None]


def _replays(rows: Sequence[Row]) -> tuple[Line, ...]:
    """A line for everything that was replayed."""
    tell: tuple[Callable[[Row], str], ...] = (
        lambda row: plain(row["nominal_bits"]),
        lambda row: plain(row["mm"], 2),
        lambda row: plain(row["squared_error"], 3),
        lambda row: plain(100 * row["gripper"], 1),
        lambda row: _interval(row["closed_loop"]),
        lambda row: _interval(row["closed_loop_change"], signed=True),
        lambda row: _interval(row["open_loop"]),
        lambda row: _interval(row["open_loop_change"], signed=True),
    )
    return tuple(Line(row["name"], tuple(told(column, row) for column in tell), row["group"]) for row in rows)


def _tolerances(data: Mapping[str, Any]) -> list[Line]:
    """Where success has lost its few points, in the columns of the errors."""
    lines = []
    for curve, row in _primary(data):
        values = dict.fromkeys(HEADS, NONE) | {"closed, %": plain(row["expert"] - data["lost"])}
        for axis, head, decimals in (("mm", "mm", 1), ("squared_error", "scaled", 2)):
            if row[axis] is not None:
                values[head] = _limit(row[axis], decimals)
        values["bits"] = _needed(row.get("bits"))
        lines.append(Line(curve["name"], tuple(values.values()), f"tolerance, {data['lost']:g} points lost"))
    return lines


def _needed(bits: Row | None) -> str:
    """`≤ 41 [38, 45]`, open where the interval of the tolerance is."""
    if bits is None or bits["value"] is None:
        return NONE
    ends = [NONE if bits[end] is None else plain(bits[end]) for end in ("low", "high")]
    interval = "" if ends == [NONE, NONE] else f" [{', '.join(ends)}]"
    return f"\N{LESS-THAN OR EQUAL TO} {plain(bits['value'])}{interval}"


def _headed(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Before each group of several lines, one with its name."""
    found: list[Line] = []
    for line in lines:
        if line.group != line.label and (not found or found[-1].group != line.group):
            found.append(Line(line.group, ("",) * len(line.values), line.group))
        found.append(line)
    return tuple(found)


def _limit(found: Row, decimals: int) -> str:
    """`6.2 [5.1, 7.0]`; `> 39` or `< 1.3` where success falls outside of what was replayed."""
    beyond = f"> {plain(found['largest'], decimals)}"
    outside = {"beyond": beyond, "below": f"< {plain(found['smallest'], decimals)}"}
    value = outside[found["where"]] if found["value"] is None else plain(found["value"], decimals)
    if found["low"] is None:
        return value
    high = beyond if found["high"] is None else plain(found["high"], decimals)
    return f"{value} [{plain(found['low'], decimals)}, {high}]"


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
            tip = f"{curve['name']}: {plain(point['measured'], 1)} % at {plain(point['distortion'], 2)}{_unit(axis)}"
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
        f"line lies {data['lost']:g} points below the expert ({plain(expert, 1)} %); the filled marks on it are the "
        "tolerances. Errors of a code are those of its prefixes and of the whole code, on the arm alone."
    )
    return panel.svg("Success against distortion; tolerance: " + "; ".join(said)), legend(keys), caption


def _unit(axis: str) -> str:
    return " mm" if axis == "mm" else ""


def _interval(number: Row, *, signed: bool = False) -> str:
    ends = f"[{plain(number['low'], signed=signed)}, {plain(number['high'], signed=signed)}]"
    return f"{plain(number['value'], signed=signed)} {ends}"
