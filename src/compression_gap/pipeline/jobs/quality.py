"""Jobs that measure encoders by what their features tell: bits about actions, and where things are."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor

from compression_gap.data.demos import Demos
from compression_gap.data.features import to_tensor
from compression_gap.data.rows import Rows
from compression_gap.data.windows import chunks_from, window_frames
from compression_gap.encoders.base import EncoderSpec
from compression_gap.measures.clusters import cluster_mean
from compression_gap.measures.denoiser import Denoiser
from compression_gap.measures.denoising import ActionBits
from compression_gap.measures.encoder_probe import (
    ProbeData,
    Probing,
    Quality,
    fit,
    probe,
    told_nothing,
    untrained,
)
from compression_gap.measures.pose_error import pose_errors, task_error
from compression_gap.measures.split import TEST, TRAIN, parts_of
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.data import PIECES, SUMMARY, Demonstrations, drawn_frames, read_demos, suite_of
from compression_gap.pipeline.jobs.encoder import Features, TrainedEncoder, encoder_of
from compression_gap.scaling import ActionScaling
from compression_gap.seeds import seed_of
from compression_gap.store import Store, write_json
from compression_gap.suites.base import Suite
from compression_gap.training import save_tensors

BITS = "bits.safetensors"
SECONDS_A_ROW = 3e-5  # of a training batch


@dataclass(frozen=True)
class ActionDenoisers(Job, kind="action_denoisers", version=1):
    """Denoisers that know what chunks are like and nothing of what is seen: one a probe seed, shared by all encoders.
    Writes their weights and summary.json, which says what of an action is measured."""

    resumable: ClassVar[bool] = True
    demonstrations: tuple[Demonstrations, ...]
    horizon: int
    """Actions a chunk (T)."""
    stride: int
    """A window at every so many steps."""
    probing: Probing

    @property
    def title(self) -> str:
        return "denoisers of actions alone"

    def cost(self) -> Cost:
        return Cost(2 + len(self.probing.seeds) * self.probing.steps * self.probing.batch * SECONDS_A_ROW, gpus=1)

    def run(self, context: Context) -> None:
        suite = suite_of(self.demonstrations).build()
        demos = read_demos(context.store, self.demonstrations)
        data, left_out = self.measured(demos, suite, history=1, device=context.device)
        pieces, seeds = context.folder / PIECES, self.probing.seeds
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
            denoiser = untrained(len(weights["scale"]), 1, self.probing, seed)
            denoiser.load_state_dict(weights)
            denoisers.append(denoiser.eval())
        return denoisers

    def measured(self, demos: Demos, suite: Suite, *, history: int, device: str) -> tuple[ProbeData, list[str]]:
        """The windows, and the names of the action values that are left out: grippers, whose commands are not
        continuous, and what never changes.

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
        told = torch.nn.functional.one_hot(torch.from_numpy(demos.task[seen[:, -1]]), len(suite.tasks))
        felt = torch.from_numpy(np.asarray(demos.proprioception[seen], dtype=np.float32)).flatten(1)
        data = ProbeData(
            chunk=scaling(chunks)[..., kept].flatten(1).to(device),
            state=torch.from_numpy(np.asarray(demos.state[seen[:, -1]])).to(device),
            known=torch.cat([felt, told.float()], dim=1).to(device),
            demonstration=torch.from_numpy(episode).to(device),
            part=of_window.to(device),
        )
        return data, [name for d, name in enumerate(legend.action) if d not in kept]

    def windows(self, demos: Demos, history: int) -> Int[np.ndarray, "N H"]:
        """Frame numbers of every window of all demonstrations."""
        return window_frames(demos, np.arange(demos.episodes.height), history, self.stride)


