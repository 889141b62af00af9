"""Hub processors: no code without leave, and no failure that passes for a chunk."""

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from compression_gap.agent import Agent, AgentSpec
from compression_gap.config import from_json, to_json
from compression_gap.consent import VARIABLE, remote_code_is_trusted
from compression_gap.encoders.state import State
from compression_gap.pipeline.worker import serve
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.shapes import ChunkShape
from compression_gap.store import Store
from compression_gap.suites.tabletop.suite import Tabletop
from compression_gap.testing.common import smooth_chunks
from compression_gap.tokenizers.base import Tokens
from compression_gap.tokenizers.hub import Hub, HubTokenizer, packed, take_processor

pytest.importorskip("transformers")
TINY = str(Path(__file__).parents[1] / "tiny_processor")
SHAPE = ChunkShape(6, 3)


def fitted(processor: str = TINY, refit: bool = False) -> HubTokenizer:
    tokenizer = Hub(processor, refit=refit).build(SHAPE)
    tokenizer.fit(smooth_chunks(32, SHAPE))
    return tokenizer


NEEDS_LEAVE = r"comes with Python code of its own, which would run with your rights.*--trust-remote-code"


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A processor whose code leaves a mark where it runs, which nobody has allowed any more."""
    shutil.copytree(TINY, tmp_path / "stranger")
    code = tmp_path / "stranger" / "processing_tiny.py"
    code.write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n" + code.read_text())
    return tmp_path / "stranger"


def test_code_that_comes_with_a_processor_needs_leave(stranger: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ValueError, match=r"Hub\.processor: .*stranger' " + NEEDS_LEAVE):
        Hub(str(stranger)).build(SHAPE)
    assert not (stranger.parent / "ran").exists()


@pytest.mark.parametrize("refit", [False, True])
def test_no_agent_on_disk_runs_code_by_itself(refit: bool, stranger: Path, monkeypatch: pytest.MonkeyPatch):
    suite = Tabletop(image_size=32)
    legend, mark = suite.build().legend, stranger.parent / "ran"
    spec = AgentSpec(State(), Autoregressive(width=16, layers=1, heads=2), Hub(str(stranger), refit=refit), 6)
    agent = spec.build(legend, ("a task",))
    tokenizer = agent.policy.get_submodule("tokenizer")
    assert isinstance(tokenizer, HubTokenizer)
    tokenizer.fit(smooth_chunks(32, ChunkShape(6, len(legend.action))))
    agent.save(stranger.parent)
    mark.unlink()
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ValueError, match=NEEDS_LEAVE):
        Agent.load(stranger.parent)
    with pytest.raises(ValueError, match=NEEDS_LEAVE):
        Hub(TINY, refit=True).build(SHAPE)
    with pytest.raises(ValueError, match=NEEDS_LEAVE):
        take_processor(tokenizer, tokenizer.state_dict() | {"files": packed(stranger)}, "")
    assert not mark.exists()


def test_workers_are_told_that_somebody_said_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(VARIABLE)
    assert not remote_code_is_trusted()
    ours, theirs = multiprocessing.Pipe()
    theirs.close()
    with monkeypatch.context() as inner:
        inner.setattr(signal, "signal", lambda *_: None)
        inner.setattr(os, "dup2", lambda *_: None)
        serve(Store(Path("nowhere")), "cpu", True, ours)  # nobody gives it orders
    assert remote_code_is_trusted()


def test_a_revision_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    asked = {}
    monkeypatch.setattr("transformers.AutoProcessor.from_pretrained", lambda name, **how: asked.update(how) or object())
    with pytest.raises(ValueError, match="not an action processor"):
        Hub("somebody/codes", revision="ec4d7aa").build(SHAPE)
    assert asked["revision"] == "ec4d7aa"
    assert Hub("somebody/codes", revision="ec4d7aa").digest != Hub("somebody/codes").digest


def test_a_processor_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match=r"is no folder with processor_config\.json"):
        Hub(str(tmp_path / "none")).build(SHAPE)


def test_a_folder_is_known_by_its_content_wherever_it_lies(tmp_path: Path):
    digest = Hub(TINY).digest
    shutil.copytree(TINY, tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "moved")
    for left_behind in (".cache/huggingface/download.lock", "__pycache__/processing_tiny.pyc"):
        (tmp_path / "moved" / left_behind).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "moved" / left_behind).write_text("by a tool")
    assert Hub(str(tmp_path / "moved")).digest == digest


@pytest.mark.parametrize("file", ["processor_config.json", "processing_tiny.py", "inner/tokenizer.json"])
def test_other_content_is_another_processor(file: str, tmp_path: Path):
    shutil.copytree(TINY, tmp_path, dirs_exist_ok=True)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "tokenizer.json").write_text("{}")
    digest = Hub(str(tmp_path)).digest
    (tmp_path / file).write_text((tmp_path / file).read_text() + "\n")
    assert Hub(str(tmp_path)).digest != digest


def test_the_name_of_a_hub_processor_is_its_identity():
    assert Hub().digest == "0a4dbf9de7664a634282"  # of version 3
    assert Hub().in_digest("processor") == "physical-intelligence/fast"


def test_a_folder_that_is_gone_has_no_digest(tmp_path: Path):
    gone = Hub(str(tmp_path / "none"))
    assert from_json(to_json(gone)) == gone
    with pytest.raises(FileNotFoundError, match=r"Hub\.processor: there is no folder .*none; put it back, or give"):
        _ = gone.digest


def test_something_that_is_no_action_processor(tmp_path: Path):
    shutil.copytree(TINY, tmp_path, dirs_exist_ok=True)
    code = tmp_path / "processing_tiny.py"
    code.write_text(code.read_text().replace("self.vocab_size,", "self.size,"))
    with pytest.raises(ValueError, match="a TinyActionProcessor, not an action processor: it has no vocab_size"):
        Hub(str(tmp_path)).build(SHAPE)


@pytest.mark.parametrize("quiet", [False, True], ids=["prints an error", "says nothing"])
def test_zeros_after_a_failure_are_invalid_and_zeros_that_were_written_are_not(quiet: bool, tmp_path: Path):
    shutil.copytree(TINY, tmp_path, dirs_exist_ok=True)
    settings = json.loads((tmp_path / "processor_config.json").read_text())
    (tmp_path / "processor_config.json").write_text(json.dumps({**settings, "scale": 20 if quiet else 10}))
    tokenizer = fitted(str(tmp_path))
    centre = tokenizer.scaling.inverse(torch.zeros(1, 6, 3))
    code = tokenizer.encode(torch.cat([smooth_chunks(3, SHAPE), centre]))
    code.length[1] -= 1
    decoded = tokenizer.decode(code)
    assert decoded.valid.tolist() == [True, False, True, True]
    torch.testing.assert_close(decoded.chunk[3], centre[0])


def test_decodes_that_raise_or_have_another_shape_are_invalid(monkeypatch: pytest.MonkeyPatch):
    tokenizer = fitted()
    code = tokenizer.encode(smooth_chunks(3, SHAPE))
    decode = tokenizer._processor.decode

    def unreliable(tokens, **sizes):
        if tokens[0] == code.ids[0].tolist():
            raise RuntimeError("cannot")
        chunk = decode(tokens, **sizes)
        return chunk[:, :-1] if tokens[0] == code.ids[1].tolist() else chunk

    monkeypatch.setattr(tokenizer._processor, "decode", unreliable)
    tokenizer._sizes = {"time_horizon": 6, "action_dim": 3}
    assert tokenizer.decode(Tokens(code.ids, code.length)).valid.tolist() == [False, False, True]


def test_a_processor_fitted_anew_travels_with_the_weights():
    tokenizer, published = fitted(refit=True), fitted()
    chunks = smooth_chunks(32, SHAPE)
    assert not torch.equal(tokenizer.encode(chunks).ids, published.encode(chunks).ids)
    fresh = Hub(TINY, refit=True).build(SHAPE)
    fresh.load_state_dict(tokenizer.state_dict())
    assert torch.equal(fresh.encode(chunks).ids, tokenizer.encode(chunks).ids)
