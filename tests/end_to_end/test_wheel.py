"""The wheel holds all that the program needs, and runs where there is no checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_wheel_works_elsewhere(tmp_path: Path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "elsewhere"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    code = "import sys; from compression_gap import cli; print(cli.__file__, file=sys.stderr); sys.exit(cli.main())"
    command = [sys.executable, "-c", code, "report", "smoke", "--json", "--store", str(tmp_path / "store")]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(str(installed))
    page = Path(json.loads(done.stdout)["report"]).read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert "<style>" in page
    metadata = next(installed.glob("*.dist-info"))
    assert "cgap = compression_gap.cli:main" in (metadata / "entry_points.txt").read_text()
    assert "Provides-Extra: libero" in (metadata / "METADATA").read_text()
    assert (metadata / "licenses" / "LICENSE").exists()
