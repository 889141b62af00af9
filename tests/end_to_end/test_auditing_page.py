"""docs/auditing.md as a stranger would follow it: its arrays are written, and its command is typed."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from compression_gap.cli import main
from compression_gap.commands.audit_plan import BUDGETS
from compression_gap.data.formats.arrays import FIELDS
from compression_gap.verdict.head_learning import HeadTraining
from recorded import run_here

PAGE = Path(__file__).parents[2] / "docs" / "auditing.md"
TINY = HeadTraining(steps=8, batch=16, width=8, seeds=(0,), fractions=(0.5, 1.0), judged=100)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_the_page_names_every_field():
    table = PAGE.read_text("utf-8").partition("| field |")[2].partition("\n\n")[0]
    assert set(FIELDS) <= set(re.findall(r"`(\w+)`", table))


def test_the_page_tells_the_budgets():
    table = PAGE.read_text("utf-8").partition("| budget |")[2]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(BUDGETS)


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    for name in ("audit", "audit_data"):
        module = import_module(f"compression_gap.commands.{name}")
        monkeypatch.setattr(module, "finish", lambda jobs, store, workers, device, quiet: run_here(jobs, store))
    tiny = {name: replace(budget, heads=TINY, regression=TINY) for name, budget in BUDGETS.items()}
    monkeypatch.setattr(import_module("compression_gap.commands.audit"), "BUDGETS", tiny)
    (code,) = blocks("python")
    exec(compile(code, str(PAGE), "exec"), {})
    (command,) = blocks("sh")
    assert main(shlex.split(command)[1:]) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) <= 40
    text = "\n".join(said)
    for words in ("2,400 steps of 60 demonstrations", "the next 8 actions hold", "features tell", "binning:bins=16"):
        assert words in text
