"""Open-loop replay: the actions of demonstrations, chunk by chunk through a code, from where the demonstrations began.

Nobody looks where the arm is: errors of delta actions add up until the end. So it shows less than what the code allows
to a policy, which looks again; and it is to be read beside the same replay without a code, demonstration by
demonstration.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from compression_gap.data.demos import Demos
from compression_gap.measures.replay import through_code
from compression_gap.suites.base import Legend, Simulators
from compression_gap.tokenizers.base import Tokenizer


class OpenLoopDriver:
    """Plans what was executed in the demonstration that the episode is."""

    def __init__(
        self, demos: Demos, legend: Legend, horizon: int, tokenizer: Tokenizer | None, prefix: int | None = None
    ) -> None:
        self.demos, self.horizon, self.tokenizer, self.prefix = demos, horizon, tokenizer, prefix
        self.arm = [d for d in range(len(legend.action)) if d not in legend.gripper]
        starts, lengths = (demos.episodes[name].to_numpy() for name in ("start", "length"))
        numbers = np.asarray(demos.stamp)[starts, 0].tolist()
        self.spans = dict(zip(numbers, zip(starts.tolist(), lengths.tolist(), strict=True), strict=True))

    def begin(self, task: int, episodes: Sequence[int]) -> None:
        """Raises ValueError if an episode is not among the demonstrations."""
        unknown = [episode for episode in episodes if episode not in self.spans]
        if unknown:
            raise ValueError(f"{len(unknown)} of {len(episodes)} episodes are not among the demonstrations")

    def plan(self, simulators: Simulators) -> tuple[Float[np.ndarray, "E T D"], Bool[np.ndarray, " E"]]:
        """The next T actions of each demonstration, as the code gives them back.

        A chunk that reaches beyond the end is padded as for training; when a demonstration is over, the arm rests,
        without the code.
        """
        episodes, steps = simulators.observe(("stamp",))["stamp"].T
        chunks = np.stack([self.chunk(*place) for place in zip(episodes.tolist(), steps.tolist(), strict=True)])
        decoded, valid = through_code(self.tokenizer, chunks, self.prefix)
        over = np.array(
            [step >= self.spans[episode][1] for episode, step in zip(episodes.tolist(), steps.tolist(), strict=True)]
        )
        return np.where(over[:, None, None], chunks, decoded), valid | over

    def stepped(self, simulators: Simulators, left: int) -> None:
        """Nobody looks."""

    def chunk(self, episode: int, step: int) -> Float[np.ndarray, "T D"]:
        """What was executed from a step on; after the end the arm rests and the gripper holds."""
        start, length = self.spans[episode]
        ahead = step + np.arange(self.horizon)
        chunk = np.array(self.demos.executed[start + np.minimum(ahead, length - 1)], dtype=np.float64)
        chunk[np.ix_(ahead >= length, self.arm)] = 0.0
        return chunk
