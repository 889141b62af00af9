"""The offline verdict and the prediction, by constructed evidence: every rule, what changes nothing, and bad input."""

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compression_gap.verdict import prediction
from compression_gap.verdict.heads import Executed
from compression_gap.verdict.offline import THRESHOLD, OfflineEvidence, OfflineVerdict, offline_verdict, what_settles
from compression_gap.verdict.prediction import (
    DRAWS,
    MISSED,
    PARTS,
    Arms,
    Gain,
    Missed,
    Reconstruction,
    predict_bits,
    predict_gains,
)
from compression_gap.verdict.success_curve import SuccessCurve

FRACTIONS = (0.25, 0.5, 1.0)
DEMONSTRATIONS, CHUNKS = 20, 10


def executed(*distortion: float, bits: float | None = None, demonstrations: int = DEMONSTRATIONS) -> Executed:
    """Heads with these mean errors along the learning curve; chunks and seeds differ a little."""
    fractions = FRACTIONS[-len(distortion) :]
    count = demonstrations * CHUNKS
    rng = np.random.default_rng(0)
    shape = np.array(distortion)[:, None, None] * rng.uniform(0.9, 1.1, (1, 3, count))
    code = None if bits is None else np.full(shape.shape, bits) + rng.normal(0, 0.1, (1, 1, count))
    rows = np.arange(count)
    return Executed(fractions, shape, code, rows, np.repeat(np.arange(demonstrations), CHUNKS), "whole")


def evidence(
    own: Executed,
    encoder: float | None = None,
    codebook: float | None = None,
    tokenizer: float | None = 0.1,
    **rest: Any,
) -> OfflineEvidence:
    count = len(own.rows)
    demonstrations = count // CHUNKS
    arms = Arms(
        own,
        None if encoder is None else executed(encoder, bits=6.0, demonstrations=demonstrations),
        None if codebook is None else executed(codebook, demonstrations=demonstrations),
    )
    return OfflineEvidence(arms, None if tokenizer is None else Reconstruction(np.full(count, tokenizer)), 1.0, **rest)


FLAT = executed(0.4, 0.4, 0.4, bits=8.0)
STEEP = executed(1.0, 0.7, 0.4, bits=8.0)


@pytest.mark.parametrize(
    ("found", "label"),
    [
        (evidence(FLAT, encoder=0.1, codebook=0.4), "encoder-bound"),
        (evidence(FLAT, encoder=0.4, codebook=0.1), "codebook-bound"),
        (evidence(STEEP, encoder=0.4, codebook=0.4), "policy-or-data-bound"),
        (evidence(FLAT, encoder=0.1, codebook=0.1), "several"),
        (evidence(STEEP, encoder=0.1, codebook=0.1), "several"),
        (evidence(FLAT, encoder=0.4, codebook=0.4), "none: saturated"),
        (evidence(FLAT, encoder=0.36, codebook=0.4), "undetermined"),
    ],
)
def test_the_label_names_the_parts_whose_upgrade_helps(found: OfflineEvidence, label: str):
    verdict = offline_verdict(found)
    assert verdict.label == label
    assert verdict.probability is not None
    assert 0 <= verdict.probability <= 1
    assert bool(verdict.settle) == (label == "undetermined") == (verdict.leaning is not None)
    assert {"D_pol", "D_tok", "D_resid", "CE(T | Z)", "CE(T | better Z)"} <= set(verdict.evidence)
    assert verdict.evidence["CE(T | Z)"].kind == "upper bound"


def ignorant(error: float, demonstrations: int = DEMONSTRATIONS) -> np.ndarray:
    """Errors of who knows nothing."""
    return np.full(demonstrations * CHUNKS, error)


