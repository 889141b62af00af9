"""Files of somebody's own that name a study: what is wrong in them is told before anything runs."""

import inspect
from dataclasses import replace
from pathlib import Path

import pytest

from compression_gap import studies
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.policies.diffusion import Diffusion
from compression_gap.studies import smoke

SOURCE = inspect.getsource(smoke)


def own(folder: Path, source: str) -> str:
    file = folder / "own_study.py"
    file.write_text(source)
    return str(file)


def test_a_file_of_your_own_is_a_study(tmp_path: Path):
    assert studies.find(own(tmp_path, SOURCE)).cells == smoke.grid().cells


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("def grid() -> Grid:", "def grid() -> Grid:\n    return (", r"line \d+: SyntaxError"),
        ("def grid() -> Grid:", "import nowhere\n\n\ndef grid() -> Grid:", r"line \d+: ModuleNotFoundError: .*nowhere"),
        ("def grid() -> Grid:", "def grid() -> Grid:\n    1 / 0", r"line \d+: ZeroDivisionError"),
        ("def grid() -> Grid:", "def gird() -> Grid:", "expected a function grid.*did you mean 'gird'"),
        ('weak="weak"', 'weak="weka"', r"line \d+: Grid.weak: there is no sight 'weka'; did you mean 'weak'"),
        ('        weak="weak",\n', "", r"line \d+: TypeError: .*'weak'"),
    ],
)
def test_what_is_wrong_in_it_is_told_with_its_line(tmp_path: Path, before: str, after: str, told: str):
    assert before in SOURCE
    with pytest.raises(ValueError, match=f"(?s)own_study.py.*{told}"):
        studies.find(own(tmp_path, SOURCE.replace(before, after)))


def test_a_syntax_error_of_a_file_that_it_imports_is_told_with_that_file(tmp_path: Path):
    (tmp_path / "broken_part.py").write_text("x = (")
    with pytest.raises(ValueError, match=r"own_study.py, line 1: SyntaxError: .*broken_part.py"):
        studies.find(own(tmp_path, "import broken_part\n" + SOURCE))


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("seeds", (0, 0), "Grid.seeds: expected at least one, each once"),
        (
            "methods",
            (smoke.DIFFUSION, smoke.DIFFUSION),
            "Grid.methods: expected at least one, each with a name of its own",
        ),
        ("sights", (), "Grid.sights: expected at least one"),
        ("state", "stat", "Grid.state: there is no sight 'stat'; did you mean 'state'"),
    ],
)
def test_a_grid_that_cannot_be_reported_is_refused(field: str, value: object, told: str):
    with pytest.raises(ValueError, match=told):
        replace(smoke.grid(), **{field: value})


@pytest.mark.parametrize("policy", [Autoregressive, Diffusion])
def test_attention_heads_divide_the_width(policy: type[Autoregressive | Diffusion]):
    with pytest.raises(ValueError, match=f"{policy.__name__}.heads: expected a divisor of its width 32, got 3"):
        policy(width=32, heads=3)
