"""Every registered part keeps its family's contract, at a small size."""

from pathlib import Path

import pytest

from compression_gap import plugins
from compression_gap.encoders.base import EncoderSpec
from compression_gap.policies.base import PolicySpec
from compression_gap.suites.base import SuiteSpec
from compression_gap.testing import check_encoder, check_policy, check_suite, check_tokenizer
from compression_gap.tokenizers.base import TokenizerSpec
from small_parts import SHAPE, small

SIMULATORS = {"libero"}  # tested where their simulators are installed, in tests/simulators


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
    spec = small("encoders", kind, tmp_path)
    assert isinstance(spec, EncoderSpec)
    check_encoder(spec, small("suites", "tabletop").build().legend)


@pytest.mark.parametrize("kind", [kind for kind in plugins.kinds("suites") if kind not in SIMULATORS])
def test_suite(kind: str):
    spec = small("suites", kind)
    assert isinstance(spec, SuiteSpec)
    check_suite(spec)
