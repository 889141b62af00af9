"""What a result was made with: kept beside it and never part of its name, so equal settings give equal files."""

from __future__ import annotations

import datetime
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("compression-gap", "torch", "numpy", "polars", "transformers", "mujoco", "robosuite")


def provenance(*, device: str, seconds: float, peak_memory_mb: float) -> dict[str, Any]:
    """Versions, commit, machine and what the job took."""
    return {
        "seconds": round(seconds, 3),
        "peak_memory_mb": round(peak_memory_mb, 1),
        "device": device,
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **_surroundings(),
    }


@cache
def _surroundings() -> dict[str, Any]:
    return {
        "versions": versions(),
        "commit": _commit(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Installed versions of what the numbers depend on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The checkout's commit if the package runs from one, with a mark if files differ from it. Somebody else's, in
    which the package is only installed, does not know this file."""
    here, found = Path(__file__), ""
    try:
        for command in (["ls-files", "--error-unmatch", here.name], ["describe", "--always", "--dirty", "--abbrev=12"]):
            git = ["git", "-C", str(here.parent), *command]
            found = subprocess.run(git, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return found or None
