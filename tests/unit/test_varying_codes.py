"""The autoregressive policy over codes of different lengths: end marks, padding, and codes that cannot be decoded."""

import itertools
import math

import numpy as np
import polars as pl
import pytest
import torch

from compression_gap.agent import AgentSpec
from compression_gap.encoders.state import State
from compression_gap.measures.entropy import positions, sum_of_marginals, utilisation
from compression_gap.measures.token_bits import TokenModel
from compression_gap.pipeline.jobs.tokenizer_quality import reached
from compression_gap.policies.autoregressive import PADDING, RESAMPLES, Autoregressive, AutoregressivePolicy
from compression_gap.rollout import AgentDriver, Rollouts, roll_out
from compression_gap.shapes import ChunkShape
from compression_gap.suites.tabletop.suite import Tabletop
from compression_gap.testing import check_policy
from compression_gap.tokenizers.base import Tokens
from compression_gap.tokenizers.binning import Binning
from trimmed import Trimmed

SHAPE = ChunkShape(3, 2)
SMALL = Autoregressive(width=16, layers=1, heads=2, top_k=4)
CARELESS = Trimmed(tells=False)
END = Trimmed().bins


def built(spec: Autoregressive = SMALL, tokenizer: Trimmed | Binning | None = None) -> AutoregressivePolicy:
    torch.manual_seed(0)
    codes = (tokenizer or Trimmed()).build(SHAPE)
    codes.fit(torch.rand(64, 3, 2))
    return spec.build(SHAPE, condition_width=5, condition_tokens=2, tokenizer=codes).eval()


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def tokens(*codes: tuple[int, ...]) -> Tokens:
    longest = max(map(len, codes))
    ids = torch.tensor([[*code, *[0] * (longest - len(code))] for code in codes], dtype=torch.int64)
    return Tokens(ids, torch.tensor([len(code) for code in codes]))


@pytest.mark.parametrize("tokenizer", [Trimmed(), CARELESS])
def test_the_contract_of_policies_holds(tokenizer: Trimmed):
    check_policy(SMALL, SHAPE, tokenizer)
    check_policy(SMALL.replace(invalid="resample"), SHAPE, tokenizer)


def test_a_shorter_code_has_an_end_mark_and_padding_and_a_full_one_ends_by_itself():
    marked = built().marked(tokens((2,), (0, 1, 0, 1, 0), (0, 1, 0, 1, 0, 2)))
    assert marked.tolist() == [[2, END, *[PADDING] * 4], [0, 1, 0, 1, 0, END], [0, 1, 0, 1, 0, 2]]


def test_probabilities_of_all_codes_of_all_lengths_sum_to_one():
    policy = built()
    codes = tokens(*(code for length in range(1, 7) for code in itertools.product(range(3), repeat=length)))
    with torch.no_grad():
        ids = torch.cat([policy.marked(codes), torch.tensor([[END, *[PADDING] * 5]])])  # and that there is no token
        log_prob = policy.log_prob(torch.randn(1, 2, 5).expand(len(ids), -1, -1), ids)
    assert log_prob.sum(1).exp().sum().item() == pytest.approx(1, abs=1e-4)


def test_padding_changes_nothing_and_the_end_mark_counts():
    policy, condition = built(), torch.randn(2, 2, 5)
    marked = policy.marked(tokens((2, 0), (0, 1, 0, 1, 2)))
    with torch.no_grad():
        together, alone = policy.log_prob(condition, marked), policy.log_prob(condition[:1], marked[:1])
    torch.testing.assert_close(together[:1], alone)
    assert (together != 0).tolist() == [[True] * 3 + [False] * 3, [True] * 6]
    loss = policy.loss(condition, marked)
    assert loss.total.item() == pytest.approx(-together.sum().item() / 9)
    assert loss.parts["bits_per_chunk"].item() == pytest.approx(-together.sum().item() / 2 / math.log(2))