def test_a_policy_that_errs_as_much_as_one_that_knows_nothing_is_undetermined():
    bad = executed(1.2, 1.2, 1.2, bits=8.0)
    assert offline_verdict(evidence(bad, encoder=1.19, codebook=1.2)).label == "none: saturated"
    verdict = offline_verdict(evidence(bad, encoder=1.19, codebook=1.2, nothing=ignorant(1.0)))
    assert (verdict.label, verdict.leaning, verdict.probability) == ("undetermined", None, None)
    assert "one who knows nothing and executes the mean action 100.0 %, so what it lacks" in verdict.reason
    assert "success in a simulator or on the robot" in verdict.settle
    assert offline_verdict(evidence(bad, encoder=0.1, codebook=1.2, nothing=ignorant(1.0))).label == "undetermined"
    assert offline_verdict(evidence(bad, encoder=0.1, codebook=1.2, nothing=ignorant(2.0))).label == "encoder-bound"


def test_a_head_that_knows_nothing_where_its_features_tell_has_not_learned_its_code():
    bad = executed(1.0, bits=8.0)
    verdict = offline_verdict(evidence(bad, encoder=0.99, nothing=ignorant(1.0), without_code=ignorant(0.6)))
    assert verdict.label == "undetermined"
    assert "the same features without the code 60.0 %: it has not learned to predict the code" in verdict.reason
    assert "heads that learn longer" in verdict.settle
    blind = offline_verdict(evidence(bad, encoder=0.99, nothing=ignorant(1.0), without_code=ignorant(0.95)))
    assert "cannot be told from what nobody can predict" in blind.reason


def test_an_encoder_that_surely_helps_is_not_answered_with_a_call_for_more_data():
    steep = executed(0.6, 0.49, 0.4, bits=8.0)
    verdict = offline_verdict(evidence(steep, encoder=0.1, codebook=0.4))
    assert verdict.label == "undetermined"
    assert verdict.helps["encoder"] > 0.99
    assert verdict.reason == (
        "a better encoder helps surely; whether a better policy or more data helps too is not decided"
    )
    assert verdict.settle == "use the better encoder, which surely helps, and audit again"
    lost = offline_verdict(evidence(executed(1.2, bits=8.0), encoder=0.1, nothing=ignorant(1.0)))
    assert lost.settle == "use the better encoder, which surely helps, and audit again"


def test_what_is_doubtful_is_named_with_what_would_settle_it():
    verdict = offline_verdict(evidence(FLAT, encoder=0.36, codebook=0.4))
    assert verdict.reason == "whether a better encoder helps is not decided"
    assert "only the upgrade itself, made and measured, tells" in verdict.settle
    assert verdict.leaning in ("encoder-bound", "none: saturated")


def test_without_a_candidate_the_encoders_gain_is_not_known():
    verdict = offline_verdict(evidence(FLAT, codebook=0.4))
    assert verdict.label == "undetermined"
    assert verdict.gains["encoder"].text == prediction.UNKNOWN["encoder"]
    assert "--encoder" in verdict.settle
    assert verdict.leaning is None
    assert verdict.helps["encoder"] is None


def test_an_encoder_cannot_gain_more_than_the_policy_loses_beyond_its_code():
    verdict = offline_verdict(evidence(FLAT, codebook=0.1, tokenizer=0.39))
    assert verdict.label == "codebook-bound"
    assert verdict.helps["encoder"] == 0.0
    assert offline_verdict(evidence(FLAT, codebook=0.1, tokenizer=0.3)).label == "undetermined"


def test_without_a_code_there_is_none_to_enlarge():
    own = executed(0.4, 0.4, 0.4)
    verdict = offline_verdict(evidence(own, encoder=0.1, tokenizer=None))
    assert verdict.label == "encoder-bound"
    assert "D_tok" not in verdict.evidence


def test_two_that_surely_help_are_several_whatever_the_third_does():
    own = executed(0.4, bits=8.0)
    verdict = offline_verdict(evidence(own, encoder=0.1, codebook=0.1))
    assert verdict.label == "several"
    assert verdict.helps["data"] is None
    assert "learning curve" in verdict.gains["data"].note


CURVE = SuccessCurve.fit(np.linspace(0, 1, 200), np.linspace(0, 1, 200) < 0.5)


