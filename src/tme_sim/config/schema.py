"""From declared parameters to checked values: `validate` a composed mapping (`tme_sim.config.keys` has the way back).

A section of the configuration is a dataclass whose fields are written with `parameter(...)` (see `tme_sim.state.parameters`).
For each one pydantic holds a frozen model that forbids unknown keys and collects all errors of its level; what a single value
may be is decided by the readers below. Every level hands its errors up with their path, so one pass lists all of them.

A field declared with `kind_of="process"` is polymorphic: the user's `kind` selects the class whose parameters apply. It becomes
a `Section` and not an instance, because the fields declared with `given(...)` are filled later from other sections.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar, Union, cast

import pydantic

from tme_sim.config.keys import (
    BOUNDS,
    Key,
    Row,
    Section,
    choice_of,
    collect_sources,
    describe,
    dump,
    is_nested,
    join,
    keys_of,
    once_per_class,
)
from tme_sim.config.units import Dose, parse_dose, parse_quantity
from tme_sim.state.errors import InputError, InputErrors

__all__ = ["Registry", "Row", "Section", "choice_of", "collect_sources", "describe", "dump", "validate"]

T = TypeVar("T")


class Registry(Protocol):
    """What `validate` asks about polymorphic sections; a module with these two functions will do."""

    def resolve(self, kind_of: str, kind: str) -> type[Any]:
        """The dataclass of a registered kind."""

    def known(self, kind_of: str) -> Iterable[str]:
        """Names of the registered kinds."""


Reader = Callable[[Any, Registry | None], Any]  # the user's value → the value inside; raises InputError or InputErrors


def validate(
    cls: type[T],
    data: Mapping[str, Any],
    where: str = "",
    registry: Registry | None = None,
    earlier: Sequence[InputError] = (),
) -> T:
    """An instance of the dataclass `cls` from a composed mapping; `where` is put before every path in the messages.

    earlier: what was found wrong before, in composing; it is listed first, and what lies below those fields not again.
    Raises InputErrors with all errors: unknown, missing, without unit, of the wrong dimension, type or choice, out of range.
    """
    instance, errors = None, list(earlier)
    try:
        instance = _read_level(cls, data, registry)
    except (InputError, InputErrors) as wrong:
        told = tuple(error.field for error in earlier)
        errors += [error for error in _below(where, wrong) if not any(_is_within(error.field, field) for field in told)]
    if errors:
        raise InputErrors(errors)
    return cast("T", instance)


@once_per_class
def _model(cls: type[Any]) -> type[pydantic.BaseModel]:
    """Frozen pydantic model of one level; attributes are the field names, aliases the users' keys."""
    fields: dict[str, Any] = {}
    for key in keys_of(cls):
        default = ... if key.default is MISSING else key.default
        fields[key.name] = (_annotated(_reader(key.hint, key)), pydantic.Field(default, alias=key.key))
    fields.setdefault("sources", (_annotated(lambda value, _: _read_sources(cls, value)), None))
    config = pydantic.ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
    return pydantic.create_model(cls.__name__, __config__=config, **fields)


def _annotated(read: Reader) -> Any:
    def from_pydantic(value: Any, info: pydantic.ValidationInfo) -> Any:
        return read(value, info.context)

    return Annotated[Any, pydantic.PlainValidator(from_pydantic)]


def _values(cls: type[Any], data: Any, registry: Registry | None, common: tuple[str, ...] = ()) -> dict[str, Any]:
    """Checked values of one level by field name."""
    keys = {key.key: key for key in keys_of(cls)}
    allowed = [*common, *keys]
    if not isinstance(data, Mapping):
        raise InputError("", _shown(data), f"needs a section with keys {', '.join(allowed)}")
    try:
        model = _model(cls).model_validate({str(key): value for key, value in data.items()}, context=registry)
    except pydantic.ValidationError as failure:
        errors: list[InputError] = []
        for found in failure.errors(include_url=False):
            key = str(found["loc"][0])
            if found["type"] == "missing":
                errors.append(InputError(key, None, f"is missing; {_expected(keys[key])}"))
            elif found["type"] == "extra_forbidden":
                errors.append(InputError(key, _shown(found["input"]), f"is not a key here; {choice_of(key, allowed)}"))
            else:
                errors += _below(key, found["ctx"]["error"])
        raise InputErrors(errors) from None
    return {key.name: getattr(model, key.name) for key in keys.values()}


