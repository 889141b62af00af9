"""The command line without running a study: what is typed wrong is answered in one line, and help comes at once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from compression_gap import config, plugins
from compression_gap.arguments import arguments
from compression_gap.cli import asked, leaves, main, selection
from compression_gap.commands import typed
from compression_gap.commands.answer import duration, size
from compression_gap.shapes import ChunkShape
from datasets import arrays, write_arrays


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from compression_gap.arguments import arguments; arguments().format_help();"
        "import compression_gap; compression_gap.__all__;"
        "print([name for name in ('torch', 'numpy', 'polars', 'rich', 'mujoco') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_public_names_are_there():
    import compression_gap

    for name in compression_gap.__all__:
        assert getattr(compression_gap, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = compression_gap.Nothing


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "smokee"], "there is no study 'smokee' (a file of your own ends in .py); did you mean 'smoke'?"),
        (["run", "nowhere/mine.py"], "there is no study file"),
        (["report", "smokee"], "did you mean 'smoke'?"),
        (["try", "smoke", "--method", "Difusion"], "the study has no method 'Difusion'; did you mean 'Diffusion'?"),
        (["try", "smoke", "--sight", "strnog"], "the study has no sight 'strnog'; did you mean 'strong'?"),
        (["try", "smoke", "--method.policy.widht", "3"], "Diffusion has no field 'widht'; did you mean 'width'?"),
        (["try", "smoke", "--method.policy.width", "3.5"], "width: expected int, got 3.5"),
        (["try", "smoke", "--method.policy.width"], "expected settings as --name value"),
        (["try", "smoke", "width=3"], "expected settings as --name value, got 'width=3'"),
        (
            ["collect", "tabletop", "--worker", "2"],
            "Tabletop has no field 'worker'; there are batch, image_size, tolerance_mm (or the option --workers?)",
        ),
        (["evaluate", "nowhere"], "nowhere holds no result of cgap"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CGAP_STORE", str(tmp_path))
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("cgap: ")
    assert message in said.err
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


SAY = "from compression_gap.output import said; raise SystemExit(0 if said('an answer') else 1)"
CALL = "from compression_gap.cli import main; raise SystemExit(main())"


def test_a_full_disk_behind_the_standard_output_is_one_line(tmp_path: Path):
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-c", SAY]
        found = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert found.returncode == 1
    assert found.stderr == (
        "cgap: the answer cannot be written to the standard output (No space left on device): send it elsewhere\n"
    )


@pytest.mark.parametrize("words", [["-c", SAY], ["-c", CALL, "status", "--help"]])
def test_a_reader_that_has_seen_enough_is_no_failure(words: list[str], tmp_path: Path):
    reading, writing = os.pipe()
    os.close(reading)
    found = subprocess.run([sys.executable, *words], stdout=writing, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    os.close(writing)
    assert (found.returncode, found.stderr) == (0, "")


def test_what_went_wrong_keeps_its_exit_code_though_nobody_listens(tmp_path: Path):
    words = "from compression_gap.output import complain; complain('it is wrong'); raise SystemExit(2)"
    with Path("/dev/full").open("w") as full:
        assert subprocess.run([sys.executable, "-c", words], stderr=full, cwd=tmp_path).returncode == 2


def test_complaints_of_a_closed_standard_error_do_not_reach_the_answer(tmp_path: Path):
    typed = [sys.executable, "-c", CALL, "run", "nonsense", "--json", "--store", str(tmp_path)]
    done = subprocess.run(["sh", "-c", '"$@" 2>&-', "sh", *typed], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("words", [["audit", "own.npz"], ["collect", "tabletop", "--no-pictures"]])
def test_a_store_that_cannot_be_written_is_named_with_the_cure(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    write_arrays(tmp_path / "own.npz", arrays(10))
    (tmp_path / "taken").write_text("a file")
    assert main([*words, "--store", "taken"]) == 2
    said = capsys.readouterr().err
    assert f"cgap: nothing can be written to the store {tmp_path / 'taken'} (" in said
    assert said.endswith("choose another folder with --store or $CGAP_STORE\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("oat:width=0", "Oat.width: expected a multiple of head_width 32, got 0"),
        ("oat:head_width=0", "Oat.head_width: expected at least 1, got 0"),
        ("oat:width=-32", "Oat.width: expected a multiple of head_width 32, got -32"),
        ("oat:encoder_layers=2,levels=(8,-5)", "FSQ needs at least 2 levels in every dimension, got (8, -5)"),
        (
            "oat:levels=(1000,1000,1000,1000,1000,1000,1000)",
            "as the product of its levels: at most 2^62, got (10",
        ),
        ("rvq:codes=1000000000000000", "rvq:codes=1000000000000000: it cannot be built with these settings (Runtime"),
        ("quest:width=0", "Quest.width: expected a multiple of head_width 32, got 0"),
        ("fast:scale=0", "Fast.scale: expected more than 0"),
    ],
)
def test_a_tokenizer_whose_settings_do_not_fit_is_told_in_one_line(text: str, message: str):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        typed.tokenizer(text, ChunkShape(16, 7))
    assert "\n" not in str(error.value)


@dataclass(frozen=True)
class Fraction(config.Spec, family="tokenizers", kind="fraction"):
    """A part that did not foresee every setting."""

    below: int = 1

    def __post_init__(self) -> None:
        _ = 1 / self.below


def test_whatever_goes_wrong_with_a_setting_is_placed():
    message = r"it cannot be built with these settings \(ZeroDivisionError: division by zero\); choose others"
    with pytest.raises(ValueError, match=f"Fraction: {message}"):
        config.override(Fraction(), {"below": "0"})
    with pytest.raises(ValueError, match=f"job.json: {message}"):
        config.construct(Fraction, {"below": 0}, "job.json")


@pytest.mark.parametrize(
    "words",
    [[], ["runn"], ["run"], ["run", "smoke", "--workers", "0"], ["status", "--seed", "1"], ["run", "smoke", "x"]],
)
def test_wrong_words_show_the_usage_and_exit_with_2(words: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert "usage: cgap" in capsys.readouterr().err


def test_a_study_file_without_a_grid_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "empty.py").write_text("def gird():\n    return None\n")
    assert main(["run", str(tmp_path / "empty.py")]) == 2
    assert "expected a function grid() that returns a Grid; did you mean 'gird'?" in capsys.readouterr().err


def test_the_catalogue_shows_every_part_with_its_settings(capsys: pytest.CaptureFixture[str]):
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {*plugins.OPEN_FAMILIES, "studies"}
    for family in plugins.OPEN_FAMILIES:
        assert set(found[family]) == set(plugins.kinds(family))
        assert all(entry["text"] for entry in found[family].values())
    fields = {field["name"]: field for field in found["tokenizers"]["binning"]["fields"]}
    assert fields["bins"] == {"name": "bins", "type": "int", "default": "256", "text": "Bins a value."}
    assert "smoke" in found["studies"]


def test_a_part_whose_extra_is_missing_is_listed_with_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(plugins.BUILT_IN["suites"], "libero", "suites.nowhere:Libero")
    monkeypatch.setitem(plugins.EXTRAS, "compression_gap", "libero")
    assert main(["list", "suites"]) == 0
    assert "pip install 'compression-gap[libero]'" in " ".join(capsys.readouterr().out.split())


def test_an_empty_store_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["status", "--store", str(tmp_path / "none")]) == 0
    said = capsys.readouterr().out
    assert str(tmp_path / "none") in said
    assert "nothing is finished" in said


def test_leaves_are_read_with_a_space_or_an_equals_sign():
    assert leaves(["--a.b", "1", "--c=-2", "--d", "-3", "--e=x=y"]) == {"a.b": "1", "c": "-2", "d": "-3", "e": "x=y"}


@pytest.mark.parametrize(
    ("typed", "states"),
    [
        (["tokenizers", "libero_10"], "random"),
        (["audit", "libero_goal"], "random"),
        (["audit", "libero_goal", "--initial-states", "fixed"], "fixed"),
        (["encoders", "tabletop"], "fixed"),
        (["collect", "libero_10"], "fixed"),
    ],
)
def test_held_out_demonstrations_of_libero_do_not_begin_where_others_do(typed: list[str], states: str):
    args, rest = arguments().parse_known_args(typed)
    chosen = asked(args, rest).source.selection if typed[0] == "audit" else selection(args, rest)
    assert chosen.states == states


def test_times_and_sizes_are_readable():
    assert [duration(s) for s in (5.4, 119, 120, 7199, 9000)] == ["5 s", "119 s", "2 min", "120 min", "2.5 h"]
    assert [size(m) for m in (0.12, 999, 1200)] == ["0.12 MB", "999 MB", "1.2 GB"]
