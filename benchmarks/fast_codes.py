"""FAST's codes on one core: chunks a second, against the published algorithm chunk by chunk with the same vocabulary.

    OMP_NUM_THREADS=1 RAYON_NUM_THREADS=1 python benchmarks/fast_codes.py

The published algorithm is written out here as `physical-intelligence/fast` does it (arXiv 2501.09747, algorithm 1).
Expected at least 5 times as many chunks a second, the same ids, and chunks equal up to rounding.
"""

import time

import numpy as np
import torch
from scipy.fft import dct, idct
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from compression_gap.shapes import ChunkShape
from compression_gap.suites.tabletop.suite import Tabletop
from compression_gap.tokenizers.fast import Fast, FastTokenizer

CHUNKS, EPISODES, STEPS, REPEATS = 10_000, 200, 104, 3


def demonstrated(horizon: int) -> np.ndarray:
    """Chunks of the tabletop's experts, one at every other step."""
    suite = Tabletop().build()
    states, episodes = suite.initial_states(0, "development", range(EPISODES)), range(EPISODES)
    simulators, expert = suite.simulators(0, EPISODES), suite.expert(0)
    simulators.reset(states, episodes)
    expert.begin(episodes)
    labels = []
    for _ in range(STEPS + horizon):
        label, action = expert.act(simulators)
        labels.append(label)
        simulators.step(action)
    actions = np.stack(labels, axis=1)
    return np.concatenate([actions[:, start : start + horizon] for start in range(0, STEPS, 2)])[:CHUNKS]


class Published:
    """The published algorithm, one chunk at a time."""

    def __init__(self, fast: FastTokenizer) -> None:
        text = bytes(fast.text.tolist()).decode()
        self.inner = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(text), clean_up_tokenization_spaces=False
        )
        self.scale, self.least, self.shape = fast.scale.item(), -fast.zero.item(), fast.shape

    def encode(self, chunk: np.ndarray) -> list[int]:
        coefficients = np.around(dct(chunk, axis=0, norm="ortho") * self.scale)
        text = "".join(map(chr, np.maximum(coefficients.flatten() - self.least, 0).astype(int)))
        return self.inner(text)["input_ids"]

    def decode(self, ids: list[int]) -> np.ndarray:
        text = self.inner.decode(ids)
        coefficients = np.array(list(map(ord, text))) + self.least
        return idct(coefficients.reshape(self.shape.horizon, self.shape.actions) / self.scale, axis=0, norm="ortho")


def best(run):
    """The result, and chunks a second of processor time in the fastest of several runs."""
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        result = run()
        seconds.append(time.process_time() - start)
    return result, CHUNKS / min(seconds)


def main():
    torch.set_num_threads(1)
    print("horizon        encode/s   decode/s  published: encode/s   decode/s   times   same ids")
    for horizon in (8, 16, 32):
        chunks = torch.from_numpy(demonstrated(horizon)).float()
        fast = Fast().build(ChunkShape(horizon, chunks.shape[2]))
        fast.fit(chunks)
        published = Published(fast)
        code, encodes = best(lambda fast=fast, chunks=chunks: fast.encode(chunks))
        decoded, decodes = best(lambda fast=fast, code=code: fast.decode(code))
        scaled = fast.scaling(chunks).double().numpy()
        theirs, their_encodes = best(lambda published=published, scaled=scaled: list(map(published.encode, scaled)))
        back, their_decodes = best(lambda published=published, theirs=theirs: list(map(published.decode, theirs)))
        same = sum(ids[:n].tolist() == other for ids, n, other in zip(code.ids, code.length, theirs, strict=True))
        assert decoded.valid.all()
        torch.testing.assert_close(
            fast.scaling(decoded.chunk).double(), torch.from_numpy(np.stack(back)), atol=1e-5, rtol=0
        )
        times = (1 / their_encodes + 1 / their_decodes) / (1 / encodes + 1 / decodes)
        print(
            f"{horizon:7} {encodes:15,.0f} {decodes:10,.0f} {their_encodes:20,.0f} {their_decodes:10,.0f} "
            f"{times:7.1f} {same:10,} of {CHUNKS:,}"
        )


if __name__ == "__main__":
    main()
