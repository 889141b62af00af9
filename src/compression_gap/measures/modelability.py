"""How hard a code is to predict: its held-out length when the true state is known."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from compression_gap.data.normalise import Standardise
from compression_gap.policies.autoregressive import Autoregressive, AutoregressivePolicy
from compression_gap.shapes import Loss
from compression_gap.tokenizers.base import Tokenizer, Tokens

PIECE = 256  # codes at once; fixed, because the last bits of a sum depend on it


class KnowingTokenModel(nn.Module):
    """A model of a tokenizer's codes that knows S values besides the earlier tokens.

    Its cross-entropy on held-out codes bounds their entropy given those values from above in expectation, whatever the
    model. A finer code may leave a smaller error and be harder to predict; this says how hard.
    """

    def __init__(self, spec: Autoregressive, tokenizer: Tokenizer, known: int) -> None:
        super().__init__()
        self.standardise = Standardise(known)
        self.policy = spec.build(tokenizer.shape, known, 1, tokenizer)

    def ids(self, tokens: Tokens) -> Int[Tensor, "N L"]:
        """Codes with their end marks, as `loss` and `bits` take them."""
        return self.policy.marked(tokens)

    def loss(self, batch: tuple[Int[Tensor, "B L"], Float[Tensor, "B S"]]) -> Loss:
        """Cross-entropy in bits a code; a batch is codes and what is known with each."""
        ids, known = batch
        bits = -self.policy.log_prob(self.standardise(known)[:, None], ids).sum(dim=1).mean() / math.log(2)
        return Loss(bits, {"bits": bits.detach()})

    def bits(self, ids: Int[Tensor, "N L"], known: Float[Tensor, "N S"]) -> Float[Tensor, "N L"]:
        """Length of every token in bits."""
        return token_lengths(self.policy, self.standardise(known)[:, None], ids)


@torch.no_grad()
def token_lengths(
    policy: AutoregressivePolicy, condition: Float[Tensor, "N C F"], ids: Int[Tensor, "N L"]
) -> Float[Tensor, "N L"]:
    """Length of every token in bits, under a model of codes; by the chain rule the first k make up a prefix's."""
    pieces = zip(condition.split(PIECE), ids.split(PIECE), strict=True)
    return -torch.cat([policy.log_prob(*piece) for piece in pieces]) / math.log(2)
