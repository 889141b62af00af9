"""Results by digest. A folder that exists is complete; everything unfinished lives elsewhere.

<store>/<kind>/<digest>/    job.json, provenance.json and the job's own files
<store>/.partial/           folders being written, with checkpoints from which a killed job goes on
<store>/.failed/            tracebacks of jobs that failed, until they succeed
<store>/.locks/             one file a job; whoever holds its lock is working on it
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression_gap.config import Spec, from_json, to_json

DEFAULT_ROOT = "store"
ROOT_VARIABLE = "CGAP_STORE"


class StoreError(Exception):
    """A folder in the store is not what its name says; the message names the folder and the cure."""


@dataclass(frozen=True)
class Failure:
    """Why a job failed the last time it ran."""

    job: str
    error: str
    traceback: str


def default_root() -> Path:
    """Where results go unless told otherwise: $CGAP_STORE, else ./store."""
    return Path(os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT)


class Store:
    """A folder of finished results, safe against kills at any moment and against two runs at once."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def name(self, job: Spec) -> str:
        """The job's place below the store."""
        return f"{job.kind}/{job.digest}"

    def folder(self, job: Spec) -> Path:
        """Where the job's finished files are, or will be."""
        return self.root / job.kind / job.digest

    def has(self, job: Spec) -> bool:
        """Whether the job is finished.

        Raises StoreError if its folder is there but foreign or damaged.
        """
        folder = self.folder(job)
        if not folder.exists():
            return False
        verify(folder)
        return True

    def folders(self) -> Iterator[Path]:
        """The folder of every finished job, damaged ones among them."""
        for kind in sorted(self.root.glob("[!.]*/")):
            yield from sorted(kind.glob("[!.]*/"))

    def unfinished(self) -> list[str]:
        """Names of the jobs that were begun and not finished; some may be running now."""
        return sorted(folder.name.replace("-", "/", 1) for folder in (self.root / ".partial").glob("*/"))

    def pieces(self, job: Spec) -> list[str]:
        """Names of the files that an unfinished job has finished so far."""
        partial = self.root / ".partial" / f"{job.kind}-{job.digest}"
        return sorted(str(path.relative_to(partial)) for path in partial.rglob("*") if not path.match("*.new"))

    @property
    def free_mb(self) -> float:
        """Free space where it is, or will be."""
        folder = self.root
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free / 1e6

    def make(self) -> Path:
        """Makes the store and returns the folder of its locks. Raises StoreError if nothing can be written there."""
        locks = self.root / ".locks"
        try:
            locks.mkdir(parents=True, exist_ok=True)
            wrong = "" if os.access(locks, os.W_OK) else "permission denied"
        except OSError as error:
            wrong = str(error.strerror)
        if wrong:
            cure = f"choose another folder with --store or ${ROOT_VARIABLE}"
            raise StoreError(f"nothing can be written to the store {self.root} ({wrong}): {cure}")
        return locks

    @contextmanager
    def lock(self, job: Spec) -> Iterator[None]:
        """Waits until nobody else works on the job. The kernel frees the lock when its holder dies, however it dies."""
        with (self.make() / f"{job.kind}-{job.digest}").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def partial(self, job: Spec) -> Path:
        """The folder in which the job's files are being written; what a killed run left there is still there."""
        folder = self.root / ".partial" / f"{job.kind}-{job.digest}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def clock(self, job: Spec) -> Path:
        """The file that says how long an unfinished job has been worked on: beside its folder, as it is no result."""
        return self.root / ".partial" / f"{job.kind}-{job.digest}.seconds"

    def finish(self, job: Spec, provenance: dict[str, Any]) -> Path:
        """Moves the partial folder to its final name, with job.json and provenance.json, in one rename."""
        partial, folder = self.partial(job), self.folder(job)
        for name in ("*.new", "job.json", "provenance.json"):  # left by a kill in the middle of writing
            for path in partial.glob(name):
                path.unlink()
        sizes = {str(p.relative_to(partial)): p.stat().st_size for p in sorted(partial.rglob("*")) if p.is_file()}
        write_json(partial / "job.json", to_json(job))
        write_json(partial / "provenance.json", {"digest": job.digest, "files": sizes, **provenance})
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(folder)
        self._failure_file(job).unlink(missing_ok=True)
        return folder

    def discard(self, job: Spec) -> None:
        """Removes what an unfinished run of the job left behind."""
        shutil.rmtree(self.root / ".partial" / f"{job.kind}-{job.digest}", ignore_errors=True)
        self.clock(job).unlink(missing_ok=True)

    def fail(self, job: Spec, error: str, traceback: str) -> None:
        """Keeps a failure until the job succeeds."""
        path = self._failure_file(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"job": self.name(job), "error": error, "traceback": traceback})

    def failures(self) -> list[Failure]:
        """Every failure that has not been made good."""
        return [Failure(**json.loads(path.read_text())) for path in sorted((self.root / ".failed").glob("*.json"))]

    def _failure_file(self, job: Spec) -> Path:
        return self.root / ".failed" / f"{job.kind}-{job.digest}.json"


def verify(folder: Path) -> dict[str, Any]:
    """The provenance of a finished job's folder.

    Raises StoreError if the folder is foreign or a file in it is missing or has another size than it was written with.
    """
    cure = f"this is not a result that cgap finished; move it away or delete it, then run again: {folder}"
    try:
        provenance = json.loads((folder / "provenance.json").read_text())
        json.loads((folder / "job.json").read_text())
        found, sizes = provenance["digest"], dict(provenance["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"job.json or provenance.json is missing or damaged ({error}): {cure}") from error
    if found != folder.name:
        raise StoreError(f"provenance.json says digest {found}, the folder's name says {folder.name}: {cure}")
    for name, size in sizes.items():
        path = folder / name
        if not path.exists():
            raise StoreError(f"{name} is gone: {cure}")
        if path.stat().st_size != size:
            raise StoreError(f"{name} had {size} bytes when it was finished and has {path.stat().st_size} now: {cure}")
    return provenance


def read_job(folder: Path) -> Any:
    """The job whose result a folder holds.

    Raises StoreError if the folder has no readable job.json.
    """
    try:
        data = json.loads((folder / "job.json").read_text())
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder} holds no result of cgap: job.json cannot be read ({error})") from error
    return from_json(data, where="job.json")


def write_json(path: Path, data: Any) -> None:
    """Writes JSON as `write_text` does."""
    write_text(path, json.dumps(data, indent=1, sort_keys=True))


def write_text(path: Path, text: str) -> None:
    """Writes beside and renames, so that a kill, a full disk or another writer leaves no half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
