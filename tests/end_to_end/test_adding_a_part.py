"""docs/adding_a_part.md as a stranger would follow it, in a process that knows nothing of this checkout's tests."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from compression_gap.plugins import OPEN_FAMILIES

PAGE = Path(__file__).parents[2] / "docs" / "adding_a_part.md"


def blocks(language: str) -> list[str]:
    """The page's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's files, and what `pip install .` would have left beside them."""
    folder = tmp_path_factory.mktemp("stranger")
    for block in blocks("python") + blocks("toml"):
        (folder / block.partition("\n")[0].removeprefix("# ")).write_text(block)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    installed = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = (
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
        for group, points in project["entry-points"].items()
    )
    (installed / "entry_points.txt").write_text("\n".join(groups))
    return folder


def at(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command typed in the stranger's folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    tools = Path(sys.executable).parent
    return subprocess.run(
        [tools / words[0], *words[1:]], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_page_names_every_family_that_is_open():
    assert set(re.findall(r"`compression_gap\.(\w+)`", PAGE.read_text("utf-8"))) == set(OPEN_FAMILIES)


def test_the_commands_of_the_page_do_what_it_says(stranger: Path):
    said = {}
    for line in "".join(blocks("sh")).splitlines():
        done = at(stranger, *shlex.split(line))
        assert done.returncode == 0, done.stderr
        said[line] = " ".join(done.stdout.split())
    assert "polynomial: Legendre coefficients of every action value, in uniform bins." in said["cgap list tokenizers"]
    assert "bins = 64 Bins of a coefficient" in said["cgap list tokenizers"]
    assert "tokenizer polynomial" in said["cgap run my_study.py --dry-run"]
    assert "Polynomial (greedy)" in said["cgap run my_study.py"]
    assert (stranger / "store" / "reports" / "polynomial.html").exists()
    (compared,) = (text for line, text in said.items() if line.startswith("cgap tokenizers"))
    assert "polynomial:degree=1 polynomial" in compared
    assert "14 of 64 28 of 64" in compared, "tokens, of a vocabulary"
    assert len(list((stranger / "store" / "reports").glob("tokenizers-tabletop-*.html"))) == 1
    (tried,) = (text for line, text in said.items() if line.startswith("cgap try"))
    assert tried.startswith("Polynomial on state, seed 0")


def test_the_part_keeps_its_contract(stranger: Path):
    done = at(stranger, "python", "-m", "pytest", "-q", "test_polynomial.py")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
