"""Windows of demonstrations: H frames of history and the T actions that follow, in an order that a seed fixes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from compression_gap.data.demos import Demos
from compression_gap.data.features import to_tensor
from compression_gap.data.rows import Rows
from compression_gap.seeds import seed_of
from compression_gap.shapes import Batch, ChunkShape


def window_frames(demos: Demos, rows: np.ndarray, history: int, stride: int) -> Int[np.ndarray, "N H"]:
    """Frame numbers of the history of every window: one window at every `stride`-th step of the episodes `rows`.

    Before the first frame of an episode stands the first frame itself.
    """
    starts = demos.episodes["start"].to_numpy()[rows]
    lengths = demos.episodes["length"].to_numpy()[rows]
    windows = [
        np.maximum(np.arange(0, length, stride)[:, None] - np.arange(history)[::-1], 0) + start
        for start, length in zip(starts, lengths, strict=True)
    ]
    return np.concatenate(windows)


def chunks_from(
    demos: Demos, rows: np.ndarray, horizon: int, stride: int, gripper: tuple[int, ...]
) -> Float[np.ndarray, "N T D"]:
    """The T actions from each window on. After the end of the episode the arm rests and the gripper holds.

    The padding is the same for every method: delta actions 0, gripper as last commanded.
    """
    starts = demos.episodes["start"].to_numpy()[rows]
    lengths = demos.episodes["length"].to_numpy()[rows]
    ahead = np.arange(horizon)
    chunks = []
    for start, length in zip(starts, lengths, strict=True):
        steps = np.arange(0, length, stride)[:, None] + ahead  # [windows, T]
        chunk = np.array(demos.label[start + np.minimum(steps, length - 1)])
        arm = [d for d in range(chunk.shape[-1]) if d not in gripper]
        past = steps >= length
        chunk[..., arm] = np.where(past[..., None], 0.0, chunk[..., arm])
        chunks.append(chunk)
    return np.concatenate(chunks)


class Windows:
    """Every window of some episodes, handed out in batches.

    `frames` holds what the agent sees of a frame, by name, each [M, ...]; `row_of_frame` [N] says which of the M rows
    belongs to a frame (pictures and features exist only for the frames that windows look at), or is None if M = N.
    Of several `crops`, each has its M rows, one crop after the other: [crops * M, ...]. Crop 0 is the central one.
    """

    def __init__(
        self,
        demos: Demos,
        shape: ChunkShape,
        *,
        history: int,
        stride: int,
        gripper: tuple[int, ...],
        held_out: bool,
        frames: Mapping[str, np.ndarray | Rows],
        row_of_frame: np.ndarray | None,
        crops: int = 1,
    ) -> None:
        rows = demos.rows(held_out=held_out)
        self.seen = window_frames(demos, rows, history, stride)
        self.chunks = torch.from_numpy(chunks_from(demos, rows, shape.horizon, stride, gripper))
        self.targets: Tensor = self.chunks
        """What batches hold of the chunks: replaced once a policy says what it predicts of them."""
        self.task = torch.from_numpy(demos.task[self.seen[:, -1]])
        self.proprioception = demos.proprioception
        self.stamp = demos.stamp
        self.frames = frames
        self.row_of_frame = row_of_frame
        self.crops = crops

    def __len__(self) -> int:
        return len(self.chunks)

    def at(
        self, windows: Int[np.ndarray, " B"], epoch: np.ndarray | int = 0, crop: Int[np.ndarray, " B"] | int = 0
    ) -> Batch:
        """The given windows; `epoch` goes into the stamp, so that noisy encoders look anew every time.

        All frames of a window are seen in the same one of the stored crops.
        """
        frames = self.seen[windows]  # [B, H]
        rows = frames if self.row_of_frame is None else self.row_of_frame[frames]
        observation = {}
        for name, array in self.frames.items():
            of_crop = np.asarray(crop).reshape(-1, 1) * (len(array) // self.crops)
            observation[name] = to_tensor(np.asarray(array[rows + of_crop]))
        observation["proprioception"] = torch.from_numpy(np.asarray(self.proprioception[frames]))
        epochs = np.broadcast_to(np.asarray(epoch).reshape(-1, 1, 1), (*frames.shape, 1))
        observation["stamp"] = torch.from_numpy(np.concatenate([self.stamp[frames], epochs], axis=-1))
        return Batch(observation, self.task[windows], self.targets[windows])

    def training_batch(self, step: int, size: int, seed: int) -> Batch:
        """The batch of a training step: a new shuffle every epoch, and each time any of a window's crops, depending on
        nothing but the arguments."""
        epoch, place = np.divmod(np.arange(step * size, (step + 1) * size), len(self))
        windows = np.concatenate([_shuffle(len(self), seed, int(e))[place[epoch == e]] for e in np.unique(epoch)])
        crop = np.random.default_rng(seed_of(seed, step, "crop")).integers(self.crops, size=size)
        return self.at(windows, epoch, crop)


@lru_cache(maxsize=4)
def _shuffle(length: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(length)
