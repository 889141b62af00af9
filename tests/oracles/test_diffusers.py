"""Our schedule and DDIM against diffusers'."""

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from compression_gap.policies.schedule import Schedule


def reference(prediction: str, clip: bool) -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=100,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=prediction,
        clip_sample=clip,
        set_alpha_to_one=True,
        timestep_spacing="leading",
    )


def test_noise_levels():
    ours, theirs = Schedule(100), reference("epsilon", True)
    torch.testing.assert_close(ours.signal.square(), theirs.alphas_cumprod, atol=1e-6, rtol=0)


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
@pytest.mark.parametrize("steps", [1, 10, 30])
def test_trajectories(prediction, clip: bool, steps: int):
    torch.manual_seed(0)
    noise, weights = torch.randn(4, 8, 3), torch.randn(3, 3) * 0.5

    def predict(noisy: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        return torch.tanh(noisy @ weights + step[:, None, None] / 100)

    scheduler = reference(prediction, clip)
    scheduler.set_timesteps(steps)
    theirs = noise
    for step in scheduler.timesteps:
        theirs = scheduler.step(predict(theirs, step.expand(4)), step, theirs, eta=0.0).prev_sample
    ours = Schedule(100).ddim(predict, noise, steps, prediction, clip)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
