"""Held-out code length of tokens: an autoregressive model that knows nothing but the earlier tokens."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from compression_gap.policies.autoregressive import PADDING, Autoregressive
from compression_gap.shapes import Loss
from compression_gap.tokenizers.base import Tokenizer, Tokens


class TokenModel(nn.Module):
    """An unconditional model of a tokenizer's codes.

    Its cross-entropy on held-out codes bounds their entropy from above in expectation, whatever the model; it
    overestimates by the model's divergence from the truth (Cover & Thomas 2006, theorem 5.4.3).
    Where codes have different lengths, that a code ends is part of its length in bits; padding is not. Chunks that have
    no code are left out of the mean.
    """

    def __init__(self, spec: Autoregressive, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.policy = spec.build(tokenizer.shape, 1, 1, tokenizer)

    def ids(self, tokens: Tokens) -> Int[Tensor, "N L"]:
        """Codes with their end marks, as `loss` and `bits` take them."""
        return self.policy.marked(tokens)

    def loss(self, ids: Int[Tensor, "B L"]) -> Loss:
        """Cross-entropy in bits a code."""
        bits = self._bits(ids).mean()
        return Loss(bits, {"bits": bits.detach()})

    @torch.no_grad()
    def bits(self, ids: Int[Tensor, "N L"]) -> float:
        """Mean code length in bits."""
        return float(torch.cat([self._bits(part) for part in ids.split(256)]).mean())

    def _bits(self, ids: Int[Tensor, "B L"]) -> Float[Tensor, " coded"]:
        ids = ids[(ids != PADDING).any(1)]
        nothing = torch.zeros(len(ids), 1, 1, device=ids.device)
        return -self.policy.log_prob(nothing, ids).sum(dim=1) / math.log(2)
