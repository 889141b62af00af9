"""Tokenizers asked with care: what one of them cannot write or read is told apart from what it can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, Int
from torch import Tensor

from compression_gap.tokenizers.base import Decoded, Tokenizer, Tokens

Result = TypeVar("Result")
PIECE = 4096  # chunks or codes at once: a large code of a long dataset would fill the memory


@dataclass(frozen=True)
class Written:
    """Codes of those of N chunks that could be written: without an error, and not as a code of no token."""

    tokens: Tokens
    rows: Int[Tensor, " M"]
    """The numbers of their chunks."""
    failure: str | None
    """How many chunks raised an error, and the first; None if none did."""


@dataclass(frozen=True)
class Read:
    """What became of N codes."""

    chunk: Float[Tensor, "N T D"]
    """Numbers only where `valid`."""
    valid: Bool[Tensor, " N"]
    """Read without an error, not marked invalid, and finite."""
    failure: str | None
    """How many codes raised an error, and the first; None if none did."""


@torch.no_grad()
def write(tokenizer: Tokenizer, chunk: Float[Tensor, "N T D"]) -> Written:
    """Codes of all chunks, many at once and, where that raises an error, of all that raise none alone.

    Raises RuntimeError if not a single chunk can be written.
    """
    failures: list[tuple[int, str]] = []
    done = _in_pieces(lambda rows: tokenizer.encode(chunk[rows]), len(chunk), failures)
    found = [
        (rows[coded], tokens.ids[coded], tokens.length[coded])
        for rows, tokens in done
        if (coded := tokens.length > 0).any()
    ]
    if not found:
        why = f"the first raises {failures[0][1]}" if failures else "its codes have no token"
        raise RuntimeError(f"{type(tokenizer).__name__} cannot write a single chunk; {why}")
    longest = max(ids.shape[1] for _, ids, _ in found)
    ids = torch.cat([functional.pad(ids, (0, longest - ids.shape[1])) for _, ids, _ in found])
    tokens = Tokens(ids, torch.cat([length for *_, length in found]))
    return Written(tokens, torch.cat([rows for rows, *_ in found]), _told("chunk", failures))


@torch.no_grad()
def read(tokenizer: Tokenizer, tokens: Tokens) -> Read:
    """Chunks of all codes, many at once and, where that raises an error, of all that raise none alone."""
    size, failures = len(tokens.ids), []
    chunk = torch.full((size, tokenizer.shape.horizon, tokenizer.shape.actions), torch.nan)
    valid = torch.zeros(size, dtype=torch.bool)

    def some(rows: Tensor) -> Decoded:
        return tokenizer.decode(Tokens(tokens.ids[rows], tokens.length[rows]))

    for rows, decoded in _in_pieces(some, size, failures):
        chunk[rows], valid[rows] = decoded.chunk, decoded.valid & decoded.chunk.isfinite().flatten(1).all(1)
    return Read(chunk, valid, _told("code", failures))


def _in_pieces(
    call: Callable[[Tensor], Result], size: int, failures: list[tuple[int, str]]
) -> list[tuple[Tensor, Result]]:
    """(rows, result) of as many rows at once as the call does without an error, in order."""
    return [pair for rows in torch.arange(size).split(PIECE) for pair in _halved(call, rows, failures)]


def _halved(
    call: Callable[[Tensor], Result], rows: Tensor, failures: list[tuple[int, str]]
) -> list[tuple[Tensor, Result]]:
    """(rows, result) of the largest halves, quarters, ... of the rows for which the call raises no error, in order."""
    try:
        return [(rows, call(rows))] if len(rows) else []
    except Exception as error:  # anything may come out of another's code
        if len(rows) == 1:
            failures.append((int(rows[0]), f"{type(error).__name__}: {error}"))
            return []
    middle = len(rows) // 2
    return _halved(call, rows[:middle], failures) + _halved(call, rows[middle:], failures)


def _told(thing: str, failures: list[tuple[int, str]]) -> str | None:
    if not failures:
        return None
    return f"{len(failures)} {thing}s raise an error, the first of them number {failures[0][0]}: {failures[0][1]}"