def test_with_a_curve_gains_are_in_points_and_a_gain_that_no_success_hangs_on_is_none():
    verdict = offline_verdict(evidence(executed(0.8, 0.8, 0.8, bits=8.0), encoder=0.2, codebook=0.7, curve=CURVE))
    assert verdict.label == "encoder-bound"
    assert verdict.gains["encoder"].unit == "points"
    assert verdict.gains["encoder"].value == pytest.approx(100 * MISSED["points"]["encoder"].factor, abs=1)
    assert verdict.gains["codebook"].value == pytest.approx(0, abs=1)
    saturated = evidence(executed(0.3, 0.3, 0.3, bits=8.0), encoder=0.05, codebook=0.2, curve=CURVE)
    assert offline_verdict(saturated).label == "none: saturated"


def test_a_head_that_has_not_learned_its_code_says_nothing():
    own = executed(0.9, 0.9, 0.9, bits=8.0)
    good, fair = np.full(40, 0.2), np.full(60, 0.85)
    lost = offline_verdict(evidence(own, encoder=0.9, codebook=0.9, without_code=good))
    assert (lost.label, lost.leaning) == ("undetermined", None)
    assert lost.reason.startswith("the head errs 3.0 times what the same features without the code")
    assert "larger --budget" in lost.settle
    assert offline_verdict(evidence(own, encoder=0.9, codebook=0.9, without_code=fair)).label == "none: saturated"
    coarse = evidence(own, encoder=0.9, codebook=0.2, tokenizer=0.6, without_code=good)
    assert offline_verdict(coarse).label == "codebook-bound"


def test_errors_are_averaged_over_an_episode_before_they_become_success():
    one = executed(0.4)
    errors = np.tile([0.1, 0.8], len(one.rows) // 2)[None, None]
    apart, together = CURVE.points(errors, None), CURVE.points(errors, one.demonstration)
    assert apart.mean() == pytest.approx(50, abs=1)
    assert together.mean() == pytest.approx(100, abs=1)


def test_a_curve_never_rises_and_keeps_what_is_measured():
    rng = np.random.default_rng(0)
    distortion = rng.uniform(0, 1, 2000)
    curve = SuccessCurve.fit(distortion, rng.random(2000) < 1 - distortion)
    assert (np.diff(curve.success, axis=1) <= 1e-12).all()
    assert np.abs(curve.success[0] - (1 - curve.distortion))[3:-3].max() < 0.12
    with pytest.raises(ValueError, match="at least 20 replays"):
        SuccessCurve.fit(distortion[:5], distortion[:5])
    with pytest.raises(ValueError, match="finite"):
        SuccessCurve.fit(np.full(30, np.nan), np.ones(30))


def test_replays_of_one_distortion_count_with_their_mean():
    """In whichever order they come: sorted by their success they would fall from one to zero within a level."""
    levels, share = np.array([0.1, 0.2, 0.4]), np.array([0.9, 0.8, 0.3])
    distortion = np.repeat(levels, 100)
    success = np.concatenate([np.arange(100) < 100 * one for one in share])
    for order in (np.arange(300), np.random.default_rng(0).permutation(300)):
        curve = SuccessCurve.fit(distortion[order], success[order])
        np.testing.assert_allclose(np.interp(levels, curve.distortion, curve.success[0]), share)
        again = np.stack([np.interp(levels, curve.distortion, row) for row in curve.success[1:]])
        np.testing.assert_allclose(again.mean(axis=0), share, atol=0.03)


def test_a_candidate_that_harms_surely_does_not_help():
    found = offline_verdict(evidence(executed(0.5, 0.5), encoder=1.5))
    assert found.gains["encoder"].value == 0
    assert found.helps["encoder"] is not None
    assert found.helps["encoder"] < 0.01


def test_no_more_than_all_of_an_error_can_go_away():
    found = offline_verdict(evidence(executed(1.0, 0.1)))
    assert found.gains["data"].value is not None
    assert found.gains["data"].value <= 1


def test_no_interval_goes_beyond_that_either():
    gain = Gain("encoder", 0.95, 0.2, "share of the distortion").quantity
    assert gain.low is not None
    assert (gain.low < 0.95, gain.high) == (True, 1.0)
    assert Gain("data", 95.0, 20.0, "points").quantity.high == pytest.approx(95 + 1.645 * 20, abs=0.1)


def test_equal_arms_gain_nothing():
    gains = predict_gains(Arms(FLAT, replace(FLAT), replace(FLAT)))
    assert [gains[part].value for part in PARTS] == [0, 0, 0]
    assert all(gains[part].quantity.low < 0 < gains[part].quantity.high for part in PARTS)
    assert predict_bits(Arms(FLAT, replace(FLAT))).value == 0


def test_bits_that_a_better_encoder_adds_are_a_difference_of_code_lengths():
    found = predict_bits(Arms(FLAT, executed(0.3, bits=6.0)))
    assert found.value == pytest.approx(2.0, abs=0.05)
    assert found.kind == "estimate"
    assert predict_bits(Arms(executed(0.4), executed(0.3))) is None


def shuffled(one: Executed, order: np.ndarray) -> Executed:
    bits = None if one.bits is None else one.bits[:, :, order]
    return replace(
        one, errors=one.errors[:, :, order], bits=bits, rows=one.rows[order], demonstration=one.demonstration[order]
    )


@settings(max_examples=12)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.5), st.floats(0.05, 0.5))
def test_the_order_of_chunks_changes_nothing(seed: int, encoder: float, codebook: float):
    found = evidence(STEEP, encoder=encoder, codebook=codebook)
    order = np.random.default_rng(seed).permutation(len(STEEP.rows))
    arms = Arms(*(shuffled(one, order) for one in (found.arms.own, found.arms.encoder, found.arms.codebook)))
    again = offline_verdict(replace(found, arms=arms, reconstruction=Reconstruction(found.reconstruction.own[order])))
    first = offline_verdict(found)
    assert again.label == first.label
    assert again.probability == pytest.approx(first.probability)


