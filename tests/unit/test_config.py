"""Specs: names that stay, names that differ, and errors that say what was meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from compression_gap import plugins, studies
from compression_gap.config import Spec, added_later, field_docs, from_json, override, to_json, vary
from compression_gap.encoders.state import State
from compression_gap.encoders.supervised import Supervised
from compression_gap.pipeline.cell import Sight
from compression_gap.pipeline.plan import jobs_of
from compression_gap.policies.diffusion import Diffusion
from compression_gap.suites.tabletop.suite import Tabletop
from compression_gap.tokenizers.binning import Binning
from compression_gap.tokenizers.oat import Oat
from compression_gap.training import Training

STRONG = studies.find("smoke").sights[1]
CELL = studies.find("smoke").cells[-1]


@dataclass(frozen=True)
class Old(Spec, family="tests", kind="thing", version=3):
    """A thing."""

    size: int
    """How big
    it is."""


@dataclass(frozen=True)
class New(Spec, family="tests", kind="thing", version=3):
    """The same thing with a field more."""

    size: int
    colour: str = added_later("red")


@dataclass(frozen=True)
class Kept(Spec, family="tests", kind="kept"):
    """A thing in a place; what is there is what counts."""

    place: str
    note: str = added_later("")

    def in_digest(self, field: str):
        return CONTENT[self.place] if field == "place" else super().in_digest(field)


CONTENT = {"here": "wine", "there": "wine", "elsewhere": "bread"}


@dataclass(frozen=True)
class Raised(Spec, family="tests", kind="thing", version=4):
    """The same thing, numbers changed."""

    size: int


def test_digests_stay_what_they_were():
    assert Old(3).digest == "ec031329766d4f80ab73"
    assert Training(10).digest == "efac99a8a455866b8ddf"


def test_a_field_added_later_leaves_old_names_alone_until_it_is_used():
    assert New(3).digest == Old(3).digest
    assert New(3, "blue").digest != Old(3).digest


def test_a_part_says_what_stands_for_a_field_in_its_digest():
    here, there, elsewhere = (Kept(place) for place in CONTENT)
    assert here.digest == there.digest != elsewhere.digest
    assert to_json((here, there), for_digest=True)[0] == to_json((there, here), for_digest=True)[0]
    assert to_json(here)["place"] == "here"
    assert Kept("gone").replace(note="kept").place == "gone"
    with pytest.raises(KeyError):
        _ = Kept("gone").digest


def test_a_raised_version_changes_the_name():
    assert Raised(3).digest != Old(3).digest


def test_every_field_of_a_cell_is_in_its_digest():
    others = [
        CELL.replace(seed=7),
        CELL.replace(suite__batch=3),
        CELL.replace(method__policy__width=16),
        CELL.replace(method__tokenizer__levels=(5, 5)),
        CELL.replace(rollouts__execute=1),
        CELL.replace(method__training__warmup=3),
    ]
    assert len({cell.digest for cell in (CELL, *others)}) == 7


def test_whole_numbers_and_floats_of_equal_value_are_one_setting():
    channel = plugins.find("encoders", "channel")
    assert from_json({"kind": "encoders/channel", "sigma": 5}).digest == channel(5.0).digest == channel(5).digest
    for spec in (channel(5), Training(10, learning_rate=1), Tabletop(tolerance_mm=10)):
        assert from_json(to_json(spec)).digest == spec.digest


def test_json_brings_every_job_of_a_grid_back():
    for job in jobs_of(studies.find("smoke")):
        again = from_json(to_json(job))
        assert again == job
        assert again.digest == job.digest


def test_vary_makes_all_combinations_and_changes_a_part_at_once():
    base = Sight("weak", Supervised(steps=2), Training(2))
    varied = vary(base, name=["a", "b"], encoder__width=[8, 16])
    assert [(sight.name, sight.encoder.width) for sight in varied] == [("a", 8), ("a", 16), ("b", 8), ("b", 16)]
    assert base.replace(encoder__steps=9, pretraining__steps=9).encoder == Supervised(steps=9)


def test_leaves_are_overridden_from_text():
    changed = override(
        CELL, {"method.policy.width": "64", "suite.tolerance_mm": "5", "method.policy.head": "index", "seed": "4"}
    )
    assert changed == CELL.replace(
        method__policy__width=64, suite__tolerance_mm=5.0, method__policy__head="index", seed=4
    )
    assert override(CELL, {"method.tokenizer.levels": "(4, 4)"}).method.tokenizer.levels == (4, 4)


def test_a_part_is_chosen_by_its_kind_and_set_in_the_same_breath():
    texts = {
        "method.tokenizer": "binning",
        "method.tokenizer.bins": "16",
        "method.tokenizer_training": "None",
        "method.policy.head": "index",
    }
    assert override(CELL, texts).method.tokenizer == Binning(bins=16)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"method.policy.widht": "1"}, "Autoregressive has no field 'widht'; did you mean 'width'?"),
        ({"methods.policy": "x"}, "Cell has no field 'methods'; did you mean 'method'?"),
        ({"method.policy": "difusion"}, "policies has no kind 'difusion'; did you mean 'diffusion'?"),
        ({"method.policy.width": "wide"}, "width: expected int, got 'wide'"),
        ({"seed": "1.5"}, "seed: expected int, got 1.5"),
        ({"seed": "True"}, "seed: expected int, got True"),
        ({"method.tokenizer.levels": "(3, 'x')"}, "levels[1]: expected int, got 'x'"),
        ({"method.tokenizer.levels": "3"}, "levels: expected tuple"),
        ({"method.policy.head": "hand"}, "head: expected Literal"),
        ({"seed.x": "1"}, "seed of Cell has no fields of its own, so no x"),
        ({"method.tokenizer_training": "training"}, "tokenizer_training: Training needs steps"),
        ({"rollouts.execute": "99"}, "rollouts execute 99 actions of a chunk of only 16"),
        ({"method.policy": "diffusion"}, "policy 'diffusion' needs none and the cell has a tokenizer"),
        ({"sight.encoder.steps": "99"}, "is pretrained for 99 steps and its pretraining has 4"),
    ],
)
def test_a_wrong_leaf_says_what_was_meant(texts: dict[str, str], message: str):
    cell = CELL.replace(sight=STRONG) if "sight.encoder.steps" in texts else CELL
    with pytest.raises(ValueError, match=re.escape(message)):
        override(cell, texts)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "tokenizers/oatt"}, "tokenizers has no kind 'oatt'; did you mean 'oat'?"),
        ({"kind": "tokenisers/oat"}, "there is no family 'tokenisers'"),
        ({"kind": "tokenizers/oat", "token": 3}, "spec: Oat has no field 'token'; did you mean 'tokens'?"),
        ({"kind": "settings/training", "steps": "many"}, "spec.steps: expected int, got 'many'"),
        ({"kind": "settings/training"}, "spec: Training needs steps"),
    ],
)
def test_wrong_json_names_the_place(data: dict, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        from_json(data)


def test_a_spec_holds_nothing_but_plain_values():
    with pytest.raises(TypeError, match="a spec holds numbers, text, tuples and specs, not PosixPath"):
        to_json(Old(Path()))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not JSON compliant"):
        _ = Old(float("nan")).digest  # type: ignore[arg-type]


def test_the_sentence_under_a_field_is_found():
    assert field_docs(Old) == {"size": "How big it is."}


@pytest.mark.parametrize("family", plugins.OPEN_FAMILIES)
def test_every_field_of_every_part_has_its_sentence(family: str):
    for kind in plugins.kinds(family):
        cls = plugins.find(family, kind)
        assert set(field_docs(cls)) >= set(cls.__dataclass_fields__), cls


def test_every_built_in_kind_is_where_the_table_says_and_calls_itself_so():
    for family, kinds in plugins.BUILT_IN.items():
        for kind in kinds:
            cls = plugins.find(family, kind)
            assert (cls.family, cls.kind) == (family, kind)


def test_parts_are_values():
    assert Oat() == Oat()
    assert hash(Diffusion()) == hash(Diffusion())
    assert State().replace() == State()
