"""What a policy is conditioned on: one token a step or one a vector, as wide as the encoder or projected."""

import pytest
import torch

from compression_gap.agent import Agent, AgentSpec, Fusion
from compression_gap.config import override
from compression_gap.encoders.resnet import ResNet18
from compression_gap.encoders.state import State
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.policies.base import PolicySpec
from compression_gap.policies.diffusion import Diffusion
from compression_gap.policies.memory import with_waves
from compression_gap.shapes import Batch
from compression_gap.suites.tabletop.suite import Tabletop
from compression_gap.tokenizers.binning import Binning

LEGEND = Tabletop(image_size=32).build().legend
TASKS = ("one", "two", "three")
POLICIES: list[PolicySpec] = [Diffusion.sized("S"), Autoregressive(width=64, layers=1, heads=2)]
ENCODER = ResNet18(crop=24, channels=(16, 32), keypoints=4)
HISTORY, VECTORS, WIDTH = 2, len(LEGEND.cameras), 8
REST = len(LEGEND.proprioception) + len(TASKS)


def agent(policy: PolicySpec = POLICIES[0], fusion: Fusion = "step", width: int | None = None) -> Agent:
    torch.manual_seed(0)
    tokenizer = Binning(bins=4) if policy.discrete else None
    return AgentSpec(ENCODER, policy, tokenizer, 4, HISTORY, fusion, width).build(LEGEND, TASKS)


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def observation(rows: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    pictures = (rows, HISTORY, LEGEND.image_size, LEGEND.image_size, 3)
    seen = {
        name: torch.randint(256, pictures, generator=draw, dtype=torch.int64).to(torch.uint8) for name in LEGEND.cameras
    }
    felt = torch.rand(rows, HISTORY, len(LEGEND.proprioception), generator=draw)
    return {**seen, "proprioception": felt, "stamp": torch.zeros(rows, HISTORY, 3, dtype=torch.int64)}


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.kind)
@pytest.mark.parametrize("projected", [5, 40])
def test_a_projection_has_the_parameters_that_arithmetic_says(policy: PolicySpec, projected: int):
    inner = agent(policy).policy.memory.project.out_features
    added = WIDTH * projected + projected + VECTORS * (projected - WIDTH) * inner
    assert parameters(agent(policy, width=projected)) - parameters(agent(policy)) == added


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.kind)
def test_waves_have_the_parameters_that_arithmetic_says(policy: PolicySpec):
    project = agent(policy).policy.memory.project
    added = 2 * 3 * project.in_features * project.out_features
    assert parameters(agent(policy.replace(octaves=3))) - parameters(agent(policy)) == added


def test_waves_stand_behind_the_values_octave_after_octave():
    values = torch.randn(2, 3, 4)
    expected = [values, values.sin(), values.cos(), (2 * values).sin(), (2 * values).cos()]
    assert torch.equal(with_waves(values, 2), torch.cat(expected, dim=-1))
    assert with_waves(values, 0) is values


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.kind)
def test_fewer_octaves_than_none_are_refused(policy: PolicySpec):
    with pytest.raises(ValueError, match=r"octaves: expected at least 0, got -1"):
        policy.replace(octaves=-1)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.kind)
def test_a_token_a_vector_has_the_parameters_that_arithmetic_says(policy: PolicySpec):
    plain, fused = agent(policy), agent(policy, fusion="vector")
    inner, tokens = plain.policy.memory.project.out_features, HISTORY * (VECTORS + 1)
    narrower = (WIDTH - (VECTORS * WIDTH + REST)) * inner
    positions = (tokens - HISTORY) * plain.policy.memory.position.shape[1]
    assert parameters(fused) - parameters(plain) == REST * WIDTH + WIDTH + narrower + positions


@pytest.mark.parametrize(
    ("fusion", "width", "shape"),
    [
        ("step", None, (HISTORY, VECTORS * WIDTH + REST)),
        ("step", 5, (HISTORY, VECTORS * 5 + REST)),
        ("vector", None, (HISTORY * (VECTORS + 1), WIDTH)),
        ("vector", 5, (HISTORY * (VECTORS + 1), 5)),
    ],
)
def test_tokens_have_the_shape_that_was_asked_for(fusion: Fusion, width: int | None, shape: tuple[int, int]):
    made = agent(fusion=fusion, width=width).eval()
    task = torch.tensor([0, 2, 1])
    condition = made.condition(observation(3), task)
    assert condition.shape == (3, *shape)
    chunk = torch.rand(3, 4, len(LEGEND.action))
    made.policy.fit(chunk)
    made.loss(Batch(observation(3), task, made.policy.targets(chunk))).total.backward()
    assert [name for name, p in made.named_parameters() if p.grad is None and "encoder" not in name] == []


def test_tokens_of_a_step_stand_together_and_the_rest_is_last():
    made, seen = agent(fusion="vector").eval(), observation(2)
    task = torch.tensor([0, 1])
    tokens = made.condition(seen, task).unflatten(1, (HISTORY, VECTORS + 1))
    seen["proprioception"][:, 1] += 1
    moved = made.condition(seen, task).unflatten(1, (HISTORY, VECTORS + 1))
    changed = (moved != tokens).any(-1).any(0)
    assert changed.tolist() == [[False] * (VECTORS + 1), [False] * VECTORS + [True]]


def test_at_their_defaults_they_leave_older_digests_alone():
    before = AgentSpec(State(), Diffusion(), None, 16)
    assert before.digest == AgentSpec(State(), Diffusion(), None, 16, fusion="step", width=None).digest
    assert before.digest != AgentSpec(State(), Diffusion(), None, 16, fusion="vector").digest


def test_nonsense_is_refused_with_the_choice():
    with pytest.raises(ValueError, match="width of the projected vectors: expected at least 1, got 0"):
        AgentSpec(State(), Diffusion(), None, 16, width=0)
    with pytest.raises(ValueError, match="fusion"):
        override(AgentSpec(State(), Diffusion(), None, 16), {"fusion": "camera"})
