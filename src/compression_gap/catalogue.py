"""The parts and studies that there are, with their settings, as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from compression_gap import config, plugins, studies


def catalogue(what: str | None = None) -> dict[str, dict[str, Any]]:
    """By family and name: a sentence, and name, type, default and sentence of every field.

    A part that needs an extra which is not installed says which.
    """
    found: dict[str, dict[str, Any]] = {}
    for family in [what] if what else [*plugins.OPEN_FAMILIES, "studies"]:
        entries = found[family] = {}
        for name in studies.names() if family == "studies" else plugins.kinds(family):
            try:
                cls = studies.module_of(name) if family == "studies" else plugins.find(family, name)
                entries[name] = {"text": _first_line(cls), "fields": list(_fields(cls))}
            except ImportError as error:
                entries[name] = {"text": str(error), "fields": []}
    return found


def _fields(cls: Any) -> Iterator[dict[str, str]]:
    if not dataclasses.is_dataclass(cls):
        return
    texts = config.field_docs(cls)  # type: ignore[arg-type]
    for field in dataclasses.fields(cls):
        default = "required" if field.default is dataclasses.MISSING else repr(field.default)
        yield {"name": field.name, "type": str(field.type), "default": default, "text": texts.get(field.name, "")}


def _first_line(documented: Any) -> str:
    return (documented.__doc__ or "").strip().partition("\n")[0]