def test_greedy_is_the_most_probable_allowed_token_each_time():
    policy, condition = built(), torch.randn(8, 2, 5)
    written = policy.write(condition, None)
    for row in range(8):
        code: tuple[int, ...] = ()
        while len(code) < 6:  # without a cache: score every next id and the end, given the ids before
            with torch.no_grad():
                tried = [policy.marked(tokens((*code, v))) for v in range(3)] + [policy.marked(tokens(code))]
                scores = policy.log_prob(condition[row].expand(4, -1, -1), torch.cat(tried))[:, len(code)]
            may = policy.tokenizer.following(torch.tensor([code], dtype=torch.int64))[0]
            best = int(scores.masked_fill(~may, -torch.inf).argmax())
            if best == END:
                break
            code = (*code, best)
        assert written.ids[row, : written.length[row]].tolist() == list(code)
        assert not written.ids[row, written.length[row] :].any()


def test_writing_stops_when_all_rows_have_ended(monkeypatch: pytest.MonkeyPatch):
    policy, condition = built(), torch.randn(40, 2, 5)
    calls = []
    forward = policy.transformer.forward
    monkeypatch.setattr(policy.transformer, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    with torch.no_grad():
        policy.vocabulary.bias[END] = 2.0
    length = policy.write(condition, torch.rand(40, 6)).length
    assert len(length.unique()) > 1
    assert len(calls) == min(6, length.max() + 1)
    calls.clear()
    with torch.no_grad():
        policy.vocabulary.bias[END] = 50.0
    assert policy.write(condition, torch.rand(40, 6)).length.tolist() == [1] * 40
    assert len(calls) == 2


def test_a_tokenizer_that_tells_what_may_follow_is_never_given_what_it_cannot_decode():
    condition, rows = torch.randn(300, 2, 5), range(300)
    told, careless = (built(SMALL, t).sample(condition, generators(*rows), "sampled") for t in (Trimmed(), CARELESS))
    assert told.valid.all()
    assert told.chunk.isfinite().all()
    assert 0.05 < careless.valid.float().mean() < 0.95
    assert torch.equal(careless.chunk.isnan().all((1, 2)), ~careless.valid), "what cannot be decoded is no action"
    assert built(SMALL, Trimmed()).sample(condition, generators(*rows), "greedy").valid.all()


def test_invalid_rows_are_drawn_anew_from_their_own_generator_alone():
    condition, rows = torch.randn(300, 2, 5), range(300)
    keep, anew = built(SMALL, CARELESS), built(SMALL.replace(invalid="resample"), CARELESS)
    once, again = (policy.sample(condition, generators(*rows), "sampled") for policy in (keep, anew))
    failing = (~once.valid).float().mean().item()
    assert (~again.valid).float().mean().item() < 2 * failing ** (RESAMPLES + 1) + 0.02
    torch.testing.assert_close(again.chunk[once.valid], once.chunk[once.valid])
    row = int((~once.valid & again.valid).nonzero()[0])
    alone = anew.sample(condition[row : row + 1], generators(row), "sampled")
    torch.testing.assert_close(alone.chunk[0], again.chunk[row])


def test_greedy_decoding_draws_only_where_it_failed():
    condition, rows = torch.randn(60, 2, 5), generators(*range(60))
    before = [row.get_state() for row in rows]
    keep, anew = built(SMALL, CARELESS), built(SMALL.replace(invalid="resample"), CARELESS)
    for policy in (keep, anew):
        policy.vocabulary.write.own.data *= 30  # as sure of itself as after training
    greedy = keep.sample(condition, rows, "greedy")
    assert 0 < greedy.valid.sum() < 60
    assert all(torch.equal(row.get_state(), state) for row, state in zip(rows, before, strict=True))
    again = anew.sample(condition, rows, "greedy")
    drew = [not torch.equal(row.get_state(), state) for row, state in zip(rows, before, strict=True)]
    assert drew == (~greedy.valid).tolist()
    assert again.valid.sum() > greedy.valid.sum()
    assert torch.equal(again.chunk[greedy.valid], greedy.chunk[greedy.valid])


def test_episodes_count_what_stayed_invalid():
    suite = Tabletop(image_size=16).build()
    counts = {}
    for invalid in ("keep", "resample"):
        torch.manual_seed(0)
        spec = AgentSpec(State(), SMALL.replace(invalid=invalid), CARELESS, horizon=4)
        agent = spec.build(suite.legend, suite.tasks).eval()
        agent.policy.tokenizer.fit(torch.rand(64, 4, len(suite.legend.action)) * 2 - 1)
        rows = roll_out(AgentDriver(agent, "sampled"), suite, Rollouts("test", 4, 4), [0], 4, lambda *_: None)
        counts[invalid] = rows["invalid"].sum() / (rows["steps"].sum() / 4)
        assert rows.select(pl.col("error_mm").is_not_nan().all()).item()
    assert counts["keep"] > 0.1
    assert counts["resample"] < counts["keep"] / 4


def test_it_learns_codes_of_different_lengths():
    torch.manual_seed(1)
    chunks = torch.rand(12, 3, 2)
    chunks[:6, 1:] = chunks[:6, :1, 1:]  # repetitions, which are cut off
    policy, condition = built().train(), torch.randn(12, 2, 5)
    targets = policy.targets(chunks)
    assert len((targets != PADDING).sum(1).unique()) > 2
    optimiser = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        policy.loss(condition, targets).total.backward()
        optimiser.step()
    written = policy.eval().write(condition, None)
    assert torch.equal(policy.marked(written), targets)


def test_code_length_counts_the_end_and_not_the_padding():
    codes = Trimmed().build(SHAPE)
    codes.fit(torch.rand(64, 3, 2))
    torch.manual_seed(0)
    model = TokenModel(SMALL, codes)
    ids = model.ids(tokens((2,), (2,), (0, 1), (0, 1)))  # one bit
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        model.loss(ids).total.backward()
        optimiser.step()
    assert model.bits(ids) == pytest.approx(1, abs=0.05)
    assert sum_of_marginals(ids.repeat(2000, 1).numpy()) == pytest.approx(1 + 1 + 1, abs=0.01)
    assert utilisation(ids.numpy(), 3) == pytest.approx(
        (4 * 2 / 3 + 2 * 1 / 3) / 6
    )  # two of four reach the second place


def test_one_long_code_does_not_speak_for_the_others():
    random = np.random.default_rng(0)
    ids = np.full((2000, 120), 64)  # 64: no token
    ids[:, :20] = random.integers(64, size=(2000, 20))
    ids[0] = random.integers(64, size=120)
    length = torch.tensor([120] + [20] * 1999)
    reach = reached(Tokens(torch.from_numpy(ids), length), 120)
    assert reach.tolist() == [2000] * 20 + [1] * 100
    places = positions(ids, np.zeros(2000, dtype=np.int64), 64)
    assert np.average([place.perplexity.value for place in places], weights=reach) > 63
    assert np.average([place.dead.value for place in places], weights=reach) < 1
    assert utilisation(ids, 64) > 0.99


def test_a_chunk_without_a_code_teaches_nothing():
    policy, condition = built(), torch.randn(2, 2, 5)
    marked = policy.marked(tokens((2, 0), ()))
    assert marked[1].tolist() == [PADDING] * 6
    both, one = policy.loss(condition, marked), policy.loss(condition[:1], marked[:1])
    torch.testing.assert_close(both.total, one.total)
    torch.testing.assert_close(both.parts["bits_per_chunk"], one.parts["bits_per_chunk"])
    assert policy.loss(condition[1:], marked[1:]).total == 0
    model = TokenModel(SMALL, policy.tokenizer)
    assert model.bits(marked) == pytest.approx(model.bits(marked[:1]))


def test_nominal_bits_count_codes_of_all_lengths():
    assert built().tokenizer.nominal_bits == pytest.approx(math.log2(sum(3**length for length in range(1, 7))))
    assert built(SMALL, Binning(bins=8)).tokenizer.nominal_bits == 6 * 3


def test_draws_never_reach_an_id_that_cannot_follow():
    logits = torch.tensor([[0.0, -torch.inf, -1.0, -torch.inf]])
    assert built().draw(logits, torch.tensor([1 - 2**-24])).item() == 2
    assert built().draw(logits - 80 * (logits < 0), torch.tensor([1 - 2**-24])).item() in (0, 2)


def test_codes_shorter_than_the_tokenizer_says_are_refused():
    policy = built(SMALL, Binning(bins=8))
    with pytest.raises(ValueError, match="needs codes of 6 tokens, got 2 to 6 from BinningTokenizer, which"):
        policy.marked(tokens((1, 2), (1, 2, 3, 4, 5, 6)))


def test_how_invalid_codes_are_treated_is_in_the_digest_only_if_it_is_not_the_default():
    assert SMALL.digest == SMALL.replace(invalid="keep").digest != SMALL.replace(invalid="resample").digest
