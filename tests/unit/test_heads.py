"""Heads retrained offline: what they learn, that they depend on nothing but their settings, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from compression_gap.data.split import TEST, TRAIN, Split, turned
from compression_gap.measures import room
from compression_gap.measures.aim import Looks
from compression_gap.measures.token_probe import Codes, TokenProbing, probe_tokens
from compression_gap.shapes import ChunkShape
from compression_gap.testing.pipelines import Pipeline, ResidualCode, World
from compression_gap.testing.upgrades import codes_of
from compression_gap.tokenizers.base import Tokens
from compression_gap.tokenizers.binning import Binning
from compression_gap.tokenizers.fast import Fast
from compression_gap.verdict import head_learning, heads
from compression_gap.verdict.head_learning import Heads
from compression_gap.verdict.head_models import CodeHeads
from compression_gap.verdict.heads import Code, Executed, HeadTraining, retrain_heads
from compression_gap.verdict.policy_heads import PolicyHeads

TRAINING = HeadTraining(steps=60, batch=48, width=24, learning_rate=2e-2, seeds=(0, 1), fractions=(0.5, 1.0))
EASY = Pipeline("easy", "sines", 2, 3, 2, 0.02, 1, 6, 42, 0.4)


def quiet(fraction: float, text: str) -> None:
    pass


def code_of(world: World, code: ResidualCode, shown: torch.Tensor) -> Code:
    steps, actions = world.pipeline.steps, world.pipeline.actions
    read = lambda ids: code.decode(ids).unflatten(1, (steps, actions))  # noqa: E731
    return Code(code.encode(shown), world.pipeline.values, None, read)


def run(
    folder: Path, *, coded: bool = True, training: HeadTraining = TRAINING, shuffled: bool = False, turn: int = 0
) -> Executed:
    world = World(EASY)
    cases = world.cases("demonstrations", EASY.demonstrations)
    features = world.features(cases, EASY.noise)
    if shuffled:
        features = features[torch.from_numpy(np.random.default_rng(0).permutation(len(features)))]
    chunks = cases.shown.unflatten(1, (EASY.steps, EASY.actions))
    code = code_of(world, codes_of(world)["own"], cases.shown) if coded else None
    order = torch.from_numpy(turned(cases.demonstration.numpy(), turn))
    return retrain_heads(features, chunks, code, order, training, folder, quiet)


def test_a_division_that_was_finished_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = run(tmp_path / "0", turn=0)
    monkeypatch.setattr(heads, "trained", lambda *args: pytest.fail("it trains"))
    np.testing.assert_array_equal(run(tmp_path / "0", turn=0).errors, first.errors)
    with pytest.raises(pytest.fail.Exception):
        run(tmp_path / "1", turn=1)


def test_heads_of_two_divisions_are_joined_chunk_by_chunk(tmp_path: Path):
    parts = [run(tmp_path / str(turn), turn=turn) for turn in (0, 1)]
    joined = Executed.joined(parts)
    assert len(set(joined.rows)) == len(joined.rows) == sum(len(one.rows) for one in parts)
    assert joined.errors.shape == (2, 2, len(joined.rows))
    np.testing.assert_array_equal(joined.errors[..., -len(parts[1].rows) :], parts[1].errors)
    np.testing.assert_array_equal(joined.bits[..., : len(parts[0].rows)], parts[0].bits)
    np.testing.assert_array_equal(Executed.joined(parts[:1]).errors, parts[0].errors)


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    return run(tmp_path_factory.mktemp("coded"))


def test_a_head_over_a_code_comes_near_what_the_code_can_say(coded: Executed):
    world = World(EASY)
    shown = world.cases("demonstrations", EASY.demonstrations).shown[coded.rows]
    code = codes_of(world)["own"]
    least = float((code.decode(code.encode(shown)) - shown).square().mean())
    assert least < coded.errors[-1].mean() < 0.5  # of a variance of 1
    assert coded.errors[-1].mean() < coded.errors[0].mean()
    assert coded.bits is not None
    assert coded.bits[-1].mean() < 0.7 * EASY.nominal_bits


def test_a_regression_is_not_held_back_by_the_code(coded: Executed, tmp_path: Path):
    found = run(tmp_path, coded=False)
    assert found.bits is None
    assert found.errors[-1].mean() < coded.errors[-1].mean()


def test_features_of_other_chunks_are_worth_nothing(coded: Executed, tmp_path: Path):
    found = run(tmp_path, coded=False, shuffled=True)
    assert found.errors[-1].mean() > 0.9


def test_the_same_again_is_the_same_to_the_last_bit(coded: Executed, tmp_path: Path):
    again = run(tmp_path)
    np.testing.assert_array_equal(again.errors, coded.errors)
    np.testing.assert_array_equal(again.bits, coded.bits)


def test_a_vocabulary_that_memory_cannot_hold_is_refused_before_anything_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(room, "memory", lambda: 1e3)
    message = f"the vocabulary of {EASY.values} ids is too large: scores of codes of 1 token need at least"
    with pytest.raises(ValueError, match=message) as error:
        run(tmp_path)
    assert str(error.value).endswith("choose fewer ids (bins, levels or codes) or a smaller --horizon")
    assert not list(tmp_path.rglob("*.safetensors"))
    codes = Codes(torch.zeros(70, 2, dtype=torch.long), torch.arange(70), 100_000, None)
    with pytest.raises(ValueError, match="the vocabulary of 100,000 ids is too large: scores of codes of 2 tokens"):
        probe_tokens(codes, None, TokenProbing(steps=1), tmp_path, quiet)


def test_a_container_has_no_more_memory_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(room, "LIMIT", tmp_path / "none")
    whole = room.memory()
    for told, expected in (("max", whole), ("1000", 1000.0), (str(10**18), whole)):
        (tmp_path / "limit").write_text(told + "\n")
        monkeypatch.setattr(room, "LIMIT", tmp_path / "limit")
        assert room.memory() == expected


def test_what_was_trained_is_not_trained_again(coded: Executed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = run(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*.safetensors")) == ["executed.safetensors"]
    monkeypatch.setattr(head_learning, "train", None)
    np.testing.assert_array_equal(run(tmp_path).errors, first.errors)


def test_a_killed_call_goes_on_from_what_it_trained(coded: Executed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(heads, "errors_of_rows", None)
    with pytest.raises(TypeError):
        run(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(head_learning, "train", None)
    np.testing.assert_array_equal(run(tmp_path).errors, coded.errors)


def test_wide_features_are_tried_in_two_ways(tmp_path: Path):
    draw = torch.Generator().manual_seed(0)
    chunks = torch.randn(28 * 6, 2, 2, generator=draw)
    wide = torch.cat([chunks.flatten(1), torch.randn(len(chunks), 90, generator=draw)], dim=1)
    demonstration = torch.arange(len(chunks)) // 6
    training = TRAINING.replace(seeds=(0,), fractions=(1.0,))
    found = retrain_heads(wide, chunks, None, demonstration, training, tmp_path, quiet)
    assert found.way == "readout"  # the other 90 values only drown it
    assert found.errors.mean() < 0.2


def test_heads_of_half_the_demonstrations_are_told_nothing_by_the_other_half(tmp_path: Path):
    world = World(EASY)
    cases = world.cases("demonstrations", EASY.demonstrations)
    features, chunks = world.features(cases, EASY.noise), cases.shown.unflatten(1, (EASY.steps, EASY.actions))
    split = Split(cases.demonstration)
    others = np.setdiff1d(split.rows(TRAIN).numpy(), split.rows(TRAIN, 0.5).numpy())
    changed = chunks.clone()
    changed[others] = -2 * changed[others]
    found = [
        retrain_heads(features, some, None, cases.demonstration, TRAINING, tmp_path / name, quiet).errors
        for name, some in {"as they are": chunks, "changed": changed}.items()
    ]
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert (found[0][1] != found[1][1]).any()


def test_heads_that_are_told_nothing_cannot_tell_demonstrations_apart():
    cases = World(EASY).cases("demonstrations", EASY.demonstrations)
    shown = heads._shown(torch.zeros(len(cases.shown), 1), cases.shown, Split(cases.demonstration), TRAINING)
    for way in shown.values():
        assert not way.of_all(torch.arange(len(cases.shown))).any()


def test_replicas_learn_as_if_they_were_alone(coded: Executed, tmp_path: Path):
    alone = run(tmp_path, training=TRAINING.replace(seeds=(1,), fractions=(1.0,)))
    np.testing.assert_allclose(alone.bits[0, 0], coded.bits[1, 1], rtol=0.02, atol=0.02)


def test_code_lengths_and_greedy_digits_are_of_one_distribution():
    torch.manual_seed(0)
    heads = CodeHeads(2, 3, (3, 2), 2, 8)
    every = torch.cartesian_prod(*(torch.arange(size) for size in (3, 2, 3, 2)))
    heads.fit(0, every.view(-1, 2, 2))
    heads.fit(1, every[:7].view(-1, 2, 2))
    with torch.no_grad():
        heads.write.normal_()
        seen = torch.randn(2, 1, 3)
        nats = heads.nats(seen.expand(-1, len(every), -1), every.expand(2, -1, -1))
    torch.testing.assert_close(torch.exp(-nats).sum(dim=1), torch.ones(2))
    greedy = heads.greedy(seen)[:, 0]
    for replica in range(2):
        shares = torch.exp(-nats[replica]).view(3, 2, 3, 2)
        for digit in greedy[replica].tolist():
            assert digit == shares.reshape(len(shares), -1).sum(dim=1).argmax()
            shares = shares[digit]


def test_codes_that_end_early_and_codes_that_cannot_be_read(tmp_path: Path):
    draw = torch.Generator().manual_seed(0)
    sign = (torch.rand(28 * 6, generator=draw) < 0.5).long()
    chunks = (2.0 * sign - 1)[:, None, None].expand(-1, 2, 1).contiguous()
    ids = torch.stack([sign, torch.where(sign > 0, 2, 0), torch.where(sign > 0, -1, 2)], dim=1)  # 1 end, or 0 0 end

    def read(some: torch.Tensor) -> torch.Tensor:
        known = (some == torch.tensor([1, 2, -1])).all(dim=1)
        return torch.where(known, 1.0, torch.nan)[:, None, None].expand(-1, 2, 1)

    demonstration = torch.arange(len(chunks)) // 6
    features = chunks.flatten(1)
    found = retrain_heads(features, chunks, Code(ids, 2, None, read), demonstration, TRAINING, tmp_path, quiet)
    positive = sign[found.rows].numpy() > 0
    np.testing.assert_allclose(found.errors[-1, :, positive], 0, atol=1e-6)
    assert (found.errors[-1, :, ~positive] > 0.5).all()  # the mean chunk is executed
    assert found.bits[-1].mean() < 0.3


def test_what_cannot_be_learned_from_is_refused(tmp_path: Path):
    features, chunks, demonstration = torch.zeros(20, 2), torch.zeros(20, 2, 1), torch.arange(20) // 2
    with pytest.raises(ValueError, match="features: expected 20 rows, one a chunk; got 19"):
        retrain_heads(features[:19], chunks, None, demonstration, TRAINING, tmp_path, quiet)
    wrong = features.clone()
    wrong[3, 1] = torch.nan
    with pytest.raises(ValueError, match=r"features: expected finite numbers.*the first of them number 3"):
        retrain_heads(wrong, chunks, None, demonstration, TRAINING, tmp_path, quiet)
    with pytest.raises(ValueError, match="at least 7; got 3"):
        retrain_heads(features, chunks, None, torch.arange(20) // 7, TRAINING, tmp_path, quiet)
    with pytest.raises(ValueError, match=r"HeadTraining.fractions: .* got \(0.5,\)"):
        HeadTraining(fractions=(0.5,))


@pytest.mark.parametrize("with_code", [True, False])
def test_the_aim_is_taken_on_tested_looks_in_pieces_of_any_size(
    with_code: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    world = World(EASY)
    cases = world.cases("demonstrations", EASY.demonstrations)
    chunks = cases.shown.unflatten(1, (EASY.steps, EASY.actions))
    features, code = world.features(cases, EASY.noise), code_of(world, codes_of(world)["own"], cases.shown)
    tested = Split(cases.demonstration).rows(TEST)
    learned = Split(cases.demonstration).rows(TRAIN)

    def looks(rows: torch.Tensor) -> Looks:
        return Looks(rows, torch.full((len(rows),), EASY.steps), (0, 1), (3.0, 4.0))

    def found(name: str) -> Executed:
        places = {"opens": looks(torch.cat([learned[:9], tested[:11]])), "closes": looks(learned)}
        given = (features, chunks, code if with_code else None, cases.demonstration, TRAINING, tmp_path / name, quiet)
        return retrain_heads(*given, looks=places)

    aims = found("whole").aims
    assert set(aims) == {"opens"}
    assert aims["opens"].rows.tolist() == tested[:11].tolist()
    assert aims["opens"].errors.shape == (2, 2, 11)
    assert aims["opens"].errors.min() > 0
    assert found("whole").aims["opens"].errors.tolist() == aims["opens"].errors.tolist()  # as it was kept
    monkeypatch.setattr(heads, "ROWS", 4)
    np.testing.assert_allclose(found("pieces").aims["opens"].errors, aims["opens"].errors, rtol=1e-4)


def test_heads_that_are_policies_write_codes_that_can_be_read():
    """FAST's ids only stand for a chunk where each keeps to those before it."""
    shape, chunks = ChunkShape(6, 2), torch.randn(80, 6, 2).cumsum(dim=1)
    tokenizer = Fast(vocabulary=300).build(shape)
    tokenizer.fit(chunks)
    heads = PolicyHeads((0, 1), 3, tokenizer, 16, 1)
    seen = torch.randn(2, 5, 3)
    written = heads.greedy(seen)
    for replica, policy in enumerate(heads.policies):
        alone = policy.write(seen[replica][:, None], None)
        assert torch.equal(written[replica], policy.marked(alone))
        assert tokenizer.decode(alone).valid.all()
        nats = heads.nats(seen, written)[replica]
        torch.testing.assert_close(nats, -policy.log_prob(seen[replica][:, None], written[replica]).sum(dim=1))
    assert (written[0] != written[1]).any()


