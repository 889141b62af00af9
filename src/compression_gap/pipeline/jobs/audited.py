"""What all measurements of an audit start from: its chunks, scaled, and what each arm may know about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from compression_gap.data.checked import complaint
from compression_gap.data.split import TRAIN
from compression_gap.data.trajectories import Chunking, Trajectories, Windows
from compression_gap.measures.aim import KINDS, SIDEWAYS, Looks, gripper_switches, last_looks
from compression_gap.measures.encoder_probe import ProbeData
from compression_gap.pipeline.jobs.dataset import Dataset
from compression_gap.scaling import ActionScaling
from compression_gap.seeds import seed_of
from compression_gap.store import Store

Arm = Literal["nothing", "features", "candidate", "known", "state", "shuffled", "random"]
TOLD: dict[Arm, str] = {
    "nothing": "nothing",
    "features": "features",
    "candidate": "the candidate's features",
    "known": "proprioception and task",
    "state": "the true state",
    "shuffled": "other chunks' features",
    "random": "random numbers",
}
MOST_TASKS = 128  # more are too many columns to be told apart by


@dataclass(frozen=True)
class Audited:
    """M chunks and what stands beside them."""

    trajectories: Trajectories
    windows: Windows
    chunk: Float[np.ndarray, "M T D"]
    """In the dataset's units."""
    scaled: Float[Tensor, "M A"]
    """The arm values that vary, scaled to [-1, 1] by their range in training demonstrations, of the first division."""
    columns: tuple[int, ...]
    """Which action values these are."""
    scaling: ActionScaling

    @classmethod
    def of(cls, dataset: Dataset, chunking: Chunking, store: Store) -> Audited:
        """Raises ValueError if there is nothing to measure."""
        trajectories = dataset.load(store)
        trajectories.check()
        windows = trajectories.windows(chunking)
        chunk = windows.chunks(trajectories)
        scaling = ActionScaling(chunk.shape[2])
        first = trajectories.windows(chunking.replace(turn=0))  # so that errors have one unit in all divisions
        scaling.fit(torch.from_numpy(chunk[first.rows(TRAIN)]))
        half_range = scaling.half_range.numpy()
        columns = tuple(d for d in trajectories.arm if half_range[d] > 0)
        if not columns:
            what = "expected actions that change in the training demonstrations, got none"
            raise complaint(trajectories.source, what, "there is nothing to measure")
        scaled = scaling(torch.from_numpy(chunk))[..., list(columns)].flatten(1)
        return cls(trajectories, windows, chunk, scaled, columns, scaling)

    @property
    def variance(self) -> float:
        """Of the scaled training chunks, summed over their values: the error of who knows nothing."""
        return float(self.scaled[self.windows.rows(TRAIN)].double().var(dim=0, correction=0).sum())

    @property
    def looks(self) -> dict[str, Looks]:
        """The chunks that begin at the last look before a gripper closes, and before it opens; nothing where there are
        none, without grippers, or where no value that changes is known to move the hand to the side."""
        given, windows = self.trajectories, self.windows
        if given.scale is None or not given.gripper:
            return {}
        named = {d: given.names[d].partition(" ")[0] for d in self.columns}
        aside = [d for d, name in named.items() if name in SIDEWAYS]
        mm = tuple(float(self.scaling.half_range[d]) * given.scale[d] for d in aside)
        places = tuple(self.columns.index(d) for d in aside)
        switch, closes = gripper_switches(np.asarray(given.action[:, list(given.gripper)]), given.ends)
        row, step = last_looks(windows.start, given.starts, switch, windows.horizon)
        found = {}
        for kind, chosen in zip(KINDS, (closes, ~closes), strict=True):
            some = chosen & (step > 0)
            if aside and some.any():
                found[kind] = Looks(torch.from_numpy(row[some]), torch.from_numpy(step[some]), places, mm)
        return found

    def squared_error(
        self, chunk: Float[np.ndarray, "N T D"], other: Float[np.ndarray, "N T D"]
    ) -> Float[np.ndarray, " N"]:
        """Between chunks in the dataset's units, on the scale [-1, 1], summed over the arm values."""
        one, two = (self.scale(torch.from_numpy(some)).double() for some in (chunk, other))
        return (one - two).square().sum(dim=(1, 2)).numpy()

    def scale(self, chunk: Float[Tensor, "N T D"]) -> Float[Tensor, "N T a"]:
        """The arm values of chunks in the dataset's units, on the scale."""
        return self.scaling(chunk)[..., list(self.columns)]

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of the action values that bits of actions are not about."""
        names = self.trajectories.names
        return tuple(names[d] for d in range(len(names)) if d not in self.columns)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """What there is to be told of the actions."""
        given = self.trajectories
        there: dict[Arm, bool] = {
            "features": given.features is not None,
            "candidate": given.candidate is not None,
            "known": given.proprioception is not None or tells_task(given, self.windows),
            "state": given.state is not None,
        }
        return tuple(arm for arm, is_there in there.items() if is_there)

    @property
    def told(self) -> Arm | None:
        """Of all that there is, what tells most of what a policy has: its features, else the state, else what it knows
        anyway; None where nothing is recorded but actions."""
        order: tuple[Arm, ...] = ("features", "state", "known")
        return next((arm for arm in order if arm in self.arms), None)

    @property
    def known(self) -> Float[Tensor, "M P"]:
        """Proprioception and task; without columns where there is neither."""
        given, start = self.trajectories, self.windows.start
        parts = [torch.zeros(len(start), 0)]
        if given.proprioception is not None:
            parts.append(rows_of(given.proprioception, start))
        if tells_task(given, self.windows):
            task = torch.from_numpy(np.asarray(given.task)[self.windows.demonstration])
            parts.append(torch.nn.functional.one_hot(task, len(given.tasks)).float())
        return torch.cat(parts, dim=1)

    def inputs(self, arm: Arm) -> Float[Tensor, "M F"]:
        """What an arm is told about every chunk; proprioception and task go with all of them."""
        if arm == "nothing":
            return torch.zeros(len(self.windows.start), 1)
        return torch.cat([self.own(arm), self.known], dim=1)

    def own(self, arm: Arm) -> Float[Tensor, "M F"]:
        """What an arm is told beside proprioception and task; no columns for the arm that is told only these."""
        given, start = self.trajectories, self.windows.start
        if arm == "known":
            return torch.zeros(len(start), 0)
        if arm == "state":
            assert given.state is not None, "asked only where there is one"
            return rows_of(given.state, start)
        source = given.candidate if arm == "candidate" else given.features
        assert source is not None, "asked only where there are some"
        features = rows_of(source, start)
        generator = torch.Generator().manual_seed(seed_of("arm", arm))
        if arm == "shuffled":
            return features[torch.randperm(len(features), generator=generator)]
        return torch.randn(features.shape, generator=generator) if arm == "random" else features

    def probed(self, device: str) -> ProbeData:
        """The chunks as probes take them; there is no state to be read."""
        return ProbeData(
            chunk=self.scaled.to(device),
            state=torch.zeros(len(self.windows.start), 1, device=device),
            known=self.known.to(device),
            demonstration=torch.from_numpy(self.windows.demonstration).to(device),
            part=torch.from_numpy(self.windows.part).to(device),
        )


def tells_task(given: Trajectories, windows: Windows) -> bool:
    """Whether the task is among what is known: there are several, not too many to tell apart, and all were trained on,
    in every division.

    Columns of tasks that only some demonstrations have would explain those, and tell nothing about others.
    """
    task = np.asarray(given.task)[windows.demonstration]
    fewest = min(len(np.unique(task[trained])) for trained in windows.trained)
    return 1 < len(given.tasks) <= MOST_TASKS and fewest == len(given.tasks)


def rows_of(array: np.ndarray, rows: np.ndarray) -> Float[Tensor, "M W"]:
    """Some rows of an array that may be memory-mapped, as Float32."""
    return torch.from_numpy(np.asarray(array[rows], dtype=np.float32))
