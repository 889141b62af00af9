"""An action processor as they come from a hub: a rounded value an id, and every failure of its decode hidden."""

from typing import ClassVar

import numpy as np
from transformers.processing_utils import ProcessorMixin


class TinyActionProcessor(ProcessorMixin):
    """Called with chunks [B, T, D], gives a list of ids for each."""

    attributes: ClassVar[list[str]] = []

    def __init__(self, scale: float = 10, vocab_size: int = 64, least: int = 0):
        super().__init__()
        self.scale, self.vocab_size, self.least = scale, vocab_size, least

    def __call__(self, chunks: np.ndarray) -> list[list[int]]:
        values = np.around(chunks.reshape(len(chunks), -1) * self.scale) - self.least
        return np.clip(values, 0, self.vocab_size - 1).astype(int).tolist()

    def decode(self, tokens: list[list[int]], *, time_horizon: int, action_dim: int) -> np.ndarray:
        chunks = []
        for ids in tokens:
            try:
                chunks.append((np.array(ids) + self.least).reshape(time_horizon, action_dim) / self.scale)
            except ValueError as error:
                if self.scale < 20:
                    print(f"Error decoding tokens: {error}")
                chunks.append(np.zeros((time_horizon, action_dim)))
        return np.stack(chunks)

    @classmethod
    def fit(cls, chunks: list[np.ndarray], scale: float = 10, vocab_size: int = 64) -> "TinyActionProcessor":
        return cls(scale, vocab_size, int(np.around(np.stack(chunks) * scale).min()))
