"""Pinned numbers of every encoder, tokenizer, policy and of training: if they change and `version` does not, older
results would pass for new ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from compression_gap import plugins
from compression_gap.shapes import Loss
from compression_gap.testing.common import seeded, smooth_chunks
from compression_gap.tokenizers.base import Tokens
from compression_gap.tokenizers.binning import Binning
from compression_gap.training import Training, train
from small_parts import SHAPE, small

FILE = Path(__file__).with_name("parts.json")
CURE = """If the change is intended: raise the part's `version` in its class, then write the new numbers with:
python -m pytest tests/golden --rewrite-golden"""
PINNED = json.loads(FILE.read_text()) if FILE.exists() else {}
THEIRS = {"pretrained", "hub"}  # what they compute is other people's business
PARTS = [
    (family, kind)
    for family in ("encoders", "tokenizers", "policies")
    for kind in plugins.kinds(family)
    if kind not in THEIRS
]


def of_encoders(spec) -> list[Tensor]:
    """Features of two tables, after pretraining's loss if there is one."""
    suite = small("suites", "tabletop").build()
    encoder = seeded(lambda: spec.build(suite.legend)).eval()
    simulators = suite.simulators(1, 2)
    simulators.reset(suite.initial_states(1, "test", [3, 4]), [3, 4])
    names = (*suite.legend.cameras, "proprioception", "state", "stamp")
    frames = {name: torch.from_numpy(value) for name, value in simulators.observe(names).items()}
    frames["stamp"] = torch.cat([frames["stamp"], torch.tensor([[5], [6]])], dim=1)
    pretrained = [encoder.loss(frames).total] if spec.pretraining_steps else []
    return [*pretrained, encoder.encode(frames)]


def of_tokenizers(spec) -> list[Tensor]:
    """Codes of two chunks, what they decode to, and the training loss of a learned one."""
    tokenizer = seeded(lambda: spec.build(SHAPE))
    tokenizer.fit(smooth_chunks(64, SHAPE))
    learned = [tokenizer.loss(smooth_chunks(5, SHAPE)).total] if spec.learned else []
    code = tokenizer.eval().encode(smooth_chunks(2, SHAPE))
    return [*learned, code.ids, tokenizer.decode(Tokens(code.ids, code.length)).chunk]


def of_policies(spec) -> list[Tensor]:
    """The training loss, and samples both ways."""
    codes = Binning(bins=8).build(SHAPE) if spec.discrete else None
    if codes is not None:
        codes.fit(smooth_chunks(64, SHAPE))
    policy = seeded(lambda: spec.build(SHAPE, 5, 2, codes))
    policy.fit(smooth_chunks(64, SHAPE))
    condition = torch.randn(3, 2, 5, generator=Generator().manual_seed(0))
    loss = policy.loss(condition, policy.targets(smooth_chunks(3, SHAPE))).total
    policy.eval()
    draws = [Generator().manual_seed(row) for row in range(3)]
    return [loss, *(policy.sample(condition, draws, how).chunk for how in ("sampled", "greedy"))]


def of_training(folder: Path) -> list[Tensor]:
    """Averaged weights after three steps."""

    class Line(nn.Linear):
        def loss(self, batch: Tensor) -> Loss:
            return Loss((self(batch) - batch.sum(1, keepdim=True) + torch.randn(1)).square().mean(), {})

    batch = torch.linspace(-1, 1, 8).reshape(4, 2)
    spec = Training(3, warmup=2, learning_rate=0.1)
    line = train(
        seeded(lambda: Line(2, 1)), lambda step: batch, [batch], spec, seed=1, folder=folder, report=lambda *_: None
    )
    return list(line.state_dict().values())


def numbers(family: str, kind: str, folder: Path) -> dict:
    """The part's version and at most twelve numbers: spread over all it gave, and its mean."""
    if kind == "training":
        spec, given = Training, of_training(folder)
    else:
        spec = small(family, kind)
        given = {"encoders": of_encoders, "tokenizers": of_tokenizers, "policies": of_policies}[family](spec)
    flat = torch.cat([tensor.detach().double().flatten() for tensor in given])
    chosen = flat[np.unique(np.linspace(0, len(flat) - 1, 11).astype(int))]
    return {"version": spec.version, "numbers": [*chosen.numpy().round(6).tolist(), round(flat.mean().item(), 6)]}


@pytest.mark.parametrize(("family", "kind"), [*PARTS, ("settings", "training")])
def test_a_part_computes_what_its_version_computes(family: str, kind: str, tmp_path: Path, request):
    made, name = numbers(family, kind, tmp_path), f"{family} {kind}"
    if request.config.getoption("--rewrite-golden"):
        PINNED[name] = made
        FILE.write_text(json.dumps(dict(sorted(PINNED.items()))).replace("}, ", "},\n") + "\n")
    assert name in PINNED, f"no numbers are pinned yet. {CURE}"
    assert made["version"] == PINNED[name]["version"], CURE
    assert made["numbers"] == pytest.approx(PINNED[name]["numbers"], rel=1e-3, abs=1e-4), CURE
