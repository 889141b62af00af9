"""The one record that every reader makes of somebody's demonstrations, and the windows that are measured of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from compression_gap.config import Spec, added_later, counted
from compression_gap.data.checked import blocks, complaint
from compression_gap.data.split import ENOUGH, EVERY, TRAIN, divisions, part_at, turned
from compression_gap.seeds import seed_of
from compression_gap.suites.base import Legend

FEWEST = EVERY
"""Demonstrations below which nothing can be said of others: five to fit on, one to stop by, one to test on."""
SWITCH = 3  # different values that a command which only opens and closes may have
META = "trajectories.json"
ARRAYS = ("action", "ends", "task", "proprioception", "state", "features", "candidate")


@dataclass(frozen=True)
class Chunking(Spec, family="settings", kind="chunking", version=3):
    """Which chunks of demonstrations are measured."""

    horizon: int = 16
    """Actions a chunk (T)."""
    stride: int = 4
    """A chunk at every so many steps."""
    most: int = 25_000
    """Chunks; of more, every k-th is kept, in each demonstration from another one on."""
    turn: int = added_later(0)
    """Which demonstrations are tested on: with each of 0 to 6 others."""

    def __post_init__(self) -> None:
        if min(self.horizon, self.stride, self.most) < 1:
            raise ValueError(f"Chunking: expected numbers from 1 on, got {self.horizon}, {self.stride}, {self.most}")
        if not 0 <= self.turn < EVERY:
            raise ValueError(f"Chunking.turn: expected 0 to {EVERY - 1}, got {self.turn}")


@dataclass(frozen=True)
class Trajectories:
    """Actions of E demonstrations laid end to end, N steps in all, and what stands beside them: in every row what was
    there before its action. Arrays may be memory-mapped."""

    source: str
    """What it was read from, in words."""
    action: np.ndarray
    """Float32 [N, D]"""
    ends: np.ndarray
    """Int64 [E], cumulative: where each demonstration ends."""
    names: tuple[str, ...]
    """Of the action values. Where `scale` is known, x, y, z move and roll, pitch, yaw turn the arm, as differences."""
    scale: tuple[float, ...] | None
    """Millimetres or degrees of an action of 1; None where nobody said."""
    gripper: tuple[int, ...]
    """Action values that open and close grippers, or otherwise only switch."""
    task: np.ndarray
    """Int64 [E]"""
    tasks: tuple[str, ...]
    proprioception: np.ndarray | None = None
    """Float32 [N, P]"""
    state: np.ndarray | None = None
    """Float32 [N, S]: the true state, which no camera told; what a perfect encoder could tell."""
    features: np.ndarray | None = None
    """[N, F], as an encoder made them."""
    candidate: np.ndarray | None = None
    """[N, G], as another encoder made them, which might take the first one's place."""
    notes: tuple[str, ...] = ()
    """What the reader took for granted or left away."""

    @property
    def demonstrations(self) -> int:
        return len(self.ends)

    @property
    def starts(self) -> Int[np.ndarray, " E"]:
        """The first step of each demonstration."""
        return np.concatenate([[0], self.ends[:-1]]).astype(np.int64)

    @property
    def arm(self) -> tuple[int, ...]:
        """The action values that are no gripper's."""
        return tuple(d for d in range(len(self.names)) if d not in self.gripper)

    @property
    def candidate_is_own(self) -> bool:
        """Whether the candidate's features are those of the policy's own encoder, number by number."""
        own, other = self.features, self.candidate
        if own is None or other is None or own.shape != other.shape:
            return False
        return all(np.array_equal(block, other[row : row + len(block)], equal_nan=True) for row, block in blocks(own))

    @property
    def legend(self) -> Legend:
        """What its numbers mean, as measures ask for it; without units no value is called after an axis."""
        count = len(self.names)
        known = self.scale is not None
        return Legend(
            cameras=(),
            image_size=0,
            proprioception=(),
            state=(),
            state_scale=(),
            action=self.names if known else tuple(f"value {d}" for d in range(count)),
            action_scale=self.scale or (1.0,) * count,
            action_low=(-np.inf,) * count,
            action_high=(np.inf,) * count,
            gripper=self.gripper,
            control_hz=0.0,
            max_steps=0,
            protocols=(),
            tolerances_mm=(),
        )

    def check(self) -> None:
        """Raises ValueError if there are too few demonstrations or no arm action ever changes."""
        if self.demonstrations < FEWEST:
            raise complaint(
                self.source,
                f"expected at least {FEWEST} demonstrations (5 to fit on, 1 to stop by, 1 to test on), "
                f"got {self.demonstrations}",
                f"record more: verdicts need {ENOUGH}",
            )
        arm = np.asarray(self.action[:, list(self.arm)])
        if not arm.size or not (arm != arm[0]).any():
            what = "every action is the same" if arm.size else "all action values only switch, as grippers do"
            cure = (
                "save `gripper` with no columns, if these are the arm's"
                if arm.size == 0
                else "there is nothing to code"
            )
            raise complaint(self.source, f"expected actions that change, got none: {what}", cure)
        seen: dict[bytes, int] = {}
        for number, (first, end) in enumerate(pairwise([0, *self.ends.tolist()])):
            actions = np.ascontiguousarray(self.action[first:end]).tobytes()
            earlier = seen.setdefault(hashlib.sha256(actions).digest(), number)
            if earlier != number:
                raise complaint(
                    self.source,
                    f"expected demonstrations that differ, got the same actions in number {earlier} and {number}",
                    "leave copies out: one to learn from and one to test on would make everything seem known",
                )

    def windows(self, chunking: Chunking) -> Windows:
        """The chunks that lie wholly within a demonstration.

        Raises ValueError if no demonstration is as long as a chunk, or too few of them are.
        """
        horizon, stride, most = chunking.horizon, chunking.stride, chunking.most
        counts = (np.diff(self.ends, prepend=0) - horizon) // stride + 1
        counts = np.maximum(counts, 0)
        total = int(counts.sum())
        if not total:
            longest = int(np.diff(self.ends, prepend=0).max())
            raise complaint(
                self.source,
                f"expected demonstrations of at least {counted(horizon, 'step')}, the longest has {longest}",
                f"choose a --horizon of at most {longest}",
            )
        thin = -(-total // most)
        rng = np.random.default_rng(seed_of("windows that are kept"))
        first = rng.integers(thin, size=len(counts)) if thin > 1 else np.zeros(len(counts), dtype=np.int64)
        first = np.minimum(first, np.maximum(counts - 1, 0))  # every demonstration that has a chunk keeps one
        kept = [np.arange(begin, count, thin) for begin, count in zip(first, counts, strict=True)]
        demonstration = np.repeat(np.arange(len(counts)), [len(some) for some in kept])
        there = np.flatnonzero(counts)
        rank = np.zeros(len(counts), dtype=np.int64)
        rank[there[self._order(there)]] = turned(np.arange(len(there)), chunking.turn)
        rank = rank[demonstration]
        if len(np.unique(part_at(rank))) < 3:
            raise complaint(
                self.source,
                f"expected demonstrations of at least {horizon} steps to fit on, to stop by and to test on; "
                f"{(counts > 0).sum()} of {len(counts)} are that long",
                "choose a smaller --horizon",
            )
        start = self.starts[demonstration] + stride * np.concatenate(kept)
        measured = (horizon, stride * thin, total, len(counts), chunking.turn)
        return Windows(start, demonstration, rank, part_at(rank), *measured)

    def _order(self, there: Int[np.ndarray, " K"]) -> Int[np.ndarray, " K"]:
        """In which these demonstrations are numbered: by task. Tasks take turns where there are few demonstrations, of
        which the last ones, up to six, are tested on in no division."""
        order = np.argsort(self.task[there], kind="stable")
        if divisions(len(there)) == 1:
            return order
        _, number, count = np.unique(self.task[there][order], return_inverse=True, return_counts=True)
        first = np.cumsum(count) - count
        return order[np.argsort((np.arange(len(there)) - first[number] + 0.5) / count[number], kind="stable")]

    def save(self, folder: Path) -> None:
        """Writes one .npy an array that is there, unless it stands there already, and a JSON file with the rest."""
        for name in ARRAYS:
            array, path = getattr(self, name), folder / f"{name}.npy"
            mapped = getattr(array, "filename", None)
            if array is not None and (mapped is None or Path(mapped).resolve() != path.resolve()):
                np.save(path, array)
        told = {name: getattr(self, name) for name in ("source", "names", "scale", "gripper", "tasks", "notes")}
        (folder / META).write_text(json.dumps(told, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Trajectories:
        """Reads what `save` wrote, memory-mapped."""
        told = json.loads((folder / META).read_text())
        told = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
        there = {name: folder / f"{name}.npy" for name in ARRAYS}
        arrays = {name: np.load(path, mmap_mode="r") for name, path in there.items() if path.exists()}
        return cls(**told, **arrays)


@dataclass(frozen=True)
class Windows:
    """Which chunks are measured. M rows."""

    start: Int[np.ndarray, " M"]
    """The step of the first action."""
    demonstration: Int[np.ndarray, " M"]
    rank: Int[np.ndarray, " M"]
    """The demonstration's number among those that have a chunk, in an order by task, and turned."""
    part: Int[np.ndarray, " M"]
    """TRAIN, VALIDATION or TEST."""
    horizon: int
    stride: int
    """A chunk at every so many steps."""
    there: int
    """How many there were before some were left out."""
    given: int
    """Demonstrations, those that have no chunk among them."""
    turn: int = 0
    """By which the ranks are turned."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left away."""
        short = self.given - len(np.unique(self.demonstration))
        if not short:
            return ()
        what = f"{counted(short, 'demonstration')} of {self.given}"
        return (f"{what} shorter than {counted(self.horizon, 'step')}, a chunk: nothing is measured there",)

    def chunks(self, trajectories: Trajectories) -> Float[np.ndarray, "M T D"]:
        """The actions."""
        return np.asarray(trajectories.action)[self.start[:, None] + np.arange(self.horizon)]

    @property
    def trained(self) -> Bool[np.ndarray, "K M"]:
        """For each division of the demonstrations, which chunks are for training."""
        first = turned(self.rank, -self.turn)
        turns = range(divisions(int(first.max()) + 1))
        return np.stack([part_at(turned(first, turn)) == TRAIN for turn in turns])

    def rows(self, part: int) -> Int[np.ndarray, " m"]:
        """Numbers of the chunks of a part."""
        return np.flatnonzero(self.part == part)


def switching_columns(action: Float[np.ndarray, "N D"]) -> tuple[int, ...]:
    """The action values that take two or three different values only: they open and close something."""
    few = (d for d in range(action.shape[1]) if len(np.unique(action[:1000, d])) <= SWITCH)
    return tuple(d for d in few if 1 < len(np.unique(action[:, d])) <= SWITCH)


def numbered(names: Sequence[str]) -> tuple[Int[np.ndarray, " E"], tuple[str, ...]]:
    """Tasks as numbers, and the name of each."""
    known, number = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    return number.astype(np.int64), tuple(str(name) for name in known)
