"""The contract checks notice broken parts and name the clause."""

import numpy as np
import pytest
import torch

from compression_gap.encoders.channel import Channel, ChannelEncoder
from compression_gap.encoders.convnet import Trunk
from compression_gap.encoders.supervised import Supervised, SupervisedEncoder
from compression_gap.policies.base import Sampled
from compression_gap.policies.diffusion import Diffusion, DiffusionPolicy
from compression_gap.shapes import ChunkShape
from compression_gap.suites.tabletop.dynamics import TableSimulators
from compression_gap.suites.tabletop.suite import Tabletop, TabletopSuite
from compression_gap.testing import check_encoder, check_policy, check_suite, check_tokenizer
from compression_gap.tokenizers.base import Decoded, Tokens
from compression_gap.tokenizers.binning import Binning, BinningTokenizer
from compression_gap.tokenizers.oat import Oat, OatTokenizer

SHAPE = ChunkShape(4, 2)
SUITE = Tabletop(image_size=32)
POLICY = Diffusion(width=8, layers=1, heads=1)
OAT = Oat(tokens=3, levels=(5, 3), width=8, head_width=8, encoder_layers=1, decoder_layers=1)


def breaks(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, wrap) -> None:
    """Replaces a method by `wrap(original)`."""
    monkeypatch.setattr(owner, name, wrap(getattr(owner, name)))


def test_a_tokenizer_that_decodes_everything(monkeypatch: pytest.MonkeyPatch):
    def wrap(decode):
        return lambda self, tokens: Decoded(decode(self, tokens).chunk, torch.ones(len(tokens.ids), dtype=torch.bool))

    breaks(monkeypatch, BinningTokenizer, "decode", wrap)
    with pytest.raises(AssertionError, match="outside the vocabulary is invalid"):
        check_tokenizer(Binning(), SHAPE)


def test_a_tokenizer_whose_codes_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch):
    def wrap(encode):
        return lambda self, chunk: encode(self, chunk - chunk.mean(0))

    breaks(monkeypatch, BinningTokenizer, "encode", wrap)
    with pytest.raises(AssertionError, match="encode treats every row alone"):
        check_tokenizer(Binning(), SHAPE)


def test_a_tokenizer_whose_prefixes_see_what_follows(monkeypatch: pytest.MonkeyPatch):
    def wrap(to_actions):
        return lambda self, points, length: to_actions(self, points, torch.full_like(length, self.max_tokens))

    breaks(monkeypatch, OatTokenizer, "to_actions", wrap)
    with pytest.raises(AssertionError, match="ids behind a row's length do not matter"):
        check_tokenizer(OAT, SHAPE)


def test_a_tokenizer_whose_further_tokens_do_harm(monkeypatch: pytest.MonkeyPatch):
    def wrap(to_actions):
        def drifting(self, points, length):
            return to_actions(self, points, length) + (0 if self.training else length[:, None, None])

        return drifting

    breaks(monkeypatch, OatTokenizer, "to_actions", wrap)
    with pytest.raises(AssertionError, match=r"the error falls along prefix_lengths \[1, 2, 3\], got"):
        check_tokenizer(OAT, SHAPE)


def test_a_tokenizer_that_forgets_its_scale(monkeypatch: pytest.MonkeyPatch):
    def wrap(fit):
        def forgetful(self, chunks):
            fit(self, chunks)
            self.offset = 3

        return forgetful

    def shifted(encode):
        def wrapped(self, chunk):
            code = encode(self, chunk)
            return Tokens((code.ids + getattr(self, "offset", 0)) % self.vocab_size, code.length)

        return wrapped

    breaks(monkeypatch, BinningTokenizer, "fit", wrap)
    breaks(monkeypatch, BinningTokenizer, "encode", shifted)
    with pytest.raises(AssertionError, match="the state dict holds all that codes depend on"):
        check_tokenizer(Binning(), SHAPE)


def test_a_tokenizer_that_fits_by_chance(monkeypatch: pytest.MonkeyPatch):
    generator = torch.Generator().manual_seed(0)

    def wrap(fit):
        return lambda self, chunks: fit(self, chunks + 0.01 * torch.rand(1, generator=generator))

    breaks(monkeypatch, BinningTokenizer, "fit", wrap)
    with pytest.raises(AssertionError, match=r"the same numbers; these differ: \['scaling.centre'\]"):
        check_tokenizer(Binning(), SHAPE)


def test_a_tokenizer_that_forbids_its_own_codes(monkeypatch: pytest.MonkeyPatch):
    def wrap(following):
        def strict(self, ids):
            may = following(self, ids)
            may[:, 3] = False
            return may

        return strict

    breaks(monkeypatch, BinningTokenizer, "following", wrap)
    with pytest.raises(AssertionError, match="what encode wrote may follow"):
        check_tokenizer(Binning(bins=6), SHAPE)


def test_a_tokenizer_that_does_not_write_again_what_it_read(monkeypatch: pytest.MonkeyPatch):
    def wrap(to_values):
        return lambda self, bins: to_values(self, (bins + 1).clamp(max=self.vocab_size - 1))

    breaks(monkeypatch, BinningTokenizer, "to_values", wrap)
    with pytest.raises(AssertionError, match="`repeats`"):
        check_tokenizer(Binning(), SHAPE)


