"""Entropies of positions, use of the vocabulary, and what equal codes certify, on codes whose entropies are known."""

import math

import numpy as np
import pytest

from compression_gap.measures.collisions import certified_entropy, collision_entropy, largest_rate
from compression_gap.measures.entropy import (
    entropy_bracket,
    held_out_marginals,
    positions,
    sum_of_marginals,
    utilisation,
)
from compression_gap.measures.quantity import Quantity
from compression_gap.testing.token_source import TokenSource


def one_chunk_each(ids: np.ndarray) -> np.ndarray:
    return np.arange(len(ids))


def test_the_sum_of_marginals_is_right_to_a_tenth_of_a_bit():
    source = TokenSource.random(0)
    ids = source.draw(20_000, seed=1)
    assert sum_of_marginals(ids) == pytest.approx(source.marginal_bits, abs=0.1)
    assert source.bits < source.marginal_bits - 3


def test_every_number_about_positions_says_what_it_is():
    source = TokenSource.random(1, levels=(4, 3, 3), length=3)
    ids = source.draw(600, seed=2)
    found = positions(ids, np.repeat(np.arange(60), 10), source.vocab_size)
    truth = [-(p * np.log2(p)).sum() for p in source.classes() @ source.given_class()]
    assert sum(one.miller_madow.value for one in found) == pytest.approx(sum_of_marginals(ids), abs=1e-12)
    for position, entropy in zip(found, truth, strict=True):
        assert position.plug_in.value < position.miller_madow.value
        assert position.miller_madow.low < entropy < position.miller_madow.high
        assert position.perplexity.value == pytest.approx(2**position.miller_madow.value)
        assert (position.plug_in.kind, position.miller_madow.kind) == ("lower bound", "estimate")
    shares = [position.used.value for position in found]
    assert np.mean(shares) == pytest.approx(utilisation(ids, source.vocab_size))


def test_dead_ids_are_what_is_missing_beyond_what_good_and_turing_expect():
    rng = np.random.default_rng(0)
    alive = 300  # of 1000
    ids = rng.integers(alive, size=(400, 1))
    (position,) = positions(ids, one_chunk_each(ids), 1000)
    missing = 1 - len(np.unique(ids)) / alive
    assert position.unseen.value == pytest.approx(missing, abs=0.05)
    assert position.used.value < 0.25
    assert position.dead.value == pytest.approx(1000 - alive, abs=25)


def test_the_end_of_a_code_counts_for_its_entropy_but_not_as_use_of_the_vocabulary():
    ids = np.array([[0, 3], [1, 3], [2, -1], [2, -1]] * 50)
    first, second = positions(ids, one_chunk_each(ids), 3)
    assert first.used.value == 1.0
    assert second.used.value == 0.0
    assert second.plug_in.value == pytest.approx(1.0)


def test_constant_tokens_have_no_entropy_and_one_demonstration_no_interval():
    constant = np.zeros((30, 2), dtype=int)
    found, _ = positions(constant, np.zeros(30, dtype=int), 5)
    assert (found.plug_in.value, found.plug_in.low) == (0.0, None)
    assert "1 demonstration, at least 8 are needed" in found.plug_in.note
    assert held_out_marginals(constant, constant, one_chunk_each(constant), 5).value == pytest.approx(0, abs=1e-3)
    (single,) = positions(np.array([[3]]), np.array([0]), 5)
    assert (single.miller_madow.value, single.unseen.value) == (0.0, 1.0)
    with pytest.raises(ValueError, match=r"expected at least one code .* shape \(0, 2\)"):
        positions(np.zeros((0, 2), dtype=int), np.zeros(0, dtype=int), 5)
    with pytest.raises(ValueError, match=r"expected codes to learn from and to write, got shapes \(0, 2\)"):
        held_out_marginals(np.zeros((0, 2), dtype=int), constant, one_chunk_each(constant), 5)


