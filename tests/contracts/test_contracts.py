"""Every registered part keeps its family's contract, at a small size."""

from pathlib import Path

import pytest

import tiny_models
from compression_gap import plugins
from compression_gap.encoders.base import EncoderSpec
from compression_gap.policies.base import PolicySpec
from compression_gap.shapes import ChunkShape
from compression_gap.suites.base import SuiteSpec
from compression_gap.testing import check_encoder, check_policy, check_suite, check_tokenizer
from compression_gap.tokenizers.base import TokenizerSpec

SHAPE = ChunkShape(horizon=6, actions=3)
SMALL = {
    "oat": {"tokens": 3, "levels": (5, 3), "width": 16, "head_width": 8, "encoder_layers": 1, "decoder_layers": 1},
    "diffusion": {"width": 16, "layers": 1, "heads": 2},
    "autoregressive": {"width": 16, "layers": 1, "heads": 2},
    "tabletop": {"image_size": 32},
    "resnet18": {"crop": 24, "channels": (16, 32), "keypoints": 4},
}
SIMULATORS = {"libero"}  # tested where their simulators are installed, in tests/simulators


def small(family: str, kind: str):
    return plugins.find(family, kind)(**SMALL.get(kind, {}))


@pytest.mark.parametrize("kind", plugins.kinds("tokenizers"))
def test_tokenizer(kind: str):
    spec = small("tokenizers", kind)
    assert isinstance(spec, TokenizerSpec)
    check_tokenizer(spec, SHAPE)


@pytest.mark.parametrize("tokenizer", plugins.kinds("tokenizers"))
@pytest.mark.parametrize("kind", plugins.kinds("policies"))
def test_policy(kind: str, tokenizer: str):
    spec = small("policies", kind)
    assert isinstance(spec, PolicySpec)
    check_policy(spec, SHAPE, small("tokenizers", tokenizer))


@pytest.mark.parametrize("kind", plugins.kinds("encoders"))
def test_encoder(kind: str, tmp_path: Path):
    spec = small("encoders", kind)
    if kind == "pretrained":
        spec = spec.replace(model=tiny_models.siglip(tmp_path))
    assert isinstance(spec, EncoderSpec)
    check_encoder(spec, small("suites", "tabletop").build().legend)


@pytest.mark.parametrize("kind", [kind for kind in plugins.kinds("suites") if kind not in SIMULATORS])
def test_suite(kind: str):
    spec = small("suites", kind)
    assert isinstance(spec, SuiteSpec)
    check_suite(spec)
