"""What `cgap audit` is about, and `cgap tokenizers` where files are given: files, or a suite's demonstrations, as a
dataset in the store."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compression_gap.commands.answer import finish
from compression_gap.commands.selection import Selection, suite_named
from compression_gap.commands.typed import encoder_named
from compression_gap.encoders.base import EncoderSpec
from compression_gap.pipeline.jobs import Drawings, Features
from compression_gap.pipeline.jobs.dataset import (
    Dataset,
    FileDataset,
    Files,
    SuiteDataset,
    dataset_of_files,
    import_dataset,
)
from compression_gap.pipeline.plan import pretrained
from compression_gap.pipeline.progress import bar
from compression_gap.store import Store


@dataclass(frozen=True)
class Source:
    """Where the demonstrations are, as typed."""

    typed: Sequence[str]
    """Files, a folder, or the name of a suite."""
    selection: Selection
    """Which of a suite's demonstrations."""
    features: Sequence[Path]
    """Of the policy's own encoder and, if there are two, of a candidate for its place."""
    encoders: Sequence[str]
    """What is shown pictures: the policy's own encoder and, if there are two, a candidate for its place."""
    units: str | None
    """A suite whose action units hold for the files."""
    for_suites: Collection[str] = ()
    """Options that were typed and choose among a suite's demonstrations."""

    @property
    def paths(self) -> list[Path]:
        """The files, where some are there."""
        return [Path(word) for word in self.typed]

    @property
    def is_suite(self) -> bool:
        """Whether the demonstrations are a suite's. Raises ValueError if there is neither a file nor a suite, and for
        more than one suite."""
        if any(path.exists() for path in self.paths):
            return False
        first = self.typed[0]
        if Path(first).suffix or "/" in first:
            raise ValueError(f"{first}: there is no such file or folder; a dataset of a hub has to be downloaded first")
        with naming(f"{first}: there is no such file or folder"):
            suite_named(first)
        if len(self.typed) > 1:
            raise ValueError(f"expected one suite at a time, or files; got {' '.join(self.typed)}")
        return True

    @property
    def name(self) -> str:
        """For titles and, with what tells datasets apart, for file names."""
        return self.typed[0] if self.is_suite else Path(self.typed[0]).resolve().stem

    @property
    def words(self) -> list[str]:
        """As they would be typed behind the command's name."""
        further = [word for path in self.features for word in ("--features", str(path))]
        further += [word for encoder in self.encoders for word in ("--encoder", encoder)]
        further += [] if self.units is None else ["--suite", self.units]
        return self.selection.words(further) if self.is_suite else [*self.typed, *further]


def dataset_of(
    source: Source, store: Store, workers: int, device: str, stride: int, *, command: str, quiet: bool
) -> Dataset:
    """The dataset, finished: read from files, or demonstrated by a suite's expert.

    Raises FileNotFoundError or ValueError naming file, field and cure for whatever is wrong with them.
    """
    if source.is_suite:
        job = _of_suite(source, stride)
        outcome = finish([job], store, workers, device, quiet=quiet)
        if not store.has(job):
            raise ValueError(f"the demonstrations could not be made: {'; '.join(outcome.failed.values())}")
        return job
    _check_options(source, command)
    if len(source.features) > 2:
        raise ValueError(
            f"--features {source.features[2]}: expected at most two, those of the policy's encoder and of a candidate"
        )
    specs = _frozen(source.encoders)
    with bar(source.name) as report:
        files = Files(source.paths, source.features)
        job, read = dataset_of_files(files, source.units or "", report)
        if specs:
            job = _shown(job, specs, source, stride)
        if not store.has(job):
            with naming(source.name):
                import_dataset(job, read, files, store, report, device)
    return job


def _check_options(source: Source, command: str) -> None:
    """Raises ValueError for what was typed beside files and means something for suites only, or nothing at all."""
    name = next(iter(source.selection.leaves), None)
    if name is not None:
        raise ValueError(f"there is no option --{name} for files; see {command} --help")
    for option in sorted(source.for_suites):
        raise ValueError(f"{option} chooses among a suite's demonstrations; of files, give those that are meant")


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Puts the dataset's name before whatever is wrong with it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error) if name in str(error) else f"{name}: {error}") from error


def _of_suite(source: Source, stride: int) -> SuiteDataset:
    """A suite's demonstrations, and what an encoder makes of the frames that chunks begin with."""
    for name, value in (("--features", next(iter(source.features), None)), ("--suite", source.units)):
        if value is not None:
            raise ValueError(f"{name} {value}: it is for files, and {source.typed[0]} is a suite; leave it away")
    spec = source.selection.spec()
    selection = source.selection
    by_task = selection.jobs(spec, spec.build())
    demos = tuple(job for jobs in by_task.values() for job in jobs)
    found = SuiteDataset(demos)
    for encoder in reversed(_frozen(source.encoders)):  # the candidate first: the own encoder's has it beside it
        trained, features = None, ()
        if encoder.pretraining_steps:  # on as many further demonstrations
            trained = pretrained(encoder, spec, selection.further(spec, selection.attempts, selection.attempts))
        if encoder.sees:
            features = tuple(
                Features(encoder, trained, Drawings(job, spec.cameras, history=1, stride=stride)) for job in demos
            )
        found = SuiteDataset(demos, encoder, trained, features, found if found.encoder else None)
    return found


def _frozen(typed: Sequence[str]) -> list[EncoderSpec]:
    """The encoders that are typed. Raises ValueError for one that is trained along with a policy, for the same one
    twice, and for more than two."""
    if len(typed) > 2:
        raise ValueError(f"--encoder {typed[2]}: expected at most two, the policy's own encoder and a candidate")
    found: list[EncoderSpec] = []
    for text in typed:
        encoder = encoder_named(text)
        if encoder.trained:
            raise ValueError(
                f"encoder {encoder.kind!r} is trained along with a policy, so there is nothing to measure before: "
                "give a frozen one, such as supervised or pretrained"
            )
        if any(encoder.digest == one.digest for one in found):
            raise ValueError(f"--encoder {text}: it is the same as {typed[0]}, so nothing is compared; leave one away")
        found.append(encoder)
    return found


def _shown(job: FileDataset, specs: Sequence[EncoderSpec], source: Source, stride: int) -> FileDataset:
    """The dataset with what encoders make of its pictures. Raises ValueError if there are none, or they are not all
    that one needs."""
    for text, spec in zip(source.encoders, specs, strict=True):
        if job.format != "libero-hdf5":
            what = f"{source.typed[0]} has no pictures that are read here; compute its features and give them"
            raise ValueError(f"--encoder {text}: {what} with --features FILE")
        if source.features or not spec.sees or spec.pretraining_steps:
            raise ValueError(
                f"--encoder {text}: expected one that reads pictures as it is, such as pretrained, and no "
                "--features beside it"
            )
    own, candidate, *_ = [*specs, None]
    return job.replace(encoder=own, candidate_encoder=candidate, every=stride)
