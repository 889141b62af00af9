"""The autoregressive policy: probabilities, decoding rules, a tokenizer that stays as it is, and that it learns."""

import math

import pytest
import torch

from compression_gap.policies.autoregressive import Autoregressive, AutoregressivePolicy
from compression_gap.policies.vocabulary import Vocabulary, digit_members
from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.base import Tokens
from compression_gap.tokenizers.binning import Binning
from compression_gap.tokenizers.fsq import Fsq
from compression_gap.tokenizers.oat import Oat

SHAPE = ChunkShape(8, 3)
SMALL = Autoregressive(width=16, layers=2, heads=2, head="digits", top_k=4)
TOKENIZER = Oat(tokens=3, levels=(4, 3), width=16, head_width=8, encoder_layers=1, decoder_layers=1)


def built(spec: Autoregressive = SMALL, tokenizer=TOKENIZER) -> AutoregressivePolicy:
    torch.manual_seed(0)
    codes = tokenizer.build(SHAPE)
    codes.fit(torch.randn(64, 8, 3))
    return spec.build(SHAPE, condition_width=5, condition_tokens=2, tokenizer=codes).eval()


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def all_codes(size: int, length: int) -> Tokens:
    ids = torch.cartesian_prod(*[torch.arange(size)] * length)
    return Tokens(ids, torch.full((len(ids),), length))


@pytest.mark.parametrize("head", ["digits", "index"])
def test_probabilities_of_all_codes_sum_to_one(head):
    policy, codes = built(SMALL.replace(head=head)), all_codes(12, 3)
    with torch.no_grad():
        log_prob = policy.log_prob(torch.randn(1, 2, 5).expand(len(codes.ids), -1, -1), codes.ids)
    assert log_prob.sum(1).exp().sum().item() == pytest.approx(1, abs=1e-4)


def test_loss_is_the_code_length_in_nats_a_token_and_bits_a_chunk():
    policy, condition, chunk = built(), torch.randn(6, 2, 5), torch.randn(6, 8, 3)
    loss = policy.loss(condition, policy.targets(chunk))
    nats = -policy.log_prob(condition, policy.tokenizer.encode(chunk).ids)
    torch.testing.assert_close(loss.total, nats.mean())
    torch.testing.assert_close(loss.parts["bits_per_chunk"], nats.sum(1).mean().detach() / math.log(2))


def test_greedy_takes_the_most_probable_token_each_time_and_draws_nothing():
    policy, condition = built(), torch.randn(4, 2, 5)
    rows = generators(0, 1, 2, 3)
    before = [row.get_state() for row in rows]
    chunk = policy.sample(condition, rows, "greedy").chunk
    assert all(torch.equal(row.get_state(), state) for row, state in zip(rows, before, strict=True))

    ids = torch.zeros(4, 3, dtype=torch.long)
    for place in range(3):  # without a cache: score every id at this place, given the ids before it
        tried = ids.repeat_interleave(12, 0)
        tried[:, place] = torch.arange(12).repeat(4)
        scores = policy.log_prob(condition.repeat_interleave(12, 0), tried)
        ids[:, place] = scores[:, place].view(4, 12).argmax(1)
    torch.testing.assert_close(chunk, policy.tokenizer.decode(Tokens(ids, torch.full((4,), 3))).chunk)


def test_draws_follow_the_tempered_top_k_distribution():
    policy = built(SMALL.replace(top_k=2, temperature=2.0))
    logits = torch.tensor([[0.0, 3.0, 1.0, -1.0]]).expand(10_000, -1)
    ids = policy.draw(logits, (torch.arange(10_000) + 0.5) / 10_000)
    share = math.exp(1.5) / (math.exp(1.5) + math.exp(0.5))
    assert (ids == 1).float().mean().item() == pytest.approx(share, abs=1e-3)
    assert set(ids.tolist()) == {1, 2}


def test_top_1_equals_greedy():
    policy, condition = built(SMALL.replace(top_k=1)), torch.randn(4, 2, 5)
    greedy = policy.sample(condition, generators(0, 1, 2, 3), "greedy").chunk
    assert torch.equal(policy.sample(condition, generators(0, 1, 2, 3), "sampled").chunk, greedy)


