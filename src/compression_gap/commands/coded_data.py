"""What `cgap tokenizers` measures on: a suite's demonstrations, or somebody's dataset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from compression_gap import config
from compression_gap.commands.audit_data import Source, dataset_of, naming
from compression_gap.commands.selection import Selection
from compression_gap.data.split import TRAIN
from compression_gap.data.trajectories import Chunking
from compression_gap.pipeline.jobs import (
    AuditTokenizer,
    DatasetRate,
    Demonstrations,
    DiffusionRate,
    FittedTokenizer,
    RateBound,
    TrainedTokenizer,
)
from compression_gap.pipeline.jobs.audited import TOLD, Audited
from compression_gap.pipeline.jobs.dataset import Dataset
from compression_gap.shapes import ChunkShape
from compression_gap.store import Store
from compression_gap.tokenizers.base import TokenizerSpec
from compression_gap.training import Training

FEWEST_EPISODES, HELD_OUT = 10, "every tenth is held out and measured on"
# passes over the training chunks, and the most steps; short codes of few demonstrations are learned in seconds
LEARNING = (100, Training(8000, batch=64, learning_rate=2e-3, schedule="cosine"))
DENOISING = (200, Training(1500, batch=256, learning_rate=3e-3))


class CodedData(ABC):
    """Chunks to code, and the jobs that do so."""

    @property
    @abstractmethod
    def shape(self) -> ChunkShape:
        """Of a chunk."""

    @property
    @abstractmethod
    def given(self) -> str | None:
        """What a model of codes may be told; None where there is nothing."""

    @property
    @abstractmethod
    def chunks(self) -> float:
        """About how many there are to learn from."""

    @abstractmethod
    def fitted(self, spec: TokenizerSpec) -> FittedTokenizer:
        """A tokenizer on these chunks; what is learned takes as many steps as they are worth."""

    @abstractmethod
    def bound(self) -> RateBound:
        """The job that tells how few bits errors of these chunks cost."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What the page says about them."""

    @abstractmethod
    def words(self, further: Sequence[str]) -> list[str]:
        """As they would be typed behind the command's name, with the command's own words."""

    def steps(self, passes: int, training: Training) -> Training:
        """As many passes, in at least 50 steps and at most those of `training`."""
        return replace(training, steps=max(50, min(training.steps, round(passes * self.chunks / training.batch))))

    def training(self, spec: TokenizerSpec) -> Training | None:
        """Of a tokenizer that is learned."""
        return self.steps(*LEARNING) if spec.learned else None


@dataclass(frozen=True)
class CodedSuite(CodedData):
    """A suite's demonstrations, by experts or of people."""

    selection: Selection
    demonstrations: tuple[Demonstrations, ...]
    horizon: int
    stride: int

    @classmethod
    def of(cls, selection: Selection, horizon: int, stride: int) -> CodedSuite:
        """Raises ValueError for a suite that is not there, a task without an expert, and too few episodes."""
        selection.check_enough(FEWEST_EPISODES, HELD_OUT)
        spec = selection.spec()
        by_task = selection.jobs(spec, spec.build())
        return cls(selection, tuple(job for some in by_task.values() for job in some), horizon, stride)

    @property
    def shape(self) -> ChunkShape:
        return ChunkShape(self.horizon, len(self.selection.spec().build().legend.action))

    @property
    def given(self) -> str | None:
        return "the state" if self.selection.spec().build().legend.state else None

    @property
    def chunks(self) -> float:
        return sum(job.attempts * job.suite.cost.steps / self.stride for job in self.demonstrations)

    def fitted(self, spec: TokenizerSpec) -> TrainedTokenizer:
        return TrainedTokenizer(spec, self.demonstrations, self.horizon, self.stride, self.training(spec), seed=0)

    def bound(self) -> RateBound:
        return DiffusionRate(self.demonstrations, self.horizon, self.stride, self.steps(*DENOISING))

    @property
    def facts(self) -> dict[str, Any]:
        spec = self.selection.spec()
        return {
            "suite": config.to_json(spec),
            "name": self.selection.name,
            "source": None,
            "recorded": self.selection.recorded,
            "tasks": [spec.build().tasks[task] for task in self.selection.tasks or range(spec.num_tasks)],
            "episodes": self.selection.attempts,
            "stride": self.stride,
            "notes": [],
        }

    def words(self, further: Sequence[str]) -> list[str]:
        return self.selection.words(further)


@dataclass(frozen=True)
class CodedFiles(CodedData):
    """Somebody's files, as `cgap audit` reads them."""

    source: Source
    dataset: Dataset
    chunking: Chunking
    audited: Audited

    @classmethod
    def of(cls, source: Source, horizon: int, stride: int, store: Store, *, quiet: bool) -> CodedFiles:
        """Reads the files. Raises FileNotFoundError or ValueError naming file, field and cure."""
        dataset = dataset_of(source, store, 1, "cpu", stride, command="cgap tokenizers", quiet=quiet)
        chunking = Chunking(horizon, stride)
        with naming(source.name):
            return cls(source, dataset, chunking, Audited.of(dataset, chunking, store))

    @property
    def shape(self) -> ChunkShape:
        return ChunkShape(self.chunking.horizon, len(self.audited.trajectories.names))

    @property
    def given(self) -> str | None:
        told = self.audited.told
        return None if told is None else TOLD[told]

    @property
    def chunks(self) -> float:
        return len(self.audited.windows.rows(TRAIN))

    def fitted(self, spec: TokenizerSpec) -> FittedTokenizer:
        return AuditTokenizer(self.dataset, self.chunking, spec, self.training(spec))

    def bound(self) -> RateBound:
        return DatasetRate(self.dataset, self.chunking, self.steps(*DENOISING))

    @property
    def facts(self) -> dict[str, Any]:
        trajectories, windows = self.audited.trajectories, self.audited.windows
        return {
            "suite": None,
            "name": self.source.name,
            "source": trajectories.source,
            "recorded": True,
            "tasks": list(trajectories.tasks),
            "episodes": trajectories.demonstrations,
            "stride": windows.stride,
            "notes": [*trajectories.notes, *windows.notes],
        }

    def words(self, further: Sequence[str]) -> list[str]:
        return [*self.source.words, *further]
