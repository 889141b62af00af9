"""Code lengths of tokens, on codes of known entropy: probabilities, learning, features, and what is refused."""

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from compression_gap.measures.code_lengths import CodeLengths, difference, information
from compression_gap.measures.early_stopping import CHOSEN
from compression_gap.measures.token_probe import Codes, TokenProbe, TokenProbing, Told, in_digits, probe_tokens
from compression_gap.testing.token_source import TokenSource

PROBING = TokenProbing(steps=110, batch=64, learning_rate=1e-2, warmup=10, width=16, seeds=(0,), fractions=(0.5, 1.0))
SOURCE = TokenSource.random(2, levels=(4, 3, 3), length=3)
KNOWN = ((0, 0.0), (2, 0.0))
CHUNKS, IN_A_DEMONSTRATION = 1400, 10


def codes_of(source: TokenSource, digits: tuple[int, ...] | None, chunks: int = CHUNKS) -> Codes:
    ids = torch.from_numpy(source.draw(chunks, seed=0))
    return Codes(ids, torch.arange(chunks) // IN_A_DEMONSTRATION, source.vocab_size, digits)


def quiet(fraction: float, text: str) -> None:
    pass


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CodeLengths]:
    codes, folder = codes_of(SOURCE, SOURCE.levels), tmp_path_factory.mktemp("probes")
    features = SOURCE.features(codes.ids.numpy(), KNOWN, seed=1)
    shuffled = features[torch.from_numpy(np.random.default_rng(0).permutation(CHUNKS))]
    arms: dict[str, Tensor | None] = {"nothing": None, "classes": features, "shuffled": shuffled}
    return {name: probe_tokens(codes, arm, PROBING, folder / name, quiet) for name, arm in arms.items()}


def test_code_length_is_above_the_entropy_and_below_the_sum_of_marginals(measured: dict[str, CodeLengths]):
    whole = measured["nothing"].whole
    assert SOURCE.bits - 0.2 < whole.value < (SOURCE.bits + SOURCE.marginal_bits) / 2
    assert (whole.kind, whole.over) == ("upper bound", "other demonstrations")
    assert sum(one.value for one in measured["nothing"].positions) == pytest.approx(whole.value)


def test_features_are_worth_the_bits_that_they_share_with_the_code(measured: dict[str, CodeLengths]):
    shared = SOURCE.shared_bits(KNOWN)
    found = information(measured["nothing"], measured["classes"])
    assert found.curve[-1] == pytest.approx(shared, abs=0.15 * shared)
    assert found.bits.value == pytest.approx(found.curve[-1])
    assert found.saturation.value == pytest.approx(shared / SOURCE.bits, abs=0.05)
    assert found.positions[0].value > 2 * found.positions[1].value  # which was known from the one before


def test_features_of_other_chunks_are_worth_nothing(measured: dict[str, CodeLengths]):
    assert abs(information(measured["nothing"], measured["shuffled"]).curve[-1]) < 0.15


def test_the_better_encoder_is_found_with_an_interval_and_without_the_entropy(measured: dict[str, CodeLengths]):
    found = difference(measured["classes"], measured["shuffled"])
    assert found.bits.low > 0
    assert found.bits.kind == "estimate"
    gap = measured["shuffled"].whole.value - measured["classes"].whole.value
    assert found.bits.value == pytest.approx(gap)
    assert difference(measured["shuffled"], measured["classes"]).bits.value == pytest.approx(-gap)


def test_each_fraction_is_told_what_was_fitted_for_it(tmp_path: Path, measured: dict[str, CodeLengths]):
    codes, nothing = codes_of(SOURCE, SOURCE.levels), torch.zeros(CHUNKS, 1)
    told = probe_tokens(codes, [nothing, nothing], PROBING, tmp_path / "alike", quiet)
    found = probe_tokens(codes, [nothing, torch.randn(CHUNKS, 1)], PROBING, tmp_path / "apart", quiet)
    np.testing.assert_array_equal(told.bits, measured["nothing"].bits)
    np.testing.assert_array_equal(found.bits[0], told.bits[0])
    assert (found.bits[1] != told.bits[1]).any()


