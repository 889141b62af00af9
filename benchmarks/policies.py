"""Speed of the policies on one core: what the cache of keys and values is worth, and how long every head takes.

    OMP_NUM_THREADS=1 python benchmarks/policies.py

Expected: at size M, 50 rows write 8 tokens with the cache in at most half the time that they take without. At size S
it is worth less: there most of the time goes into calls, of which both make as many.
"""

import time

import torch

from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.policies.diffusion import Diffusion
from compression_gap.policies.flow import Flow
from compression_gap.policies.regression import Regression
from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.oat import Oat

SHAPE, CONDITION_WIDTH, CONDITION_TOKENS = ChunkShape(32, 7), 147, 2  # the paper's chunks and ResNet-18 features
BATCHES, REPEATS = (1, 50), 5


def best(*runs):
    """Milliseconds of processor time of each, in the fastest of several rounds; a round runs all of them."""
    seconds = [[] for _ in runs]
    for _ in range(REPEATS + 1):  # the first is a warm-up
        for run, taken in zip(runs, seconds, strict=True):
            start = time.process_time()
            run()
            taken.append(time.process_time() - start)
    return [1e3 * min(taken[1:]) for taken in seconds]


def built(spec, size):
    """A policy of random weights, over OAT's 8 tokens if it is discrete."""
    torch.manual_seed(0)
    chunks = torch.rand(64, SHAPE.horizon, SHAPE.actions) * 2 - 1
    tokenizer = None
    if spec.discrete:
        tokenizer = (Oat.small() if size == "S" else Oat()).build(SHAPE)
        tokenizer.fit(chunks)
    policy = spec.build(SHAPE, CONDITION_WIDTH, CONDITION_TOKENS, tokenizer).eval()
    policy.fit(chunks)
    return policy


def condition_of(batch):
    return torch.randn(batch, CONDITION_TOKENS, CONDITION_WIDTH, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def without_cache(policy, condition, uniform):
    """The ids that `write` gives, with all positions so far computed anew for every token."""
    memory = policy.transformer.remember(policy.memory(condition))
    x = policy.begin.expand(len(condition), 1, -1)
    ids = []
    for place in range(policy.tokenizer.max_tokens):
        so_far = x + policy.position[: place + 1]
        out = policy.transformer(so_far, policy.mask[: place + 1, : place + 1], memory)
        ids.append(policy.draw(policy.vocabulary.logits(out[:, -1:])[:, 0], uniform[:, place]))
        x = torch.cat([x, policy.vocabulary.embed(ids[-1][:, None])], dim=1)
    return torch.stack(ids, dim=1)


@torch.no_grad()
def cache(size):
    policy, condition = built(Autoregressive.sized(size), size), condition_of(50)
    uniform = torch.rand(50, policy.tokenizer.max_tokens, generator=torch.Generator().manual_seed(2))
    same = policy.write(condition, uniform).ids == without_cache(policy, condition, uniform)
    with_it, without = best(lambda: policy.write(condition, uniform), lambda: without_cache(policy, condition, uniform))
    print(
        f"{size}  50 rows write {uniform.shape[1]} tokens in {with_it:.1f} ms with the cache, {without:.1f} without: "
        f"{without / with_it:.2f} times as long; {same.float().mean():.1%} of the ids are equal"
    )


def main():
    for size in ("S", "M"):
        cache(size)
    print("\nms a chunk          one at a time      50 at once")
    for size in ("S", "M"):
        for head in (Regression, Flow, Diffusion, Autoregressive):
            policy = built(head.sized(size), size)
            taken = []
            for batch in BATCHES:
                condition, draws = condition_of(batch), [torch.Generator().manual_seed(row) for row in range(batch)]
                taken += [best(lambda c=condition, d=draws, p=policy: p.sample(c, d, "sampled"))[0] / batch]
            print(f"{size}  {head.__name__:14} {taken[0]:15.2f} {taken[1]:15.2f}")


if __name__ == "__main__":
    main()