def test_a_chunk_without_a_code_has_no_length():
    tokenizer = Binning(bins=4).build(ChunkShape(2, 1))
    tokenizer.fit(torch.randn(9, 2, 1))
    heads = PolicyHeads((0,), 3, tokenizer, 8, 1)
    nats = heads.nats(torch.randn(1, 2, 3), torch.tensor([[[3, 1], [4, -1]]]))  # 4 ends a code that was not written
    assert nats[0, 0] > 0 and nats[0, 1] == 0  # noqa: PT018


def test_each_policy_takes_its_weights_from_a_moment_of_its_own():
    tokenizer = Binning(bins=4).build(ChunkShape(2, 1))
    tokenizer.fit(torch.randn(9, 2, 1))
    early, late = (Heads(PolicyHeads(seeds, 3, tokenizer, 8, 1)).state_dict() for seeds in ((0, 1), (2, 3)))
    mixed = PolicyHeads((0, 1), 3, tokenizer, 8, 1).mixed([early, late], [1, 0], "model.")
    first = {name: name.startswith("model.policies.0.") for name in early}
    assert any(first.values()) and not all(first.values())  # noqa: PT018
    assert all(torch.equal(mixed[name], (late if first[name] else early)[name]) for name in early)


def test_policies_learn_bins_in_a_few_steps(tmp_path: Path):
    draw = torch.Generator().manual_seed(0)
    goal = torch.rand(28 * 6, 1, 1, generator=draw) * 2 - 1
    chunks = goal.expand(-1, 3, 1) * torch.tensor([1.0, 0.5, -0.5])[:, None]
    tokenizer = Binning(bins=8).build(ChunkShape(3, 1))
    tokenizer.fit(chunks)
    read = lambda ids: tokenizer.decode(Tokens(ids, torch.full((len(ids),), 3))).chunk  # noqa: E731
    code = Code(tokenizer.encode(chunks).ids, 8, None, read, tokenizer)
    demonstration = torch.arange(len(chunks)) // 6
    training = TRAINING.replace(steps=150, learning_rate=3e-3, layers=1, width=16)
    found = retrain_heads(goal[:, 0], chunks, code, demonstration, training, tmp_path, quiet)
    assert found.errors[-1].mean() < 0.1 * chunks.var()
    assert found.bits[-1].mean() < 2