def _read_level(cls: type[Any], data: Any, registry: Registry | None) -> Any:
    values = _values(cls, data, registry)
    try:
        return cls(**values)
    except InputError as error:  # a check across fields in __post_init__ speaks of fields; the user knows keys
        key = next((key.key for key in keys_of(cls) if key.name == error.field), error.field)
        raise InputError(key, error.value, error.allowed) from None


def _read_section(kind_of: str, data: Any, registry: Registry | None, default_kind: str | None = None) -> Section:
    """A polymorphic section; an empty one stands for all defaults."""
    data = {} if data is None else data
    if registry is None or not isinstance(data, Mapping):
        raise InputError("", _shown(data), f"needs the section of a {kind_of}, with its kind")
    parameters = {key: value for key, value in data.items() if key not in ("kind", "enabled")}
    kind, enabled = data.get("kind", default_kind), data.get("enabled", True)
    if not isinstance(kind, str) or kind not in registry.known(kind_of):
        word = "is missing" if kind is None else f"is no {kind_of}"
        raise InputError(
            "kind", _shown(kind) if kind is not None else None, f"{word}; {choice_of(kind, registry.known(kind_of))}"
        )
    cls = registry.resolve(kind_of, kind)
    errors: list[InputError] = []
    if not isinstance(enabled, bool):
        errors.append(InputError("enabled", _shown(enabled), "needs true or false"))
    try:
        values = _values(cls, parameters, registry, ("kind", "enabled"))
    except (InputError, InputErrors) as error:
        errors += _below("", error)
    if errors:
        raise InputErrors(errors)
    return Section(kind, enabled, cls, values)


def _read_sources(cls: type[Any], data: Any) -> None:
    """Checks the citations of a section; they are no part of the values (see `collect_sources`)."""
    keys = [key.key for key in keys_of(cls)]
    if not isinstance(data, Mapping):
        raise InputError("", _shown(data), "needs a mapping of keys to `assumed` or {row, doi, note}")
    errors = []
    for name, source in data.items():
        odd = set(source) - {"row", "doi", "note"} if isinstance(source, Mapping) else set()
        if str(name).split(".")[0] not in keys:
            errors.append(InputError(str(name), None, f"is not a key of this section; {choice_of(name, keys)}"))
        elif odd:
            errors.append(InputError(str(name), odd.pop(), "is neither row, doi nor note; a note with commas needs quotes"))
        elif source != "assumed" and not (isinstance(source, Mapping) and source):
            errors.append(InputError(str(name), _shown(source), "needs `assumed`, or at least one of row, doi, note"))
    if errors:
        raise InputErrors(errors)


