"""The repository keeps what it promises about itself: its map is true, its pages run, its files are small."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "compression_gap"
PIPELINE = "src/compression_gap/pipeline/"
MODULES = sorted(PACKAGE.rglob("*.py"))
SOFT_CAP = 330  # lines; a file that outgrows it holds two ideas
FOREIGN = re.compile(r"\bsession|\bhelper|/work/|/root/|/opt/|\bTODO\b|\bFIXME\b", re.IGNORECASE)


def code_blocks(page: Path, language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [block for name, block in found if name == language]


def tree() -> dict[str, str]:
    """Paths of the README's tree and what it says about them."""
    (block,) = [block for block in code_blocks(ROOT / "README.md", "") if "src/compression_gap/" in block]
    paths: dict[str, str] = {}
    parents: list[str] = []
    for line in block.splitlines():
        name, _, text = line.strip().partition(" ")
        depth = (len(line) - len(line.lstrip())) // 2
        parents = [*parents[:depth], name]
        paths["".join(parents)] = text.strip()
    return paths


def tracked() -> list[str]:
    """Files of the checkout, or of a copy without history."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True
    )
    if listed.returncode == 0:
        return listed.stdout.splitlines()
    return [str(path.relative_to(ROOT)) for path in ROOT.glob("[!.]*/**/*.py")]


def test_the_tree_in_the_readme_is_true():
    missing = [path for path in tree() if not (ROOT / path).exists()]
    assert not missing


def test_the_tree_in_the_readme_is_whole():
    told = set(tree())
    for parent in ("src/compression_gap/", "src/compression_gap/pipeline/", "docs/"):
        there = {path.name + "/" * path.is_dir() for path in (ROOT / parent).iterdir()}
        there = {
            name for name in there if not name.startswith(("__", "reports")) and name.endswith((".py", ".md", "/"))
        }
        assert {parent + name for name in there} <= told, f"{parent} has what the README does not tell"
    top = {path.partition("/")[0] for path in tracked()} - {"README.md", "LICENSE", ".gitignore"}
    assert top <= {path.partition("/")[0] for path in told}, "the README does not tell what stands at the top"


def test_every_line_of_the_tree_says_something():
    assert [path for path, text in tree().items() if not text] == ["docs/", "src/compression_gap/", PIPELINE]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_says_what_it_is_and_is_not_long(path: Path):
    text = path.read_text("utf-8")
    if path.name != "__init__.py" or text:
        assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert text.count("\n") <= SOFT_CAP


def is_script(node: ast.AST) -> bool:
    """Whether it is an expert's script, whose name is its instruction."""
    return any(isinstance(inner, ast.YieldFrom) for inner in ast.walk(node))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_public_functions_and_classes_are_documented(path: Path):
    found = [
        node.name
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if not ast.get_docstring(node) and not is_script(node)
    ]
    assert not found


def test_nothing_speaks_of_where_it_was_made():
    found = []
    for name in tracked():
        path = ROOT / name
        if path == Path(__file__) or path.suffix in {".png", ".html", ".npy"} or not path.exists():
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if FOREIGN.search(line):
                found.append(f"{name}:{number}: {line.strip()}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("page", ["statistics.md", "architecture.md"])
def test_the_code_of_a_page_runs_from_top_to_bottom(page: str):
    blocks = code_blocks(ROOT / "docs" / page, "python")
    assert blocks
    namespace: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), namespace)


def test_links_between_pages_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_study_says_how_to_run_it_what_it_costs_and_what_to_expect():
    for path in (PACKAGE / "studies").glob("[!_]*.py"):
        said = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        assert f"cgap run {path.stem}" in said, path.name
        assert re.search(r"^Cost:", said, re.MULTILINE), path.name
        assert re.search(r"^Expect:", said, re.MULTILINE), path.name


SKIPPING = {
    "test_at_once.py": "import pytest\n\n\ndef test_nothing():\n    pytest.skip('no browser')\n",
    "test_as_a_whole.py": "import pytest\n\npytest.importorskip('no_such_simulator')\n",
}


@pytest.mark.parametrize(
    ("folder", "ci", "said"),
    [("simulators", "true", "1 failed, 1 error"), ("simulators", "", "2 skipped"), ("unit", "true", "2 skipped")],
)
def test_ci_accepts_no_skipped_browser_or_simulator_test(folder: str, ci: str, said: str, tmp_path: Path):
    (tmp_path / folder).mkdir()
    for name in ("conftest.py", "checked.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path)
    for name, text in SKIPPING.items():
        (tmp_path / folder / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "--continue-on-collection-errors", folder]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "CI": ci}, capture_output=True, text=True)
    assert said in done.stdout
