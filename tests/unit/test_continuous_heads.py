"""Flow and Regression: as large as Diffusion, right where the answer is known, and that they learn."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from compression_gap.policies.diffusion import Diffusion
from compression_gap.policies.flow import LEVELS, Flow, FlowPolicy
from compression_gap.policies.regression import Regression
from compression_gap.policies.trunk import Trunk
from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.binning import Binning

SHAPE = ChunkShape(8, 3)
FLOW, REGRESSION = Flow(width=16, layers=1, heads=2), Regression(width=16, layers=1, heads=2)
HEADS = pytest.mark.parametrize("spec", [FLOW, REGRESSION], ids=lambda spec: spec.kind)


def built(spec: Flow | Regression, chunks: Tensor | None = None) -> Trunk:
    torch.manual_seed(0)
    policy = spec.build(SHAPE, condition_width=5, condition_tokens=2, tokenizer=None)
    policy.fit(torch.randn(64, 8, 3) if chunks is None else chunks)
    return policy.eval()


def flow_that_predicts(clean_of: Callable[[Tensor, Tensor], Tensor], steps: int) -> FlowPolicy:
    """A flow whose network is a formula in the noisy chunk and the time, and which does not scale."""
    policy = built(FLOW.replace(inference_steps=steps), torch.tensor([-1.0, 1.0])[:, None, None].expand(2, 8, 3))
    assert isinstance(policy, FlowPolicy)
    policy.predict = lambda noisy, level, condition: clean_of(noisy, level[:, None, None] / LEVELS)
    return policy


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize("size", ["S", "M", "L"])
@pytest.mark.parametrize("head", [Flow, Regression])
def test_every_size_has_as_many_weights_as_diffusion(head, size):
    shape, width = ChunkShape(32, 7), 2 * 64 + 9 + 10
    counts = [
        sum(p.numel() for p in kind.sized(size).build(shape, width, 2, None).parameters()) for kind in (head, Diffusion)
    ]
    assert counts[0] == pytest.approx(counts[1], rel=0.05)


@pytest.mark.parametrize("steps", [1, 5, 10])
def test_a_flow_that_knows_the_chunk_arrives_there(steps: int):
    clean = torch.rand(4, 8, 3) * 2 - 1
    policy = flow_that_predicts(lambda noisy, time: clean, steps)
    chunk = policy.sample(torch.zeros(4, 2, 5), generators(0, 1, 2, 3), "sampled").chunk
    torch.testing.assert_close(chunk, clean, atol=1e-6, rtol=0)


def test_a_flow_that_knows_the_distribution_samples_it():
    mean, spread = 0.4, 0.3

    def posterior_mean(noisy: Tensor, time: Tensor) -> Tensor:  # of a Gaussian chunk, given chunk and noise mixed
        return mean + spread**2 * time / (spread**2 * time**2 + (1 - time) ** 2) * (noisy - time * mean)

    policy = flow_that_predicts(posterior_mean, 50)
    chunk = policy.sample(torch.zeros(400, 2, 5), generators(*range(400)), "sampled").chunk
    assert chunk.mean().item() == pytest.approx(mean, abs=0.01)
    assert chunk.std().item() == pytest.approx(spread, rel=0.05)


def test_training_mixes_chunk_and_noise_as_sampling_does(monkeypatch: pytest.MonkeyPatch):
    policy, clean, seen = built(FLOW), torch.full((4000, 8, 3), 0.5), []
    monkeypatch.setattr(policy, "predict", lambda noisy, level, condition: seen.append((noisy, level)) or noisy)
    policy.scaling.fit(torch.tensor([-1.0, 1.0])[:, None, None].expand(2, 8, 3))
    policy.loss(torch.zeros(4000, 2, 5), clean)
    noisy, time = seen[0][0], seen[0][1] / LEVELS
    assert 0 <= time.min() < 0.01
    assert 0.9 < time.max() <= 1
    assert time.mean().item() == pytest.approx(0.4, abs=0.02)  # of one minus Beta(1.5, 1)
    noise = (noisy - time[:, None, None] * clean) / (1 - time[:, None, None])
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.std().item() == pytest.approx(1, abs=0.02)


def test_regression_tends_to_the_median():
    chunks = torch.tensor([0.0, 0.0, 9.0])[:, None, None].expand(3, 8, 3) + torch.zeros(3, 8, 3)
    policy = built(REGRESSION, chunks).train()
    optimiser = torch.optim.AdamW(policy.parameters(), lr=5e-3)
    for _ in range(50):
        optimiser.zero_grad()
        policy.loss(torch.zeros(3, 2, 5), chunks).total.backward()
        optimiser.step()
    chunk = policy.eval().sample(torch.zeros(1, 2, 5), generators(0), "sampled").chunk
    assert chunk.mean().item() == pytest.approx(0, abs=1)


@HEADS
def test_samples_are_in_the_units_of_the_chunks(spec):
    policy = built(spec, torch.rand(64, 8, 3) + torch.tensor([100.0, 200.0, 300.0]))
    chunk = policy.sample(torch.randn(9, 2, 5), generators(*range(9)), "sampled").chunk
    torch.testing.assert_close(chunk.mean((0, 1)), torch.tensor([100.5, 200.5, 300.5]), atol=2, rtol=0)
    assert policy.loss(torch.randn(9, 2, 5), torch.full((9, 8, 3), 100.5)).total > 50


def test_several_noise_draws_estimate_the_same_loss():
    condition, chunk = torch.randn(500, 2, 5), torch.randn(500, 8, 3)
    one, eight = built(FLOW), built(FLOW.replace(noise_draws=8))
    torch.manual_seed(1)
    expected = torch.stack([one.loss(condition, chunk).total for _ in range(8)]).mean()
    torch.testing.assert_close(eight.loss(condition, chunk).total, expected, rtol=0.05, atol=0)


@pytest.mark.parametrize("gated", [False, True])
@HEADS
def test_gradients_reach_every_weight(spec, gated: bool):
    policy = built(spec.replace(gated=gated, patch=2)).train()
    policy.loss(torch.randn(32, 2, 5), torch.randn(32, 8, 3)).total.backward()
    assert [name for name, p in policy.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@HEADS
def test_it_learns_which_chunk_belongs_to_which_condition(spec):
    torch.manual_seed(0)
    chunks, condition = torch.randn(8, 1, 3).expand(8, 8, 3), torch.randn(8, 2, 5)
    policy = built(spec, chunks).train()
    optimiser = torch.optim.AdamW(policy.parameters(), lr=5e-3)
    for _ in range(120):
        optimiser.zero_grad()
        policy.loss(condition.repeat(8, 1, 1), chunks.repeat(8, 1, 1)).total.backward()
        optimiser.step()
    chunk = policy.eval().sample(condition, generators(*range(8)), "sampled").chunk
    assert (chunk - chunks).square().mean() < 0.05 * chunks.var()


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match=r"Flow.inference_steps: expected at least 1, got 0"):
        Flow(inference_steps=0)
    with pytest.raises(ValueError, match=r"Flow.noise_draws: expected at least 1, got 0"):
        Flow(noise_draws=0)
    with pytest.raises(ValueError, match=r"Regression.patch: expected at least 1, got 0"):
        Regression(patch=0)
    with pytest.raises(ValueError, match=r"Regression.patch: expected a divisor of the horizon 8, got 3"):
        REGRESSION.replace(patch=3).build(SHAPE, 5, 2, None)
    with pytest.raises(ValueError, match="policy 'flow' predicts actions, not codes: leave the cell's tokenizer out"):
        FLOW.build(SHAPE, 5, 2, Binning().build(SHAPE))
