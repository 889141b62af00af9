"""Frozen descriptions of everything: a spec says what a part or a job is, its digest is its name."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import hashlib
import inspect
import json
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, cached_property
from itertools import pairwise, product
from typing import Any, ClassVar, Self

from compression_gap import plugins

DIGEST_LENGTH = 20


class Spec:
    """Base of every frozen description.

    A subclass is a frozen dataclass that names its `family` (given once, by the family's base class) and its `kind`:

        @dataclass(frozen=True)
        class Oat(TokenizerSpec, kind="oat", version=1): ...

    Raise `version` when the numbers that a part makes change on purpose: exactly the results that depend on it go
    stale.
    """

    family: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    version: ClassVar[int] = 1

    def __init_subclass__(cls, *, kind: str = "", family: str = "", version: int = 1) -> None:
        super().__init_subclass__()
        cls.kind, cls.version = kind, version
        if family:
            cls.family = family

    @cached_property
    def digest(self) -> str:
        """The spec's name: equal settings, equal name."""
        text = json.dumps(to_json(self, for_digest=True), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]

    def in_digest(self, field: str) -> Any:
        """What stands for a field in the digest: its value, or what lies behind it (for a path, the content)."""
        return getattr(self, field)

    def replace(self, **changes: Any) -> Self:
        """A copy with other fields; `a__b=c` reaches into the spec in field `a`."""
        own, deeper = _by_field(type(self), changes, "__")
        for name, inner in deeper.items():
            own[name] = own.get(name, getattr(self, name)).replace(**inner)
        return dataclasses.replace(self, **own)  # type: ignore[type-var]


def added_later(default: Any) -> Any:
    """Declares a field that older results did not have: at its default it leaves their digests alone."""
    return dataclasses.field(default=default, metadata={"added_later": True})


def vary(base: Spec, **values: Iterable[Any]) -> list[Any]:
    """All combinations of the given field values: `vary(cell, policy__width=[64, 128], seed=range(5))`."""
    names = list(values)
    return [base.replace(**dict(zip(names, chosen, strict=True))) for chosen in product(*values.values())]


def to_json(value: Any, *, for_digest: bool = False) -> Any:
    """Plain JSON of a spec; the parts inside it are objects with a `kind`."""
    if isinstance(value, Spec):
        assert dataclasses.is_dataclass(value), f"{type(value).__name__} lacks @dataclass(frozen=True)"
        out: dict[str, Any] = {"kind": f"{value.family}/{value.kind}"}
        if for_digest:
            out["version"] = value.version
        hints = _hints(type(value))
        for field in dataclasses.fields(value):
            content = value.in_digest(field.name) if for_digest else getattr(value, field.name)
            content = _as_floats(content, hints[field.name])  # 5 and 5.0 are equal settings
            if for_digest and field.metadata.get("added_later") and content == field.default:
                continue
            out[field.name] = to_json(content, for_digest=for_digest)
        return out
    if isinstance(value, Mapping):
        return {str(key): to_json(item, for_digest=for_digest) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item, for_digest=for_digest) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a spec holds numbers, text, tuples and specs, not {type(value).__name__}: {value!r}")


_hints = cache(typing.get_type_hints)


def _as_floats(value: Any, hint: Any) -> Any:
    """The same with whole numbers as floats where the type says so."""
    options = alternatives(hint)
    if isinstance(value, int) and not isinstance(value, bool) and float in options and int not in options:
        return float(value)
    for option in options:
        if isinstance(value, tuple) and typing.get_args(option)[:1] == (float,):
            return tuple(_as_floats(item, float) for item in value)
    return value


def from_json(data: Any, where: str = "spec") -> Any:
    """The spec that `to_json` wrote.

    Raises ValueError naming the place when a kind or a field is unknown or a value has the wrong type.
    """
    if isinstance(data, list):
        return tuple(from_json(item, f"{where}[{i}]") for i, item in enumerate(data))
    if not (isinstance(data, dict) and isinstance(data.get("kind"), str) and "/" in data["kind"]):
        return data
    family, _, kind = data["kind"].partition("/")
    cls = plugins.find(family, kind)
    values = {name: from_json(item, f"{where}.{name}") for name, item in data.items() if name != "kind"}
    for name in values:
        check_field(cls, name, where)
    return construct(cls, values, where)


def construct(cls: type, values: Mapping[str, Any], where: str) -> Any:
    """`cls(**values)` with every value checked against its field's type and user errors placed."""
    hints = typing.get_type_hints(cls)
    checked = {name: coerce(value, hints[name], f"{where}.{name}") for name, value in values.items()}
    missing = [
        f.name
        for f in dataclasses.fields(cls)
        if f.name not in checked and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{where}: {cls.__name__} needs {', '.join(missing)}")
    with naming_settings(where):
        return cls(**checked)


@contextmanager
def naming_settings(of: str) -> Iterator[None]:
    """Makes a ValueError with the place of whatever else goes wrong in a part's own code, whose settings nobody may
    have foreseen. Files and libraries that are missing keep their names."""
    try:
        yield
    except (ValueError, OSError, ImportError):
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        raise ValueError(f"{of}: it cannot be built with these settings ({told}); choose others") from error


def override(spec: Any, changes: Mapping[str, str]) -> Any:
    """`spec` with leaves ("policy.width") set from shell text, all at once. A part is chosen by its kind's name.

    Raises ValueError with the closest name for an unknown field or kind, or when the text has the wrong type.
    """
    texts, deeper = _by_field(type(spec), changes, ".")
    own = {name: _from_text(type(spec), name, text) for name, text in texts.items()}
    for name, inner in deeper.items():
        part = own.get(name, getattr(spec, name))
        if not isinstance(part, Spec):
            raise ValueError(f"{name} of {type(spec).__name__} has no fields of its own, so no {', '.join(inner)}")
        own[name] = override(part, inner)
    with naming_settings(type(spec).__name__):
        return dataclasses.replace(spec, **own)


def _by_field(
    cls: type, changes: Mapping[str, Any], separator: str
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Changes of the class's own fields, and of fields further in by the field that holds them.

    What is changed in one part is changed at once, because half of it need not fit the rest.
    """
    own: dict[str, Any] = {}
    deeper: dict[str, dict[str, Any]] = {}
    for path, value in changes.items():
        head, _, rest = path.partition(separator)
        check_field(cls, head)
        if rest:
            deeper.setdefault(head, {})[rest] = value
        else:
            own[head] = value
    return own, deeper


def _from_text(cls: type, name: str, text: str) -> Any:
    hint = typing.get_type_hints(cls)[name]
    families = [t.family for t in alternatives(hint) if isinstance(t, type) and issubclass(t, Spec)]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = construct(plugins.find(families[0], text), {}, name) if families else text
    return coerce(value, hint, name)


def field_docs(cls: type) -> dict[str, str]:
    """The sentence under each field of a spec class, by the field's name."""
    docs = {}
    for base in reversed([base for base in cls.__mro__ if dataclasses.is_dataclass(base)]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for field, text in pairwise(definition.body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                docs[ast.unparse(field.target)] = inspect.cleandoc(str(text.value.value)).replace("\n", " ")
    return docs


def check_field(cls: type, name: str, where: str = "") -> None:
    """Raises ValueError with the closest name if the spec class has no such field."""
    names = [field.name for field in dataclasses.fields(cls)]
    if name not in names:
        place = f"{where}: " if where else ""
        raise ValueError(f"{place}{cls.__name__} has no field {name!r}; {closest(name, names)}")


def closest(name: str, names: Iterable[str]) -> str:
    """The end of an error message: the name that was probably meant, else all of them."""
    names = sorted(names)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'none'}"


def counted(number: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union type, or the type alone."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def coerce(value: Any, hint: Any, where: str) -> Any:
    """`value` if it fits the type `hint` (lists become tuples, whole numbers floats), else ValueError."""
    for option in alternatives(hint):
        origin, arguments = typing.get_origin(option), typing.get_args(option)
        if option is Any or (option is type(None) and value is None):
            return value
        if origin is typing.Literal and value in arguments:
            return value
        if origin is tuple and isinstance(value, tuple | list):
            items = arguments[:1] * len(value) if arguments[1:] == (Ellipsis,) else arguments
            if len(items) == len(value):
                return tuple(coerce(v, t, f"{where}[{i}]") for i, (v, t) in enumerate(zip(value, items, strict=True)))
        if option is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(option, type) and isinstance(value, option) and not (option is int and isinstance(value, bool)):
            return value
    expected = " or ".join(getattr(option, "__name__", str(option)) for option in alternatives(hint))
    raise ValueError(f"{where}: expected {expected}, got {value!r}")
