"""What a training step of size S takes on one core, and what it is worth that workers keep the memory of freed tensors.

    OMP_NUM_THREADS=1 python benchmarks/training.py

Every row is two fresh processes, the second of which keeps its memory as workers do (`pipeline.allocator`). Expected:
hardly a page is fetched from the system while it trains, and with 4096 codes a step takes at most four fifths of the
time.
"""

import multiprocessing
import resource
import time

import torch

from compression_gap.pipeline.allocator import keep_freed_memory
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.oat import Oat

LEVELS = {81: (3, 3, 3, 3), 1000: (8, 5, 5, 5), 4096: (8, 8, 8, 8)}
SHAPE, BATCH, CONDITION_WIDTH, WARM_UP, STEPS = ChunkShape(8, 7), 128, 137, 10, 100


def measured(levels: tuple[int, ...], keeps: bool) -> tuple[float, float]:
    """Milliseconds of processor time and page faults of a step."""
    torch.set_num_threads(1)
    if keeps:
        keep_freed_memory()
    torch.manual_seed(0)
    tokenizer = Oat.small().replace(levels=levels).build(SHAPE)
    policy = Autoregressive.sized("S").build(SHAPE, CONDITION_WIDTH, 1, tokenizer)
    parameters = [p for p in policy.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    condition = torch.randn(BATCH, 1, CONDITION_WIDTH)
    targets = torch.randint(tokenizer.vocab_size, (BATCH, tokenizer.max_tokens))

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        policy.loss(condition, targets).total.backward()
        optimiser.step()

    for _ in range(WARM_UP):
        step()
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.process_time()
    for _ in range(STEPS):
        step()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return 1e3 * (time.process_time() - start) / STEPS, faults / STEPS


def main() -> None:
    for codes, levels in LEVELS.items():
        pairs = []
        for keeps in (False, True):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                pairs.append(pool.apply(measured, (levels, keeps)))
        (given_back, faults), (kept, remaining) = pairs
        print(
            f"{codes:5d} codes  {given_back:5.1f} ms a step and {faults:6.0f} page faults; with its memory kept "
            f"{kept:5.1f} ms and {remaining:3.0f}: {kept / given_back:.2f} of the time"
        )


if __name__ == "__main__":
    main()
