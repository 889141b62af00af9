"""Parts as they are typed at the shell: `oat:tokens=4,levels=(5,5,5)`."""

from __future__ import annotations

import ast
import dataclasses
import re
from typing import Any

from compression_gap import config, plugins
from compression_gap.config import Spec
from compression_gap.encoders.base import EncoderSpec
from compression_gap.shapes import ChunkShape
from compression_gap.tokenizers.base import TokenizerSpec


def settings(text: str) -> tuple[str, dict[str, str]]:
    """Kind and settings of `KIND` or `KIND:field=value,field=value`.

    Raises ValueError if something else stands there.
    """
    kind, _, rest = text.partition(":")
    leaves: dict[str, str] = {}
    for setting in re.split(r",(?=\w+=)", rest) if rest else []:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"{text}: expected {kind}:field=value,field=value, got {setting!r}")
        leaves[name] = value
    return kind, leaves


def part(family: str, text: str) -> Spec:
    """The part that is typed; what is not said is as in `small_size`.

    Raises ValueError with the closest name for an unknown kind or field, and for a value of the wrong type.
    """
    kind, leaves = settings(text)
    cls = plugins.find(family, kind)
    if not required(cls):
        return config.override(small_size(cls), leaves)
    for name in leaves:
        config.check_field(cls, name, text)
    return config.construct(cls, {name: _value(value) for name, value in leaves.items()}, text)


def tokenizer(text: str, shape: ChunkShape) -> TokenizerSpec:
    """The tokenizer that is typed, after it was built once for such chunks.

    Raises ValueError as `part` does, and for one that cannot be built.
    """
    spec = part("tokenizers", text)
    assert isinstance(spec, TokenizerSpec), "the family says so"
    with config.naming_settings(f"--tokenizer {text}"):
        spec.build(shape)
    return spec


def encoder_named(text: str) -> EncoderSpec:
    """The encoder that is typed. Raises ValueError as `part` does."""
    spec = part("encoders", text)
    assert isinstance(spec, EncoderSpec), "the family says so"
    return spec


def small_size(cls: Any) -> Spec:
    """The size of a part that one CPU core can train: its `small()`, or its defaults if it has only one size."""
    return cls.small() if hasattr(cls, "small") else cls()


def required(cls: Any) -> list[str]:
    """The fields that have no default: a part with such needs something that only the user has."""
    return [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