def test_digits_come_at_least_twice_as_near_to_the_truth_as_ids_told_at_once(tmp_path: Path):
    source = TokenSource.random(5, length=3)
    probing = PROBING.replace(fractions=(1.0,), steps=200)
    excess = []
    for digits in (source.levels, None):
        codes = codes_of(source, digits, chunks=1000)
        found = probe_tokens(codes, None, probing, tmp_path / str(digits), quiet)
        excess.append(found.whole.value - source.bits)
    assert excess[0] < excess[1] / 2


def test_the_same_again_is_the_same_to_the_last_bit_and_what_is_trained_is_not_trained_again(tmp_path: Path):
    codes, probing = codes_of(SOURCE, SOURCE.levels, 200), PROBING.replace(steps=10)
    found = [probe_tokens(codes, None, probing, tmp_path / name, quiet).bits for name in ("one", "other")]
    assert np.array_equal(*found)
    files = sorted(path.relative_to(tmp_path) for path in (tmp_path / "one").rglob(CHOSEN))
    written = [(tmp_path / file).stat().st_mtime_ns for file in files]
    assert np.array_equal(probe_tokens(codes, None, probing, tmp_path / "one", quiet).bits, found[0])
    assert [(tmp_path / file).stat().st_mtime_ns for file in files] == written


def restless(levels: tuple[int, ...], length: int) -> TokenProbe:
    """A probe none of whose weights is zero."""
    torch.manual_seed(0)
    probe = TokenProbe(levels, length, 1, PROBING)
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return probe.eval()


def test_the_probabilities_of_all_codes_sum_to_one():
    levels = (3, 2)
    ids = torch.tensor(list(product(range(6), repeat=2)))
    bits = restless(levels, 2).bits(Told(in_digits(ids, levels), torch.ones(len(ids), 1)))
    assert float((-bits.sum(dim=1)).exp2().sum()) == pytest.approx(1.0, abs=1e-5)
    assert float((-bits[:6, 0]).exp2().std()) == pytest.approx(0.0, abs=1e-6)  # the same first token


def test_codes_of_different_lengths_pay_for_their_end_and_not_for_padding():
    end, vocab = 2, 2
    ids = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1], [0, end], [1, end], [end, -1]])
    codes = Codes(ids, torch.arange(7), vocab, None)
    assert codes.levels == (3,)
    bits = restless(codes.levels, 2).bits(Told(in_digits(ids, codes.levels), torch.zeros(7, 1)))
    assert float((-bits.sum(dim=1)).exp2().sum()) == pytest.approx(1.0, abs=1e-5)
    assert bits[-1, 1] == 0


def test_untrained_the_probe_gives_the_sum_of_the_digits_entropies():
    ids = torch.from_numpy(SOURCE.draw(3000, seed=4))
    digit = in_digits(ids, SOURCE.levels)
    probe = TokenProbe(SOURCE.levels, SOURCE.length, 1, PROBING)
    probe.fit(digit)
    shares = [np.bincount(digit[:, i, j].numpy()) / len(ids) for i in range(3) for j in range(3)]
    entropies = sum(-(p[p > 0] * np.log2(p[p > 0])).sum() for p in shares)
    found = probe.bits(Told(digit, torch.zeros(len(ids), 1))).sum(dim=1).mean()
    assert float(found) == pytest.approx(entropies, abs=0.01)


def test_a_smaller_fraction_is_contained_in_a_larger_one_and_parts_do_not_share_demonstrations():
    codes = codes_of(SOURCE, SOURCE.levels)
    parts = [set(codes.demonstration[codes.rows(part)].tolist()) for part in range(3)]
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert [len(part) for part in parts] == [100, 20, 20]
    quarter, half = (set(codes.rows(0, fraction).tolist()) for fraction in (0.25, 0.5))
    assert quarter < half
    assert len(half) == CHUNKS * 5 / 7 / 2


