"""Processes that die, hang or simulate: what was finished is kept, one retry is given, simulators are used again."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pytest
import torch

from compression_gap import studies
from compression_gap.data.collect import collect
from compression_gap.data.demos import Demos
from compression_gap.measures.replay import ReplayDriver
from compression_gap.pipeline.job import Context, Job, with_needs
from compression_gap.pipeline.jobs import Demonstrations, Drawings, Replay, TrainedAgent
from compression_gap.pipeline.jobs.data import PIECES
from compression_gap.pipeline.plan import demonstrations, trained_agent
from compression_gap.pipeline.progress import Progress
from compression_gap.pipeline.run import Outcome, divide, run
from compression_gap.pipeline.worker import describe, run_here
from compression_gap.rollout import Rollouts
from compression_gap.store import Store
from compression_gap.suites.libero.suite import Libero
from compression_gap.suites.tabletop.suite import Tabletop, TabletopSuite

SMALL = Tabletop(image_size=16, batch=2)


@dataclass(frozen=True)
class Crashing(Job, kind="test_crashing"):
    """Finishes one more piece every time, and then dies as a graphics library does, until it has enough of them."""

    resumable: ClassVar[bool] = True
    simulates: ClassVar[bool] = True
    pieces: int
    finishes_any: bool = True

    def run(self, context: Context) -> None:
        done = len(list(context.folder.iterdir()))
        if done < self.pieces:
            if self.finishes_any:
                (context.folder / f"piece-{done}").touch()
            os.kill(os.getpid(), signal.SIGABRT)


@dataclass(frozen=True)
class Hanging(Job, kind="test_hanging"):
    """A step that never returns, the first time."""

    resumable: ClassVar[bool] = True
    simulates: ClassVar[bool] = True
    forever: bool

    def run(self, context: Context) -> None:
        before = context.folder / "been-here"
        if self.forever or not before.exists():
            before.touch()
            time.sleep(60)


@dataclass(frozen=True)
class Interrupted(Job, kind="test_interrupted"):
    """Ctrl-C, which reaches every process of a group, in the midst of it; and in a process that it begins."""

    def run(self, context: Context) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        told = subprocess.run(["grep", "SigBlk", "/proc/self/status"], capture_output=True, text=True, check=True)
        (context.folder / "blocked").write_text(told.stdout)


@dataclass(frozen=True)
class Slow(Job, kind="test_slow"):
    """Looks at its pictures for longer than a simulator may be silent, and says so."""

    simulates: ClassVar[bool] = True

    @property
    def silence(self) -> float:
        return 10.0

    def run(self, context: Context) -> None:
        time.sleep(4)


@dataclass(frozen=True)
class Where(Job, kind="test_where"):
    """Writes down in which process it ran."""

    number: int
    after: tuple[Job, ...] = ()

    def run(self, context: Context) -> None:
        (context.folder / "process").write_text(str(os.getpid()))


@dataclass(frozen=True)
class WhereSimulated(Where, kind="test_where_simulated"):
    """The same, in a simulator."""

    simulates: ClassVar[bool] = True


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def quiet(fraction: float, text: str) -> None: ...


def finish(jobs: list[Job], store: Store, *, workers: int = 1, patience: float = 20.0) -> Outcome:
    return run(jobs, store, workers=workers, device="cpu", progress=Progress(quiet=True), patience=patience)


def process(store: Store, job: Job) -> int:
    return int((store.folder(job) / "process").read_text())


def test_a_job_never_sees_control_c(store: Store) -> None:
    job = Interrupted()
    assert finish([job], store).done == [job]
    blocked = int((store.folder(job) / "blocked").read_text().split()[1], 16)
    assert blocked & 1 << signal.SIGINT - 1, "from its first instruction on"


def test_a_job_whose_process_dies_goes_on_in_another_as_long_as_it_gets_further(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Crashing(pieces=3)
    outcome = finish([job], store)
    assert outcome.done == [job]
    assert outcome.again == 3
    assert "again: test crashing: the process died with exit code -6" in capsys.readouterr().err


def test_a_job_that_dies_twice_at_the_same_place_has_failed_and_the_others_have_not(store: Store) -> None:
    crashing, other = Crashing(pieces=1, finishes_any=False), WhereSimulated(1)
    outcome = finish([crashing, other], store)
    assert outcome.failed == {crashing: "the process died with exit code -6 (negative: killed by that signal)"}
    assert outcome.done == [other]
    assert outcome.again == 1
    (kept,) = store.failures()
    assert (kept.job, kept.error) == (store.name(crashing), outcome.failed[crashing])


def test_a_job_that_cannot_go_on_where_it_died_is_tried_twice_whatever_it_left(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter([["a"], ["a", "b"], ["a"], ["a", "b"]])
    monkeypatch.setattr(Store, "pieces", lambda self, job: next(left))
    monkeypatch.setattr(Crashing, "resumable", False)
    assert finish([Crashing(pieces=9)], store).again == 1


def test_a_simulator_that_hangs_is_replaced_once(store: Store) -> None:
    assert finish([Hanging(forever=False)], store, patience=0.5).again == 1
    outcome = finish([Hanging(forever=True)], store, patience=0.5)
    assert "no sign of life for 0.5 s" in outcome.failed[Hanging(forever=True)]


def test_a_job_that_looks_at_its_pictures_for_long_is_not_hanging(store: Store) -> None:
    outcome = finish([Slow()], store, patience=0.5)
    assert outcome.done == [Slow()]
    assert outcome.again == 0


def test_waiting_for_what_another_run_is_making_is_not_hanging(store: Store) -> None:
    job = WhereSimulated(1)
    with store.lock(job):
        path = store.root / ".locks" / f"{job.kind}-{job.digest}"
    held = path.open("w")
    fcntl.flock(held, fcntl.LOCK_EX)
    release = threading.Timer(2.5, held.close)
    release.start()
    outcome = finish([job], store, patience=1.0)
    release.join()
    assert outcome.done == [job]
    assert outcome.again == 0


def test_a_process_that_has_a_simulator_gets_the_next_job_that_simulates_and_no_other(store: Store) -> None:
    first = WhereSimulated(1)
    learning = Where(2, after=(first,))
    last = WhereSimulated(3, after=(first,))
    finish([first, learning, last], store, workers=2)
    assert process(store, first) == process(store, last)
    assert process(store, first) != process(store, learning)


@pytest.fixture
def made(store: Store) -> tuple[Store, Demonstrations, Drawings]:
    demonstrations = Demonstrations(SMALL, task=1, first=0, attempts=6)
    drawings = Drawings(demonstrations, SMALL.cameras, history=1, stride=1)
    for job in (demonstrations, drawings):
        run_here(job, store, "cpu", quiet)
    return store, demonstrations, drawings


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "provenance.json"}


class Killed(BaseException):
    """As if the process had been killed."""


def kill_after(calls: int, owner: type, name: str, job: Job, store: Store) -> None:
    """Runs the job until a method has been called so often."""
    method, count = getattr(owner, name), 0

    def counting(*args, **kwargs):
        nonlocal count
        if count == calls:
            raise Killed
        count += 1
        return method(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, counting)
        with pytest.raises(Killed):
            run_here(job, store, "cpu", quiet)


def test_what_a_job_reads_is_made_again_where_it_is_gone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an agent's features were made from may be deleted; another agent on them looks at it again."""
    agents = [trained_agent(cell) for cell in studies.find("smoke").cells]
    agent = next(agent for agent in agents if agent.features)
    there = {job.digest for job in with_needs([agent])} - {agent.digest}
    gone = {job.digest for job in with_needs([agent]) if isinstance(job, Drawings)}
    assert gone
    monkeypatch.setattr(Store, "has", lambda self, job: job.digest in there - gone)
    found = {type(job) for job in divide([agent], store)[1]}
    assert found == {TrainedAgent, Drawings}
    assert agent.features[0].drawings in agent.needs


