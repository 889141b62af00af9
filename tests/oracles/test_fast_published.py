"""Our FAST against the published algorithm, written out step by step with scipy and the tokenizers library."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.fft import dct, idct
from tokenizers import Tokenizer

from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers import byte_pairs
from compression_gap.tokenizers.base import Tokens
from compression_gap.tokenizers.byte_pairs import CHARACTERS, BytePairs
from compression_gap.tokenizers.fast import Fast, FastTokenizer

SHAPE = ChunkShape(horizon=16, actions=7)


def motions(number: int, seed: int) -> torch.Tensor:
    """Chunks as demonstrations have them: smooth arms of different ranges, one value that rests, a gripper."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.linspace(0, 1, SHAPE.horizon)[:, None]
    speed, phase, size = (torch.rand(number, 1, SHAPE.actions, generator=generator) for _ in range(3))
    arm = size * torch.sin(3 * speed * time + 6 * phase) * torch.tensor([1, 2, 0.5, 1, 0, 1, 1.0])
    arm = arm + 0.01 * torch.randn(arm.shape, generator=generator) * (arm != 0)
    gripper = torch.where(time < phase[..., 6:], -1.0, 1.0)
    return torch.cat([arm[..., :6], gripper], dim=2)


@pytest.fixture(scope="module")
def fast() -> FastTokenizer:
    tokenizer = Fast().build(SHAPE)
    tokenizer.fit(motions(2000, seed=0))
    return tokenizer


class Published:
    """One chunk at a time, as the published processor does it (arXiv 2501.09747, algorithm 1)."""

    def __init__(self, text: str, scale: float, least: int, shape: ChunkShape) -> None:
        self.inner, self.scale, self.least, self.shape = Tokenizer.from_str(text), scale, least, shape

    def encode(self, chunk: np.ndarray) -> list[int]:
        coefficients = np.around(dct(chunk, axis=0, norm="ortho") * self.scale)
        return self.inner.encode("".join(map(chr, np.maximum(coefficients.flatten() - self.least, 0).astype(int)))).ids

    def decode(self, ids: list[int]) -> np.ndarray:
        coefficients = np.array(list(map(ord, self.inner.decode(ids)))) + self.least
        return idct(coefficients.reshape(self.shape.horizon, self.shape.actions) / self.scale, axis=0, norm="ortho")


def published(fast: FastTokenizer) -> Published:
    return Published(bytes(fast.text.tolist()).decode(), fast.scale.item(), -int(fast.zero), fast.shape)


def test_ids_and_chunks_are_the_published_ones(fast: FastTokenizer):
    chunks = motions(10_000, seed=1)
    code, theirs = fast.encode(chunks), published(fast)
    expected = [theirs.encode(chunk) for chunk in fast.scaling(chunks).double().numpy()]
    assert code.length.tolist() == [len(ids) for ids in expected]
    assert [ids[:n].tolist() for ids, n in zip(code.ids, code.length, strict=True)] == expected
    decoded = fast.decode(code)
    assert decoded.valid.all()
    back = torch.from_numpy(np.stack([theirs.decode(ids) for ids in expected[:500]]))
    torch.testing.assert_close(fast.scaling(decoded.chunk[:500]).double(), back, atol=1e-5, rtol=0)


def test_a_louder_chunk_is_written_exactly_or_not_at_all(fast: FastTokenizer):
    chunks = motions(300, seed=2)
    rounding = (fast.decode(fast.encode(chunks)).chunk - chunks).abs().amax()
    for louder in (1.67, 3.0):
        decoded = fast.decode(fast.encode(louder * chunks))
        assert decoded.valid.all()
        assert (decoded.chunk - louder * chunks).abs().amax() < 1.5 * rounding
    far = fast.encode(50 * chunks)
    assert not far.length.any()
    assert not fast.decode(far).valid.any()