def test_rows_draw_from_their_own_generator():
    policy, condition = built(), torch.randn(3, 2, 5)
    together = policy.sample(condition, generators(0, 1, 2), "sampled").chunk
    alone = policy.sample(condition[1:2], generators(1), "sampled").chunk
    torch.testing.assert_close(together[1:2], alone)


def test_the_tokenizer_stays_frozen_and_in_evaluation_mode():
    policy = built().train()
    assert policy.training
    assert not any(module.training for module in policy.tokenizer.modules())
    before = {name: tensor.clone() for name, tensor in policy.tokenizer.state_dict().items()}
    optimiser = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad], lr=1e-2)
    policy.loss(torch.randn(6, 2, 5), policy.targets(torch.randn(6, 8, 3))).total.backward()
    optimiser.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in policy.tokenizer.state_dict().items())


@pytest.mark.parametrize("gated", [False, True])
def test_gradients_reach_every_weight_but_the_tokenizer(gated: bool):
    policy = built(SMALL.replace(gated=gated)).train()
    policy.loss(torch.randn(64, 2, 5), policy.targets(torch.randn(64, 8, 3))).total.backward()
    own = {name: p for name, p in policy.named_parameters() if not name.startswith("tokenizer.")}
    assert [name for name, p in own.items() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert all(p.grad is None for p in policy.tokenizer.parameters())


def test_codes_without_digits_are_scored_by_their_ids():
    bins = Binning(bins=6)
    scored, alone = (dict(built(SMALL.replace(head=head), bins).named_parameters()) for head in ("digits", "index"))
    assert scored.keys() == alone.keys()
    assert all(torch.equal(scored[name], alone[name]) for name in alone)


def test_codes_that_share_digits_share_weights():
    levels = (4, 3)
    members, digits = digit_members(levels), Fsq(levels).to_digits(torch.arange(12))
    assert torch.equal(members[:, :4].argmax(1), digits[:, 0])
    assert torch.equal(members[:, 4:].argmax(1), digits[:, 1])
    vocabulary = Vocabulary(12, 8, levels)
    vocabulary.logits(torch.ones(1, 1, 8))[..., 5].sum().backward()  # 5 = 1 + 1 * 4
    touched = vocabulary.write.shared.grad.abs().sum(1) > 0
    assert touched.nonzero().flatten().tolist() == [1, 4 + 1]


def test_it_also_speaks_plain_bins():
    policy = built(SMALL.replace(head="index"), Binning(bins=8))
    sampled = policy.sample(torch.randn(2, 2, 5), generators(0, 1), "sampled")
    assert sampled.chunk.shape == (2, 8, 3)
    assert sampled.valid.all()


def test_it_learns_which_code_belongs_to_which_condition():
    policy, condition, chunks = built().train(), torch.randn(8, 2, 5), torch.randn(8, 8, 3) * 3
    optimiser = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        loss = policy.loss(condition, policy.targets(chunks))
        loss.total.backward()
        optimiser.step()
    assert loss.parts["bits_per_chunk"] < 0.3
    codes = policy.tokenizer.encode(chunks)
    assert len(codes.ids.unique(dim=0)) > 2
    greedy = policy.eval().sample(condition, generators(*range(8)), "greedy").chunk
    torch.testing.assert_close(greedy, policy.tokenizer.decode(codes).chunk)


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="more than 0, got 0"):
        Autoregressive(temperature=0.0)
    with pytest.raises(ValueError, match="top_k: expected at least 1"):
        Autoregressive(top_k=0)
    with pytest.raises(ValueError, match="give the cell a tokenizer"):
        SMALL.build(SHAPE, 5, 2, None)
    policy = built()
    short = Tokens(torch.zeros(1, 3, dtype=torch.long), torch.tensor([2]))
    policy.tokenizer.encode = lambda chunk: short
    with pytest.raises(ValueError, match="needs codes of 3 tokens, got 2"):
        policy.targets(torch.randn(1, 8, 3))
