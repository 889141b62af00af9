"""Diffusion Policy: the paper's numbers, who draws what, and that it learns."""

import pytest
import torch

from compression_gap.policies.diffusion import Diffusion, DiffusionPolicy
from compression_gap.policies.schedule import Schedule
from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.binning import Binning

SHAPE = ChunkShape(8, 3)
SMALL = Diffusion(width=16, layers=1, heads=2, prediction="sample")


def built(spec: Diffusion = SMALL) -> DiffusionPolicy:
    torch.manual_seed(0)
    policy = spec.build(SHAPE, condition_width=5, condition_tokens=2, tokenizer=None)
    policy.fit(torch.randn(64, 8, 3))
    return policy.eval()


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize(("size", "million"), [("M", 4.8), ("L", 15.5)])
def test_the_paper_sizes(size, million: float):
    # two conditioning tokens, each: two cameras of 64, proprioception of 9, one of ten tasks
    policy = Diffusion.sized(size).build(ChunkShape(32, 7), 2 * 64 + 9 + 10, 2, None)
    assert sum(p.numel() for p in policy.parameters()) == pytest.approx(million * 1e6, rel=0.02)


def test_the_paper_schedule():
    schedule = Schedule(100)
    assert schedule.visited(10) == [90, 80, 70, 60, 50, 40, 30, 20, 10, 0]
    log_snr = schedule.log_snr(torch.tensor([0, 90, 99]))
    torch.testing.assert_close(log_snr, torch.tensor([7.37, -3.9, -15.23]), atol=0.02, rtol=0)


def test_a_perfect_denoiser_gives_the_clean_chunk():
    torch.manual_seed(0)
    schedule, clean, noise = Schedule(100), torch.rand(4, 8, 3) * 2 - 1, torch.randn(4, 8, 3)
    sampled = schedule.ddim(lambda noisy, step: clean, noise, 10, "sample", clip=True)
    assert torch.equal(sampled, clean)

    def epsilon(noisy: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        return (noisy - schedule.signal[step, None, None] * clean) / schedule.spread[step, None, None]

    torch.testing.assert_close(schedule.ddim(epsilon, noise, 10, "epsilon", clip=True), clean, atol=1e-3, rtol=0)


def test_rows_draw_from_their_own_generator():
    policy, condition = built(), torch.randn(3, 2, 5)
    together = policy.sample(condition, generators(0, 1, 2), "sampled").chunk
    alone = policy.sample(condition[1:2], generators(1), "sampled").chunk
    torch.testing.assert_close(together[1:2], alone)
    assert torch.equal(together, policy.sample(condition, generators(0, 1, 2), "greedy").chunk)


def test_samples_are_in_the_units_of_the_chunks():
    policy = built()
    policy.fit(torch.rand(64, 8, 3) + torch.tensor([100.0, 200.0, 300.0]))
    chunk = policy.sample(torch.randn(9, 2, 5), generators(*range(9)), "sampled").chunk
    assert (chunk.floor().amin((0, 1)) >= torch.tensor([100, 200, 300])).all()
    assert (chunk.amax((0, 1)) <= torch.tensor([101, 201, 301])).all()


def test_earlier_actions_do_not_see_later_ones():
    policy, condition, step = built(), torch.randn(1, 2, 5), torch.tensor([50])
    noisy = torch.randn(1, 8, 3)
    changed = noisy.clone()
    changed[:, 5:] += 1
    with torch.no_grad():
        read = policy.memory.read(condition)
        before, after = policy.predict(noisy, step, read), policy.predict(changed, step, read)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.equal(before[:, 5:], after[:, 5:])


def test_several_noise_draws_estimate_the_same_loss():
    condition, chunk = torch.randn(500, 2, 5), torch.randn(500, 8, 3)
    one, eight = built(), built(SMALL.replace(noise_draws=8))
    torch.manual_seed(1)
    expected = torch.stack([one.loss(condition, chunk).total for _ in range(8)]).mean()
    torch.testing.assert_close(eight.loss(condition, chunk).total, expected, rtol=0.05, atol=0)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("prediction", ["sample", "epsilon"])
def test_gradients_reach_every_weight(prediction, gated: bool):
    policy = built(SMALL.replace(prediction=prediction, gated=gated)).train()
    policy.loss(torch.randn(32, 2, 5), torch.randn(32, 8, 3)).total.backward()
    assert [name for name, p in policy.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_it_learns_which_chunk_belongs_to_which_condition():
    torch.manual_seed(0)
    chunks, condition = torch.randn(8, 1, 3).expand(8, 8, 3), torch.randn(8, 2, 5)
    policy = built().train()
    policy.fit(chunks)
    optimiser = torch.optim.AdamW(policy.parameters(), lr=5e-3)
    for _ in range(200):
        optimiser.zero_grad()
        policy.loss(condition.repeat(8, 1, 1), chunks.repeat(8, 1, 1)).total.backward()
        optimiser.step()
    chunk = policy.eval().sample(condition, generators(*range(8)), "sampled").chunk
    assert (chunk - chunks).square().mean() < 0.05 * chunks.var()


def test_settings_that_cannot_work_are_refused():
    for steps in (1, 200):  # a single step would be taken where the noise has ended
        with pytest.raises(ValueError, match=f"2 to train_steps = 100, got {steps}"):
            Diffusion(inference_steps=steps)
    with pytest.raises(ValueError, match="noise_draws"):
        Diffusion(noise_draws=0)
    with pytest.raises(ValueError, match="leave the cell's tokenizer out"):
        SMALL.build(SHAPE, 5, 2, Binning().build(SHAPE))
