"""The paper's first experiment: its settings, its jobs, and that every cell can learn."""

import sys
from pathlib import Path

import pytest
import torch

import tiny_models
from compression_gap import commands
from compression_gap.config import to_json
from compression_gap.encoders.pretrained import Pretrained
from compression_gap.encoders.resnet import ResNet18
from compression_gap.pipeline.cell import Cell
from compression_gap.pipeline.plan import jobs_of
from compression_gap.pipeline.tables import Tables
from compression_gap.shapes import Batch, ChunkShape
from compression_gap.store import Store
from compression_gap.studies import factorial
from compression_gap.suites.base import Legend
from compression_gap.suites.libero import benchmark
from compression_gap.training import train

GRID = factorial.grid()
METHODS = {method.name: method for method in GRID.methods}
SHAPE = ChunkShape(32, 7)
LEGEND = Legend(
    cameras=("agentview", "eye_in_hand"),
    image_size=32,
    proprioception=tuple("xyz") + tuple("abcd") + ("left", "right"),
    state=("x",),
    state_scale=(1.0,),
    action=("x", "y", "z", "roll", "pitch", "yaw", "gripper"),
    action_scale=(1.0,) * 7,
    action_low=(-1.0,) * 7,
    action_high=(1.0,) * 7,
    gripper=(6,),
    control_hz=20.0,
    max_steps=520,
    protocols=("fixed",),
    tolerances_mm=(),
)


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("transformers", "libero", "libero.libero", "robosuite", "mujoco"):
        monkeypatch.setitem(sys.modules, name, None)
    benchmark._benchmark.cache_clear()  # another test may have found it installed


def test_the_settings_are_the_papers():
    base, training = to_json(GRID.base), to_json(factorial.TRAINING)
    assert base["suite"] | {"suite": "libero_10", "tasks": list(range(10)), "image_size": 128} == base["suite"]
    assert (base["horizon"], base["history"], base["rollouts"]["execute"]) == (32, 2, 16)
    assert GRID.base.data.episodes == 50
    assert GRID.base.rollouts.episodes * GRID.base.suite.num_tasks == 500
    assert len(GRID.cells) == 4 * 2 * 5
    paper = {"batch": 256, "learning_rate": 5e-5, "encoder_learning_rate": 1e-5, "schedule": "constant", "clip": 1.0}
    assert training | paper | {"ema_power": 0.75, "ema_max": 0.9999} == training
    denoising = {"prediction": "epsilon", "train_steps": 100, "inference_steps": 10, "clip_sample": True}
    sampling = {"temperature": 1.0, "top_k": 10}
    for size, (width, layers, heads) in {"M": (256, 4, 4), "L": (384, 6, 6)}.items():
        transformer = {"width": width, "layers": layers, "heads": heads}
        for name, rest in (("Diffusion", denoising), ("OAT", sampling)):
            policy = to_json(METHODS[f"{name} {size}"].policy)
            assert policy | transformer | rest == policy
    sights = {sight.name: sight.encoder for sight in GRID.sights}
    assert sights["ResNet-18"] == ResNet18(crop=76, channels=(64, 128, 256, 512), keypoints=32)
    assert sights["SigLIP"] == Pretrained("google/siglip-so400m-patch14-224", "mean")


@pytest.mark.parametrize(
    ("name", "width", "million"),
    [("Diffusion M", 64, 4.8), ("Diffusion L", 64, 15.5), ("Diffusion M", 1152, 5.3), ("Diffusion L", 1152, 16.3)],
)
def test_the_policies_have_the_papers_size(name: str, width: int, million: float):
    policy = METHODS[name].policy.build(SHAPE, 2 * width + 9 + 10, 2, None)
    assert sum(p.numel() for p in policy.parameters()) == pytest.approx(million * 1e6, rel=0.02)


@pytest.mark.parametrize("name", ["OAT M", "OAT L"])
def test_a_chunk_has_the_papers_bits(name: str):
    tokenizer = METHODS[name].tokenizer
    assert tokenizer is not None
    assert tokenizer.build(SHAPE).nominal_bits == pytest.approx(79.73, abs=0.005)


def test_every_size_is_compared_with_its_own():
    names = [(continuous.name, discrete.name) for continuous, discrete in GRID.comparisons]
    assert names == [("Diffusion M", "OAT M"), ("Diffusion L", "OAT L")]


