"""The report without a browser: what the words may say, what the drawings show, what the page contains."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from io import StringIO
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from compression_gap.config import counted
from compression_gap.pipeline.tables import convergence
from compression_gap.report import numerals, paper, terminal, words
from compression_gap.report.content import Failure, LossCurve, ReportContent
from compression_gap.report.figures import figures
from compression_gap.report.measured import Measured
from compression_gap.report.page import render
from compression_gap.statistics import paired
from report_example import PRIMARY, TOLERANCES, example, success_only, with_convergence, with_seeds

GREEDY = "OAT 8x1000 (greedy)"


def with_gap(*intervals: tuple[float, float, float]) -> ReportContent:
    """The example with one interaction of the given intervals along the tolerances."""
    content = example()
    curve = tuple(Measured(*interval) for interval in intervals)
    return replace(content, interactions=(replace(content.interactions[0], points=curve, flags=("",) * len(curve)),))


POSITIVE, UNRESOLVED, NEGATIVE = (20.0, 5.0, 35.0), (3.0, -9.0, 15.0), (-20.0, -32.0, -8.0)


@pytest.mark.parametrize(
    ("interval", "label", "said"),
    [
        (POSITIVE, "resolved", "Resolved with 3 seeds: the gap exists."),
        (NEGATIVE, "reversed", "Resolved with 3 seeds, reversed."),
        (UNRESOLVED, "not resolved", "Not resolved with 3 seeds."),
        ((9.0, 0.0, 18.0), "not resolved", "Not resolved with 3 seeds."),
        ((9.0, None, None), "not resolved", "Not resolved with 3 seeds."),
    ],
)
def test_the_verdict_is_read_from_the_interval_at_the_primary_tolerance(interval, label, said) -> None:
    content = with_gap(*[UNRESOLVED] * PRIMARY, interval, *[UNRESOLVED] * (len(TOLERANCES) - PRIMARY - 1))
    assert words.verdict(content, content.interactions[0]).label == label
    assert said in " ".join(words.answer(content))


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("interval", [POSITIVE, NEGATIVE, UNRESOLVED])
def test_up_to_two_seeds_are_no_evidence_whatever_the_interval(seeds: int, interval) -> None:
    content = with_seeds(with_gap(*[interval] * len(TOLERANCES)), seeds)
    number = counted(seeds, "seed")
    assert words.verdict(content, content.interactions[0]).words == f"no evidence with {number}"
    said = " ".join(words.about(content, content.interactions[0]))
    assert said.endswith(f"No evidence with {number}.")
    assert not re.search(r"[Rr]esolved|reversed|positive|exists", said)
    drawn = str(dict(drawings(content))["gap"].attrib["aria-label"])
    assert f"no evidence with {number}" in drawn
    dots = [e.attrib["class"] for e in dict(drawings(content))["gap"].iter("path") if "mark" in e.attrib["class"]]
    assert all("hollow" in dot for dot in dots)


def test_the_answer_names_the_gains_and_the_gap_with_their_intervals() -> None:
    content = with_gap(*[(31.4, 18.2, 44.3)] * len(TOLERANCES))
    row = content.interactions[0]
    gains = [
        replace(row, continuous_gain=(Measured(62.0, 51.0, 73.0),) * 7, discrete_gain=(Measured(31.0, 20.0, 42.0),) * 7)
    ]
    assert words.answer(replace(content, interactions=tuple(gains)))[0] == (
        "At 8 mm the encoder upgrade weak → strong buys Diffusion +62 points [51, 73] and OAT 8x1000 (greedy) +31 "
        "[20, 42]: a compression gap of +31 [18, 44]. Resolved with 3 seeds: the gap exists."
    )


@pytest.mark.parametrize(
    ("signs", "said"),
    [
        ("+++++--", "it is positive up to 10 mm, reversed above 10 mm."),
        (
            "0++0---",
            "it is positive from 4 to 6 mm, reversed above 8 mm and of unresolved sign elsewhere.",
        ),
        ("000+000", "it is positive at 8 mm and of unresolved sign elsewhere."),
        (
            "-0+00+0",
            "it is positive at 6 mm and at 12 mm, reversed up to 2 mm and of unresolved sign elsewhere.",
        ),
        ("+++++++", "it is positive at every tolerance."),
        ("0000000", "its sign is resolved nowhere."),
    ],
)
def test_the_sign_is_told_along_the_tolerances(signs: str, said: str) -> None:
    curve = [{"+": POSITIVE, "-": NEGATIVE, "0": UNRESOLVED}[sign] for sign in signs]
    assert f"Along the tolerances {said}" in words.answer(with_gap(*curve))


@pytest.mark.parametrize("label", ["undertrained", "overfitted", "not measured"])
@pytest.mark.parametrize("arm", ["Diffusion", GREEDY])
def test_no_verdict_is_drawn_from_an_arm_that_is_not_converged(label, arm: str) -> None:
    content = with_convergence(with_gap(*[POSITIVE] * len(TOLERANCES)), arm, label, 9.0)
    answer = words.answer(content)
    assert answer[0].startswith(f"No verdict on {GREEDY}: ")
    assert arm in answer[0]
    assert label in answer[0]
    assert not re.search(r"[Rr]esolved|exists|reversed|Along the tolerances", " ".join(answer))


@pytest.mark.parametrize(
    ("gained", "lost", "at_most", "label"),
    [
        (30, 10, 60.0, "undertrained"),  # of 100 pairs
        (10, 30, 60.0, "overfitted"),
        (10, 30, 1.0, "overfitted"),
        (12, 6, 60.0, "not resolved"),
        (6, 12, 60.0, "not resolved"),
        (5, 1, 60.0, "converged"),
        (0, 0, 60.0, "converged"),
        (0, 0, 4.0, "undertrained"),
    ],
)
def test_a_change_on_doubling_counts_if_it_is_large_and_surely_one(
    gained: int, lost: int, at_most: float, label: str
) -> None:
    once, twice = np.zeros(100, bool), np.zeros(100, bool)
    twice[:gained] = True
    once[gained : gained + lost] = True
    assert convergence(paired(once, twice), at_most) == label


def test_a_cell_with_fewer_seeds_says_so() -> None:
    content = example()
    assert "of 3 seeds" not in render(content)
    fewer = replace(content.cells[0], per_seed=content.cells[0].per_seed[:2])
    assert render(replace(content, cells=(fewer, *content.cells[1:]))).count("2 of 3 seeds") == 1


def test_an_arm_that_may_be_converged_is_named_and_forbids_no_verdict() -> None:
    content = with_convergence(with_gap(*[POSITIVE] * len(TOLERANCES)), GREEDY, "not resolved", 6.0)
    said = f"Whether {GREEDY} is converged is not resolved on weak and strong and state (points with twice the steps: "
    assert words.cautions(content) == (said + " and ".join(["+6 [\N{MINUS SIGN}2, 14]"] * 3) + ").",)
    assert words.verdict(content, content.interactions[0]).label == "resolved"
    assert "] ~" in "\n".join(shown(content))
    assert 'class="label not-resolved">not resolved' in render(content)


def test_an_arm_outside_the_contrast_forbids_no_verdict() -> None:
    content = with_convergence(with_gap(*[POSITIVE] * len(TOLERANCES)), "OAT 8x81 (greedy)", "undertrained", 9.0)
    assert words.verdict(content, content.interactions[0]).label == "resolved"


def test_a_missing_cell_forbids_a_verdict() -> None:
    content = with_gap(*[POSITIVE] * len(TOLERANCES))
    cells = tuple(cell for cell in content.cells if (cell.arm, cell.encoder) != (GREEDY, "strong"))
    content = replace(content, cells=cells)
    assert words.verdict(content, content.interactions[0]).words == "incomplete: no verdict"


def test_cautions_come_before_any_number() -> None:
    content = success_only()
    first, second, third = words.answer(content)[:3]
    assert first == "1 job failed; nothing is put in place of the missing results."
    assert second == "2 seeds: a smoke test, not evidence."
    assert third == (
        "No verdict on OAT 8x1000 (greedy): OAT 8x1000 (greedy) is undertrained on weak and strong "
        "(points with twice the steps: +14 [6, 22] and +14 [6, 22])."
    )
    assert words.cautions(replace(content, failures=(), seeds=1)) == (
        "One seed: no interval over training can be given.",
    )
    assert words.cautions(replace(example(), missing=3)) == (
        "3 results are missing: cells may be missing, or rest on fewer seeds.",
    )
    assert words.cautions(replace(example(), demonstrates_only=True))[0].endswith("it proves nothing.")
    assert "no gap to report" in words.answer(replace(example(), interactions=()))[0]


def test_a_cell_at_the_floor_is_mentioned_with_the_log_odds() -> None:
    row = replace(
        example().interactions[0], flags=("floor",) * len(TOLERANCES), log_odds=(Measured(0.817, -0.104, 1.738),) * 7
    )
    said = " ".join(words.answer(replace(example(), interactions=(row,))))
    assert "A cell is at the floor, where points mislead and log-odds decide: there the gap is +0.82 [" in said


def test_where_a_cell_is_at_the_floor_the_log_odds_decide_in_words_and_in_the_figure() -> None:
    """Points positive everywhere, log-odds nowhere, and a floor up to the tolerance before the primary one."""
    content = with_gap(*[POSITIVE] * len(TOLERANCES))
    flags = ("floor",) * PRIMARY + ("",) * (len(TOLERANCES) - PRIMARY)
    row = replace(content.interactions[0], flags=flags, log_odds=(Measured(0.1, -0.2, 0.4),) * len(TOLERANCES))
    content = replace(content, interactions=(row,))
    assert words.verdict(content, row).label == "resolved"
    assert "it is positive above 6 mm and of unresolved sign elsewhere." in " ".join(words.about(content, row))
    dots = [e.attrib["class"] for e in dict(drawings(content))["gap"].iter("path") if "mark" in e.attrib["class"]]
    assert ["hollow" in dot for dot in dots] == [bool(flag) for flag in flags]
    at_the_floor = replace(row, flags=("floor",) * len(TOLERANCES))
    assert words.verdict(replace(content, interactions=(at_the_floor,)), at_the_floor).label == "not resolved"


def test_an_interval_that_excludes_zero_never_seems_to_touch_it() -> None:
    assert numerals.points(Measured(6.0, 0.3, 12.0)) == "+6 [0.3, 12]"
    assert numerals.points(Measured(-6.0, -12.0, -0.3)) == "\N{MINUS SIGN}6 [\N{MINUS SIGN}12, \N{MINUS SIGN}0.3]"
    assert numerals.points(Measured(7.0, 0.04, 14.0)) == "+7 [0.04, 14]"
    assert numerals.signed(-0.0004, 2) == "\N{MINUS SIGN}0.0004"
    assert numerals.percent(Measured(97.0, 89.0, 105.0)) == "97 [89, 100]"
    assert numerals.log_odds(Measured(0.4, 0.004, 0.8)) == "+0.40 [0.004, 0.80]"
    assert numerals.log_odds(Measured(-1e-17, -1.0, 1.0)) == "+0.00 [\N{MINUS SIGN}1.00, 1.00]"


def test_content_refuses_curves_that_do_not_fit_the_tolerances() -> None:
    content = example()
    cell = replace(content.cells[0], success=content.cells[0].success[:-1])
    with pytest.raises(
        ValueError, match="success of Diffusion on weak: expected 7 entries along the tolerances, got 6"
    ):
        replace(content, cells=(cell,))
    with pytest.raises(ValueError, match="exactly when there are tolerances"):
        replace(content, primary_tolerance_mm=None)
    with pytest.raises(ValueError, match="not among"):
        replace(content, primary_tolerance_mm=7.0)


def test_content_is_plain_json_and_a_number_that_does_not_exist_is_null() -> None:
    content = example()
    row = replace(content.tokenizers[0], error_mm=Measured(float("nan"), float("-inf"), 1.0))
    found = json.loads(json.dumps(replace(content, tokenizers=(row,)).to_json(), allow_nan=False))
    assert found["tokenizers"][0]["error_mm"] == {
        "value": None, "low": None, "high": 1.0, "over": "new training seeds", "kind": "estimate",
    }  # fmt: skip
    assert found["cells"][0]["success"][PRIMARY]["value"] == content.cells[0].success[PRIMARY].value


def drawings(content: ReportContent) -> list[tuple[str, ElementTree.Element]]:
    return [
        (figure.key, ElementTree.fromstring(drawing)) for figure in figures(content) for _, drawing in figure.panels
    ]


def test_every_drawing_has_words_keeps_inside_and_takes_its_colours_from_the_page() -> None:
    found = drawings(example())
    assert {key for key, _ in found} == {"factorial", "gap", "tolerances", "ladder", "tokenizers", "losses"}
    for key, svg in found:
        assert len(svg.attrib["aria-label"]) > 20
        width, height = map(float, svg.attrib["viewBox"].split()[2:])
        for element in svg.iter():
            assert not {"fill", "stroke", "style"} & element.attrib.keys()
            if element.tag == "path":
                x, y = map(float, re.match(r"M(\S+) ([\d.-]+)", element.attrib["d"]).groups())
                assert 0 <= x <= width, key
                assert 0 <= y <= height, key


def test_the_slope_chart_puts_success_where_the_axis_says() -> None:
    svg = dict(drawings(example()))["factorial"]
    ticks = {e.text: float(e.attrib["y"]) - 4 for e in svg.iter("text") if e.attrib["text-anchor"] == "end"}
    mark = next(e for e in svg.iter("path") if (e.findtext("title") or "").startswith("Diffusion on strong"))
    y = float(re.match(r"M\S+ ([\d.]+)", mark.attrib["d"])[1])
    success = example().cell("Diffusion", "strong").success[PRIMARY].value
    assert 100 * (ticks["0"] - y) / (ticks["0"] - ticks["100"]) == pytest.approx(success, abs=0.2)


def test_filled_dots_of_the_gap_are_those_whose_interval_excludes_zero() -> None:
    svg = dict(drawings(with_gap(*[POSITIVE] * 3, *[UNRESOLVED] * 2, *[NEGATIVE] * 2)))["gap"]
    dots = [e.attrib["class"] for e in svg.iter("path") if e.attrib["class"].startswith("mark")]
    assert ["hollow" in dot for dot in dots] == [False] * 3 + [True] * 2 + [False] * 2


def test_no_dot_of_the_gap_is_resolved_where_no_verdict_may_be_read() -> None:
    content = with_convergence(with_gap(*[POSITIVE] * len(TOLERANCES)), GREEDY, "undertrained", 14.0)
    drawing = dict(drawings(content))["gap"]
    dots = [e for e in drawing.iter("path") if "mark" in e.attrib["class"]]
    assert len(dots) == len(TOLERANCES)
    assert all("hollow" in dot.attrib["class"] for dot in dots)
    assert not any("resolved" in "".join(dot.itertext()) for dot in dots)


def test_a_collapsed_code_has_no_rate_to_draw() -> None:
    content = example()
    collapsed = replace(content.tokenizers[0], marginal_bits=Measured(0.0), code_length_bits=Measured(0.0))
    drawing = dict(drawings(replace(content, tokenizers=(collapsed, *content.tokenizers[1:]))))["tokenizers"]
    assert "OAT 8x1000: nominal 79.7 bits" in drawing.attrib["aria-label"]


def test_a_loss_that_is_a_gain_is_a_hollow_step() -> None:
    content = example()
    ladder = replace(content.ladders[0], policy_loss=Measured(-4.0))
    svg = dict(drawings(replace(content, ladders=(ladder,))))["ladder"]
    assert ["hollow" in e.attrib["class"] for e in svg.iter("rect")] == [False, True, False]
    assert "+4" in [e.text for e in svg.iter("text")]


def test_a_suite_without_tolerances_has_no_tolerance_figures_and_no_millimetres_of_success() -> None:
    content = success_only()
    assert {figure.key for figure in figures(content)} == {"factorial", "tokenizers", "losses"}
    assert ">success</th>" in render(content)
    assert "tolerance" not in re.sub(r"<style>.*?</style>", "", render(content), flags=re.S)


def test_the_page_asks_nothing_of_anybody_and_is_small() -> None:
    steps = tuple(range(20_000))
    curve = LossCurve("long", 0, steps, tuple(1 / (1 + s) for s in steps), steps, tuple(2 / (1 + s) for s in steps))
    page = render(replace(example(), losses=tuple(replace(curve, arm=f"arm {i}", seed=i % 5) for i in range(40))))
    assert len(page.encode()) < 3_000_000
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script|<link rel=\"stylesheet|src=", page)


def test_the_page_escapes_what_it_is_given() -> None:
    hostile = '<script>alert("x")</script>'
    failure = Failure(hostile, hostile, hostile)
    page = render(replace(example(), title=hostile, grid=hostile, failures=(failure,), commands=(hostile,)))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6


def test_failures_stand_at_the_head_and_nothing_else_is_said_of_them_when_there_are_none() -> None:
    page = render(success_only())
    assert page.index('id="failures"') < page.index('id="answer"')
    assert "loss is not finite" in page
    assert 'id="failures"' not in render(example())


def test_the_page_says_what_its_numbers_are() -> None:
    page = render(example())
    assert "≤&nbsp;27.4" in page
    assert "95 % over training seeds (Welch)" in page
    assert "one seed a cell" in page
    assert "cgap run example" in page
    assert "64.0" not in page.split('id="paper"')[1]


def test_an_empty_grid_still_makes_a_page() -> None:
    bare = ReportContent("t", "q", "g", (), 3, (), (), None, (), ())
    assert "no gap to report" in render(bare)


def shown(content: ReportContent) -> list[str]:
    out = StringIO()
    terminal.show(content, Console(file=out, width=80))
    return out.getvalue().splitlines()


def test_the_terminal_table_is_short_and_marks_what_is_not_converged() -> None:
    lines = shown(example())
    assert len(lines) <= 40
    assert re.search(r"Diffusion +19 \[\d+, \d+\] +72 \[\d+, \d+\] +97 \[89, 100\]", "\n".join(lines))
    assert any(re.search(r"\] u +\S+ .*\] u", line) for line in shown(success_only()) if line.startswith(GREEDY))


def test_the_summary_marks_the_primary_tolerance_once_an_interaction() -> None:
    content = example()
    found = json.loads(json.dumps(terminal.summary(content, "report.html"), allow_nan=False))
    assert {"grid", "cells", "failed", "seconds", "report", "interaction", "verdict_words"} <= found.keys()
    primary = [row for row in found["interaction"] if row["primary"]]
    assert len(primary) == len(content.interactions)
    assert len(found["interaction"]) == len(content.interactions) * len(TOLERANCES)
    assert {row["tolerance_mm"] for row in primary} == {8.0}
    assert primary[0]["estimate"] == content.interactions[0].points[PRIMARY].value
    assert [row["tolerance_mm"] for row in terminal.summary(success_only(), "")["interaction"]] == [None]


def test_the_published_gaps_and_what_noise_makes_of_them() -> None:
    gaps = paper.gaps()
    assert [(gap.size, round(gap.points, 1)) for gap in gaps] == [("M", 17.6), ("L", 15.6)]
    assert gaps[0].half_width(0) == pytest.approx(8.8, abs=0.05)
    assert gaps[0].half_width(4) == pytest.approx(18.0, abs=0.05)