def test_a_policy_that_draws_from_the_global_generator(monkeypatch: pytest.MonkeyPatch):
    def wrap(sample):
        def noisy(self, condition, generators, decoding):
            sampled = sample(self, condition, generators, decoding)
            return Sampled(sampled.chunk + torch.randn(()), sampled.valid)

        return noisy

    breaks(monkeypatch, DiffusionPolicy, "sample", wrap)
    with pytest.raises(AssertionError, match="leaves torch's global generator alone"):
        check_policy(POLICY, SHAPE)


def test_a_policy_whose_rows_share_a_generator(monkeypatch: pytest.MonkeyPatch):
    def wrap(sample):
        return lambda self, condition, generators, decoding: sample(
            self, condition, [generators[0]] * len(condition), decoding
        )

    breaks(monkeypatch, DiffusionPolicy, "sample", wrap)
    with pytest.raises(AssertionError, match="a row d"):
        check_policy(POLICY, SHAPE)


def test_a_policy_whose_invalid_samples_look_like_actions(monkeypatch: pytest.MonkeyPatch):
    def wrap(sample):
        def unsure(self, condition, generators, decoding):
            return Sampled(sample(self, condition, generators, decoding).chunk, torch.zeros(len(condition)).bool())

        return unsure

    breaks(monkeypatch, DiffusionPolicy, "sample", wrap)
    with pytest.raises(AssertionError, match="invalid samples are NaN"):
        check_policy(POLICY, SHAPE)


def test_a_policy_that_does_not_look(monkeypatch: pytest.MonkeyPatch):
    def wrap(loss):
        return lambda self, condition, chunk: loss(self, condition * 0, chunk)

    breaks(monkeypatch, DiffusionPolicy, "loss", wrap)
    with pytest.raises(AssertionError, match="the loss depends on the condition"):
        check_policy(POLICY, SHAPE)


def test_an_encoder_that_is_not_frozen(monkeypatch: pytest.MonkeyPatch):
    def thawed(self, frames):
        return self._features(frames).unsqueeze(1)

    monkeypatch.setattr(SupervisedEncoder, "encode", thawed)
    with pytest.raises(AssertionError, match="without gradients"):
        check_encoder(Supervised(), SUITE.build().legend)


def test_an_encoder_whose_frames_see_each_other(monkeypatch: pytest.MonkeyPatch):
    def wrap(forward):
        return lambda self, pictures: forward(self, pictures) - forward(self, pictures).mean(0)

    breaks(monkeypatch, Trunk, "forward", wrap)
    with pytest.raises(AssertionError, match="do not depend on the other frames"):
        check_encoder(Supervised(), SUITE.build().legend)


def test_an_encoder_whose_crops_are_not_what_they_say(monkeypatch: pytest.MonkeyPatch):
    legend = SUITE.build().legend
    breaks(monkeypatch, SupervisedEncoder, "look", lambda look: lambda self, frames, crop: self.encode(frames) + crop)
    with pytest.raises(AssertionError, match="a crop that does not exist is refused: number 1 of 1"):
        check_encoder(Supervised(), legend)
    monkeypatch.setattr(Supervised, "crops", 2)
    monkeypatch.setattr(SupervisedEncoder, "look", lambda self, frames, crop: self.encode(frames))
    with pytest.raises(AssertionError, match=r"crops 1, 2, \.\.\. lie elsewhere than the central one"):
        check_encoder(Supervised(), legend)
    monkeypatch.setattr(SupervisedEncoder, "look", lambda self, frames, crop: self.encode(frames) + 1)
    with pytest.raises(AssertionError, match="crop 0 is the central one and equals encode"):
        check_encoder(Supervised(), legend)


def test_a_channel_that_repeats_its_noise_every_epoch(monkeypatch: pytest.MonkeyPatch):
    def wrap(encode):
        return lambda self, frames: encode(self, {**frames, "stamp": frames["stamp"] * torch.tensor([1, 1, 0])})

    breaks(monkeypatch, ChannelEncoder, "encode", wrap)
    with pytest.raises(AssertionError, match="another epoch, other noise"):
        check_encoder(Channel(), SUITE.build().legend)


def test_a_suite_whose_states_depend_on_the_request(monkeypatch: pytest.MonkeyPatch):
    def wrap(initial_states):
        def shifted(self, task, protocol, indices):
            states = initial_states(self, task, protocol, indices)
            return {name: values + len(indices) for name, values in states.items()}

        return shifted

    breaks(monkeypatch, TabletopSuite, "initial_states", wrap)
    with pytest.raises(AssertionError, match="does not depend on which others are asked for"):
        check_suite(SUITE)


def test_simulators_that_restore_only_once(monkeypatch: pytest.MonkeyPatch):
    def wrap(restore):
        def once(self, snapshot):
            if not getattr(self, "restored", False):
                restore(self, snapshot)
            self.restored = True

        return once

    breaks(monkeypatch, TableSimulators, "restore", wrap)
    with pytest.raises(AssertionError, match="as often as it is restored"):
        check_suite(SUITE)


def test_a_suite_that_draws_something_else(monkeypatch: pytest.MonkeyPatch):
    def wrap(observe):
        def darker(self, names):
            return {name: v // 2 if v.dtype == np.uint8 else v for name, v in observe(self, names).items()}

        return darker

    breaks(monkeypatch, TableSimulators, "observe", wrap)
    with pytest.raises(AssertionError, match="draw shows of a scene what observe showed"):
        check_suite(SUITE)
