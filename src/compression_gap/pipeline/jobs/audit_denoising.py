"""Jobs that measure what a dataset's features tell about its actions, linear or not, from the errors of denoisers."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from typing import ClassVar

import torch
from safetensors.torch import load_file

from compression_gap.data.split import TEST
from compression_gap.data.trajectories import Chunking
from compression_gap.measures.denoiser import Denoiser
from compression_gap.measures.denoising import ActionBits, own_errors
from compression_gap.measures.diffusion_rate import diffusion_points
from compression_gap.measures.encoder_probe import Probing, fit, probe, told_nothing, untrained, usable
from compression_gap.measures.quantity import mean_over_demonstrations
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.audited import TOLD, Arm, Audited
from compression_gap.pipeline.jobs.data import PIECES, SUMMARY
from compression_gap.pipeline.jobs.dataset import Dataset
from compression_gap.pipeline.jobs.quality import SECONDS_A_ROW
from compression_gap.store import Store, write_json
from compression_gap.training import save_tensors

BITS = "bits.safetensors"


@dataclass(frozen=True)
class AuditDenoisers(Job, kind="audit_denoisers", version=2):
    """Denoisers that know nothing but what a dataset's chunks are like, one a seed, shared by all arms. Writes their
    weights, and summary.json with the first one's upper bound on the rate-distortion function."""

    resumable: ClassVar[bool] = True
    dataset: Dataset
    chunking: Chunking
    probing: Probing

    @property
    def title(self) -> str:
        return "denoisers of actions alone"

    def cost(self) -> Cost:
        return Cost(2 + len(self.probing.seeds) * self.probing.steps * self.probing.batch * SECONDS_A_ROW, gpus=1)

    def run(self, context: Context) -> None:
        data = Audited.of(self.dataset, self.chunking, context.store).probed(context.device)
        seeds, pieces = self.probing.seeds, context.folder / PIECES
        for number, seed in enumerate(seeds):

            def report(fraction: float, text: str, number: int = number) -> None:
                context.report((number + fraction) / len(seeds), text)

            denoiser = fit(told_nothing(data), data, self.probing, seed, pieces / str(seed), report)
            save_tensors(denoiser.state_dict(), context.folder / f"weights-{seed}.safetensors")
            if number == 0:
                test = data.rows(TEST)
                distortion, bits = diffusion_points(*own_errors(denoiser, told_nothing(data).at(test)))
                write_json(context.folder / SUMMARY, {"distortion": distortion.tolist(), "bits": bits.tolist()})
        shutil.rmtree(pieces)

    def load(self, store: Store) -> list[Denoiser]:
        """The denoisers, one a seed."""
        found = []
        for seed in self.probing.seeds:
            weights = load_file(store.folder(self) / f"weights-{seed}.safetensors")
            denoiser = untrained(len(weights["scale"]), 1, self.probing, seed)
            denoiser.load_state_dict(weights)
            found.append(denoiser.eval())
        return found


@dataclass(frozen=True)
class ArmBits(Job, kind="arm_bits", version=4):
    """Bits that an arm tells about the next chunk, and beyond another arm. Writes summary.json and the bits of every
    test chunk."""

    resumable: ClassVar[bool] = True
    denoisers: AuditDenoisers
    arm: Arm
    baseline: ArmBits | None = None
    """Usually of proprioception and task alone."""

    @property
    def opens(self) -> tuple[Job, ...]:
        return (self.denoisers.dataset,)

    @property
    def title(self) -> str:
        return f"bits of {TOLD[self.arm]}"

    def cost(self) -> Cost:
        probing = self.denoisers.probing
        trainings = 2 * len(probing.hastes) * len(probing.seeds)
        return Cost(3 + trainings * probing.steps * probing.batch * SECONDS_A_ROW, memory_mb=1500, gpus=1)

    def run(self, context: Context) -> None:
        job, pieces = self.denoisers, context.folder / PIECES
        audited = Audited.of(job.dataset, job.chunking, context.store)
        data, own = audited.probed(context.device), audited.own(self.arm)
        nothing = [denoiser.to(context.device) for denoiser in job.load(context.store)]
        found = probe(own.to(context.device), None, data, nothing, job.probing, pieces, context.report)
        if self.baseline is not None:
            summary = json.loads((context.store.folder(self.baseline) / SUMMARY).read_text())
            found = usable(found, self.baseline.bits(context.store), summary["validation_bits"])
        actions, demonstration = found.actions, audited.windows.demonstration[audited.windows.rows(TEST)]
        names = ("recalibrated", "difference", "pair", "demonstration")
        save_tensors({name: torch.from_numpy(getattr(actions, name)) for name in names}, context.folder / BITS)
        bits = mean_over_demonstrations(actions.recalibrated, demonstration, kind="estimate")
        beyond = None
        if self.baseline is not None:
            gaps = actions.recalibrated - self.baseline.bits(context.store).recalibrated
            beyond = dataclasses.asdict(mean_over_demonstrations(gaps, demonstration, kind="estimate"))
        write_json(
            context.folder / SUMMARY,
            {
                "told": dataclasses.asdict(bits),
                "beyond": beyond,
                "converged": actions.converged,
                "interface": found.interface,
                "validation_bits": found.validation_bits,
                "sigma": actions.sigma,
            },
        )
        shutil.rmtree(pieces)

    def bits(self, store: Store) -> ActionBits:
        """Of every test chunk."""
        arrays = {name: tensor.numpy() for name, tensor in load_file(store.folder(self) / BITS).items()}
        return ActionBits(**arrays, sigma=self.denoisers.probing.sigma)