def _reader(hint: Any, key: Key) -> Reader:
    """The reader of one type, recursively through unions, sequences and mappings."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _union_reader({argument: _reader(argument, key) for argument in arguments})
    if origin is dict:
        return _mapping_reader(arguments[1], key)
    if origin in (list, tuple):
        return _sequence_reader(origin, arguments, key)
    if origin is Literal:
        return lambda value, _: _one_of(arguments, value)
    if key.kind_of:
        kind_of = key.kind_of
        return lambda value, registry: _read_section(kind_of, value, registry)
    if hint is Dose:
        return lambda value, _: parse_dose(value, "")
    if is_nested(hint):
        return lambda value, registry: _read_level(hint, value, registry)
    if hint in (int, float):
        return lambda value, _: _number(value, key, hint)
    return lambda value, _: _simple(value, hint)


def _union_reader(readers: dict[Any, Reader]) -> Reader:
    """Of several types the one whose shape fits: null, a list, a section, or a single value."""

    def shape(hint: Any) -> type:
        origin = typing.get_origin(hint)
        return list if origin in (list, tuple) else dict if origin is dict or is_nested(hint) else object

    def read(value: Any, registry: Registry | None) -> Any:
        if value is None and type(None) in readers:
            return None
        given = list if isinstance(value, list | tuple) else dict if isinstance(value, Mapping) else object
        candidates = [hint for hint in readers if hint is not type(None)]
        best = next((hint for hint in candidates if shape(hint) is given), candidates[0])
        return readers[best](value, registry)

    return read


def _mapping_reader(hint: Any, key: Key) -> Reader:
    read = _reader(hint, key)

    def read_entry(name: str, value: Any, registry: Registry | None) -> Any:
        return _read_section(key.kind_of, value, registry, name) if key.kind_of else read(value, registry)

    def read_all(value: Any, registry: Registry | None) -> dict[str, Any]:
        if value is not None and not isinstance(value, Mapping):
            raise InputError("", _shown(value), "needs a mapping of names")
        return _each([(str(name), name, entry) for name, entry in (value or {}).items()], registry, read_entry)

    return read_all


def _sequence_reader(origin: type, arguments: tuple[Any, ...], key: Key) -> Reader:
    read = _reader(arguments[0], key)
    length = None if origin is list or arguments[-1] is ... else len(arguments)

    def read_all(value: Any, registry: Registry | None) -> Any:
        if not isinstance(value, list | tuple) or length not in (None, len(value)):
            raise InputError("", _shown(value), f"needs a list{'' if length is None else f' of {length}'}, such as [a,b]")
        entries = [(f"[{index}]", index, entry) for index, entry in enumerate(value)]
        return origin(_each(entries, registry, lambda _, entry, registry: read(entry, registry)).values())

    return read_all


def _each(entries: list[tuple[str, Any, Any]], registry: Registry | None, read: Callable[..., Any]) -> dict[Any, Any]:
    """Reads all entries (path, name, value) and raises the errors of all of them together."""
    values, errors = {}, []
    for path, name, entry in entries:
        try:
            values[name] = read(name, entry, registry)
        except (InputError, InputErrors) as error:
            errors += _below(path, error)
    if errors:
        raise InputErrors(errors)
    return values


def _number(value: Any, key: Key, kind: type[int] | type[float]) -> float:
    """A number in the field's unit and range; whole numbers may be written 1e6."""
    if isinstance(value, list | tuple | Mapping):
        raise InputError("", _shown(value), "needs a single value (commas make a sweep with -m, else a list)")
    number = parse_quantity(value, key.unit, "")
    if not all(holds(number, key.metadata[name]) for name, (_, holds) in BOUNDS.items() if key.metadata.get(name) is not None):
        raise InputError("", value, f"must be {key.range}")
    if kind is int and not number.is_integer():
        raise InputError("", value, "needs a whole number")
    return value if kind is int and isinstance(value, int) else kind(number)


def _simple(value: Any, hint: Any) -> Any:
    """Text, paths, true or false: only what is written as such, nothing is guessed."""
    if hint is Any:
        return value
    kind, words = {bool: (bool, "true or false"), Path: (str, "a path"), str: (str, "text")}[hint]
    if not isinstance(value, kind):
        raise InputError("", _shown(value), f"needs {words}")
    return hint(value)


def _one_of(choices: tuple[Any, ...], value: Any) -> Any:
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise InputError("", _shown(value), choice_of(value, choices))
    return value


def _expected(key: Key) -> str:
    """What a missing key should hold."""
    wanted = f"a quantity in {key.unit.replace('**', '^')}" if key.unit else "a value"
    meaning = key.metadata.get("meaning")
    return f"needs {wanted}{f' {key.range}' if key.range else ''}{f' ({meaning})' if meaning else ''}"


def _shown(value: Any) -> Any:
    """A value short enough for a message; the content of a section is not repeated."""
    if isinstance(value, Mapping):
        return None if value else "{}"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _is_within(path: str, outer: str) -> bool:
    return path == outer or path.startswith((f"{outer}.", f"{outer}["))


def _below(path: str, error: InputError | InputErrors) -> list[InputError]:
    """The errors of a lower level with the path of this one before theirs."""
    errors = error.errors if isinstance(error, InputErrors) else [error]
    return [InputError(join(path, e.field), e.value, e.allowed) for e in errors]