@pytest.mark.parametrize("kills", [1, 2])
def test_demonstrations_go_on_with_the_attempt_in_which_they_were_killed(
    kills: int, made: tuple[Store, Demonstrations, Drawings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, job, _ = made
    store, tried = Store(tmp_path / "again"), []
    states = TabletopSuite.initial_states

    def noted(self, task, protocol, indices):
        tried.append(tuple(indices))
        return states(self, task, protocol, indices)

    monkeypatch.setattr(TabletopSuite, "initial_states", noted)
    for _ in range(kills):
        kill_after(1, TabletopSuite, "initial_states", job, store)
    run_here(job, store, "cpu", quiet)
    assert tried == [(0, 1), (2, 3), (4, 5)]  # nothing is done twice
    assert files(store.folder(job)) == files(whole.folder(job))
    assert not (store.folder(job) / PIECES).exists()


def test_drawings_go_on_with_the_batch_in_which_they_were_killed(
    made: tuple[Store, Demonstrations, Drawings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, demonstrations, job = made
    store = Store(tmp_path / "again")
    run_here(demonstrations, store, "cpu", quiet)
    draw, drawn = TabletopSuite.draw, []

    def noted(self, task, scenes, camera):
        drawn.append((camera, len(scenes)))
        return draw(self, task, scenes, camera)

    monkeypatch.setattr(TabletopSuite, "draw", noted)
    kill_after(1, TabletopSuite, "draw", job, store)
    run_here(job, store, "cpu", quiet)
    frames = len(np.load(store.folder(job) / "frames.npy"))
    assert [sum(n for name, n in drawn if name == camera) for camera in SMALL.cameras] == [frames, frames]
    assert files(store.folder(job)) == files(whole.folder(job))


def test_rollouts_go_on_with_the_episodes_in_which_they_were_killed(store: Store, tmp_path: Path) -> None:
    job = Replay(SMALL, None, horizon=8, rollouts=Rollouts("test", episodes=3))
    run_here(job, store, "cpu", quiet)
    again = Store(tmp_path / "again")
    for finished in (4, 1):  # of 3 tasks of 2 batches each
        kill_after(finished, ReplayDriver, "begin", job, again)
    run_here(job, again, "cpu", quiet)
    assert files(again.folder(job)) == files(store.folder(job))


def test_rollouts_of_one_task_are_those_of_all_tasks(store: Store) -> None:
    jobs = [Replay(SMALL, None, 8, Rollouts("test", episodes=2), task=task) for task in (None, 0, 1, 2)]
    tables = []
    for job in jobs:
        run_here(job, store, "cpu", quiet)
        tables.append(pl.read_parquet(store.folder(job) / "episodes.parquet"))
    assert pl.concat(tables[1:]).equals(tables[0])
    assert jobs[0].digest != jobs[1].digest


@pytest.mark.parametrize(
    ("attempts", "pieces"),
    [(0, []), (4, [4]), (10, [10]), (11, [11]), (14, [14]), (15, [10, 5]), (31, [10, 10, 11]), (40, [10] * 4)],
)
def test_a_collection_ends_in_no_piece_of_a_few_attempts_which_may_all_fail(attempts: int, pieces: list[int]) -> None:
    found = demonstrations(Libero(tasks=(3,)), [0], 50, attempts)
    assert [job.attempts for job in found] == pieces
    assert [job.first for job in found] == [50 + sum(pieces[:n]) for n in range(len(pieces))]
    assert [job.attempts for job in demonstrations(SMALL, [0], 0, attempts)] == ([attempts] if attempts else [])


def test_collecting_nothing_but_failures_is_an_error() -> None:
    suite = SMALL.build()
    suite.legend = replace(suite.legend, max_steps=3)
    with pytest.raises(ValueError, match="the expert failed all 2 attempts at task 0"):
        collect(suite, 0, "demonstrations", 0, 2, 2, quiet)


def test_joined_demonstrations_have_the_task_ids_of_the_suite_that_unites_them() -> None:
    suite = SMALL.build()
    parts = [collect(suite, task, "demonstrations", 0, 2, 2, quiet) for task in (2, 0)]
    joined = Demos.join([part.of_task(number) for number, part in enumerate(parts)])
    assert joined.episodes["task"].to_list() == [0, 0, 1, 1]
    np.testing.assert_array_equal(joined.label[: len(parts[0].label)], parts[0].label)


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA"), RuntimeError("alloc: can't allocate memory: 9 bytes\nat")]
)
def test_memory_that_ran_out_is_said_in_one_line_with_the_cure(error: BaseException, tmp_path: Path):
    said = describe(error, Store(tmp_path))
    assert said.startswith("memory ran out: run the same command with fewer --workers, or choose smaller parts (")
    assert "\n" not in said
