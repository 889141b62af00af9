"""Codebook replay: the expert's own chunks, written as tokens, read back and executed in closed loop.

It shows what imitating this expert through this code gives. It is a reference, not a ceiling: a policy may pass it.
Without a tokenizer the chunks are executed as they are, which gives the expert's own success under chunked execution.
With noise instead of a code, they show how much distortion the task tolerates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float

from compression_gap.measures.noise import with_noise
from compression_gap.seeds import seed_of
from compression_gap.suites.base import Expert, Simulators, Suite
from compression_gap.tokenizers.base import Tokenizer, Tokens


class ReplayDriver:
    """Plans by letting the expert run ahead in the simulators, and takes everything back before acting."""

    def __init__(
        self,
        suite: Suite,
        horizon: int,
        tokenizer: Tokenizer | None,
        prefix: int | None = None,
        *,
        arm_only: bool = False,
    ) -> None:
        """Chunks are read back from their first `prefix` tokens; `arm_only` leaves grippers to the expert."""
        self.suite, self.horizon, self.tokenizer, self.prefix = suite, horizon, tokenizer, prefix
        self.kept = list(suite.legend.gripper) if arm_only else []
        self.expert: Expert | None = None

    def begin(self, task: int, episodes: Sequence[int]) -> None:
        """Each episode's expert has the style that the episode's number seeds."""
        self.expert = self.suite.expert(task)
        self.expert.begin(episodes)

    def plan(self, simulators: Simulators) -> tuple[Float[np.ndarray, "E T D"], Bool[np.ndarray, " E"]]:
        """The expert's next T clean actions from here, as the code gives them back."""
        assert self.expert is not None, "begin comes before plan"
        snapshot, script = simulators.save(), self.expert.save()
        labels = []
        for _ in range(self.horizon):
            label, _ = self.expert.act(simulators)
            simulators.step(label)
            labels.append(label)
        simulators.restore(snapshot)
        self.expert.restore(script)
        self.expert.act(simulators)  # its script moves on with the step that is executed next
        return self.changed(np.stack(labels, axis=1))

    def changed(self, chunk: Float[np.ndarray, "E T D"]) -> tuple[Float[np.ndarray, "E T D"], Bool[np.ndarray, " E"]]:
        """What is executed of the expert's chunks, and which of them are valid."""
        decoded, valid = through_code(self.tokenizer, chunk, self.prefix)
        if self.kept:
            decoded[..., self.kept] = chunk[..., self.kept]
        return decoded, valid

    def stepped(self, simulators: Simulators, left: int) -> None:
        """The expert watches what really happens, so that its script stays in step."""
        assert self.expert is not None, "begin comes before stepped"
        self.expert.act(simulators)


class NoisyReplayDriver(ReplayDriver):
    """The expert's own chunks with noise on the arm.

    The draws of an episode's plans follow from their numbers alone: whatever the noise's size and shape, they are the
    same, so that replays are paired.
    """

    def __init__(self, suite: Suite, horizon: int, factor: Float[np.ndarray, "n n"], share: float) -> None:
        """`factor` and `share` as in `with_noise`."""
        super().__init__(suite, horizon, None)
        self.factor, self.share = factor, share
        self.episodes: Sequence[int] = ()
        self.plans = 0

    def begin(self, task: int, episodes: Sequence[int]) -> None:
        """Starts counting plans."""
        super().begin(task, episodes)
        self.episodes, self.plans = episodes, 0

    def changed(self, chunk: Float[np.ndarray, "E T D"]) -> tuple[Float[np.ndarray, "E T D"], Bool[np.ndarray, " E"]]:
        """The chunks with fresh noise."""
        seeds = [seed_of("noise", episode, self.plans) for episode in self.episodes]
        normal = np.stack([np.random.default_rng(seed).standard_normal(len(self.factor)) for seed in seeds])
        self.plans += 1
        noisy = with_noise(chunk, normal, self.factor, self.share, self.suite.legend)
        return noisy, np.ones(len(chunk), dtype=bool)


@torch.no_grad()
def through_code(
    tokenizer: Tokenizer | None, chunk: Float[np.ndarray, "B T D"], prefix: int | None = None
) -> tuple[Float[np.ndarray, "B T D"], Bool[np.ndarray, " B"]]:
    """Chunks written as tokens and read back (ordered codes: from their first `prefix` tokens), and which are valid."""
    if tokenizer is None:
        return chunk, np.ones(len(chunk), dtype=bool)
    tokens = tokenizer.encode(torch.from_numpy(np.asarray(chunk, dtype=np.float32)))
    if prefix is not None:
        tokens = Tokens(tokens.ids, torch.clamp(tokens.length, max=prefix))
    decoded = tokenizer.decode(tokens)
    return decoded.chunk.numpy().astype(np.float64), decoded.valid.numpy()
