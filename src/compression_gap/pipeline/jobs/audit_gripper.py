"""The job that measures what arms tell about a dataset's gripper commands, which are few values and no noisy ones."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from typing import ClassVar

import torch

from compression_gap.data.trajectories import Chunking
from compression_gap.measures.gripper_probe import gripper_codes, lengths_without, probe_gripper
from compression_gap.measures.token_probe import TokenProbing
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.action_denoisers import SECONDS_A_CODE
from compression_gap.pipeline.jobs.audited import Arm, Audited
from compression_gap.pipeline.jobs.data import PIECES, SUMMARY
from compression_gap.pipeline.jobs.dataset import Dataset
from compression_gap.store import write_json
from compression_gap.training import Report, part_of


@dataclass(frozen=True)
class GripperBits(Job, kind="gripper_bits", version=3):
    """Bits of the gripper commands of a chunk, and what each arm tells about them: I(Z; G), beside the bits about the
    rest of the actions and not to be added to them. Writes summary.json.

    Running it raises ValueError for a gripper with so many commands that it is moved continuously."""

    resumable: ClassVar[bool] = True
    dataset: Dataset
    chunking: Chunking
    arms: tuple[Arm, ...]
    probing: TokenProbing

    @property
    def title(self) -> str:
        return "bits of gripper commands"

    def cost(self) -> Cost:
        probing = self.probing
        trainings = len(probing.seeds) * (2 + len(self.arms) * (2 + len(probing.fractions)))
        return Cost(2 + trainings * probing.steps * probing.batch * SECONDS_A_CODE, memory_mb=1500)

    def run(self, context: Context) -> None:
        audited = Audited.of(self.dataset, self.chunking, context.store)
        given, windows = audited.trajectories, audited.windows
        commands = torch.from_numpy(audited.chunk[..., list(given.gripper)]).to(context.device)
        codes = gripper_codes(commands, torch.from_numpy(windows.rank).to(context.device))
        data, pieces = dataclasses.replace(audited.probed(context.device), gripper=codes), context.folder / PIECES
        parts: tuple[Arm, ...] = ("nothing", *self.arms)

        def along(arm: Arm) -> Report:
            return part_of(context.report, parts.index(arm) / len(parts), (parts.index(arm) + 1) / len(parts))

        without = lengths_without(codes, self.probing, pieces / "nothing", along("nothing"))
        told = {}
        for arm in self.arms:
            own = audited.own(arm).to(context.device)
            found = probe_gripper(own, None, data, without, self.probing, pieces / arm, along(arm))
            told[arm] = dataclasses.asdict(found.told.bits)
        write_json(context.folder / SUMMARY, {"held": dataclasses.asdict(without.test.whole), "arms": told})
        shutil.rmtree(pieces)
