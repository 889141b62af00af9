"""What a report says and draws of the ladders."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from io import StringIO
from xml.etree import ElementTree

import pytest
from rich.console import Console

from compression_gap.report import bottleneck, terminal, words
from compression_gap.report.content import ReportContent
from compression_gap.report.figures import figures
from compression_gap.report.ladder import Bottleneck, Ladder
from compression_gap.report.numerals import chance
from compression_gap.report.page import render
from report_example import example, success_only, with_convergence

GREEDY = "OAT 8x1000 (greedy)"


def row_of(content: ReportContent, arm: str = GREEDY, encoder: str = "strong") -> Ladder:
    return next(row for row in content.ladders if (row.arm, row.encoder) == (arm, encoder))


def with_verdict(found: Bottleneck) -> tuple[ReportContent, Ladder]:
    content = example()
    row = replace(row_of(content), bottleneck=found)
    return replace(content, ladders=(row,)), row


def test_the_answer_ends_with_where_the_first_discrete_method_loses_its_success() -> None:
    content, row = with_verdict(row_of(example(), encoder="weak").bottleneck)
    said, about = words.answer(content)[-2:]
    assert said == bottleneck.told(content, row)
    assert about == "This is about losses; about upgrades cgap audit answers."
    assert re.fullmatch(
        r"Of the expert's 98 %, OAT 8x1000 \(greedy\) on strong loses in points: codebook \+10 \[6, 14\], "
        r"policy and data \+14 \[10, 18\], encoder \+22 \[18, 26\]: encoder-bound \(P > .99\)\.",
        said,
    )
    page = html.unescape(render(content)).replace("\N{NO-BREAK SPACE}", " ")
    assert f"<p>{said}</p>" in page
    assert f"<p>{about}</p>" in page
    assert "What an upgrade would gain is what <code>cgap audit</code> predicts." in page
    assert not bottleneck.primary(replace(content, ladders=()))


def test_an_undetermined_case_says_why_and_what_would_settle_it() -> None:
    content, row = with_verdict(row_of(example()).bottleneck)
    assert bottleneck.verdict(content, row) == "undetermined (encoder P .74)"
    assert bottleneck.in_short(content, row) == "? encoder .74"
    why, cure = bottleneck.open_case(content, row)
    assert why == "The encoder loss exceeds 5 points, but whether it is the largest is not sure."
    assert cure == (
        "What would probably settle it, if the losses are what they seem: 7 seeds instead of 3, or 1,700 initial "
        "states instead of 256."
    )
    assert cure in render(content)
    hopeless = replace(row.bottleneck, seeds_needed=None, states_needed=None)
    assert "would hardly settle it" in bottleneck.settling(hopeless)


@pytest.mark.parametrize(
    ("label", "short"),
    [
        ("codebook-bound", "codebook .95"),
        ("policy-or-data-bound", "policy-or-data .95"),
        ("several", "several .95"),
        ("none: saturated", "none .95"),
    ],
)
def test_a_closed_case_has_nothing_to_settle(label: str, short: str) -> None:
    content, row = with_verdict(replace(row_of(example()).bottleneck, label=label, probability=0.95, reason=""))
    assert bottleneck.verdict(content, row) == f"{label} (P .95)"
    assert bottleneck.in_short(content, row) == short
    assert bottleneck.open_case(content, row) == ()


@pytest.mark.parametrize("arm_is_converged_elsewhere", [True, False])
def test_no_verdict_from_a_ladder_whose_policies_are_not_converged(arm_is_converged_elsewhere: bool) -> None:
    """Also when only the policy on the true state, which every ladder of the method has, is not."""
    content, row = with_verdict(row_of(example(), encoder="weak").bottleneck)
    content = with_convergence(content, GREEDY, "undertrained", 9.0)
    if arm_is_converged_elsewhere:
        cells = tuple(
            replace(cell, convergence="converged") if cell.encoder != "state" else cell for cell in content.cells
        )
        content = replace(content, cells=cells)
    assert bottleneck.label(content, row) == "undertrained"
    assert bottleneck.verdict(content, row) == "undertrained: no verdict"
    said = bottleneck.told(content, row)
    assert "as measured, and no verdict: OAT 8x1000 (greedy) is undertrained on state" in said
    for page in (said, render(content), json.dumps(terminal.summary(content, "")["ladder"])):
        assert "encoder-bound" not in page
    assert terminal.summary(content, "")["ladder"][0]["probability"] is None


def test_table_and_summary_have_every_ladder() -> None:
    content = example()
    out = StringIO()
    terminal.show(content, Console(file=out, width=80))
    table = out.getvalue().split("what binds it")[1]
    assert table.count("encoder > .99") == table.count("? encoder .74") == len(content.ladders) / 2
    found = json.loads(json.dumps(terminal.summary(content, ""), allow_nan=False))["ladder"]
    assert len(found) == len(content.ladders)
    (row,) = [row for row in found if (row["method"], row["encoder"]) == (GREEDY, "strong")]
    assert (row["label"], row["probability"], row["seeds_needed"], row["states_needed"]) == (
        "undetermined",
        0.743,
        7,
        1613,
    )
    assert row["encoder_loss"]["low"] == pytest.approx(row["encoder_loss"]["estimate"] - 4)
    assert row["over"] == "new training seeds and initial states"
    assert row["about"] == "losses, not upgrades"
    assert " ".join(bottleneck.ABOUT.split()) in " ".join(out.getvalue().split())
    assert terminal.summary(success_only(), "")["ladder"] == []


def test_the_line_on_a_bar_is_the_interval_of_the_loss() -> None:
    content = replace(example(), ladders=(row_of(example()),))
    (drawing,) = next(figure for figure in figures(content) if figure.key == "ladder").panels
    svg = ElementTree.fromstring(str(drawing[1]))
    ticks = {e.text: float(e.attrib["x"]) for e in svg.iter("text") if e.attrib["text-anchor"] == "middle"}
    scale = (ticks["100"] - ticks["0"]) / 100
    spans = [e.attrib["d"] for e in svg.iter("path") if "whisker" in e.attrib["class"]]
    widths = [float(d.split("H")[1]) - float(d[1:].split(" ")[0]) for d in spans]
    assert widths == pytest.approx([8 * scale] * 3, abs=0.2)
    assert "undetermined (encoder P .74)" in [e.text for e in svg.iter("text")]


def test_a_probability_is_never_a_certainty() -> None:
    assert [chance(p) for p in (1.0, 0.995, 0.9, 0.5, 0.0)] == ["> .99", "> .99", ".90", ".50", "< .01"]
