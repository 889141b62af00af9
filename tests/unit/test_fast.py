"""FAST: what may follow, what its state dict holds, and what it refuses."""

import json
from pathlib import Path

import pytest
import torch

from compression_gap.agent import Agent, AgentSpec
from compression_gap.encoders.state import State
from compression_gap.policies.autoregressive import Autoregressive
from compression_gap.shapes import ChunkShape
from compression_gap.suites.tabletop.suite import Tabletop
from compression_gap.testing.common import seeded, smooth_chunks
from compression_gap.tokenizers.base import Tokens
from compression_gap.tokenizers.fast import Fast, FastTokenizer

SHAPE = ChunkShape(8, 3)


def fitted(spec: Fast | None = None) -> FastTokenizer:
    tokenizer = (spec or Fast()).build(SHAPE)
    tokenizer.fit(smooth_chunks(200, SHAPE))
    return tokenizer


def test_smooth_chunks_take_fewer_tokens_than_they_have_values():
    time = torch.linspace(0, 1, 32)[:, None] + torch.linspace(0, 5, 300)[:, None, None]
    chunks = torch.sin(time * torch.arange(1, 8))
    tokenizer = Fast().build(ChunkShape(32, 7))
    tokenizer.fit(chunks)
    code = tokenizer.encode(chunks)
    assert code.length.float().mean() < 60
    assert code.length.unique().numel() > 10
    assert (tokenizer.decode(code).chunk - chunks).square().mean() / chunks.var() < 1e-3


def test_a_larger_scale_is_finer_and_longer():
    chunks = smooth_chunks(200, SHAPE)
    error, length = [], []
    for scale in (3.0, 10.0, 30.0):
        tokenizer = fitted(Fast(scale=scale))
        code = tokenizer.encode(chunks)
        error.append((tokenizer.decode(code).chunk - chunks).square().mean())
        length.append(code.length.float().mean())
    assert error[0] > 5 * error[1] > 25 * error[2]
    assert length[0] < length[1] < length[2]


def test_only_ids_that_fit_what_is_left_may_follow():
    tokenizer = fitted()
    code = tokenizer.encode(smooth_chunks(200, SHAPE))
    row = int(code.length.argmax())
    ids = code.ids[row : row + 1, : int(code.length[row])]
    for place in range(ids.shape[1] + 1):
        left = 24 - int(tokenizer.starts[ids[:, :place]].sum())
        may = tokenizer.following(ids[:, :place])[0]
        assert bool(may[-1]) == (left == 0)
        whole = (tokenizer.opens == 0) & (tokenizer.leaves_open == 0) & (tokenizer.starts > 0)
        assert torch.equal(may[:-1][whole], (tokenizer.starts <= left)[whole])


def test_a_character_that_is_begun_is_ended():
    tokenizer = fitted()
    lead, tail = (tokenizer.pairs.writes, tokenizer.leaves_open == 1), tokenizer.opens == 1
    begun = int(((tokenizer.starts == 1) & lead[1]).nonzero()[0])
    may = tokenizer.following(torch.tensor([[begun]]))[0]
    assert may[:-1].any()
    assert not (may[:-1] & ~tail).any()
    assert not tokenizer.decode(Tokens(torch.tensor([[begun]]), torch.tensor([1]))).valid.any()


def test_unfitted_it_says_so_and_a_loaded_one_needs_no_fit():
    tokenizer, fresh = fitted(), Fast().build(SHAPE)
    with pytest.raises(ValueError, match="not fitted"):
        fresh.encode(smooth_chunks(2, SHAPE))
    fresh.load_state_dict(tokenizer.state_dict())
    assert torch.equal(fresh.encode(smooth_chunks(9, SHAPE)).ids, tokenizer.encode(smooth_chunks(9, SHAPE)).ids)


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match=r"Fast\.scale: expected more than 0, got 0"):
        Fast(scale=0)
    with pytest.raises(ValueError, match=r"Fast\.vocabulary: expected at least 222, got 100"):
        Fast(vocabulary=100)
    with pytest.raises(ValueError, match=r"Fast\.scale: at 1000 the rounded coefficients .* choose a scale below"):
        fitted(Fast(scale=1000))


def test_a_folder_that_is_no_processor_is_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"a folder with tokenizer\.json and processor_config\.json"):
        Fast(published=str(tmp_path)).build(SHAPE)
    fitted().save_processor(tmp_path)
    (tmp_path / "processor_config.json").write_text(json.dumps({"scale": 10}))
    with pytest.raises(ValueError, match="expected numbers in vocab_size, min_token"):
        Fast(published=str(tmp_path)).build(SHAPE)
    fitted().save_processor(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps({**content, "pre_tokenizer": {"type": "Whitespace"}}))
    with pytest.raises(ValueError, match=r"expected FAST's kind, BPE over bytes .* pre_tokenizer 'Whitespace'"):
        Fast(published=str(tmp_path)).build(SHAPE)


def test_a_published_processor_is_known_by_its_content_wherever_it_lies(tmp_path: Path):
    tokenizer = fitted()
    for name in ("one", "two"):
        tokenizer.save_processor(tmp_path / name)
    (tmp_path / "two" / "processing_action_tokenizer.py").write_text("code that is not run")
    one, two = (Fast(published=str(tmp_path / name)) for name in ("one", "two"))
    assert one.digest == two.digest
    assert one.digest != Fast().digest


@pytest.mark.parametrize("file", ["tokenizer.json", "processor_config.json"])
def test_other_content_is_another_published_processor(file: str, tmp_path: Path):
    fitted().save_processor(tmp_path)
    digest = Fast(published=str(tmp_path)).digest
    (tmp_path / file).write_text((tmp_path / file).read_text() + "\n")
    assert Fast(published=str(tmp_path)).digest != digest
    (tmp_path / file).unlink()
    with pytest.raises(FileNotFoundError, match=r"Fast\.published: expected .* a folder with tokenizer\.json"):
        _ = Fast(published=str(tmp_path)).digest


def test_its_digest_changes_with_its_version_alone():
    assert Fast().digest == "46082e4a8aa245ee4de7"  # of version 2


def test_an_agent_over_it_acts_alike_after_loading(tmp_path: Path):
    """The vocabulary's length is known only from the weights."""
    suite = Tabletop(image_size=32).build()
    policy = Autoregressive(width=16, layers=1, heads=2)
    agent = seeded(lambda: AgentSpec(State(), policy, Fast(vocabulary=256), horizon=4).build(suite.legend, suite.tasks))
    simulators = suite.simulators(0, 2)
    simulators.reset(suite.initial_states(0, "test", [0, 1]), [0, 1])
    agent.policy.tokenizer.fit(smooth_chunks(100, ChunkShape(4, 7)))
    agent.save(tmp_path)
    plans = []
    for actor in (agent.eval(), Agent.load(tmp_path)):
        actor.begin([0, 0], [1, 2])
        actor.observe(simulators.observe(actor.reads))
        plans.append(actor.plan("sampled"))
        assert plans[-1].valid.all()
    assert torch.equal(plans[0].chunk, plans[1].chunk)
