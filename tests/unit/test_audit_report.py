"""The page and the lines of an audit, made of numbers that were never measured."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from compression_gap.commands.audit import if_learned
from compression_gap.measures.quantity import BITS, DEMONSTRATIONS, IGNORED, Kind, Quantity
from compression_gap.report.audit import pipeline, render
from compression_gap.report.audit_content import NO_CODE, ArmRow, AuditContent, CodeRow, HeadRow, Upgrade, VerdictRow
from compression_gap.report.audit_terminal import LINES, summary
from compression_gap.report.audit_words import briefly, code_failure, what_there_is
from compression_gap.report.pipes import Pipe, pipes


def bits(value: float, kind: Kind = "estimate") -> Quantity:
    return Quantity(value, kind, BITS, DEMONSTRATIONS, value - 1, value + 1)


def share(value: float) -> Quantity:
    return Quantity(value, "estimate", "of the variance", DEMONSTRATIONS)


UNKNOWN = Quantity(None, "estimate", BITS, DEMONSTRATIONS, note="not converged")
AIM = Quantity(7.25, "estimate", "mm", "other demonstrations", 6.5, 8.0)
HEAD = HeadRow(
    "features",
    "features",
    share(0.2),
    bits(30, "upper bound"),
    bits(12),
    UNKNOWN,
    ((10, 0.3), (20, 0.2)),
    {"closes": AIM},
)
CODE = CodeRow(
    name="oat <small>",
    spec={},
    nominal=bits(80, "upper bound"),
    code=bits(42, "upper bound"),
    certified=bits(9, "lower bound"),
    error=share(0.01),
    needed=bits(30, "upper bound"),
    excess=bits(12),
    prefixes=({"tokens": 1, "nominal_bits": 10.0, "error": 0.4},),
    heads=(HEAD,),
)
VERDICT = VerdictRow(
    code="oat <small>",
    label="encoder-bound",
    sentence="predicted gains: encoder 40 %",
    leaning="",
    probability=0.93,
    evidence=("the code itself errs little",),
    settle="",
    measured={"D_pol": Quantity(0.0414, "estimate", "squared error", "other demonstrations", 0.03, 0.05)},
    upgrades=(
        Upgrade("a better encoder", Quantity(40.0, "estimate", "% of the error", "90 %", 30.0, 50.0), 10.0, 0.99),
    ),
)
UNDETERMINED = replace(
    VERDICT, code="fast", label="undetermined", leaning="several", probability=0.4, settle="more data"
)
CONTENT = AuditContent(
    name="mine",
    source="plain arrays",
    notes=("the state is taken for what it is",),
    budget="2m",
    left_out=("learning curves",),
    unknown=("success",),
    steps=1000,
    demonstrations=60,
    tasks=2,
    chunks=200,
    chunks_there=800,
    test_chunks=30,
    test_demonstrations=8,
    divisions=1,
    horizon=16,
    stride=8,
    sigma=0.025,
    actions=("x", "y"),
    actions_left_out=("gripper",),
    held=bits(60, "upper bound"),
    gripper=bits(5, "upper bound"),
    arms=(
        ArmRow(
            "features",
            "features",
            bits(15),
            bits(45, "upper bound"),
            bits(10),
            bits(18),
            bits(12),
            False,
            bits(3, "lower bound"),
            bits(2),
        ),
    ),
    codes=(CODE, CodeRow("fast", {}, failed="ValueError: nothing fits")),
    continuous=(HEAD,),
    verdicts=(
        VERDICT,
        replace(VERDICT, code="fast", label="undetermined", leaning="several", probability=0.4, settle="more data"),
    ),
    curve=tuple((2.0**n, 2.0 ** (-n / 2)) for n in range(1, 9)),
    denoised_curve=((4.0, 0.5), (8.0, 0.2), (16.0, 0.05)),
    command="cgap audit mine.npz",
)


def test_the_lines_say_verdict_kinds_and_what_is_missing():
    lines = summary(CONTENT, "page.html")
    assert lines[0].startswith("ENCODER-BOUND, probability 0.93 (through oat <small>)")
    text = "\n".join(lines)
    assert "  certain with 95 %, whatever the probe: features ≥ 3.0 [2.0, 4.0]" in lines
    assert "  gripper commands, not part of the above, hold ≤ 5.0 [4.0, 6.0]: features tell ≈ 2.0 [1.0, 3.0]" in lines
    for words in ("≤ 60.0 [59.0, 61.0]", "≈ 18.0 [17.0, 19.0] !", "≤ 42.0", "left out by --budget 2m"):
        assert words in text
    assert re.search(r"\n  is aside where the gripper closes / opens, mm +≈ 7\.2 \[6\.5, 8\.0\] / \N{EN DASH}", text)
    assert "mm aside where the gripper closes / opens" in render(CONTENT)
    assert "UNDETERMINED, leaning several, probability 0.40 (through fast)" in text
    assert "fast: ValueError: nothing fits" in text
    assert "200 of 800 chunks" in text
    assert "! denoisers not converged" in text
    assert "The denoisers have not converged" in render(CONTENT)
    assert re.search(r"error of the policy, D_pol</th>.*≈ 0\.0414 \[0\.0300, 0\.0500\]", render(CONTENT))
    assert "more than 10 with probability 0.99" in text
    assert lines[-1] == "report: page.html"


def test_the_lines_never_exceed_forty():
    many = replace(CONTENT, verdicts=(VERDICT,) * 9, codes=(CODE,) * 9, unknown=("something that is long " * 9,) * 9)
    assert len(summary(many, "page.html")) <= LINES


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_code_that_is_shown_has_its_verdict_and_so_has_the_policy_without_one(count: int):
    codes = tuple(replace(CODE, name=f"code {number}") for number in range(count))
    verdicts = tuple(replace(UNDETERMINED, code=name) for name in (*(row.name for row in codes), NO_CODE))
    text = "\n".join(summary(replace(CONTENT, codes=codes, verdicts=verdicts), "page.html"))
    assert [f"(through code {number})" in text for number in range(count)] == [number < 3 for number in range(count)]
    assert text.count("(without a code)") == 1
    assert text.count("what would settle it: more data") == 1
    assert "\N{GREATER-THAN OR EQUAL TO} lower bound" in text


@pytest.mark.parametrize("name", ["binning:bins=16", "oat:levels=(8,5,5,5),width=64,encoder_layers=", "o" * 200])
@pytest.mark.parametrize("value", [12.3, 123456.7, -1234.5])
def test_no_line_is_wider_than_a_terminal(name: str, value: float):
    head = replace(HEAD, words="the candidate's features", told=bits(value), error=share(value))
    codes = tuple(
        replace(CODE, name=f"{name}{number}", code=bits(abs(value), "upper bound"), heads=(head,))
        for number in range(3)
    )
    arm = replace(CONTENT.arms[0], words="the candidate's features", denoised_beyond=bits(value))
    upgrade = Upgrade(
        "a better encoder (the candidate's features)", Quantity(1e3, "estimate", "points", "90 %", 0, 2e3), 5, 1
    )
    verdict = replace(VERDICT, code=f"{name}0", upgrades=(upgrade,))
    wide = replace(CONTENT, codes=codes, continuous=(head,), arms=(arm,), verdicts=(verdict, UNDETERMINED))
    lines = summary(replace(wide, codes=(*codes, CodeRow(name, {}, failed="nothing fits " * 20))), "page.html")
    assert max(map(len, lines)) <= 120
    assert len(lines) <= LINES
    heads = [line for line in lines if line.startswith("codes ")]
    assert "no code" in heads[-1]
    assert sum(any(word.endswith(str(number)) for word in " ".join(heads).split()) for number in range(3)) == 3


def test_bits_below_zero_say_what_they_mean():
    minus = "\N{MINUS SIGN}"
    assert briefly(bits(-0.5)) == f"≈ {minus}0.5 [{minus}1.5, 0.5], not above 0"
    assert briefly(bits(-0.001)) == f"≈ 0.0 [{minus}1.0, 1.0]"
    assert briefly(bits(0.5)) == f"≈ 0.5 [{minus}0.5, 1.5]"
    content = replace(CONTENT, arms=(replace(CONTENT.arms[0], denoised_beyond=bits(-0.5)),))
    assert "not above 0" in "\n".join(summary(content, "page.html"))
    assert "not above 0" in render(content)


def test_denoisers_that_ignore_the_features_leave_the_linear_readout_to_tell_what_is_beyond():
    ignored = Quantity(None, "estimate", BITS, DEMONSTRATIONS, note=IGNORED)
    (arm,) = CONTENT.arms
    content = replace(CONTENT, arms=(replace(arm, beyond=bits(0.75), denoised_beyond=ignored),))
    assert content.arms[0].best_beyond == bits(0.75)
    assert replace(arm, beyond=bits(0.75), denoised_beyond=bits(4)).best_beyond == bits(4)
    assert ignored.note in render(content)


def test_one_is_one_and_not_several():
    one = {"steps": 1, "demonstrations": 1, "tasks": 1, "chunks": 1, "chunks_there": 1, "test_demonstrations": 1}
    told = what_there_is(replace(CONTENT, **one, horizon=1, stride=1))
    assert told.startswith("1 step of 1 demonstration, 1 task; 1 chunk of 1 action, one at every step; tested on")
    assert "of 1 demonstration that" in told
    assert code_failure(replace(CODE, lost=1)) == "oat <small>: 1 test chunk could not be written or read"


def test_a_quantity_is_written_with_its_kind_or_its_reason():
    assert briefly(bits(3, "lower bound")) == "≥ 3.0 [2.0, 4.0]"
    assert briefly(UNKNOWN) == "not converged"
    assert briefly(share(-0.001), 1, 100) == "≈ \N{MINUS SIGN}0.1"
    assert briefly(None) == "\N{EN DASH}"


def test_the_page_escapes_what_it_is_told_and_is_whole():
    page = render(CONTENT)
    assert "oat &lt;small&gt;" in page
    assert "oat <small>" not in page
    for words in (
        "encoder-bound",
        "probability 0.93",
        "What would settle it",
        "Left out by the budget of 2m",
        "fast: ",
    ):
        assert words in page
    assert "by a denoiser" in page
    assert page.count('role="img"') == 3  # one pipeline, the plane and the learning curve


def test_a_page_without_codes_or_features_is_still_a_page():
    page = render(replace(CONTENT, arms=(), codes=(), continuous=(), verdicts=(), curve=()))
    assert "so nothing tells anything about its actions" in page
    assert 'role="img"' not in page
    assert len(summary(replace(CONTENT, arms=(), codes=(), continuous=(), verdicts=()), "page.html")) < LINES


def test_what_better_features_tell_of_a_code_more_is_told_once():
    better = replace(HEAD, arm="candidate", words="the candidate's features", told=None, more=bits(2.5))
    code = replace(CODE, heads=(HEAD, better, replace(better, arm="state", words="the true state")))
    lines = [line for line in summary(replace(CONTENT, codes=(code,)), "page.html") if "told more of the code" in line]
    assert len(lines) == 1
    assert "\N{ALMOST EQUAL TO} 2.5 [1.5, 3.5]" in lines[0]
    assert render(replace(CONTENT, codes=(code,))).count("\N{ALMOST EQUAL TO} 2.5 [1.5, 3.5]") == 2


def heights(drawn: str) -> list[float]:
    return [float(part.partition('"')[0]) for part in drawn.split('height="')[1:]]


@pytest.mark.parametrize(("value", "cut"), [(10.0, False), (500.0, True)])
def test_a_pipe_is_as_wide_as_its_bits_up_to_the_drawing(value: float, cut: bool):
    exact = Quantity(value, "upper bound", BITS, "all codes")
    drawn = str(pipes([Pipe("code", exact, "s1"), Pipe("gone", None, "s2")], 100.0, "a pipe"))
    assert ('class="cut"' in drawn) == cut
    assert heights(drawn)[0] == pytest.approx(min(92.0, 0.92 * value), abs=0.06)
    assert "not measured" in drawn


def test_under_a_pipe_stands_no_more_than_fits():
    long = replace(UNKNOWN, note=f"not learned: {'the head errs ' * 20}")
    drawn = str(pipeline(CONTENT, replace(CODE, heads=(replace(HEAD, told=long),))))
    assert "told: not learned<" in drawn
    assert "the head errs" not in drawn


def test_what_a_head_tells_of_a_code_that_it_has_not_learned_is_no_number():
    head = replace(HEAD, error=share(0.9), told=bits(6), left=bits(170), read_back=share(0.01))
    free = replace(HEAD, error=share(0.1), told=None)
    (found,) = if_learned([head], [free])
    assert found.told is not None
    assert found.saturation is not None
    assert (found.told.value, found.saturation.value) == (None, None)
    assert briefly(found.told) == "not learned"
    assert "the head errs 8.2 times what the same features without the code" in found.told.note
    assert found.left == head.left
    coarse = replace(head, read_back=share(0.5))
    assert if_learned([coarse], [free]) == (coarse,)
    assert if_learned([head], []) == (head,)
    learned = replace(head, arm="candidate", error=share(0.1), told=None, more=bits(3))
    frees = [free, replace(free, arm="candidate")]
    row = if_learned([head, learned], frees)[1]
    assert row.more is not None
    assert row.more.value is None, "beside a head that has not learned, nothing is more"
    assert if_learned([replace(head, error=share(0.1)), learned], frees)[1] == learned
