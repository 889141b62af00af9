"""What a report says and draws of several codebooks of one family."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from codebook_example import (
    ARMS,
    BITS,
    REALISED,
    codebooks,
    with_flag,
    with_slope,
    without_replay_slope,
)
from compression_gap.report import numerals, terminal, words
from compression_gap.report.codebook_figure import codebook_figure
from compression_gap.report.page import render
from report_example import PRIMARY, TOLERANCES, example, with_convergence, with_seeds

MINUS = numerals.MINUS
UPGRADE = "weak → strong"


def said(content) -> tuple[str, ...]:
    return words.along_the_codebooks(content, content.codebook_sizes[0])


@pytest.mark.parametrize(
    ("ends", "claim", "number"),
    [
        (
            (0.21, 0.05, 0.37),
            f"Over 5 codebooks a larger one brings on the whole a larger gain from {UPGRADE}, resolved with 3 seeds",
            "+0.21 points [0.05, 0.37]",
        ),
        (
            (-0.21, -0.37, -0.05),
            f"Over 5 codebooks a larger one brings on the whole a smaller gain from {UPGRADE}, resolved with 3 seeds",
            f"{MINUS}0.21 points [{MINUS}0.37, {MINUS}0.05]",
        ),
        (
            (0.11, -0.05, 0.27),
            f"Whether over 5 codebooks a larger one brings on the whole a larger gain from {UPGRADE} is not resolved "
            "with 3 seeds",
            f"+0.11 points [{MINUS}0.05, 0.27]",
        ),
        (
            (0.21, None, None),
            f"Whether over 5 codebooks a larger one brings on the whole a larger gain from {UPGRADE} is not resolved "
            "with 3 seeds",
            "+0.21 points",
        ),
    ],
)
def test_the_claim_is_read_from_the_interval_at_the_primary_tolerance(ends, claim: str, number: str):
    content = with_slope(codebooks(), *ends)
    assert said(content)[0] == f"{claim}: at 8 mm {number} for every nominal bit from {ARMS[0]} to {ARMS[-1]}."


def test_the_other_unit_and_the_other_sizes_are_told_without_a_verdict():
    _, odds, others = said(codebooks())
    row = codebooks().codebook_sizes[0]
    number = row.slope("nominal bits").log_odds[PRIMARY]
    assert (
        odds
        == f"In log-odds it is {numerals.signed(number.value, 3)}{numerals.interval(number, 3)} for every nominal bit."
    )
    assert re.fullmatch(r"By other measures .* for every realised bit and .* for every point of replay\.", others)
    assert "resolved" not in odds + others


def test_replays_that_all_succeed_have_no_slope():
    *_, sizes, nothing = said(without_replay_slope(codebooks()))
    assert sizes.endswith("for every realised bit.")
    assert nothing == "In replay they do not differ beyond the intervals: there is no slope."


@pytest.mark.parametrize("label", ["undertrained", "overfitted", "not measured"])
def test_no_verdict_from_codebooks_of_which_one_is_not_converged(label):
    content = with_convergence(with_slope(codebooks(), 0.21, 0.05, 0.37), ARMS[2], label, 7.0)
    first = said(content)[0]
    assert first.startswith("No verdict on whether over 5 codebooks")
    assert ARMS[2] in first
    assert "as measured: at 8 mm +0.21 points [0.05, 0.37]" in first
    assert "resolved" not in " ".join(said(content))
    assert words.codebook_verdict(content, content.codebook_sizes[0]).label == label


def test_an_arm_on_another_encoder_forbids_no_verdict():
    content = with_slope(codebooks(), 0.21, 0.05, 0.37)
    cells = (replace(c, convergence="undertrained") if c.encoder == "state" else c for c in content.cells)
    content = replace(content, cells=tuple(cells))
    labels = [words.codebook_verdict(content, row).label for row in content.codebook_sizes]
    assert labels == ["resolved", "undertrained"]


def test_a_missing_cell_and_too_few_seeds_forbid_a_verdict():
    content = with_slope(codebooks(), 0.21, 0.05, 0.37)
    row = content.codebook_sizes[0]
    assert words.codebook_verdict(replace(content, cells=content.cells[:-3]), row).label == "incomplete"
    few = with_seeds(content, 2)
    assert words.codebook_verdict(few, row).label == "no evidence"
    assert said(few)[0].startswith("No evidence with 2 seeds on whether over 5 codebooks a larger one brings")
    assert "resolved" not in " ".join(said(few))


def test_a_cell_at_the_ceiling_makes_the_log_odds_decide():
    content = with_flag(with_slope(codebooks(), -0.21, -0.37, -0.05), "ceiling")
    first, points, *_ = said(content)
    assert first.startswith("Over 5 codebooks a larger one brings on the whole a larger gain")  # its log-odds rise
    assert re.search(r": at 8 mm in log-odds \+0\.0\d+ \[0\.\d+, 0\.\d+\] for every nominal bit", first)
    assert points == (
        "A cell is at the ceiling, where points mislead: in points it is "
        f"{MINUS}0.21 points [{MINUS}0.37, {MINUS}0.05] for every nominal bit."
    )


def test_the_answer_leads_with_the_codebooks_where_there_are_any():
    content = codebooks()
    assert words.answer(content)[0] == said(content)[0]
    assert "Over 5 codebooks" not in " ".join(words.answer(example()))
    page = render(with_slope(content, 0.11, -0.05, 0.27))
    assert re.search(r'class="verdict"><span class="label not-resolved">', page)
    assert '<p class="lead">Whether over 5' in page
    assert page.count('class="lead"') == 1


def test_the_figure_puts_every_codebook_at_its_realised_bits_and_gain():
    content = codebooks()
    figure = codebook_figure(content)
    assert figure is not None
    assert [heading for heading, _ in figure.panels] == [
        f"weak → {best} at 8 mm (greedy)" for best in ("strong", "state")
    ]
    svg = ElementTree.fromstring(str(figure.panels[0][1]))
    ticks = [e for e in svg.iter("text") if e.attrib["class"] == "tick"]
    rows = {e.text: float(e.attrib["y"]) - 4 for e in ticks if e.attrib["text-anchor"] == "end"}
    columns = {e.text: float(e.attrib["x"]) for e in ticks if e.attrib["text-anchor"] == "middle"}
    marks = [e for e in svg.iter("path") if e.attrib["class"].startswith("mark")]
    where = [list(map(float, re.match(r"M(\S+) (\S+?)a", e.attrib["d"]).groups())) for e in marks]
    gains = [book.gain[PRIMARY].value for book in content.codebook_sizes[0].codebooks]
    bit, point = (columns["24"] - columns["18"]) / 6, (rows["0"] - rows["20"]) / 20
    assert len(marks) == len(BITS)
    for (x, y), bits, gain in zip(where, REALISED, gains, strict=True):
        assert (x + 4.5 - columns["18"]) / bit + 18 == pytest.approx(bits, abs=0.02)  # a circle begins at its left
        assert (rows["0"] - y) / point == pytest.approx(gain, abs=0.2)


def test_the_figure_has_words_keeps_inside_and_takes_its_colours_from_the_page():
    figure = codebook_figure(codebooks())
    assert figure is not None
    for _, drawing in figure.panels:
        svg = ElementTree.fromstring(str(drawing))
        assert "OAT 8x81 17.7 bits" in svg.attrib["aria-label"]
        assert "Diffusion" in svg.attrib["aria-label"]
        width, height = map(float, svg.attrib["viewBox"].split()[2:])
        labels = [e for e in svg.iter("text") if e.attrib["class"] == "small"]
        assert {e.text for e in labels} == {name.removeprefix("OAT ") for name in BITS}
        for element in svg.iter():
            assert not {"fill", "stroke", "style"} & element.attrib.keys()
            if element.tag == "text":
                assert 0 <= float(element.attrib["x"]) <= width
                assert 0 <= float(element.attrib["y"]) <= height
    assert codebook_figure(example()) is None


def test_page_and_summary_have_the_slopes_at_every_tolerance():
    content = without_replay_slope(codebooks())
    page = render(content)
    assert "Does the encoder gain grow with the codebook?" in page
    assert "points for every realised bit" in page
    assert "Does the encoder gain grow with the codebook?" not in render(example())
    first, second = json.loads(json.dumps(terminal.summary(content, ""), allow_nan=False))["codebook_size"]
    assert (first["from"], first["to"], second["to"]) == ("weak", "strong", "state")
    assert [book["nominal_bits"] for book in first["codebooks"]] == list(BITS.values())
    assert len(first["slopes"]) == 3 * len(TOLERANCES)
    primary = {row["on"]: row for row in first["slopes"] if row["primary"]}
    assert primary["nominal bits"]["tolerance_mm"] == TOLERANCES[PRIMARY]
    slope = content.codebook_sizes[0].slope("nominal bits")
    assert primary["nominal bits"]["points"]["low"] == slope.points[PRIMARY].low
    assert primary["replay"] == {
        "on": "replay", "tolerance_mm": 8.0, "primary": True, "points": None, "log_odds": None,
    }  # fmt: skip


def test_content_refuses_slopes_that_do_not_fit_the_tolerances():
    content = codebooks()
    row = content.codebook_sizes[0]
    short = replace(row.slopes[0], points=row.slopes[0].points[1:])
    with pytest.raises(ValueError, match="slope on nominal bits in points, weak → strong: expected 7 entries"):
        replace(content, codebook_sizes=(replace(row, slopes=(short, *row.slopes[1:])),))
