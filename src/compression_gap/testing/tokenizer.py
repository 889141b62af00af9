"""The contract of a tokenizer as a check."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from safetensors.torch import load, save
from torch import Tensor

from compression_gap.shapes import ChunkShape
from compression_gap.testing.common import (
    check_loss,
    check_spec,
    check_weights_follow_the_seed,
    close,
    same,
    seeded,
    smooth_chunks,
)
from compression_gap.tokenizers.base import Tokenizer, TokenizerSpec, Tokens

LEARNT, STEPS = 400, 150


def check_tokenizer(spec: TokenizerSpec, shape: ChunkShape) -> None:
    """Raises AssertionError with the broken clause if the tokenizer does not keep the contract of `tokenizers.base`.

    Runs at `shape` and at the smallest chunks: one action, one value, and both. A code with an order is trained for a
    few seconds, for its errors to fall with every further token.
    """
    check_spec(spec)
    for size in {shape, ChunkShape(1, shape.actions), ChunkShape(shape.horizon, 1), ChunkShape(1, 1)}:
        check_weights_follow_the_seed(lambda size=size: spec.build(size))
        chunks = smooth_chunks(32, size)
        tokenizer = seeded(lambda size=size: spec.build(size)).eval()
        tokenizer.fit(chunks)
        code = _check_code(tokenizer, chunks)
        _check_decoding(tokenizer, chunks, code)
        if tokenizer.ordered:
            _check_prefixes(tokenizer, code)
        _check_following(tokenizer, code)
        _check_reload(spec, tokenizer, chunks)
        _check_fit_again(spec, tokenizer, chunks)
        if spec.repeats:
            again = tokenizer.encode(tokenizer.decode(code).chunk)
            assert same(again.ids, code.ids), "`repeats`: what was read back is written by the same code again"
        _check_training(spec, tokenizer, chunks)
    _check_order(spec, shape)


def _check_code(tokenizer: Tokenizer, chunks: Tensor) -> Tokens:
    code = tokenizer.encode(chunks)
    ids, length, vocabulary = code.ids, code.length, tokenizer.vocab_size
    assert not ids.is_floating_point(), f"ids are whole numbers, got {ids.dtype}"
    assert ids.dim() == 2, f"ids are [B, L], got {tuple(ids.shape)}"
    assert len(ids) == len(length) == len(chunks), "a code has one row and one length for every chunk"
    assert ids.shape[1] <= tokenizer.max_tokens, f"a code has at most max_tokens = {tokenizer.max_tokens} ids"
    assert ((length >= 1) & (length <= ids.shape[1])).all(), "lengths are between 1 and the padded length"
    known = (ids >= 0) & (ids < vocabulary)
    assert known.all(), f"ids are 0 .. {vocabulary - 1}, got {ids.min()} .. {ids.max()}"
    padding = torch.arange(ids.shape[1]) >= length[:, None]
    assert not ids[padding].any(), "ids behind a row's length are zeros"
    if tokenizer.digits is not None:
        assert math.prod(tokenizer.digits) == vocabulary, "the digits' sizes multiply to vocab_size"
    again, alone = tokenizer.encode(chunks), tokenizer.encode(chunks[3:4])
    assert same(again.ids, ids), "encode is deterministic"
    assert same(alone.ids[0, : length[3]], ids[3, : length[3]]), "encode treats every row alone"
    backwards = tokenizer.encode(chunks.flip(0))
    assert same(backwards.ids.flip(0), ids), "encode does not depend on the order of the rows"
    assert same(backwards.length.flip(0), length), "lengths do not depend on the order of the rows"
    assert tokenizer.varies or (length == tokenizer.max_tokens).all(), "only codes that `varies` announces are shorter"
    return code


def _check_decoding(tokenizer: Tokenizer, chunks: Tensor, code: Tokens) -> None:
    decoded = tokenizer.decode(code)
    assert decoded.chunk.shape == chunks.shape, f"decode gives [B, T, D] {chunks.shape}, got {decoded.chunk.shape}"
    assert decoded.valid.shape == (len(chunks),), f"valid has one value a row, got {tuple(decoded.valid.shape)}"
    assert decoded.valid.dtype == torch.bool, f"valid is bool, got {decoded.valid.dtype}"
    assert decoded.valid.all(), "what encode wrote is valid"
    assert decoded.chunk.isfinite().all(), "decoded chunks are finite"
    assert not decoded.chunk.requires_grad, "decode makes no gradients"
    assert same(tokenizer.decode(code).chunk, decoded.chunk), "decode is deterministic"
    alone = tokenizer.decode(Tokens(code.ids[3:4], code.length[3:4])).chunk
    assert close(alone, decoded.chunk[3:4]), "decode treats every row alone"
    foreign = code.ids.clone()
    foreign[3, 0] = tokenizer.vocab_size
    invalid = (~tokenizer.decode(Tokens(foreign, code.length)).valid).nonzero().flatten().tolist()
    assert invalid == [3], f"exactly the row with an id outside the vocabulary is invalid: row 3, got {invalid}"


def _check_following(tokenizer: Tokenizer, code: Tokens) -> None:
    for place in range(code.ids.shape[1] + 1):
        there = code.length >= place
        may = tokenizer.following(code.ids[there, :place])
        assert may.shape == (int(there.sum()), tokenizer.vocab_size + 1), (
            "following has a column an id and one for the end"
        )
        ends = code.length[there] == place
        assert may[ends, -1].all(), "a code may end where encode ended it"
        written = code.ids[there, min(place, code.ids.shape[1] - 1)]
        assert may[~ends].gather(1, written[~ends, None]).all(), "what encode wrote may follow what it had written"


def _check_prefixes(tokenizer: Tokenizer, code: Tokens) -> None:
    for keep in range(1, code.ids.shape[1] + 1):
        prefix = Tokens(code.ids[:, :keep], code.length.clamp(max=keep))
        decoded = tokenizer.decode(prefix)
        assert decoded.valid.all(), f"ordered: the first {keep} tokens decode"
        whole = tokenizer.decode(Tokens(code.ids, prefix.length))
        assert close(decoded.chunk, whole.chunk), "ordered: ids behind a row's length do not matter"


def _check_order(spec: TokenizerSpec, shape: ChunkShape) -> None:
    chunks = smooth_chunks(LEARNT + 100, shape)
    learnt, held = chunks[:LEARNT], chunks[LEARNT:]
    tokenizer = seeded(lambda: spec.build(shape))
    if not tokenizer.ordered:
        return
    tokenizer.fit(learnt)
    if spec.learned:
        optimiser = torch.optim.AdamW([p for p in tokenizer.parameters() if p.requires_grad], lr=3e-3)
        tokenizer.train()
        for step in range(STEPS):
            torch.manual_seed(step)
            optimiser.zero_grad()
            tokenizer.loss(learnt[torch.randint(LEARNT, (64,))]).total.backward()
            optimiser.step()
    code, errors = tokenizer.eval().encode(held), []
    for keep in tokenizer.prefix_lengths:
        told = tokenizer.decode(Tokens(code.ids, code.length.clamp(max=keep)))
        errors.append(float((told.chunk - held).square().mean()))
    falls = all(later < earlier for earlier, later in pairwise(errors))
    assert falls, f"ordered: the error falls along prefix_lengths {tokenizer.prefix_lengths}, got {errors}"


def _check_reload(spec: TokenizerSpec, tokenizer: Tokenizer, chunks: Tensor) -> None:
    fresh = seeded(lambda: spec.build(tokenizer.shape), seed=1).eval()
    stored = save({name: tensor.contiguous().clone() for name, tensor in tokenizer.state_dict().items()})
    fresh.load_state_dict(load(stored))
    code = fresh.encode(chunks)
    assert same(code.ids, tokenizer.encode(chunks).ids), "the state dict holds all that codes depend on, scales too"
    assert same(fresh.decode(code).chunk, tokenizer.decode(code).chunk), "the state dict holds all that decode needs"


def _check_fit_again(spec: TokenizerSpec, tokenizer: Tokenizer, chunks: Tensor) -> None:
    fresh = seeded(lambda: spec.build(tokenizer.shape)).eval()
    fresh.fit(chunks)
    one, two = tokenizer.state_dict(), fresh.state_dict()
    different = [name for name in one if not same(one[name], two[name])]
    assert not different, f"fitting to the same chunks gives the same numbers; these differ: {different}"


def _check_training(spec: TokenizerSpec, tokenizer: Tokenizer, chunks: Tensor) -> None:
    trainable = any(p.requires_grad for p in tokenizer.parameters())
    assert trainable == spec.learned, "a spec is `learned` exactly if its tokenizer has weights to train"
    if spec.learned:
        tokenizer.train()
        torch.manual_seed(2)
        loss = tokenizer.loss(chunks)
        torch.manual_seed(2)
        assert same(tokenizer.loss(chunks).total, loss.total), "the loss draws from torch's global generator alone"
        check_loss(loss, tokenizer)
