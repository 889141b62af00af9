"""The store: what is there is complete, and whoever finds something else is told what to do."""

from __future__ import annotations

import errno
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from compression_gap import plugins
from compression_gap.pipeline import making
from compression_gap.pipeline import provenance as provenance_of
from compression_gap.pipeline.job import Context, Cost, Job
from compression_gap.pipeline.jobs.data import array_on_disk
from compression_gap.pipeline.progress import Progress
from compression_gap.pipeline.run import divide, longest_chain_first, run
from compression_gap.pipeline.worker import execute, run_here
from compression_gap.store import Store, StoreError, default_root, read_job, verify, write_text


@dataclass(frozen=True)
class Number(Job, kind="test_number"):
    """Writes a number; a negative one fails."""

    value: int
    wait: float = 0.0

    def run(self, context: Context) -> None:
        if self.value < 0:
            raise ValueError(f"{self.value} is negative")
        time.sleep(self.wait)
        with (context.folder / "number.txt").open("a") as file:
            file.write(f"{self.value}\n")


@dataclass(frozen=True)
class Total(Job, kind="test_total"):
    """Adds numbers."""

    numbers: tuple[Number, ...]

    def run(self, context: Context) -> None:
        texts = [(context.store.folder(number) / "number.txt").read_text() for number in self.numbers]
        (context.folder / "total.txt").write_text(str(sum(map(int, texts))))


@dataclass(frozen=True)
class Filling(Job, kind="test_filling"):
    """Writes more than a small disk holds, in one of the ways in which jobs write."""

    how: str

    def run(self, context: Context) -> None:
        path = context.folder / "large.npy"
        if self.how == "map":
            array_on_disk(path, np.uint8, (4_000_000,))[:] = 1
        else:
            np.save(path, np.ones(4_000_000, np.uint8))


KINDS = {"test_number": "Number", "test_total": "Total", "test_filling": "Filling", "test_halting": "Halting"}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the kinds above known, as a package's table would."""
    here = {kind: globals()[name] for kind, name in KINDS.items()}
    find = plugins.find
    monkeypatch.setattr(plugins, "find", lambda family, kind: here.get(kind) or find(family, kind))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def do(job: Job, store: Store) -> None:
    run_here(job, store, "cpu", lambda fraction, text: None)


def test_a_finished_job_is_a_folder_that_says_what_it_is(store: Store):
    job = Number(3)
    assert not store.has(job)
    do(job, store)
    folder = store.folder(job)
    assert store.has(job)
    assert read_job(folder) == job
    provenance = verify(folder)
    assert provenance["files"] == {"number.txt": 2}
    assert {"versions", "commit", "device", "seconds", "peak_memory_mb"} <= set(provenance)
    assert list(store.folders()) == [folder]
    assert store.unfinished() == []


def test_a_finished_job_is_not_run_again(store: Store):
    for _ in range(2):
        do(Number(3), store)
    assert (store.folder(Number(3)) / "number.txt").read_text() == "3\n"


def test_what_a_killed_run_left_is_thrown_away_unless_the_job_can_use_it(store: Store):
    (store.partial(Number(3)) / "number.txt").write_text("half")
    do(Number(3), store)
    assert (store.folder(Number(3)) / "number.txt").read_text() == "3\n"


@dataclass(frozen=True)
class Halting(Job, kind="test_halting"):
    """Stops in the middle, while somebody says so."""

    stops: ClassVar[bool] = True

    def run(self, context: Context) -> None:
        context.report(0.5, "half of it")
        if self.stops:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("resumable", "seconds"), [(True, 300.0), (False, 200.0)])
