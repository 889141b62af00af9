"""Every registered part keeps its family's contract, at a small size."""

from pathlib import Path

import pytest

from compression_gap import plugins
from compression_gap.encoders.base import EncoderSpec
from compression_gap.policies.base import PolicySpec
from compression_gap.suites.base import SuiteSpec
from compression_gap.testing import check_encoder, check_policy, check_suite, check_tokenizer
from compression_gap.tokenizers.base import TokenizerSpec
from compression_gap.tokenizers.binning import Binning
from compression_gap.tokenizers.oat import Oat
from small_parts import SHAPE, small

SIMULATORS = {"libero"}  # tested where their simulators are installed, in tests/simulators


@pytest.mark.parametrize("kind", plugins.kinds("tokenizers"))
def test_tokenizer(kind: str):
    spec = small("tokenizers", kind)
    assert isinstance(spec, TokenizerSpec)
    check_tokenizer(spec, SHAPE)


VARIANTS = [
    Binning(bins=16, placement="quantile"),
    Binning(bins=16, range="percentile"),
    Oat.small().replace(tokens=3, levels=(4, 3), width=32, head_width=16, prefixes="all", dither=0.5, search=1),
    small("tokenizers", "hub").replace(refit=True),
]


@pytest.mark.parametrize("spec", VARIANTS, ids=["quantile", "percentile", "small", "refit"])
def test_tokenizer_with_other_settings(spec: TokenizerSpec):
    check_tokenizer(spec, SHAPE)


def policies_and_tokenizers() -> list[tuple[str, str | None]]:
    """Every discrete policy over every tokenizer, and every continuous one."""
    pairs: list[tuple[str, str | None]] = []
    for kind in plugins.kinds("policies"):
        spec = small("policies", kind)
        assert isinstance(spec, PolicySpec)
        pairs += [(kind, name) for name in plugins.kinds("tokenizers")] if spec.discrete else [(kind, None)]
    return pairs


@pytest.mark.parametrize(("kind", "tokenizer"), policies_and_tokenizers())
def test_policy(kind: str, tokenizer: str | None):
    spec = small("policies", kind)
    over = small("tokenizers", tokenizer) if tokenizer else None
    assert isinstance(spec, PolicySpec)
    assert isinstance(over, TokenizerSpec | None)
    check_policy(spec, SHAPE, over)


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
