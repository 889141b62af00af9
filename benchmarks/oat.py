"""How well OAT reads chunks back, with every further token:

    OMP_NUM_THREADS=1 python benchmarks/oat.py tabletop [store]
    OMP_NUM_THREADS=1 python benchmarks/oat.py libero_10 [store [noise of the experts]]

Chunks of 32 actions of 7 values through 8 tokens of [8, 5, 5, 5], by the small size with a second encoder layer, a
third decoder layer and four heads, trained on every prefix, on the whole code as often as on all shorter ones, half of
the time with dither for rounding, in many small steps. Errors are mean squares of actions scaled to [-1, 1], on every
tenth demonstration, which nothing was fitted on, over the action values that change: of codes as the encoder guesses
them, and after a pass of the search over them. Expected: less with every further token; from all 8 .0036 guessed and
.0021 searched on tabletop, .0035 and .0025 on libero_10 with a noise of 0.04, more where the experts answer more of it.
"""

import sys
from pathlib import Path

import torch

from compression_gap.commands.answer import finish
from compression_gap.commands.selection import suite_named
from compression_gap.config import override
from compression_gap.pipeline.jobs import TrainedTokenizer
from compression_gap.pipeline.jobs.data import read_demos
from compression_gap.pipeline.plan import demonstrations
from compression_gap.store import Store, default_root
from compression_gap.tokenizers.base import Tokens
from compression_gap.tokenizers.oat import Oat
from compression_gap.training import Training

HORIZON = 32
OAT = Oat.small().replace(
    prefixes="all", drawn="by_weight", dither=0.5, search=1, encoder_layers=2, decoder_layers=3, head_width=16
)
"""With one encoder layer a register would ask every chunk the same, whatever the registers before it have written."""
TRAINING = Training(32_000, batch=32, learning_rate=4e-3, schedule="cosine")
ATTEMPTS, TASKS, STRIDE = {"tabletop": 300, "libero_10": 120}, {"tabletop": (0, 1, 2), "libero_10": (2, 4, 6, 8)}, 2
PROTOCOL = {"tabletop": "demonstrations", "libero_10": "random_demonstrations"}


def main(name: str, store: Store, changes: dict[str, str]) -> None:
    suite = override(suite_named(name), changes)
    attempts, protocol = ATTEMPTS[name], PROTOCOL[name]
    demos = tuple(job for task in TASKS[name] for job in demonstrations(*_alone(suite, task), 0, attempts, protocol))
    job = TrainedTokenizer(OAT, demos, HORIZON, STRIDE, TRAINING, seed=0)
    if finish([job], store, 1, "cpu", quiet=False).failed:
        raise SystemExit("it could not be trained")
    tokenizer = job.load(store)
    held = torch.from_numpy(job.chunks(read_demos(store, demos), held_out=True))
    moving, searched = tokenizer.scaling.half_range > 0, tokenizer.encode(held).ids
    tokenizer.search = 0
    guessed = tokenizer.encode(held).ids
    print(
        f"{name} {changes or ''}: {len(held):,} held-out chunks of {HORIZON} actions, {OAT}, {TRAINING.steps:,} steps"
    )
    for length in range(1, tokenizer.max_tokens + 1):
        errors = []
        for ids in (guessed, searched):
            told = tokenizer.decode(Tokens(ids, torch.full((len(ids),), length)))
            errors.append((tokenizer.scaling(told.chunk) - tokenizer.scaling(held))[..., moving].square().mean().item())
        print(f"{length} tokens: {errors[0]:.5f} guessed, {errors[1]:.5f} searched", flush=True)


def _alone(suite, task):
    spec, number = suite.alone(task)
    return spec, [number]


if __name__ == "__main__":
    main(
        sys.argv[1],
        Store(Path(sys.argv[2]) if len(sys.argv) > 2 else default_root()),
        {"noise": sys.argv[3]} if len(sys.argv) > 3 else {},
    )