def test_the_time_that_a_killed_run_took_counts_as_long_as_its_work_is_kept(
    resumable: bool, seconds: float, store: Store, monkeypatch: pytest.MonkeyPatch
):
    now = itertools.count(step=50.0)  # every look at the clock is a while later
    monkeypatch.setattr(making, "time", SimpleNamespace(monotonic=lambda: next(now)))
    monkeypatch.setattr(Halting, "resumable", resumable)
    with pytest.raises(KeyboardInterrupt):
        do(Halting(), store)
    assert store.clock(Halting()).exists() == resumable
    monkeypatch.setattr(Halting, "stops", False)
    do(Halting(), store)
    assert verify(store.folder(Halting()))["seconds"] == seconds
    assert not store.clock(Halting()).exists()


@pytest.mark.parametrize("left", ["job.json", "provenance.json", "provenance.new"])
def test_a_kill_in_the_middle_of_finishing_does_no_harm(left: str, store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Number, "resumable", True)
    (store.partial(Number(3)) / left).write_text("half")
    do(Number(3), store)
    assert verify(store.folder(Number(3)))["files"] == {"number.txt": 2}
    assert sorted(path.name for path in store.folder(Number(3)).iterdir()) == [
        "job.json",
        "number.txt",
        "provenance.json",
    ]


def damage_truncated(folder: Path) -> None:
    (folder / "number.txt").write_text("")


def damage_gone(folder: Path) -> None:
    (folder / "number.txt").unlink()


def damage_foreign(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "holiday.jpg").write_text("")


def damage_half_written(folder: Path) -> None:
    (folder / "provenance.json").write_text('{"digest": ')


def damage_other_digest(folder: Path) -> None:
    provenance = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps({**provenance, "digest": "0" * 20}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_truncated, "number.txt had 2 bytes when it was finished and has 0 now"),
        (damage_gone, "number.txt is gone"),
        (damage_foreign, "job.json or provenance.json is missing or damaged"),
        (damage_half_written, "job.json or provenance.json is missing or damaged"),
        (damage_other_digest, "provenance.json says digest 00000000000000000000, the folder's name says"),
    ],
)
def test_a_damaged_folder_is_named_with_the_cure_and_left_alone(damage, message: str, store: Store):
    job = Number(3)
    do(job, store)
    damage(store.folder(job))
    before = sorted(store.folder(job).iterdir())
    with pytest.raises(StoreError, match=message) as caught:
        divide([Total((job,))], store)
    assert "move it away or delete it, then run again" in str(caught.value)
    assert str(store.folder(job)) in str(caught.value)
    assert sorted(store.folder(job).iterdir()) == before


def test_a_folder_without_a_job_cannot_be_read(tmp_path: Path):
    with pytest.raises(StoreError, match=r"holds no result of cgap: job.json cannot be read"):
        read_job(tmp_path)


def test_what_much_waits_for_begins_first(store: Store, monkeypatch: pytest.MonkeyPatch):
    seconds = {1: 1.0, 2: 5.0, 3: 9.0}
    monkeypatch.setattr(Number, "cost", lambda self: Cost(seconds[self.value]))
    monkeypatch.setattr(Total, "cost", lambda self: Cost(6.0))
    one, two, three = (Number(value) for value in (1, 2, 3))
    total = Total((two,))  # 2 and the total take 11 together
    assert longest_chain_first([one, two, total, three]) == [two, three, total, one]


def test_jobs_of_one_place_come_one_after_the_other_once_nothing_waits_for_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Number, "cost", lambda self: Cost(float(self.value)))
    monkeypatch.setattr(Number, "place", property(lambda self: "even" if self.value % 2 == 0 else "odd"))
    numbers = [Number(value) for value in (1, 2, 3, 4, 5, 6)]
    total = Total((numbers[0],))
    assert [job.value for job in longest_chain_first([*numbers, total]) if job != total] == [1, 6, 4, 2, 5, 3]


def test_only_what_is_missing_is_run_and_not_what_only_finished_jobs_need(store: Store):
    numbers = (Number(1), Number(2))
    total = Total(numbers)
    assert divide([total], store) == ([], [*numbers, total])
    do(Number(1), store)
    assert divide([total], store) == ([Number(1)], [Number(2), total])
    do(Number(2), store)
    do(total, store)
    shutil.rmtree(store.folder(Number(1)))
    assert divide([total], store) == ([total], [])


