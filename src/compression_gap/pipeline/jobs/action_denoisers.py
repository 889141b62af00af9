"""What encoders are measured against: windows of demonstrations, and probes that know nothing of what is seen."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Int
from safetensors.torch import load_file

from compression_gap.config import added_later
from compression_gap.data.demos import Demos
from compression_gap.data.split import TEST, TRAIN, VALIDATION, parts_of
from compression_gap.data.windows import chunks_from, window_frames
from compression_gap.measures.code_lengths import CodeLengths
from compression_gap.measures.denoiser import Denoiser
from compression_gap.measures.encoder_probe import ProbeData, Probing, fit, told_nothing, untrained
from compression_gap.measures.gripper_probe import Lengths, gripper_codes, lengths_without
from compression_gap.measures.token_probe import TokenProbing
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.data import PIECES, SUMMARY, Demonstrations, read_demos, suite_of
from compression_gap.scaling import ActionScaling
from compression_gap.store import Store, write_json
from compression_gap.suites.base import Suite
from compression_gap.training import save_tensors

GRIPPER, PARTS = "gripper.safetensors", ("validation", "test")  # code lengths for who knows nothing
SECONDS_A_ROW, SECONDS_A_CODE = 3e-5, 6e-5  # of a training batch


@dataclass(frozen=True)
class ActionDenoisers(Job, kind="action_denoisers", version=2):
    """Denoisers that know what chunks are like and nothing of what is seen: one a probe seed, shared by all encoders.
    Writes their weights and summary.json, which says what of an action is measured."""

    resumable: ClassVar[bool] = True
    demonstrations: tuple[Demonstrations, ...]
    horizon: int
    """Actions a chunk (T)."""
    stride: int
    """A window at every so many steps."""
    probing: Probing
    gripper: TokenProbing | None = added_later(None)
    """How bits about gripper commands are measured; None: these are left out."""

    def __post_init__(self) -> None:
        if self.gripper is not None and self.gripper.seeds != self.probing.seeds:
            raise ValueError(
                f"ActionDenoisers.gripper: expected the seeds of the denoisers, {self.probing.seeds}, so that bits can "
                f"be added up; got {self.gripper.seeds}"
            )

    @property
    def title(self) -> str:
        return "denoisers of actions alone"

    def cost(self) -> Cost:
        rows = len(self.probing.seeds) * self.probing.steps * self.probing.batch
        return Cost(2 + rows * SECONDS_A_ROW + self.gripper_seconds, gpus=1)

    @property
    def gripper_seconds(self) -> float:
        """What one way of probing gripper commands takes."""
        if self.gripper is None:
            return 0.0
        trainings = len(self.gripper.seeds) * len(self.gripper.fractions)
        return trainings * self.gripper.steps * self.gripper.batch * SECONDS_A_CODE

    def run(self, context: Context) -> None:
        suite = suite_of(self.demonstrations).build()
        demos = read_demos(context.store, self.demonstrations)
        data, left_out = self.measured(demos, suite, history=1, device=context.device)
        pieces, seeds = context.folder / PIECES, self.probing.seeds
        if self.gripper is not None and data.gripper is not None:
            without = lengths_without(data.gripper, self.gripper, pieces / "gripper", context.report)
            save_tensors(
                {part: torch.from_numpy(getattr(without, part).bits) for part in PARTS}, context.folder / GRIPPER
            )
        for number, seed in enumerate(seeds):

            def report(fraction: float, text: str, number: int = number) -> None:
                context.report((number + fraction) / len(seeds), text)

            denoiser = fit(told_nothing(data), data, self.probing, seed, pieces / str(seed), report)
            save_tensors(denoiser.state_dict(), context.folder / _weights(seed))
        values, train = data.chunk.shape[1], len(data.rows(TRAIN))
        write_json(context.folder / SUMMARY, {"values": values, "train_chunks": train, "left_out": left_out})
        shutil.rmtree(pieces)

    def load(self, store: Store) -> list[Denoiser]:
        """The denoisers, one a seed."""
        denoisers = []
        for seed in self.probing.seeds:
            weights = load_file(store.folder(self) / _weights(seed))
            denoiser = untrained(len(weights["scale"]), weights["read.0.weight"].shape[1], self.probing, seed)
            denoiser.load_state_dict(weights)
            denoisers.append(denoiser.eval())
        return denoisers

    def gripper_lengths(self, store: Store, data: ProbeData) -> Lengths:
        """Code lengths of gripper commands for who knows nothing, of the windows that were `measured`."""
        assert self.gripper is not None, "they were measured"
        bits, whose = load_file(store.folder(self) / GRIPPER), (VALIDATION, TEST)
        demonstrations = [data.demonstration[data.rows(part)].cpu().numpy() for part in whose]
        found = zip(PARTS, demonstrations, strict=True)
        return Lengths(*(CodeLengths(self.gripper.fractions, bits[name].numpy(), own) for name, own in found))

    def measured(self, demos: Demos, suite: Suite, *, history: int, device: str) -> tuple[ProbeData, list[str]]:
        """The windows, and the names of the action values that are left out: what never changes, and grippers, whose
        commands are not continuous, unless their bits are measured.

        Raises ValueError if there are too few demonstrations, or nothing changes.
        """
        legend = suite.legend
        every = np.arange(demos.episodes.height)
        part = parts_of(demos.episodes["task"].to_numpy())
        seen = self.windows(demos, history)
        episode = np.searchsorted(demos.episodes["start"].to_numpy(), seen[:, -1], side="right") - 1
        chunks = torch.from_numpy(chunks_from(demos, every, self.horizon, self.stride, legend.gripper))
        of_window = torch.from_numpy(part[episode])
        scaling = ActionScaling(len(legend.action))
        scaling.fit(chunks[of_window == TRAIN])
        kept = [d for d in range(len(legend.action)) if d not in legend.gripper and scaling.half_range[d] > 0]
        if not kept:
            raise ValueError(
                "no action value but grippers changes in the demonstrations, so there is nothing to measure"
            )
        grippers = [d for d in legend.gripper if self.gripper is not None and scaling.half_range[d] > 0]
        task, demonstration = (torch.from_numpy(some).to(device) for some in (demos.task[seen[:, -1]], episode))
        codes = gripper_codes(chunks[..., grippers].to(device), demonstration, task) if grippers else None
        told = torch.nn.functional.one_hot(task.cpu(), len(suite.tasks))
        felt = torch.from_numpy(np.asarray(demos.proprioception[seen], dtype=np.float32)).flatten(1)
        data = ProbeData(
            chunk=scaling(chunks)[..., kept].flatten(1).to(device),
            state=torch.from_numpy(np.asarray(demos.state[seen[:, -1]])).to(device),
            known=torch.cat([felt, told.float()], dim=1).to(device),
            demonstration=demonstration,
            part=of_window.to(device),
            gripper=codes,
        )
        return data, [name for d, name in enumerate(legend.action) if d not in (*kept, *grippers)]

    def windows(self, demos: Demos, history: int) -> Int[np.ndarray, "N H"]:
        """Frame numbers of every window of all demonstrations."""
        return window_frames(demos, np.arange(demos.episodes.height), history, self.stride)


def _weights(seed: int) -> str:
    return f"weights-{seed}.safetensors"
