"""The training loop: stopping changes nothing, a milestone is a shorter run, and a lost loss is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from compression_gap import training
from compression_gap.shapes import Loss
from compression_gap.training import CHECKPOINT, CURVE, WEIGHTS, Training, train


class Net(nn.Module):
    """Has everything that could be forgotten in a checkpoint: dropout, a buffer, a frozen part, an encoder."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(4, 8)
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(8, 1))
        self.register_buffer("scale", torch.tensor(2.0))

    def loss(self, x: Tensor) -> Loss:
        noisy = x + 0.1 * torch.randn_like(x)
        loss = (
            (self.head(self.frozen(self.encoder(noisy)).relu()) * self.scale - x.sum(1, keepdim=True)).square().mean()
        )
        return Loss(loss, {})


def batch_at(step: int) -> Tensor:
    return torch.randn(16, 4, generator=torch.Generator().manual_seed(step))


@pytest.fixture(autouse=True)
def a_point_of_the_curve_at_every_step(monkeypatch: pytest.MonkeyPatch):
    """Checkpoints fall on points of the curve; like this, a kill can fall between any two steps of a short run."""
    monkeypatch.setattr(training, "CURVE_POINTS", 40)


class Killed(Exception):
    """Stands for a kill at a certain moment."""


def run(
    folder: Path,
    settings: Training,
    *,
    milestones: tuple[int, ...] = (),
    batches: Callable[[int], Tensor] = batch_at,
    seed: int = 0,
) -> nn.Module:
    folder.mkdir(exist_ok=True)
    held = [batch_at(-1), batch_at(-2)]
    quiet = lambda fraction, text: None  # noqa: E731
    return train(Net(), batches, held, settings, seed=seed, folder=folder, report=quiet, milestones=milestones)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("killed_at", [1, 37, 59])
def test_a_killed_run_that_goes_on_ends_with_the_same_files_to_the_last_bit(
    schedule, killed_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = Training(60, schedule=schedule, warmup=5, encoder_learning_rate=1e-4)
    run(tmp_path / "whole", settings, milestones=(30,))
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def killed(step: int) -> Tensor:
        if step == killed_at:
            raise Killed
        return batch_at(step)

    with pytest.raises(Killed):
        run(tmp_path / "broken", settings, milestones=(30,), batches=killed)
    asked: list[int] = []
    run(tmp_path / "broken", settings, milestones=(30,), batches=lambda step: (asked.append(step), batch_at(step))[1])
    assert asked[0] == killed_at, "it went on where it was"
    assert files(tmp_path / "broken") == files(tmp_path / "whole")
    assert set(files(tmp_path / "whole")) == {WEIGHTS, CURVE, "weights-30.safetensors"}


def test_a_kill_while_a_checkpoint_is_written_leaves_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run(tmp_path / "whole", Training(60))
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    save = training.save_file
    written: list[Path] = []

    def tearing(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
        save(tensors, path, metadata)
        written.append(path)
        if len(written) == 3:
            path.write_bytes(path.read_bytes()[:100])
            raise Killed

    monkeypatch.setattr(training, "save_file", tearing)
    with pytest.raises(Killed):
        run(tmp_path / "torn", Training(60))
    assert (tmp_path / "torn" / CHECKPOINT).exists()
    run(tmp_path / "torn", Training(60))
    assert files(tmp_path / "torn")[WEIGHTS] == files(tmp_path / "whole")[WEIGHTS]
    assert files(tmp_path / "torn")[CURVE] == files(tmp_path / "whole")[CURVE]


def test_a_milestone_of_a_long_run_is_the_short_run(tmp_path: Path):
    long, short = Training(80, warmup=5), Training(40, warmup=5)
    run(tmp_path / "long", long, milestones=(40,))
    run(tmp_path / "short", short)
    assert files(tmp_path / "long")["weights-40.safetensors"] == files(tmp_path / "short")[WEIGHTS]
    assert files(tmp_path / "long")[WEIGHTS] != files(tmp_path / "short")[WEIGHTS]


def test_the_weights_are_the_average_and_whole(tmp_path: Path):
    net = run(tmp_path, Training(40))
    saved = load_file(tmp_path / WEIGHTS)
    assert set(saved) == set(Net().state_dict())
    assert all(torch.equal(tensor, saved[name]) for name, tensor in net.state_dict().items())
    assert not net.training
    start = Net().state_dict()
    assert torch.equal(saved["frozen.weight"], start["frozen.weight"])
    assert not torch.equal(saved["encoder.weight"], start["encoder.weight"])


def test_it_learns_and_the_curve_says_so(tmp_path: Path):
    run(tmp_path, Training(400, learning_rate=1e-2, warmup=5))
    curve = pl.read_parquet(tmp_path / CURVE)
    assert curve["step"].to_list() == list(range(10, 401, 10))
    assert curve["held_out"][-1] < 0.5 * curve["held_out"][0]
    assert curve["train"][-1] < 0.5 * curve["train"][0]


def test_equal_seeds_train_equally_and_others_do_not(tmp_path: Path):
    for before, (name, seed) in enumerate((("a", 0), ("b", 0), ("c", 1))):
        torch.manual_seed(before)  # what was drawn before must not matter
        run(tmp_path / name, Training(20), seed=seed)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert files(tmp_path / "a")[WEIGHTS] != files(tmp_path / "c")[WEIGHTS]


def test_an_encoder_may_have_its_own_learning_rate(tmp_path: Path):
    net = run(tmp_path, Training(5, encoder_learning_rate=0.0))
    start = Net().state_dict()
    assert torch.equal(net.state_dict()["encoder.weight"], start["encoder.weight"])
    assert not torch.equal(net.state_dict()["head.1.weight"], start["head.1.weight"])


def test_a_loss_that_is_lost_stops_the_run_and_says_where(tmp_path: Path):
    def poisoned(step: int) -> Tensor:
        return batch_at(step) * (torch.nan if step == 6 else 1.0)

    with pytest.raises(FloatingPointError, match="the loss is nan at step 7; lower the learning rate"):
        run(tmp_path, Training(40), batches=poisoned)
    assert not (tmp_path / WEIGHTS).exists()


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"steps": 5, "batch": 0}])
def test_a_training_of_nothing_is_refused(wrong: dict[str, int]):
    with pytest.raises(ValueError, match="training needs at least one step and one row a batch"):
        Training(**wrong)


def test_rates_warm_up_then_hold_or_fall():
    constant, cosine = Training(100, warmup=10), Training(100, warmup=10, schedule="cosine")
    assert [constant.rate(step) for step in (0, 4, 9, 99)] == [0.1, 0.5, 1.0, 1.0]
    assert cosine.rate(50) == pytest.approx(0.5)
    assert cosine.rate(99) < 0.001
    assert constant.decay(0) == 0.0
    assert constant.decay(10**9) == constant.ema_max