@settings(max_examples=12)
@given(st.floats(-0.5, 0.9), st.floats(-0.5, 0.9), st.floats(-0.5, 0.9), st.floats(1, 20))
def test_more_noise_never_makes_a_verdict_commit(encoder: float, codebook: float, data: float, times: float):
    values = dict(zip(PARTS, (encoder, codebook, data), strict=True))

    def verdict(spread: float) -> OfflineVerdict:
        gains = {part: Gain(part, value, spread, "share of the distortion") for part, value in values.items()}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("compression_gap.verdict.offline.predict_gains", lambda *_: gains)
            return offline_verdict(evidence(STEEP, encoder=0.4, codebook=0.4))

    before, after = verdict(0.05), verdict(0.05 * times)
    assert all(0 <= share <= 1 for one in (before, after) for share in one.helps.values())
    assert 0 <= after.probability <= 1
    assert before.label != "undetermined" or after.label == "undetermined"


def test_an_interval_is_wider_where_demonstrations_differ_and_where_predictions_missed(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(1)
    noisy = replace(FLAT, errors=FLAT.errors * np.repeat(rng.uniform(0, 2, DEMONSTRATIONS), CHUNKS))
    better = executed(0.3)
    spread = [predict_gains(Arms(own, better))["encoder"].spread for own in (FLAT, noisy)]
    assert spread[0] < spread[1]
    missed = {unit: dict.fromkeys(PARTS, Missed(1.0, 0.0, 30.0, few=30.0)) for unit in THRESHOLD}
    monkeypatch.setattr(prediction, "MISSED", missed)
    assert predict_gains(Arms(FLAT, better))["encoder"].spread > 29


def test_one_demonstration_is_counted_as_one():
    verdict = offline_verdict(evidence(executed(0.4, bits=8.0, demonstrations=1)))
    assert verdict.reason.startswith("too little data: 1 demonstration to test on")


def test_heads_of_several_divisions_are_drawn_with_their_demonstrations():
    cluster = np.repeat(np.arange(24), 5)
    alone = prediction._drawn(cluster, np.zeros_like(cluster))
    np.testing.assert_array_equal(alone, np.random.default_rng(0).multinomial(24, np.full(24, 1 / 24), DRAWS))
    drawn = prediction._drawn(cluster, cluster % 3)
    assert drawn.shape == (DRAWS, 24)
    in_each = np.stack([drawn[:, place::3].sum(axis=1) for place in range(3)], axis=1)
    assert (drawn.sum(axis=1) == 24).all()
    assert set(np.unique(in_each)) == {0, 8, 16, 24}, "a division is drawn as a whole, none or several times"


def test_where_divisions_differ_more_than_demonstrations_an_interval_is_wider():
    demonstrations = 40
    one = executed(0.5, 0.45, 0.4, demonstrations=demonstrations)
    luck = np.repeat(np.random.default_rng(1).normal(0, 0.05, 4), len(one.rows) // 4)
    division = np.repeat(np.arange(4), len(one.rows) // 4)
    better = replace(one, errors=one.errors * 0.7 + luck)
    widths = []
    for which in (None, division):
        arms = Arms(replace(one, division=which), encoder=replace(better, division=which))
        widths.append(predict_gains(arms)["encoder"].spread)
    assert widths[1] > 1.3 * widths[0]


def divided(one: Executed, count: int) -> Executed:
    """The same, tested in so many divisions."""
    return replace(one, division=one.demonstration % count)


def test_of_few_demonstrations_more_are_never_said_not_to_help():
    flat = executed(0.4, 0.4, 0.4, demonstrations=28)
    for count, label in ((None, "encoder-bound"), (3, "encoder-bound"), (4, "undetermined")):
        own = flat if count is None else divided(flat, count)
        better = replace(own, errors=own.errors / 2)
        assert own.of_few == (count == 4)
        verdict = offline_verdict(OfflineEvidence(Arms(own, encoder=better), None, 1.0))
        assert verdict.label == label
    assert (
        verdict.reason == "a better encoder helps surely; whether a better policy or more data helps too is not decided"
    )
    assert verdict.settle == "use the better encoder, which surely helps, and audit again"
    steep = divided(executed(1.6, 0.8, 0.4, demonstrations=28), 4)
    assert offline_verdict(OfflineEvidence(Arms(steep, encoder=steep), None, 1.0)).label == "policy-or-data-bound"


def test_more_data_bring_more_and_surely_less_so_where_several_divisions_are_tested():
    steep = executed(0.8, 0.6, 0.4, demonstrations=60)
    many, few = (predict_gains(Arms(one))["data"] for one in (steep, divided(steep, 3)))
    assert few.value / many.value == pytest.approx(0.6 / 0.5)
    assert few.spread > 2 * many.spread


def test_what_settles_of_few_demonstrations_is_no_number_of_them():
    flat = divided(executed(0.4, 0.4, 0.4, demonstrations=28), 4)
    verdict = offline_verdict(OfflineEvidence(Arms(flat, encoder=flat), None, 1.0))
    assert verdict.label == "undetermined"
    assert verdict.settle.endswith("more demonstrations to test on, or the upgrade itself, made and measured")
    assert not re.search(r"about \d+ demonstrations", verdict.settle)


def test_three_demonstrations_are_too_few_for_any_verdict():
    few = executed(1.0, 0.7, 0.4, bits=8.0, demonstrations=3)
    verdict = offline_verdict(evidence(few, encoder=0.1, codebook=0.4))
    assert (verdict.label, verdict.probability, verdict.leaning) == ("undetermined", None, None)
    assert verdict.reason == "too little data: 3 demonstrations to test on, at least 8 are needed"
    assert verdict.settle == "give at least 21 demonstrations that are as long as a chunk"
    assert all(gain.value is None for gain in verdict.gains.values())
    assert all(quantity.low is None for quantity in verdict.evidence.values())


def test_actions_that_never_change_have_no_verdict():
    still = executed(0.0, 0.0, 0.0, bits=0.0)
    found = OfflineEvidence(Arms(still), None, 0.0)
    assert offline_verdict(found).reason.startswith("the actions never change")


def test_errors_that_are_no_numbers_are_refused():
    broken = replace(FLAT, errors=np.where(np.arange(len(FLAT.rows)) == 3, np.inf, FLAT.errors))
    with pytest.raises(ValueError, match="codebook: expected finite errors"):
        Arms(FLAT, None, broken)


def test_heads_tested_on_other_chunks_are_refused():
    other = executed(0.3, demonstrations=19)
    with pytest.raises(ValueError, match="encoder: expected heads tested on the same 200 chunks"):
        Arms(FLAT, other)


def with_codes(own: float, other: float | None, distortion: float = 0.4) -> Gain | None:
    count = len(FLAT.rows)
    codes = Reconstruction(np.full(count, own), None if other is None else np.full(count, other))
    return predict_gains(Arms(executed(distortion, bits=8.0)), codes)["codebook"]


def test_without_heads_a_code_is_worth_what_it_reconstructs_better_as_far_as_the_code_is_to_blame():
    assert with_codes(0.4, 0.1).value == pytest.approx(0.75, abs=0.01)  # all of the distortion is the code's
    assert with_codes(0.2, 0.1).value == pytest.approx(0.5 * 0.25, abs=0.01)
    assert with_codes(0.04, 0.0).value == pytest.approx(0.1 * 0.1, abs=0.01)
    assert with_codes(0.1, 0.2).value == 0  # a code that is worse need not be taken
    assert with_codes(0.1, None) is None


def test_where_heads_gain_more_than_the_reconstruction_promises_they_are_believed():
    count = len(FLAT.rows)
    codes = Reconstruction(np.full(count, 0.1), np.full(count, 0.1))
    assert predict_gains(Arms(FLAT, None, executed(0.2)), codes)["codebook"].value == pytest.approx(0.5, abs=0.01)
    assert predict_gains(Arms(FLAT, None, executed(0.6)), codes)["codebook"].value == 0


def test_what_would_settle_it_is_a_number_of_demonstrations_or_the_upgrade_itself():
    missed = MISSED["share of the distortion"]["encoder"]
    always = math.hypot(missed.relative * 0.14, missed.absolute)
    gain = Gain("encoder", 0.14, math.hypot(always, 0.1), "share of the distortion")
    assert not 0.25 < Gain("encoder", 0.14, always, gain.unit).helps(0.1) < 0.75
    times = gain.more(0.1, 0.75)
    assert times is not None
    assert times > 1
    later = math.hypot(always, 0.1 / math.sqrt(times))
    assert replace(gain, spread=later).helps(0.1) == pytest.approx(0.75)
    near = Gain("codebook", 0.105, 0.2, "share of the distortion")
    assert near.more(0.1, 0.75) is None
    assert what_settles("encoder", gain, 12).startswith(
        "encoder: the gain is 14 % of the policy's error, give or take 17"
    )
    assert re.search(
        r"about \d+0 demonstrations to test on \(every seventh\), not 12", what_settles("encoder", gain, 12)
    )
    assert "only the upgrade itself" in what_settles("codebook", near, 12)


def test_a_policy_that_errs_more_than_its_features_need_is_not_called_saturated():
    own = executed(0.3, 0.3, 0.3, bits=8.0)
    near, less = np.full(40, 0.28), np.full(60, 0.2)
    kind = {"encoder": 0.29, "codebook": 0.3, "tokenizer": 0.05}
    assert offline_verdict(evidence(own, without_code=near, **kind)).label == "none: saturated"
    found = offline_verdict(evidence(own, without_code=less, **kind))
    assert (found.label, found.leaning, found.probability) == ("undetermined", None, None)
    assert re.search(r"but the same features without the code err 3\d % less$", found.reason)
    assert found.settle.startswith("a policy without the code")
