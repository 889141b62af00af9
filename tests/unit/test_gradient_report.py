"""What a report says and draws of several encoders of measured quality."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from compression_gap.report import numerals, terminal, words
from compression_gap.report.content import EncoderRow, ReportContent
from compression_gap.report.figures import figures, places
from compression_gap.report.measured import Measured
from compression_gap.report.page import render
from report_example import LADDER, PRIMARY, TOLERANCES, example, ladder_of_encoders, with_convergence, with_seeds

MINUS = numerals.MINUS
GREEDY = "OAT 8x1000 (greedy)"


def with_slopes(difference: tuple[float, float, float]) -> ReportContent:
    content = ladder_of_encoders()
    curves = {
        name: (Measured(*ends),) * len(TOLERANCES)
        for name, ends in {
            "continuous_slope": (21.4, 17.0, 25.8),
            "discrete_slope": (13.2, 9.1, 17.3),
            "points": difference,
        }.items()
    }
    return replace(content, gradients=(replace(content.gradients[0], **curves),))


@pytest.mark.parametrize(
    ("difference", "end"),
    [
        ((8.2, 2.2, 14.2), "a difference of +8 [2, 14], resolved with 3 seeds."),
        ((2.2, -2.2, 6.6), f"a difference of +2 [{MINUS}2, 7], not resolved with 3 seeds."),
        ((-8.2, -14.2, -2.2), f"a difference of {MINUS}8 [{MINUS}14, {MINUS}2], resolved, reversed with 3 seeds."),
    ],
)
def test_the_slopes_are_told_with_their_intervals(difference: tuple[float, float, float], end: str):
    content = with_slopes(difference)
    (said,) = words.along_the_encoders(content, content.gradients[0])
    assert said == (
        "Over 5 encoders of 18.2 to 1.7 mm, halving the pose error buys Diffusion +21 points [17, 26] and "
        f"OAT 8x1000 (greedy) +13 [9, 17]: {end}"
    )
    assert said in words.answer(content)


def test_at_the_floor_log_odds_decide_about_slopes():
    content = with_slopes((8.2, 2.2, 14.2))
    odds = tuple(Measured(0.1, -0.2, 0.4, "new training seeds") for _ in TOLERANCES)
    row = replace(content.gradients[0], flags=("floor",) * len(odds), log_odds=odds)
    assert row.decisive == odds
    (said,) = words.along_the_encoders(content, row)
    assert said.endswith(
        f"not resolved with 3 seeds by log-odds, +0.10 [{MINUS}0.20, 0.40], because a cell is at the floor."
    )

    content = replace(content, gradients=(row,))
    rows = terminal.summary(content, "")["gradient"]
    assert [found["verdict"] for found in rows if found["primary"]] == ["not resolved"]
    assert {found["flag"] for found in rows} == {"floor"}
    assert render(content).count('<td class="n faint">floor</td>') >= len(TOLERANCES)


@pytest.mark.parametrize("unmeasured", ["160 steps", "700 steps"])
def test_an_encoder_that_is_not_measured_stands_where_its_order_says(unmeasured: str):
    content = ladder_of_encoders()
    rows = (replace(row, error_mm=None) if row.name == unmeasured else row for row in content.encoders)
    assert places(replace(content, encoders=tuple(rows))) == {name: float(i) for i, name in enumerate(LADDER)}


def test_two_seeds_are_no_evidence_on_slopes():
    content = with_seeds(with_slopes((8.2, 2.2, 14.2)), 2)
    (said,) = words.along_the_encoders(content, content.gradients[0])
    assert said.endswith("a difference of +8 [2, 14], no evidence with 2 seeds.")


def test_no_verdict_on_slopes_through_arms_that_are_not_converged():
    content = with_convergence(ladder_of_encoders(), GREEDY, "undertrained", 7.0)
    first, *others = [words.along_the_encoders(content, row)[0] for row in content.gradients]
    assert "as measured, and no verdict: OAT 8x1000 (greedy) is undertrained on 160 steps and" in first
    assert all("no verdict" not in said for said in others)


def test_encoders_stand_where_their_measured_error_puts_them():
    place = places(ladder_of_encoders())
    assert place["700 steps"] - place["2000 steps"] == pytest.approx(-0.564, abs=1e-3)  # log2(3.4 / 2.3)
    assert list(place) == sorted(place, key=place.__getitem__)


def test_the_true_state_stands_behind_the_best_of_the_measured():
    place = places(example())
    step = place["strong"] - place["weak"]
    assert place["state"] == pytest.approx(place["strong"] + step)


def test_without_measurements_or_against_their_order_encoders_stand_in_order():
    content = example()
    unmeasured = replace(content, encoders=())
    swapped = replace(content, encoders=(EncoderRow("weak", 1, Measured(2.0)), EncoderRow("strong", 1, Measured(4.0))))
    assert places(unmeasured) == places(swapped) == {"weak": 0.0, "strong": 1.0, "state": 2.0}


def test_the_chart_uses_the_measurement_as_its_axis():
    content = ladder_of_encoders()
    drawing = next(f for f in figures(content) if f.key == "factorial").panels[0][1]
    svg = ElementTree.fromstring(str(drawing))
    where = {
        name: float(re.match(r"M([\d.]+)", e.attrib["d"])[1])
        for e in svg.iter("path")
        if (title := e.findtext("title") or "").startswith("Diffusion on")
        for name in LADDER
        if name in title
    }
    place = places(content)
    scale = (where["6000 steps"] - where["160 steps"]) / (place["6000 steps"] - place["160 steps"])
    assert where["700 steps"] - where["160 steps"] == pytest.approx(
        scale * (place["700 steps"] - place["160 steps"]), abs=0.2
    )


def test_page_and_summary_have_the_slopes_at_every_tolerance():
    content = ladder_of_encoders()
    page = render(content)
    assert "What halving the pose error buys" in page
    assert "What halving the pose error buys" not in render(example())
    found = json.loads(json.dumps(terminal.summary(content, ""), allow_nan=False))["gradient"]
    assert len(found) == len(content.gradients) * len(TOLERANCES)
    (row,) = [row for row in found if row["primary"] and row["discrete"] == GREEDY]
    assert row["tolerance_mm"] == TOLERANCES[PRIMARY]
    assert row["errors_mm"] == LADDER
    assert row["estimate"] == pytest.approx(row["continuous_slope"]["estimate"] - row["discrete_slope"]["estimate"])
