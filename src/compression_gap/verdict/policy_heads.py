"""Heads that are policies: the package's own autoregressive transformer over a code, one for every replica.

A code of many tokens, each an id without digits (bins, FAST), takes attention and a deep reading of the features to be
learned in few steps, and FAST's ids can only be read back where each keeps to those before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from compression_gap.policies.autoregressive import PADDING, Autoregressive, AutoregressivePolicy
from compression_gap.seeds import seed_of
from compression_gap.tokenizers.base import Tokenizer


class PolicyHeads(nn.Module):
    """Probabilities of codes, as a policy has them that is shown the features as its one conditioning token."""

    def __init__(self, seeds: Sequence[int], features: int, tokenizer: Tokenizer, width: int, layers: int) -> None:
        super().__init__()
        spec = Autoregressive(width=width, layers=layers, heads=2, gated=True)
        self.values = tokenizer.vocab_size + tokenizer.varies  # the end is one
        self.policies = nn.ModuleList()
        for seed in seeds:
            torch.manual_seed(seed_of(seed, "heads"))
            self.policies.append(spec.build(tokenizer.shape, features, 1, tokenizer))

    @property
    def _each(self) -> list[AutoregressivePolicy]:
        return cast("list[AutoregressivePolicy]", list(self.policies))

    def nats(self, seen: Float[Tensor, "R B F"], ids: Int[Tensor, "R B L"]) -> Float[Tensor, "R B"]:
        """Code lengths; `ids` are as `AutoregressivePolicy.marked` writes them. A chunk that a tokenizer of one length
        could not write has none: 0."""
        known = ids.where(ids < self.values, PADDING)
        rows = zip(self._each, seen, known, strict=True)
        return torch.stack([-policy.log_prob(shown[:, None], code).sum(dim=1) for policy, shown, code in rows])

    @torch.no_grad()
    def greedy(self, seen: Float[Tensor, "R B F"]) -> Int[Tensor, "R B L"]:
        """The likeliest ids that the tokenizer can read, one after the other."""
        rows = zip(self._each, seen, strict=True)
        return torch.stack([policy.marked(policy.write(shown[:, None], None)) for policy, shown in rows])

    def mixed(self, moments: Sequence[dict[str, Tensor]], best: Sequence[int], prefix: str) -> dict[str, Tensor]:
        """Weights of every replica from a moment of its own; names begin with `prefix`."""
        start = f"{prefix}policies."
        return {name: moments[best[int(name.removeprefix(start).split(".")[0])]][name] for name in moments[0]}
