"""Tokenizers that fail: some chunks cannot be written, or nothing can be fitted."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.base import Tokenizer, TokenizerSpec, Tokens
from compression_gap.tokenizers.binning import Binning, BinningTokenizer


@dataclass(frozen=True)
class Moody(TokenizerSpec, kind="moody"):
    """Bins that cannot write what begins far to the right."""

    def build(self, shape: ChunkShape) -> Tokenizer:
        return MoodyTokenizer(Binning(bins=3), shape)


class MoodyTokenizer(BinningTokenizer):
    """Raises for some chunks."""

    def encode(self, chunk: Tensor) -> Tokens:
        if (chunk[:, 0, 0] > 0.5).any():
            raise ArithmeticError("too far right")
        return super().encode(chunk)


@dataclass(frozen=True)
class Broken(TokenizerSpec, kind="broken"):
    """Fails when it is fitted."""

    def build(self, shape: ChunkShape) -> Tokenizer:
        return BrokenTokenizer(Binning(bins=3), shape)


class BrokenTokenizer(BinningTokenizer):
    """Cannot be fitted."""

    def fit(self, chunks: Tensor) -> None:
        raise ZeroDivisionError("nothing fits")