def test_failures_are_kept_until_they_are_made_good_and_stop_only_what_needs_them(store: Store):
    good, bad = Total((Number(1), Number(2))), Total((Number(1), Number(-1)))
    outcome = run([bad, good], store, workers=2, device="cpu", progress=Progress(quiet=True))
    assert (store.folder(good) / "total.txt").read_text() == "3"
    assert outcome.failed == {Number(-1): "ValueError: -1 is negative"}
    assert outcome.blocked == [bad]
    assert len(outcome.done) == 3
    (failure,) = store.failures()
    assert failure.job == store.name(Number(-1))
    assert "raise ValueError" in failure.traceback
    store.finish(Number(-1), {})  # as if the cause had been removed
    assert store.failures() == []


def test_a_process_that_is_killed_is_a_failure_and_not_the_end(store: Store):
    outcome = run([Suicide(), Number(4)], store, workers=1, device="cpu", progress=Progress(quiet=True))
    assert store.has(Number(4))
    assert list(outcome.failed) == [Suicide()]
    assert "memory ran out" in outcome.failed[Suicide()]


@dataclass(frozen=True)
class Suicide(Job, kind="test_suicide"):
    """Dies as if the kernel had run out of memory."""

    def run(self, context: Context) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def test_of_two_writers_one_works_and_the_other_waits_for_it(store: Store):
    context = multiprocessing.get_context("forkserver")
    job = Number(5, wait=0.3)
    writers = []
    for _ in range(2):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=execute, args=(job, store, "cpu", theirs))
        process.start()
        writers.append((process, ours, theirs))
    for process, _, _ in writers:
        process.join()
        assert process.exitcode == 0
    assert (store.folder(job) / "number.txt").read_text() == "5\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes, for those who may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True)
    if mount.returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("how", ["map", "save"])
def test_a_full_disk_is_called_so_and_leaves_no_result(how: str, small_disk: Path):
    store = Store(small_disk)
    job = Filling(how)
    do(Number(1), store)
    outcome = run([job], store, workers=1, device="cpu", progress=Progress(quiet=True))
    assert outcome.failed[job].startswith(f"the disk is full ({small_disk}): free some space or choose another --store")
    assert not store.has(job)
    assert store.has(Number(1))


def test_a_disk_that_is_full_when_a_result_is_finished_leaves_no_result(store: Store, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            do(Number(1), store)
    assert not store.has(Number(1))
    assert store.unfinished() == [store.name(Number(1))]
    do(Number(1), store)
    assert store.has(Number(1))


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path):
    page, text = tmp_path / "page.html", "x" * 200_000

    def writing():
        for _ in range(30):
            write_text(page, text)

    writers = [multiprocessing.get_context("fork").Process(target=writing) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert page.read_text() == text


def test_a_users_file_beside_a_page_is_left_alone(tmp_path: Path):
    (tmp_path / "page.new").write_text("mine")
    write_text(tmp_path / "page.html", "ours")
    assert (tmp_path / "page.new").read_text() == "mine"


def test_a_commit_of_somebody_elses_project_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "a"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    installed = tmp_path / "site-packages" / "provenance.py"
    installed.parent.mkdir()
    installed.write_text("")
    monkeypatch.setattr(provenance_of, "__file__", str(installed))
    assert provenance_of._commit() is None
    subprocess.run(["git", "-C", str(tmp_path), "add", "."], check=True)
    assert provenance_of._commit() is not None


def test_the_place_is_a_setting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CGAP_STORE", raising=False)
    assert default_root() == Path("store")
    monkeypatch.setenv("CGAP_STORE", "/elsewhere")
    assert default_root() == Path("/elsewhere")