def test_every_string_of_any_characters_gets_the_library_s_ids():
    """Blanks, apostrophes and characters of two bytes, which text has rules for."""
    rng = np.random.default_rng(0)
    common = np.array([*b" \t\n'stmdrevl+AZaz09", 0x85, 0xA0, 0xAA, 0xB2, 0xD7, 0x1C, 0x1F, 0x3B1, 0x660])
    codes = np.concatenate([rng.choice(common, (3000, 30)), rng.integers(0, CHARACTERS, (1000, 30))])
    text = byte_pairs.train(codes[::2], 700)
    theirs, ours = Tokenizer.from_str(text), BytePairs(text)
    ids, lengths = ours.encode(codes)
    expected = [theirs.encode("".join(map(chr, row))).ids for row in codes.tolist()]
    assert lengths.tolist() == [len(row) for row in expected]
    assert ids.tolist() == [number for row in expected for number in row]
    back, exact = ours.decode(ids, lengths, codes.shape[1])
    assert exact.all()
    assert np.array_equal(back, codes)


def test_ids_with_several_merges_in_any_order_get_the_library_s_ids():
    """No training gives such vocabularies; they decide whether merging in many places at once is exact."""
    rng = np.random.default_rng(0)
    content = json.loads(byte_pairs.train(np.full((1, 2), 97), 224))
    for trial in range(60):
        vocabulary = {symbol: number for number, symbol in enumerate(sorted(byte_pairs.SYMBOLS.values()))}
        names, merges = ["a", "b", "c"], []
        for one, two in rng.choice(1000, (12, 2)):
            pair = [names[one % len(names)], names[two % len(names)]]
            if pair not in merges and len("".join(pair)) <= 8:
                merges.append(pair)
                names.append("".join(pair))
                vocabulary.setdefault(names[-1], len(vocabulary))
        if trial % 2:
            rng.shuffle(merges)
        content["model"]["vocab"], content["model"]["merges"] = vocabulary, merges
        theirs, ours = Tokenizer.from_str(json.dumps(content)), BytePairs(json.dumps(content))
        codes = rng.choice(np.array([*b"abc"]), (300, 16))
        expected = [theirs.encode("".join(map(chr, row))).ids for row in codes.tolist()]
        assert ours.encode(codes)[0].tolist() == [number for row in expected for number in row]


def test_a_published_folder_works_without_its_code(fast: FastTokenizer, tmp_path: Path):
    fast.save_processor(tmp_path)
    (tmp_path / "processing_action_tokenizer.py").write_text("raise RuntimeError('code that comes with a vocabulary')")
    tokenizer = Fast(published=str(tmp_path)).build(SHAPE)
    tokenizer.fit(motions(2000, seed=0))
    chunks = motions(200, seed=3)
    assert torch.equal(tokenizer.encode(chunks).ids, fast.encode(chunks).ids)
    assert torch.equal(tokenizer.decode(fast.encode(chunks)).chunk, fast.decode(fast.encode(chunks)).chunk)


def test_a_published_vocabulary_that_lacks_characters_flags_what_it_cannot_write(tmp_path: Path):
    """The published `fit` gives ids only to characters that it has seen, and its encoder drops the others."""
    fast = Fast().build(SHAPE)
    fast.fit(motions(2000, seed=0))
    fast.save_processor(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    seen = {
        symbol: number for symbol, number in content["model"]["vocab"].items() if symbol not in ("Ă", "Ä", "Ï", "å")
    }
    merges = [(a, b) for a, b in content["model"]["merges"] if {a, b, a + b} <= seen.keys()]
    kept = {symbol: seen[symbol] for symbol in seen if len(symbol) == 1 or symbol in {a + b for a, b in merges}}
    content["model"]["vocab"], content["model"]["merges"] = kept, merges
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    tokenizer = Fast(published=str(tmp_path)).build(SHAPE)
    tokenizer.fit(motions(2000, seed=0))
    chunks = 1.67 * motions(1000, seed=4)
    code = tokenizer.encode(chunks)
    decoded = tokenizer.decode(code)
    assert torch.equal(decoded.valid, code.length > 0)
    assert 0.05 < decoded.valid.float().mean() < 0.999
    assert ((decoded.chunk - chunks).abs()[decoded.valid]).amax() < 0.3


def test_garbled_codes_are_invalid_where_the_published_decode_gives_zeros(fast: FastTokenizer):
    code = fast.encode(motions(300, seed=5))
    ids, length = code.ids.clone(), code.length.clone()
    ids[0, 0], length[1] = fast.vocab_size, 0
    length[2:] -= 1
    assert not fast.decode(Tokens(ids, length)).valid.any()