@pytest.mark.usefixtures("nothing_installed")
def test_its_jobs_are_planned_without_simulator_and_models(tmp_path: Path):
    plan = commands.forecast("factorial", tmp_path, workers=2, videos=0).data
    kinds = [job["job"].partition("/")[0] for job in plan["jobs"]]
    assert kinds.count("trained_agent") == 4 * 2 * 5
    assert kinds.count("evaluation") == 4 * 2 * (5 + 2) * 10  # one for each task
    assert kinds.count("trained_tokenizer") == 5  # shared by the sizes
    assert kinds.count("features") == kinds.count("drawings") == 5 * 10  # ten attempts a piece
    pictures = {job["title"]: job["disk_mb"] for job in plan["jobs"] if job["job"].startswith("drawings")}
    assert 5 * sum(pictures.values()) == pytest.approx(500 * 260 * 2 * 128 * 128 * 3 / 1e6, rel=0.1)
    assert Tables(GRID, Store(tmp_path)).report.encoders == ()


def test_estimates_know_that_siglip_is_slow_and_pictures_are_large():
    costs = {job.title: job.cost() for job in jobs_of(GRID)}
    resnet, siglip = (costs[f"rollouts of agent diffusion on {kind}, seed 0"] for kind in ("resnet18", "pretrained"))
    assert siglip.seconds > 10 * resnet.seconds


@pytest.mark.parametrize(
    "cell", GRID.cells[:: len(GRID.seeds)], ids=lambda cell: f"{cell.method.name} {cell.sight.name}"
)
def test_a_tiny_version_of_every_cell_learns(cell: Cell, tmp_path: Path):
    torch.manual_seed(0)
    agent = tiny(cell, tmp_path).agent.build(LEGEND, [f"task {number}" for number in range(10)])
    chunk = torch.randn(4, 32, 7)
    batch = Batch(
        observation={
            **{name: torch.randint(256, (4, 2, 32, 32, 3), dtype=torch.uint8) for name in LEGEND.cameras},
            "proprioception": torch.randn(4, 2, 9),
        },
        task=torch.arange(4),
        target=chunk,
    )
    agent.policy.fit(chunk)
    agent.standardise_proprioception.fit(batch.observation["proprioception"].flatten(0, 1))
    tokenizer = getattr(agent.policy, "tokenizer", None)
    if tokenizer is not None:
        tokenizer.fit(chunk)
    batch.target = agent.policy.targets(chunk)
    if not agent.encoder.trained:
        features = agent.encoder.encode({name: batch.observation[name].flatten(0, 1) for name in agent.encoder.reads})
        agent.standardise_features.fit(features.flatten(0, 1))
    before = {name: tensor.clone() for name, tensor in agent.state_dict().items()}
    training = cell.method.training.replace(steps=2, batch=4, warmup=0)  # whose steps float32 can tell
    train(agent, lambda step: batch, [batch], training, seed=0, folder=tmp_path, report=lambda fraction, text: None)
    moved = {name for name, tensor in agent.state_dict().items() if not torch.equal(tensor, before[name])}
    weights = {name for name, weight in agent.named_parameters() if weight.requires_grad}
    assert moved == weights
    assert any(name.startswith("encoder.") for name in moved) == isinstance(cell.sight.encoder, ResNet18)
    assert not any("tokenizer" in name for name in moved)
    agent.begin(tasks=[0, 1], seeds=[0, 1])
    agent.observe({name: values[:2, 0].numpy() for name, values in batch.observation.items()} | {"stamp": stamps(2)})
    sampled = agent.plan(cell.method.decodings[0])
    assert sampled.chunk.shape == (2, 32, 7)
    assert sampled.valid.all()
    assert sampled.chunk.isfinite().all()


def stamps(num: int):
    return torch.stack([torch.arange(num), torch.zeros(num, dtype=torch.int64)], dim=1).numpy()


def tiny(cell: Cell, folder: Path) -> Cell:
    """The same parts, a sixteenth as wide."""
    policy = cell.method.policy
    small = cell.replace(method__policy=policy.replace(width=policy.width // 16, layers=1))
    if cell.method.tokenizer is not None:
        shape = {"width": 16, "head_width": 4, "encoder_layers": 1, "decoder_layers": 1}
        small = small.replace(method__tokenizer=cell.method.tokenizer.replace(**shape))
    if isinstance(cell.sight.encoder, Pretrained):
        return small.replace(sight__encoder__model=tiny_models.siglip(folder / "siglip"))
    return small.replace(sight__encoder=ResNet18(crop=24, channels=(16, 16), keypoints=4))
