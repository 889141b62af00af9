"""An autoregressive policy: it predicts the codes of a frozen tokenizer one token at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from torch import Tensor, nn

from compression_gap.policies.base import SIZES, Decoding, Policy, PolicySpec, Sampled
from compression_gap.policies.memory import Memory
from compression_gap.policies.vocabulary import Vocabulary
from compression_gap.shapes import ChunkShape, Loss
from compression_gap.tokenizers.base import Tokenizer, Tokens
from compression_gap.training import LearningCost
from compression_gap.transformer import Transformer, causal_mask

CODE_POSITIONS = 20  # what 8 tokens cost in learning: scoring a thousand ids is half of it


@dataclass(frozen=True)
class Autoregressive(PolicySpec, kind="autoregressive"):
    """OAT's policy (arXiv 2602.04215) over any tokenizer. The defaults are size M of the Compression Gap paper."""

    width: int = 256
    """Width of the transformer."""
    layers: int = 4
    """Layers of the transformer."""
    heads: int = 4
    """Attention heads; they divide the width."""
    dropout: float = 0.0
    """Dropout in the transformer."""
    gated: bool = False
    """Gated perceptrons (SwiGLU) instead of plain ones, more of them on the conditioning tokens: not in the papers, but
    what lets a small policy find the object that the task means, from few demonstrations and in few steps."""
    head: Literal["index", "digits"] = "index"
    """How ids are embedded and scored: each alone, or with weights shared between equal digits of FSQ codes."""
    temperature: float = 1.0
    """Divides the logits when sampling."""
    top_k: int = 10
    """Sampling chooses among the ids with the largest logits."""

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(
                f"Autoregressive.temperature: expected more than 0, got {self.temperature}; ask for greedy decoding"
            )
        if self.top_k < 1:
            raise ValueError(f"Autoregressive.top_k: expected at least 1, got {self.top_k}")

    @classmethod
    def sized(cls, size: Literal["S", "M", "L"]) -> Autoregressive:
        """M and L of the paper, or S for one CPU core, which is gated and scores digits."""
        width, layers, heads = SIZES[size]
        small = size == "S"
        return cls(width=width, layers=layers, heads=heads, gated=small, head="digits" if small else "index")

    @property
    def discrete(self) -> bool:
        return True

    def cost(self, horizon: int) -> LearningCost:
        return LearningCost.of_transformer(self.width, self.layers, CODE_POSITIONS)

    def build(
        self, shape: ChunkShape, condition_width: int, condition_tokens: int, tokenizer: Tokenizer | None
    ) -> AutoregressivePolicy:
        if tokenizer is None:
            raise ValueError("policy 'autoregressive' predicts codes: give the cell a tokenizer")
        if self.head == "digits" and tokenizer.digits is None:
            raise ValueError(
                f"head 'digits' needs a tokenizer with digits, {type(tokenizer).__name__} has none: use 'index'"
            )
        return AutoregressivePolicy(self, shape, condition_width, condition_tokens, tokenizer)


