"""The keys of a section: what the fields of its dataclass declare, how users write their values, and what `explain` shows."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, cast

from tme_sim.config.units import Dose, format_dose, format_quantity
from tme_sim.state.parameters import split_unit

F = TypeVar("F", bound=Callable[..., Any])
BOUNDS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "above": ("above", lambda value, bound: value > bound),
    "at_least": ("at least", lambda value, bound: value >= bound),
    "below": ("below", lambda value, bound: value < bound),
    "at_most": ("at most", lambda value, bound: value <= bound),
}


@dataclass(frozen=True)
class Section:
    """A polymorphic section after validation: the class that its `kind` names, and its parameters as set or by default."""

    kind: str
    enabled: bool
    cls: type[Any]
    values: dict[str, Any]  # by the field's full name, unit suffix included; without the fields declared as given


class Row(NamedTuple):
    """One line of `tme-sim explain`: key as users write it, unit, meaning, range and default, all as text."""

    key: str
    unit: str
    meaning: str
    range: str
    default: str


@dataclass(frozen=True)
class Key:
    """One settable field: its key, unit and type as users see them."""

    name: str
    key: str
    unit: str | None
    hint: Any
    metadata: Mapping[str, Any]
    default: Any  # MISSING where the user must set it

    @property
    def kind_of(self) -> str | None:
        """What the kinds of a polymorphic section are kinds of, e.g. `process`."""
        kind_of: str | None = self.metadata.get("kind_of")
        return kind_of

    @property
    def range(self) -> str:
        """The bounds in words, with their unit."""
        bounds = ((words, self.metadata.get(name)) for name, (words, _) in BOUNDS.items())
        unit = (self.unit or "").replace("**", "^")
        return " and ".join(f"{words} {bound:g} {unit}".strip() for words, bound in bounds if bound is not None)


def once_per_class(function: F) -> F:
    """Remembers the result for each class."""
    return cast("F", cache(function))  # mypy does not see that classes are hashable


@once_per_class
def keys_of(cls: type[Any]) -> tuple[Key, ...]:
    """The fields of a dataclass that the user sets: all but those declared as given from another section."""
    hints, keys = typing.get_type_hints(cls), []
    for f in dataclasses.fields(cls):
        if not f.init or "given" in f.metadata:
            continue
        key, unit = split_unit(f.name) if _is_numeric(hints[f.name]) else (f.name, None)
        default = f.default if f.default_factory is MISSING else f.default_factory()
        keys.append(Key(f.name, key, unit, hints[f.name], f.metadata, default))
    return tuple(keys)


def dump(instance: Any) -> dict[str, Any]:
    """Plain mapping as users write it, quantities as text; `validate` turns it back into the same instance, to the last bit."""
    if isinstance(instance, Section):
        parameters = {key.key: _plain(instance.values[key.name], key.unit) for key in keys_of(instance.cls)}
        return {"kind": instance.kind, "enabled": instance.enabled, **parameters}
    return {key.key: _plain(getattr(instance, key.name), key.unit) for key in keys_of(type(instance))}


def describe(cls: type[Any], where: str = "") -> list[Row]:
    """All keys below a dataclass, in order, those of nested dataclasses with their path; entries of a mapping appear as NAME."""
    rows = []
    for key in keys_of(cls):
        entries = typing.get_origin(key.hint) is dict
        hint = typing.get_args(key.hint)[1] if entries else key.hint
        hint = next((choice for choice in typing.get_args(hint) if is_nested(choice)), hint)  # an optional section
        path = join(where, key.key) + (".NAME" if entries else "")
        if is_nested(hint):
            rows += describe(hint, path)
        else:
            default = "required" if key.default is MISSING else str(_plain(key.default, key.unit))
            rows.append(Row(path, (key.unit or "").replace("**", "^"), key.metadata.get("meaning", ""), key.range, default))
    return rows


def collect_sources(data: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Where the numbers of a composed mapping come from: full key → citation (row, doi, note) or the word `assumed`.

    What an outer section says of a key holds before what the inner one says: an experiment that sets a value cites it at the top.
    """
    found: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping) and key != "sources":
            found |= collect_sources(value, join(where, str(key)))
    own = data.get("sources")
    return found | {join(where, str(name)): source for name, source in own.items()} if isinstance(own, Mapping) else found


def choice_of(word: object, allowed: Iterable[object], many: str = "one of") -> str:
    """The tail of every message about a choice: nearest spelling if there is one, then all of them."""
    words = [str(a) for a in allowed]
    near = difflib.get_close_matches(str(word)[:60].lower(), [w.lower() for w in words], 1)
    guess = next((f"did you mean {w}? " for w in words if near and w.lower() == near[0]), "")
    return f"{guess}{many} {', '.join(words)}" if words else "nothing is allowed here"


def _plain(value: Any, unit: str | None) -> Any:
    """A value as users write it."""
    if isinstance(value, Dose):
        return format_dose(value)
    if isinstance(value, Section) or dataclasses.is_dataclass(value):
        return dump(value)
    if isinstance(value, Mapping):
        return {key: _plain(entry, unit) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, unit) for entry in value]
    if isinstance(value, Path):
        return str(value)
    return format_quantity(value, unit) if unit and isinstance(value, int | float) else value


def is_nested(hint: Any) -> bool:
    """Whether a type is a section of its own, with keys below."""
    return dataclasses.is_dataclass(hint) and hint not in (Dose, Section)


def _is_numeric(hint: Any) -> bool:
    return hint in (int, float) or (typing.get_origin(hint) is not Literal and any(map(_is_numeric, typing.get_args(hint))))


def join(path: str, name: str) -> str:
    """Path of a key or an index below another path."""
    return path + name if not path or not name or name.startswith("[") else f"{path}.{name}"