@pytest.mark.parametrize("chunks", [20, 45, 200, 1000])
def test_the_bound_by_marginals_holds_for_any_number_of_chunks(chunks: int):
    """32 independent places of 1024 equally frequent ids hold 320 bits, and the same chunks' own shares hold fewer."""
    rng = np.random.default_rng(chunks)
    learnt, held = rng.integers(1024, size=(chunks, 32)), rng.integers(1024, size=(chunks // 4, 32))
    assert sum_of_marginals(learnt) < 315
    found = held_out_marginals(learnt, held, one_chunk_each(held), 1024)
    assert found.kind == "upper bound"
    assert 320 < found.value < 330


def test_the_bound_by_marginals_is_the_sum_of_entropies_where_there_is_enough():
    source = TokenSource.random(0)
    learnt, held = source.draw(40_000, seed=1), source.draw(10_000, seed=2)
    found = held_out_marginals(learnt, held, one_chunk_each(held), source.vocab_size)
    assert source.marginal_bits - 0.1 < found.value < source.marginal_bits + 1.5
    assert found.low < found.value < found.high


def test_an_id_that_was_never_seen_costs_finitely_many_bits():
    learnt, held = np.zeros((50, 1), dtype=int), np.array([[4], [7], [-1]])
    assert 5 < held_out_marginals(learnt, held, one_chunk_each(held), 8).value < 20


def test_without_equal_pairs_what_is_certified_follows_from_their_number_alone():
    ids = np.arange(500)[:, None]
    found = certified_entropy(ids, one_chunk_each(ids))
    assert found.value == pytest.approx(math.log2(500 * 499 / 2 / 11.25), abs=1e-3)
    assert found.value == pytest.approx(2 * math.log2(500) - 4.5, abs=0.1)
    assert found.kind == "lower bound"


def test_many_chunks_of_one_demonstration_certify_no_more_than_one_of_them():
    ids = np.arange(5000)[:, None]
    found = certified_entropy(ids, np.repeat(np.arange(50), 100))
    assert found.value == pytest.approx(math.log2(50 * 49 / 2 / 11.25), abs=1e-3)


@pytest.mark.parametrize(
    ("code_length", "nominal", "upper"), [(62.5, 79.7, 62.5), (75.0, 79.7, 69.2), (75.0, 65.0, 65.0)]
)
def test_the_entropy_lies_between_what_is_certified_and_the_least_upper_bound(
    code_length: float, nominal: float, upper: float
):
    source = TokenSource.random(0)
    ids = source.draw(5_000, seed=2)
    measured = Quantity(code_length, "upper bound", "bits a chunk", "other demonstrations")
    held = source.draw(1_000, seed=3)
    alone = held_out_marginals(ids, held, one_chunk_each(held), source.vocab_size)
    found = entropy_bracket(ids, one_chunk_each(ids), [measured, alone], nominal)
    assert found.lower.value < source.bits < found.upper.value
    assert found.upper.value == pytest.approx(upper, abs=0.3)
    assert found.lower.value == pytest.approx(20.08, abs=0.01)


@pytest.mark.parametrize("heavy", [0.05, 0.1, 0.3])
def test_the_certified_bound_holds_in_95_percent_of_samples_of_the_worst_kind(heavy: float):
    rng, samples, size = np.random.default_rng(0), 400, 60
    truth, holds = -math.log2(heavy**2), 0
    for _ in range(samples):
        ids = np.where(rng.random(size) < heavy, 0, np.arange(1, size + 1))  # one heavy code, the others never twice
        holds += certified_entropy(ids[:, None], one_chunk_each(ids)).value <= truth
    assert holds >= 0.95 * samples - 2 * (samples * 0.05 * 0.95) ** 0.5


def test_more_equal_pairs_certify_less():
    rates = [largest_rate(equal) for equal in (0, 1, 2, 3, 10, 100, 10_000)]
    assert rates[0] == pytest.approx(11.25, abs=0.01)
    assert rates == sorted(rates)
    assert rates[-1] < 1.4 * 10_000


def test_the_collision_entropy_uses_pairs_of_different_demonstrations_only():
    rng = np.random.default_rng(0)
    demonstration = np.repeat(np.arange(60), 20)
    ids = rng.integers(50, size=(60, 1))[demonstration]  # within a demonstration all chunks are equal
    other = rng.integers(50, size=(1200, 1))
    assert collision_entropy(ids, demonstration).value == pytest.approx(math.log2(50), abs=0.6)
    found = collision_entropy(other, demonstration)
    assert found.low < math.log2(50) < found.high
    assert found.high - found.low < 0.1


def test_without_pairs_or_without_equal_ones_a_bound_is_undetermined():
    ids = np.arange(30)[:, None]
    assert "1 demonstration, 2 make a pair" in certified_entropy(ids, np.zeros(30, dtype=int)).text
    assert "no two of 30 demonstrations" in collision_entropy(ids, one_chunk_each(ids)).text
    assert certified_entropy(np.zeros((9, 2), dtype=int), np.arange(9)).value == 0.0
