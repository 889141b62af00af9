"""What a wrong token does: whether the code can still be read, and how far the arm then goes astray."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from compression_gap.measures.attempts import read
from compression_gap.measures.distortion import POSITION, squared_drift
from compression_gap.suites.base import Legend
from compression_gap.tokenizers.base import Tokenizer, Tokens


@dataclass(frozen=True)
class Undecodable:
    """Share of corrupted codes that cannot be read: those marked invalid, and those that raise an error."""

    substituted: float | None
    """One token, at a random place, became another one of the vocabulary; None if there is no other."""
    dropped: float
    """One token, at a random place, is missing."""


def undecodable(tokenizer: Tokenizer, tokens: Tokens, generator: torch.Generator) -> Undecodable:
    """Corrupts every one of B codes twice, each time in one place."""
    places = [_place(tokens.length, generator) for _ in range(2)]
    substituted = None
    if tokenizer.vocab_size > 1:
        wrong = _substituted(tokenizer, tokens, places[0], generator)
        substituted = 1 - float(read(tokenizer, wrong).valid.float().mean())
    dropped = 1 - float(read(tokenizer, _dropped(tokens, places[1])).valid.float().mean())
    return Undecodable(substituted, dropped)


def sensitivity_mm(
    tokenizer: Tokenizer, tokens: Tokens, legend: Legend, generator: torch.Generator
) -> Float[np.ndarray, " L"] | None:
    """Root mean square over codes and steps of the way that the arm is off when one token is wrong, for each place.

    Against what the right code gives, where both can be read; nan where no code is that long, or none can be read with
    a wrong token there. None if no action is named after an axis, or there is no other token.
    """
    right = read(tokenizer, tokens)
    drift = squared_drift(right.chunk.numpy(), right.chunk.numpy(), legend, POSITION)
    if drift is None or tokenizer.vocab_size < 2:
        return None
    found = np.full(tokens.ids.shape[1], np.nan)
    for place in range(len(found)):
        rows = (right.valid & (tokens.length > place)).nonzero().flatten()
        some = Tokens(tokens.ids[rows], tokens.length[rows])
        wrong = read(tokenizer, _substituted(tokenizer, some, torch.full_like(rows, place), generator))
        if wrong.valid.any():
            pair = (right.chunk[rows][wrong.valid].numpy(), wrong.chunk[wrong.valid].numpy())
            off = squared_drift(*pair, legend, POSITION)
            assert off is not None, "the axes do not change"
            found[place] = float(np.sqrt(off.mean()))
    return found


def _place(length: Int[Tensor, " B"], generator: torch.Generator) -> Int[Tensor, " B"]:
    """A random place inside each code."""
    return (torch.rand(len(length), generator=generator) * length).long().minimum(length - 1).clamp(min=0)


def _substituted(tokenizer: Tokenizer, tokens: Tokens, place: Int[Tensor, " B"], generator: torch.Generator) -> Tokens:
    """The codes with another token at their place: all others are equally likely."""
    rows = torch.arange(len(place))
    step = torch.randint(1, tokenizer.vocab_size, (len(place),), generator=generator)
    ids = tokens.ids.clone()
    ids[rows, place] = (ids[rows, place] + step) % tokenizer.vocab_size
    return Tokens(ids, tokens.length)


def _dropped(tokens: Tokens, place: Int[Tensor, " B"]) -> Tokens:
    """The codes without the token at their place: those behind it move up."""
    longest = tokens.ids.shape[1]
    columns = torch.arange(longest).expand(len(place), longest)
    source = (columns + (columns >= place[:, None])).clamp(max=longest - 1)
    length = tokens.length - 1
    return Tokens(tokens.ids.gather(1, source).where(columns < length[:, None], 0), length)