def test_every_task_is_divided_alike_and_so_is_every_fraction():
    demonstration = torch.arange(140) // 2
    task = (demonstration >= 35).long() + (demonstration >= 63).long()  # of 35, 28 and 7 demonstrations
    codes = Codes(torch.zeros(140, 1, dtype=torch.long), demonstration, 2, None, task)
    for one, count in ((0, 35), (1, 28), (2, 7)):
        own = task == one
        named = [len(torch.unique(demonstration[own & (codes.part == part)])) for part in range(3)]
        assert named == [5 * count // 7, count // 7, count // 7]
        half = torch.unique(demonstration[codes.rows(0, 0.5)][task[codes.rows(0, 0.5)] == one])
        assert len(half) == math.ceil(5 * count / 14)


def lengths(*curve: float, demonstrations: int = 20) -> CodeLengths:
    """Of one token, with a little noise, by fraction of the training demonstrations."""
    noise = np.random.default_rng(0).normal(size=(1, 2, demonstrations, 1)) * 0.1
    fractions = (0.25, 0.5, 1.0)[-len(curve) :]
    return CodeLengths(fractions, np.array(curve)[:, None, None, None] + noise, np.arange(demonstrations))


def test_bits_that_still_grow_with_the_demonstrations_are_not_printed():
    without = lengths(10.0, 10.0, 10.0)
    settled, growing = lengths(8.0, 6.3, 6.0), lengths(8.0, 7.0, 6.0)
    assert information(without, settled).bits.value == pytest.approx(4.0)
    found = information(without, growing)
    assert [found.bits.text, found.saturation.text, found.positions[0].text] == ["not converged"] * 3
    assert found.curve == pytest.approx((2.0, 3.0, 4.0))
    assert "convergence was not measured" in information(lengths(10.0), lengths(6.0)).bits.text


def test_few_test_demonstrations_give_no_interval_and_a_constant_code_no_saturation():
    few = information(lengths(10.0, 10.0, demonstrations=3), lengths(6.0, 6.0, demonstrations=3))
    assert few.bits.value == pytest.approx(4.0)
    assert few.bits.low is None
    nothing = CodeLengths((0.5, 1.0), np.zeros((2, 1, 20, 1)), np.arange(20))
    assert "undetermined" in information(nothing, nothing).saturation.text


def test_lengths_of_other_chunks_are_not_compared():
    with pytest.raises(ValueError, match="only on the same chunks"):
        difference(lengths(10.0, 10.0), lengths(10.0, 10.0, demonstrations=19))


def test_constant_tokens_cost_next_to_nothing(tmp_path: Path):
    ids = torch.full((200, 2), 5)
    codes = Codes(ids, torch.arange(200) // 10, 36, (4, 3, 3))
    assert probe_tokens(codes, None, PROBING.replace(steps=5), tmp_path, quiet).whole.value < 0.2


def with_ids(ids: Tensor, digits: tuple[int, ...] | None = None, demonstrations: int = 7) -> Codes:
    return Codes(ids, torch.arange(len(ids)) % demonstrations, 6, digits)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: with_ids(torch.zeros(0, 2, dtype=torch.long)), r"at least one token, got shape \(0, 2\)"),
        (lambda: with_ids(torch.full((7, 1), 7)), "expected 0 to 5, 6 for the end .* got 7 to 7"),
        (lambda: with_ids(torch.zeros(7, 1, dtype=torch.long), (5,)), "expected all 6 ids .* got \\(5,\\)"),
        (lambda: with_ids(torch.full((7, 1), 6), (3, 2)), "codes that end early; give None"),
        (lambda: with_ids(torch.zeros(9, 1, dtype=torch.long), None, 1), "at least 7; got 1 of all tasks"),
    ],
)
def test_codes_that_cannot_be_measured_are_refused(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("field", "value"),
    [("seeds", ()), ("seeds", (1, 1)), ("fractions", (1.0, 0.5)), ("fractions", (0.0, 1.0)), ("fractions", (0.5,))],
)
def test_settings_that_cannot_be_meant_are_refused(field: str, value: tuple):
    with pytest.raises(ValueError, match=rf"TokenProbing.{field}: expected .* got \({value[0] if value else ''}"):
        TokenProbing(**{field: value})


@pytest.mark.parametrize(
    ("features", "message"),
    [(torch.zeros(6, 2), "expected 7 rows"), (torch.full((7, 2), math.nan), "expected finite numbers, got 14 others")],
)
def test_features_that_do_not_belong_are_refused(features: Tensor, message: str, tmp_path: Path):
    codes = with_ids(torch.zeros(7, 1, dtype=torch.long))
    with pytest.raises(ValueError, match=message):
        probe_tokens(codes, features, PROBING, tmp_path, quiet)
