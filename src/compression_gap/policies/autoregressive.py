"""An autoregressive policy: it predicts the codes of a frozen tokenizer one token at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from compression_gap.config import added_later
from compression_gap.policies.base import SIZES, Decoding, Policy, PolicySpec, Sampled
from compression_gap.policies.memory import Memory
from compression_gap.policies.vocabulary import Vocabulary
from compression_gap.shapes import ChunkShape, Loss
from compression_gap.tokenizers.base import Decoded, Tokenizer, Tokens
from compression_gap.training import LearningCost
from compression_gap.transformer import Transformer, causal_mask, check_heads

POSITIONS_A_TOKEN = 2.5  # what a token costs in learning: scoring a thousand ids is more than half of it
PADDING = -1  # stands behind the end of a code, where there is nothing to predict
RESAMPLES = 4


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
    """How ids are embedded and scored: each alone, or with weights shared between equal digits. Only FSQ codes (OAT,
    QueST) have digits; any other id is alone."""
    temperature: float = 1.0
    """Divides the logits when sampling."""
    top_k: int = 10
    """Sampling chooses among the ids with the largest logits."""
    invalid: Literal["keep", "resample"] = added_later("keep")
    """What happens when a code cannot be decoded: the last plan is kept, or the code is sampled anew (greedy decoding
    too), up to four times, before the last plan is kept."""
    octaves: int = added_later(0)
    """Sines and cosines of 1, 2, 4, ... times every conditioning value are seen besides (`policies.memory.with_waves`):
    not in the papers, for tasks in which much depends on small differences."""

    def __post_init__(self) -> None:
        check_heads("Autoregressive", self.width, self.heads)
        if self.octaves < 0:
            raise ValueError(f"Autoregressive.octaves: expected at least 0, got {self.octaves}")
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

    def cost(self, positions: int) -> LearningCost:
        return LearningCost.of_transformer(self.width, self.layers, POSITIONS_A_TOKEN * positions)

    def build(
        self, shape: ChunkShape, condition_width: int, condition_tokens: int, tokenizer: Tokenizer | None
    ) -> AutoregressivePolicy:
        if tokenizer is None:
            raise ValueError("policy 'autoregressive' predicts codes: give the cell a tokenizer")
        return AutoregressivePolicy(self, shape, condition_width, condition_tokens, tokenizer)


class AutoregressivePolicy(Policy):
    """Tokens look at earlier tokens and, across, at the conditioning tokens.

    Where the codes of a tokenizer have different lengths, id V marks the end of a code that is shorter than
    `max_tokens`; a code of `max_tokens` ends by itself.
    """

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
        self.vocabulary = Vocabulary(tokenizer.vocab_size, spec.width, digits, ends=tokenizer.varies)
        self.memory = Memory(condition_width, condition_tokens, spec.width, gated=spec.gated, octaves=spec.octaves)
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

    def targets(self, chunk: Float[Tensor, "N T D"], code: Tokens | None = None) -> Int[Tensor, "N L"]:
        """Codes of the chunks, as `marked` writes them."""
        return self.marked(self.tokenizer.encode(chunk) if code is None else code)

    def marked(self, tokens: Tokens) -> Int[Tensor, "N L"]:
        """Codes of up to `max_tokens` (L) ids; behind a shorter one stand the end mark V and then padding, -1. A chunk
        that has no code is padding altogether.

        Raises ValueError if a code is shorter and the tokenizer does not say that its codes vary in length.
        """
        length, longest = tokens.length[:, None], self.tokenizer.max_tokens
        if not self.tokenizer.varies:
            if (length != longest).any():
                raise ValueError(
                    f"policy 'autoregressive' needs codes of {longest} tokens, got {length.min()} to {length.max()} "
                    f"from {type(self.tokenizer).__name__}, which does not say that its codes vary in length (`varies`)"
                )
            return tokens.ids
        ids = functional.pad(tokens.ids, (0, longest - tokens.ids.shape[1]))
        place = torch.arange(longest, device=ids.device)
        ends = (place == length) & (length > 0)
        return ids.where(place < length, PADDING).where(~ends, self.tokenizer.vocab_size)

    def loss(self, condition: Float[Tensor, "B C F"], targets: Int[Tensor, "B L"]) -> Loss:
        """Cross-entropy of the chunks' codes, in nats a token; `parts` has it in bits a chunk."""
        nats, tokens = -self.log_prob(condition, targets), (targets != PADDING).sum(1)
        bits = nats.detach().sum(1).sum() / (tokens > 0).sum().clamp(min=1) / math.log(2)
        return Loss(nats.sum() / tokens.sum().clamp(min=1), {"bits_per_chunk": bits})

    def log_prob(self, condition: Float[Tensor, "B C F"], ids: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
        """Natural logarithm of the probability of every token given those before it; in bits: divide by -ln 2.

        `ids` are as `marked` writes them: an end mark counts like a token, padding has 0. That some ids cannot follow
        (`Tokenizer.following`) is not used: over the codes that decode, probabilities may sum to less than 1.
        """
        length = ids.shape[1]
        if self.tokenizer.varies:
            length = max(1, int((ids != PADDING).sum(1).max()))  # no work on what is padding in every row
        before = ids[:, : length - 1].clamp(0, self.tokenizer.vocab_size - 1)
        begin = self.begin.expand(len(ids), 1, -1)
        inputs = torch.cat([begin, self.vocabulary.embed(before)], dim=1) + self.position[:length]
        memory = self.transformer.remember(self.memory(condition))
        logits = self.vocabulary.logits(self.transformer(inputs, self.mask[:length, :length], memory))
        nats = functional.cross_entropy(
            logits.flatten(0, 1), ids[:, :length].flatten(), ignore_index=PADDING, reduction="none"
        )
        return functional.pad(-nats.unflatten(0, (len(ids), length)), (0, ids.shape[1] - length))

    @torch.no_grad()
    def sample(
        self, condition: Float[Tensor, "B C F"], generators: Sequence[torch.Generator], decoding: Decoding
    ) -> Sampled:
        """Chunks decoded from codes that are drawn token by token, or take the most probable token each time."""
        decoded = self.decoded(condition, generators if decoding == "sampled" else None)
        if self.spec.invalid == "resample":
            self.resample(decoded, condition, generators)
        return Sampled(decoded.chunk.where(decoded.valid[:, None, None], torch.nan), decoded.valid)

    def resample(
        self, decoded: Decoded, condition: Float[Tensor, "B C F"], generators: Sequence[torch.Generator]
    ) -> None:
        """Replaces invalid rows by fresh draws, until all are valid or have been drawn a few times."""
        for _ in range(RESAMPLES):
            rows = (~decoded.valid).nonzero().flatten()
            if not len(rows):
                return
            again = self.decoded(condition[rows], [generators[row] for row in rows.tolist()])
            decoded.chunk[rows], decoded.valid[rows] = again.chunk, again.valid

    def decoded(self, condition: Float[Tensor, "B C F"], generators: Sequence[torch.Generator] | None) -> Decoded:
        """One code a row, read back: drawn with the rows' generators, or greedy without them."""
        uniform = None
        if generators is not None:
            numbers = [torch.rand(self.tokenizer.max_tokens, generator=generator) for generator in generators]
            uniform = torch.stack(numbers).to(condition)
        return self.tokenizer.decode(self.write(condition, uniform))

    def write(self, condition: Float[Tensor, "B C F"], uniform: Float[Tensor, "B L"] | None) -> Tokens:
        """Codes written token by token until all have ended: each token drawn by its uniform number, or the most
        probable one."""
        size, longest, end = len(condition), self.tokenizer.max_tokens, self.tokenizer.vocab_size
        memory = self.transformer.remember(self.memory(condition))
        cache = self.transformer.empty_cache()
        ids = torch.zeros(size, longest, dtype=torch.int64, device=condition.device)
        length = torch.full((size,), longest, device=condition.device)
        running = torch.ones(size, dtype=torch.bool, device=condition.device)
        last = self.begin.expand(size, 1, -1)
        for place in range(longest):
            x = self.transformer(last + self.position[place], memory=memory, cache=cache)
            logits = self.keep_to_code(self.vocabulary.logits(x)[:, 0], ids[:, :place], running)
            chosen = logits.argmax(1) if uniform is None else self.draw(logits, uniform[:, place])
            ended = running & (chosen == end)
            length, running = length.where(~ended, place), running & ~ended
            ids[:, place] = chosen.where(running, 0)
            if self.tokenizer.varies and not running.any():
                break
            last = self.vocabulary.embed(ids[:, place, None])
        return Tokens(ids, length)

    def keep_to_code(
        self, logits: Float[Tensor, "B V"], ids: Int[Tensor, "B l"], running: Bool[Tensor, " B"]
    ) -> Float[Tensor, "B V"]:
        """The logits without those ids that the tokenizer says cannot follow; rows that have ended are left alone."""
        may = torch.ones_like(logits, dtype=torch.bool)
        may[running] = self.tokenizer.following(ids[running])[:, : logits.shape[1]]
        return logits.masked_fill(~may, -torch.inf)

    def draw(self, logits: Float[Tensor, "B V"], uniform: Float[Tensor, " B"]) -> Int[Tensor, " B"]:
        """Ids drawn from the tempered top-k distribution, each by its own uniform number in [0, 1)."""
        best, ids = logits.topk(min(self.spec.top_k, logits.shape[1]))
        below = (best / self.spec.temperature).softmax(1).cumsum(1)[:, :-1]
        place = (below <= uniform[:, None]).sum(1, keepdim=True)
        last = (best != -torch.inf).sum(1, keepdim=True) - 1  # rounding must not lead to an id that cannot follow
        return ids.gather(1, place.minimum(last))[:, 0]
