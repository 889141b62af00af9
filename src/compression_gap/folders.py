"""Folders of files that others have made: known by their content, so that they may move and may not change unseen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path


def is_folder(name: str) -> bool:
    """Whether this is a path rather than a hub name: a folder that is there, or what only a path can look like."""
    return Path(name).is_dir() or name.startswith((".", "~", "/")) or name.count("/") > 1


def existing(name: str, field: str, what: str) -> Path:
    """The folder that a spec's field names, which holds a `what`: a model, a processor.

    Raises FileNotFoundError naming the field and the cure if it is gone.
    """
    folder = Path(name)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{field}: there is no folder {name}; put it back, or give the place where it is now "
            f"(a folder with the same content is the same {what}, wherever it is)"
        )
    return folder


def content_of(folder: Path, files: Iterable[Path]) -> str:
    """What stands in a digest for files of a folder: a hash of their contents and of their names inside of it."""
    content = hashlib.sha256()
    for path in sorted(files):
        status = path.stat()
        name = path.relative_to(folder).as_posix()
        content.update(f"{name} {_hash_of(path, status.st_size, status.st_mtime_ns)}\n".encode())
    return f"sha256:{content.hexdigest()}"


def all_files(folder: Path) -> list[Path]:
    """Every file but what tools leave behind: hidden ones, as of a download, and compiled Python."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(folder).parts)
    ]


@lru_cache
def _hash_of(path: Path, size: int, modified: int) -> str:
    """Of a file's content; large ones are read once a process for as long as their size and time stay the same."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
