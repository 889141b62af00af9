"""The contract of a policy as a check."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from compression_gap.policies.base import Policy, PolicySpec
from compression_gap.shapes import ChunkShape
from compression_gap.testing.common import (
    check_loss,
    check_spec,
    check_weights_follow_the_seed,
    close,
    same,
    seeded,
    smooth_chunks,
)
from compression_gap.tokenizers.base import TokenizerSpec
from compression_gap.tokenizers.binning import Binning

ROWS, WIDTH = 5, 6


def check_policy(spec: PolicySpec, shape: ChunkShape, tokenizer: TokenizerSpec | None = None) -> None:
    """Raises AssertionError with the broken clause if the policy does not keep the contract of `policies.base`.

    Discrete policies are checked over `tokenizer`, by default a coarse binning. Runs at `shape` with two conditioning
    tokens, and at the smallest sizes: chunks of one value and a single conditioning token.
    """
    check_spec(spec)
    tokenizer = tokenizer or Binning(bins=8)
    _check_pairing(spec, shape, tokenizer)
    for size, tokens in ((shape, 2), (ChunkShape(1, 1), 1)):

        def build(size: ChunkShape = size, tokens: int = tokens) -> Policy:
            codes = tokenizer.build(size) if spec.discrete else None
            if codes is not None:
                codes.fit(smooth_chunks(32, size))
            return spec.build(size, WIDTH, tokens, codes)

        check_weights_follow_the_seed(build)
        policy = seeded(build)
        chunks = smooth_chunks(ROWS, size)
        policy.fit(chunks)
        condition = torch.randn(ROWS, tokens, WIDTH, generator=Generator().manual_seed(0))
        _check_training(policy, condition, chunks)
        policy.eval()
        _check_sampling(policy, condition, spec.discrete)
        fresh = seeded(build, seed=1).eval()
        fresh.load_state_dict(policy.state_dict())
        assert same(_draw(fresh, condition), _draw(policy, condition)), (
            "the state dict holds all that samples depend on"
        )


def _check_pairing(spec: PolicySpec, shape: ChunkShape, tokenizer: TokenizerSpec) -> None:
    wrong = None if spec.discrete else tokenizer.build(shape)
    try:
        spec.build(shape, WIDTH, 2, wrong)
    except ValueError:
        return
    raise AssertionError(
        f"build raises ValueError when a {'discrete policy gets no' if spec.discrete else 'continuous policy gets a'} "
        "tokenizer"
    )


def _check_training(policy: Policy, condition: Tensor, chunks: Tensor) -> None:
    policy.train()
    frozen = {name: p.detach().clone() for name, p in policy.named_parameters() if not p.requires_grad}
    condition = condition.clone().requires_grad_()
    torch.manual_seed(2)
    targets = policy.targets(chunks)
    loss = policy.loss(condition, targets)
    torch.manual_seed(2)
    assert same(policy.loss(condition, targets).total, loss.total), "the loss draws from torch's global generator alone"
    loss.total.backward(retain_graph=True)
    assert condition.grad is not None, "the loss sends gradients to the condition"
    assert condition.grad.any(), "the loss depends on the condition"
    check_loss(loss, policy)
    parameters = dict(policy.named_parameters())
    assert all(same(parameters[name], old) for name, old in frozen.items()), "a training step leaves frozen parts alone"


def _check_sampling(policy: Policy, condition: Tensor, discrete: bool) -> None:
    sampled = policy.sample(condition, _generators(range(ROWS)), "sampled")
    shape = (ROWS, policy.shape.horizon, policy.shape.actions)
    assert sampled.chunk.shape == shape, f"samples are [B, T, D] = {shape}, got {tuple(sampled.chunk.shape)}"
    assert sampled.valid.shape == (ROWS,), f"valid has one value a row, got {tuple(sampled.valid.shape)}"
    assert sampled.valid.dtype == torch.bool, f"valid is bool, got {sampled.valid.dtype}"
    assert sampled.chunk[sampled.valid].isfinite().all(), "valid samples are finite"
    assert sampled.chunk[~sampled.valid].isnan().all(), "invalid samples are NaN, so that nobody executes them"
    assert not sampled.chunk.requires_grad, "sampling makes no gradients"

    before = torch.get_rng_state()
    again = _draw(policy, condition)
    assert torch.equal(torch.get_rng_state(), before), "sampling leaves torch's global generator alone"
    assert same(again, sampled.chunk), "equal generators, equal samples"
    alone = policy.sample(condition[2:3], _generators([2]), "sampled").chunk
    assert close(alone, sampled.chunk[2:3]), "a row does not depend on who shares the batch"
    others = policy.sample(condition, _generators([10, 11, 2, 13, 14]), "sampled").chunk
    assert close(others[2], sampled.chunk[2]), "a row draws from its own generator alone"

    rows = _generators(range(ROWS))
    greedy = policy.sample(condition, rows, "greedy").chunk
    if discrete:
        moved = [i for i, row in enumerate(rows) if not torch.equal(row.get_state(), _generators([i])[0].get_state())]
        assert not moved, "greedy decoding draws nothing"
        assert same(policy.sample(condition, _generators(range(7, 7 + ROWS)), "greedy").chunk, greedy), (
            "greedy decoding does not depend on the generators"
        )
    else:
        assert same(greedy, sampled.chunk), "a policy without codes treats greedy and sampled alike"


def _draw(policy: Policy, condition: Tensor) -> Tensor:
    return policy.sample(condition, _generators(range(ROWS)), "sampled").chunk


def _generators(seeds: Sequence[int]) -> list[Generator]:
    return [Generator().manual_seed(seed) for seed in seeds]
