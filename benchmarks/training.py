"""What a training step of size S takes on one core, and what it is worth that workers keep the memory of freed tensors.

    OMP_NUM_THREADS=1 python benchmarks/training.py

Every row is two fresh processes, the second of which keeps its memory as workers do (`pipeline.allocator`). Expected:
hardly a page is fetched from the system while it trains, and with 4096 codes a step takes at most four fifths of the
time.
"""

import math
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from compression_gap.pipeline.allocator import keep_freed_memory
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.shapes import ChunkShape, Loss
from compression_gap.tokenizers.oat import Oat
from compression_gap.training import Training, train

LEVELS = ((3, 3, 3, 3), (8, 5, 5, 5), (8, 8, 8, 8))
SHAPE, BATCH, CONDITION_WIDTH, WARM_UP, STEPS = ChunkShape(8, 7), 128, 137, 10, 100


class Conditioned(nn.Module):
    """A policy over a code, as the training loop asks for it: a batch is a condition and its targets."""

    def __init__(self, levels: tuple[int, ...]) -> None:
        super().__init__()
        tokenizer = Oat.small().replace(levels=levels).build(SHAPE)
        self.policy = Autoregressive.sized("S").build(SHAPE, CONDITION_WIDTH, 1, tokenizer)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Loss:
        return self.policy.loss(*batch)


def measured(levels: tuple[int, ...], keeps: bool) -> tuple[float, float]:
    """Milliseconds of processor time and page faults of a step."""
    torch.set_num_threads(1)
    if keeps:
        keep_freed_memory()
    torch.manual_seed(0)
    module = Conditioned(levels)
    tokens = module.policy.tokenizer.max_tokens
    batch = torch.randn(BATCH, 1, CONDITION_WIDTH), torch.randint(math.prod(levels), (BATCH, tokens))
    for steps in (WARM_UP, STEPS):
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            train(
                module, lambda _: batch, [], Training(steps, BATCH), seed=0, folder=Path(folder), report=lambda *_: None
            )
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return 1e3 * (time.process_time() - start) / STEPS, faults / STEPS


def main() -> None:
    for levels in LEVELS:
        pairs = []
        for keeps in (False, True):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                pairs.append(pool.apply(measured, (levels, keeps)))
        (given_back, faults), (kept, remaining) = pairs
        print(
            f"{math.prod(levels):5d} codes  {given_back:5.1f} ms a step and {faults:6.0f} page faults; with its memory "
            f"kept {kept:5.1f} ms and {remaining:3.0f}: {kept / given_back:.2f} of the time"
        )


if __name__ == "__main__":
    main()
