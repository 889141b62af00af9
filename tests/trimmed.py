"""A tokenizer for tests whose codes have different lengths, and some of whose codes cannot be decoded."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.base import Decoded, Tokenizer, TokenizerSpec, Tokens
from compression_gap.tokenizers.binning import Binning


@dataclass(frozen=True)
class Trimmed(TokenizerSpec, kind="trimmed"):
    """Bins of all values, without the repetitions at the end: a code whose last two ids are equal is none."""

    bins: int = 3
    """Bins a value."""
    tells: bool = True
    """Whether `following` keeps clear of codes that cannot be decoded."""

    def build(self, shape: ChunkShape) -> Tokenizer:
        return TrimmedTokenizer(self, shape)


class TrimmedTokenizer(Tokenizer):
    """The bin of each value, action after action, up to the last one that differs from the one before."""

    varies = True
    ordered = False
    digits = None

    def __init__(self, spec: Trimmed, shape: ChunkShape) -> None:
        super().__init__()
        self.shape, self.tells, self.all = shape, spec.tells, Binning(spec.bins).build(shape)
        self.vocab_size, self.max_tokens = spec.bins, self.all.max_tokens

    def fit(self, chunks: Float[Tensor, "N T D"]) -> None:
        self.all.fit(chunks)

    def encode(self, chunk: Float[Tensor, "B T D"]) -> Tokens:
        ids = self.all.encode(chunk).ids
        changes = pad(ids[:, 1:] != ids[:, :-1], (1, 0))
        length = 1 + (changes * torch.arange(self.max_tokens)).amax(1)
        ids = ids * (torch.arange(self.max_tokens) < length[:, None])
        return Tokens(ids[:, : length.max()], length)

    def decode(self, tokens: Tokens) -> Decoded:
        valid = tokens.well_formed(self.vocab_size, 1, self.max_tokens)
        ids = pad(tokens.ids, (0, self.max_tokens - tokens.ids.shape[1]))
        last = ids.gather(1, (tokens.length[:, None] - 1).clamp(min=0))
        before = ids.gather(1, (tokens.length[:, None] - 2).clamp(min=0))
        valid &= (tokens.length == 1) | (last != before)[:, 0]
        ids = ids.where(torch.arange(self.max_tokens) < tokens.length[:, None], last)
        whole = Tokens(ids, torch.full_like(tokens.length, self.max_tokens))
        return Decoded(self.all.decode(whole).chunk, valid)

    def following(self, ids: Int[Tensor, "B l"]) -> Bool[Tensor, "B {self.vocab_size}+1"]:
        may, length = super().following(ids), ids.shape[1]
        if self.tells and 1 < length < self.max_tokens:
            may[:, -1] = ids[:, -1] != ids[:, -2]
        if self.tells and 1 <= length == self.max_tokens - 1:
            may.scatter_(1, ids[:, -1:], False)
        return may