class AutoregressivePolicy(Policy):
    """Tokens look at earlier tokens and, across, at the conditioning tokens."""

    mask: Tensor

    def __init__(
        self, spec: Autoregressive, shape: ChunkShape, condition_width: int, condition_tokens: int, tokenizer: Tokenizer
    ) -> None:
        super().__init__()
        self.spec, self.shape = spec, shape
        self.tokenizer = tokenizer.requires_grad_(False).eval()
        self.begin = nn.Parameter(torch.randn(1, spec.width) * 0.02)
        self.position = nn.Parameter(torch.randn(tokenizer.max_tokens, spec.width) * 0.02)
        digits = tokenizer.digits if spec.head == "digits" else None
        self.vocabulary = Vocabulary(tokenizer.vocab_size, spec.width, digits)
        self.memory = Memory(condition_width, condition_tokens, spec.width, gated=spec.gated)
        self.transformer = Transformer(
            spec.width, spec.layers, spec.heads, dropout=spec.dropout, cross=True, gated=spec.gated
        )
        self.register_buffer("mask", causal_mask(tokenizer.max_tokens), persistent=False)

    def train(self, mode: bool = True) -> AutoregressivePolicy:
        """As for every module, but the tokenizer stays frozen: in evaluation mode."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    def fit(self, chunks: Float[Tensor, "N T D"]) -> None:
        """Nothing to take: the tokenizer scales the actions."""

    def targets(self, chunk: Float[Tensor, "N T D"]) -> Int[Tensor, "N L"]:
        """Codes of the chunks.

        Raises ValueError if a code is shorter than `max_tokens`: this policy has no end mark.
        """
        tokens = self.tokenizer.encode(chunk)
        if (tokens.length != self.tokenizer.max_tokens).any():
            raise ValueError(
                f"policy 'autoregressive' needs codes of {self.tokenizer.max_tokens} tokens, "
                f"got {tokens.length.min()} to {tokens.length.max()} from {type(self.tokenizer).__name__}"
            )
        return tokens.ids

    def loss(self, condition: Float[Tensor, "B C F"], targets: Int[Tensor, "B L"]) -> Loss:
        """Cross-entropy of the chunks' codes, in nats a token; `parts` has it in bits a chunk."""
        nats = -self.log_prob(condition, targets)
        return Loss(nats.mean(), {"bits_per_chunk": nats.detach().sum(1).mean() / math.log(2)})

    def log_prob(self, condition: Float[Tensor, "B C F"], ids: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
        """Natural logarithm of the probability of every token given those before it; in bits: divide by -ln 2."""
        begin = self.begin.expand(len(ids), 1, -1)
        inputs = torch.cat([begin, self.vocabulary.embed(ids[:, :-1])], dim=1) + self.position
        memory = self.transformer.remember(self.memory(condition))
        logits = self.vocabulary.logits(self.transformer(inputs, self.mask, memory))
        nats = functional.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none")
        return -nats.unflatten(0, ids.shape)

    @torch.no_grad()
    def sample(
        self, condition: Float[Tensor, "B C F"], generators: Sequence[torch.Generator], decoding: Decoding
    ) -> Sampled:
        """Chunks decoded from codes that are drawn token by token, or take the most probable token each time."""
        size, length = len(condition), self.tokenizer.max_tokens
        uniform = torch.zeros(size, length)
        if decoding == "sampled":
            uniform = torch.stack([torch.rand(length, generator=generator) for generator in generators])
        uniform = uniform.to(condition)
        memory = self.transformer.remember(self.memory(condition))
        cache = self.transformer.empty_cache()
        ids: list[Int[Tensor, " B"]] = []
        for place in range(length):
            last = self.vocabulary.embed(ids[-1][:, None]) if ids else self.begin.expand(size, 1, -1)
            x = self.transformer(last + self.position[place], memory=memory, cache=cache)
            logits = self.vocabulary.logits(x)[:, 0]
            ids.append(logits.argmax(1) if decoding == "greedy" else self.draw(logits, uniform[:, place]))
        full = torch.full((size,), length, device=condition.device)
        decoded = self.tokenizer.decode(Tokens(torch.stack(ids, dim=1), full))
        return Sampled(decoded.chunk, decoded.valid)

    def draw(self, logits: Float[Tensor, "B V"], uniform: Float[Tensor, " B"]) -> Int[Tensor, " B"]:
        """Ids drawn from the tempered top-k distribution, each by its own uniform number in [0, 1)."""
        best, ids = logits.topk(min(self.spec.top_k, logits.shape[1]))
        below = (best / self.spec.temperature).softmax(1).cumsum(1)[:, :-1]
        return ids.gather(1, (below <= uniform[:, None]).sum(1, keepdim=True))[:, 0]