@dataclass(frozen=True)
class EncoderQuality(Job, kind="encoder_quality", version=1):
    """What a frozen encoder tells on demonstrations that nothing was fitted on: bits about the next chunk, and the
    place of objects read linearly. Writes summary.json and the bits of every chunk."""

    resumable: ClassVar[bool] = True
    encoder: EncoderSpec
    trained: TrainedEncoder | None
    """For encoders that are pretrained: on other demonstrations than those it is measured on."""
    features: tuple[Features, ...]
    """Of the demonstrations' windows, for encoders that read pictures; empty for others, which are shown the recorded
    state."""
    actions: ActionDenoisers
    history: int = 1
    """Frames that are looked at (H)."""
    baseline: EncoderQuality | None = None
    """Usually of the blind encoder: bits beyond it are what seeing adds to proprioception and the task."""
    shuffled: bool = False
    """A control: every window gets the features of another, so there must be no bits beyond the baseline."""

    def __post_init__(self) -> None:
        if self.encoder.trained:
            raise ValueError(
                f"encoder {self.encoder.kind!r} is trained along with a policy, so there is nothing to measure before: "
                "give a frozen one, such as supervised or pretrained"
            )
        if self.encoder.sees != bool(self.features):
            need = "its features" if self.encoder.sees else "no features"
            raise ValueError(f"EncoderQuality.features: encoder {self.encoder.kind!r} needs {need}")

    @property
    def title(self) -> str:
        return f"bits of encoder {self.encoder.kind}" + (", shuffled" if self.shuffled else "")

    def cost(self) -> Cost:
        probing = self.actions.probing
        trainings = 2 * len(probing.hastes) * len(probing.seeds)
        return Cost(3 + trainings * probing.steps * probing.batch * SECONDS_A_ROW, memory_mb=1500, gpus=1)

    def run(self, context: Context) -> None:
        suite = suite_of(self.actions.demonstrations).build()
        demos = read_demos(context.store, self.actions.demonstrations)
        data, left_out = self.actions.measured(demos, suite, history=self.history, device=context.device)
        features, units = self._features(context, demos, suite)
        if self.shuffled:
            order = np.random.default_rng(seed_of("shuffled features")).permutation(len(features))
            features = features[torch.from_numpy(order)]
        nothing = [denoiser.to(context.device) for denoiser in self.actions.load(context.store)]
        pieces = context.folder / PIECES
        found = probe(features, units, data, nothing, self.actions.probing, pieces, context.report)
        found = self._usable(context.store, found)
        actions = found.actions
        names = ("recalibrated", "difference", "pair", "demonstration")
        save_tensors({name: torch.from_numpy(getattr(actions, name)) for name in names}, context.folder / BITS)
        test = data.rows(TEST).cpu()
        task = demos.task[self.actions.windows(demos, self.history)[test, -1]]
        beyond = actions.beyond(self.baseline.bits(context.store)) if self.baseline else None
        summary = {
            **_told(found),
            "beyond": dataclasses.asdict(beyond) if beyond else None,
            "pose": _pose(found.state.cpu().numpy(), data.state[test].cpu().numpy(), task, actions, suite),
            "width": features.shape[1] // self.history,
            "test_demonstrations": len(np.unique(actions.demonstration)),
            "test_chunks": len(test),
            "left_out": left_out,
        }
        write_json(context.folder / SUMMARY, summary)
        shutil.rmtree(pieces)

    def _usable(self, store: Store, found: Quality) -> Quality:
        """Who reads features may also ignore them: the baseline's bits, if validation demonstrations prefer those."""
        if self.baseline is None:
            return found
        told = json.loads((store.folder(self.baseline) / SUMMARY).read_text())
        if max(found.validation_bits.values()) >= max(told["validation_bits"].values()):
            return found
        return dataclasses.replace(found, actions=self.baseline.bits(store), interface="none")

    def bits(self, store: Store) -> ActionBits:
        """Of every test chunk."""
        arrays = {name: tensor.numpy() for name, tensor in load_file(store.folder(self) / BITS).items()}
        return ActionBits(**arrays, sigma=self.actions.probing.sigma)

    def _features(
        self, context: Context, demos: Demos, suite: Suite
    ) -> tuple[Float[Tensor, "N F"], Sequence[float] | None]:
        """Of every window, its frames side by side; and the encoder's units."""
        seen = self.actions.windows(demos, self.history)
        if not self.features:
            encoder = encoder_of(context.store, self.encoder, self.trained, suite_of(self.actions.demonstrations))
            frames, size = seen.flatten(), len(seen)
            stamp = np.concatenate([demos.stamp[frames], np.zeros((len(frames), 1), np.int64)], axis=1)
            shown = {"state": torch.from_numpy(np.asarray(demos.state[frames])), "stamp": torch.from_numpy(stamp)}
            with torch.no_grad():
                looks = encoder.to(context.device).encode({k: v.to(context.device) for k, v in shown.items()})
            units = None if encoder.units is None else encoder.units * (encoder.vectors * self.history)
            return looks.float().reshape(size, -1), units
        row_of_frame = np.full(len(demos.label), -1)
        drawn = np.concatenate(drawn_frames(context.store, [job.drawings for job in self.features]))
        row_of_frame[drawn] = np.arange(len(drawn))
        rows = row_of_frame[seen]
        if (rows < 0).any():
            raise ValueError("EncoderQuality.features: some windows look at frames that were never drawn")
        stored = Rows([job.load(context.store)[0] for job in self.features])  # of the central crop
        return to_tensor(stored[rows]).to(context.device).float().flatten(1), None


def _weights(seed: int) -> str:
    return f"weights-{seed}.safetensors"


def _told(found: Quality) -> dict[str, Any]:
    actions = found.actions
    return {
        "bits": dataclasses.asdict(actions.bits),
        "bits_by_difference": float(actions.difference.mean()),
        "bits_by_pair": float(actions.pair.mean()),
        "converged": actions.converged,
        "sigma": actions.sigma,
        "interface": found.interface,
        "validation_bits": found.validation_bits,
        "linear_bits": found.linear_bits,
    }


def _pose(
    estimate: Float[np.ndarray, "M S"],
    truth: Float[np.ndarray, "M S"],
    task: Int[np.ndarray, " M"],
    actions: ActionBits,
    suite: Suite,
) -> dict[str, Any]:
    """Error in mm and degrees by object, and of what the task is about where the suite tells that."""
    errors = pose_errors(estimate, truth, suite.legend)
    objects = [suite.objects(number) for number in range(len(suite.tasks))]
    if all(objects):
        errors["task"] = task_error(errors, task, objects)

    def mean(values: Float[np.ndarray, " M"]) -> dict[str, Any] | None:
        if np.isnan(values).any():
            return None
        return dataclasses.asdict(cluster_mean(values[None], actions.demonstration))

    return {name: {"mm": mean(one.lateral_mm), "degrees": mean(one.yaw_degrees)} for name, one in errors.items()}
