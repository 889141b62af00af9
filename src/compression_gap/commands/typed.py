"""Parts as they are typed at the shell: `oat:tokens=4,levels=(5,5,5)`."""

from __future__ import annotations

import ast
import dataclasses
import re
from typing import Any

from compression_gap import config, plugins
from compression_gap.config import Spec


def part(family: str, text: str) -> Spec:
    """The part that `KIND` or `KIND:field=value,field=value` names; what is not said is as in `small_size`.

    Raises ValueError with the closest name for an unknown kind or field, and for a value of the wrong type.
    """
    kind, _, settings = text.partition(":")
    cls = plugins.find(family, kind)
    values: dict[str, Any] = {}
    for setting in re.split(r",(?=\s*\w+=)", settings) if settings else []:
        name, equals, value = setting.strip().partition("=")
        if not equals:
            raise ValueError(f"{text}: expected KIND:field=value,field=value, got {setting!r}")
        config.check_field(cls, name, text)
        values[name] = _value(value)
    if not required(cls):
        small = small_size(cls)
        values = {field.name: getattr(small, field.name) for field in dataclasses.fields(cls)} | values
    return config.construct(cls, values, text)


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
