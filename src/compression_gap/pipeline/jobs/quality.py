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
from compression_gap.data.split import TEST
from compression_gap.encoders.base import EncoderSpec
from compression_gap.measures.clusters import cluster_mean
from compression_gap.measures.denoising import ActionBits
from compression_gap.measures.encoder_probe import (
    ProbeData,
    Quality,
    probe,
    usable,
)
from compression_gap.measures.gripper_probe import (
    GripperQuality,
    probe_gripper,
)
from compression_gap.measures.pose_error import pose_errors, task_error
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.action_denoisers import SECONDS_A_ROW, ActionDenoisers
from compression_gap.pipeline.jobs.data import PIECES, SUMMARY, drawn_frames, read_demos, suite_of
from compression_gap.pipeline.jobs.encoder import Features, TrainedEncoder, encoder_of
from compression_gap.seeds import seed_of
from compression_gap.store import Store, write_json
from compression_gap.suites.base import Suite
from compression_gap.training import save_tensors

BITS = "bits.safetensors"


@dataclass(frozen=True)
class EncoderQuality(Job, kind="encoder_quality", version=3):
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
    def opens(self) -> tuple[Job, ...]:
        return (*self.actions.demonstrations, *(job.drawings for job in self.features))

    @property
    def title(self) -> str:
        return f"bits of encoder {self.encoder.kind}" + (", shuffled" if self.shuffled else "")

    def cost(self) -> Cost:
        probing = self.actions.probing
        trainings = 2 * len(probing.hastes) * len(probing.seeds)
        seconds = trainings * probing.steps * probing.batch * SECONDS_A_ROW + 2 * self.actions.gripper_seconds
        return Cost(3 + seconds, memory_mb=1500, gpus=1)

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
        if self.baseline is not None:
            told = self._told_by_baseline(context.store)["validation_bits"]
            found = usable(found, self.baseline.bits(context.store), told)
        gripper = self._gripper(context, features, units, data)
        actions = dataclasses.replace(found.actions, gripper=None if gripper is None else gripper.bits)
        found = dataclasses.replace(found, actions=actions)
        names = ("recalibrated", "difference", "pair", "demonstration", *(["gripper"] if gripper else []))
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
            **({} if gripper is None else {"gripper": self._of_gripper(gripper, actions, context.store)}),
        }
        write_json(context.folder / SUMMARY, summary)
        shutil.rmtree(pieces)

    def _gripper(
        self, context: Context, features: Float[Tensor, "N F"], units: Sequence[float] | None, data: ProbeData
    ) -> GripperQuality | None:
        """Bits about gripper commands: the baseline's, if validation demonstrations prefer those."""
        probing = self.actions.gripper
        if probing is None or data.gripper is None:
            return None
        without, pieces = self.actions.gripper_lengths(context.store, data), context.folder / PIECES / "gripper"
        found = probe_gripper(features, units, data, without, probing, pieces, context.report)
        if self.baseline is None:
            return found
        told = self._told_by_baseline(context.store)["gripper"]
        if max(found.validation_bits.values()) >= max(told["validation_bits"].values()):
            return found
        bits = self.baseline.bits(context.store).gripper
        assert bits is not None, "it was measured on the same actions"
        return dataclasses.replace(found, bits=bits, interface="none")

    def _told_by_baseline(self, store: Store) -> dict[str, Any]:
        """What its summary says."""
        assert self.baseline is not None, "asked for only where there is one"
        return json.loads((store.folder(self.baseline) / SUMMARY).read_text())

    def _of_gripper(self, gripper: GripperQuality, actions: ActionBits, store: Store) -> dict[str, Any]:
        """Bits about gripper commands, and those about the rest of the actions that are told beyond them."""
        settled = {"converged": gripper.told.bits.value is not None, "curve": gripper.told.curve}
        if gripper.interface == "none":
            told = self._told_by_baseline(store)["gripper"]
            settled = {name: told[name] for name in settled}
        return {
            "bits": dataclasses.asdict(cluster_mean(gripper.bits, actions.demonstration)),
            "bits_of_the_rest": dataclasses.asdict(cluster_mean(actions.recalibrated, actions.demonstration)),
            "interface": gripper.interface,
            "validation_bits": gripper.validation_bits,
            **settled,
        }

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
