"""What is refused before anything is composed: a configuration is data, and must not execute, read the environment or explode.

Hydra and OmegaConf can instantiate classes (`_target_`, `hydra.callbacks`), call resolvers (`${oc.env:HOME}`), and expand a page
of aliases to gigabytes. Files are looked through as a stream of events, which expands nothing and stops at the first limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from tme_sim.state.errors import InputError

LARGEST_FILE = 2**20  # bytes
DEEPEST = 50  # levels of nesting
MOST_VALUES = 20_000  # of one file, aliases expanded
MOST_RESOLVED = 5_000  # of a composed configuration, interpolations expanded
LONGEST_OVERRIDE = 2000  # characters

LAUNCHER_KEYS = frozenset(
    f"hydra.launcher.{name}"
    for name in ("account", "array_parallelism", "cpus_per_task", "mem_gb", "n_jobs", "partition", "qos", "timeout_min")
)
"""The only keys of Hydra that a user may set, on the command line; their values are plain words and numbers."""

_HYDRA = re.compile(r"(?:^|[\s/@:.])hydra(?:$|[./@:\s])")
_TARGET = re.compile(r"(?<![A-Za-z0-9])_target_(?![A-Za-z0-9])")
_INTERPOLATION = re.compile(r"\$\{\.{0,5}[A-Za-z_][\w.\[\]-]*\}")
if TYPE_CHECKING:
    _FastLoader = yaml.SafeLoader
else:
    _FastLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_FastLoader):
    """Reads plain scalars as YAML 1.2 does: `yes` and `1:30` are text, `1e-3` is a number."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)", list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _first)


class Checked(NamedTuple):
    """A YAML file that was read: plain data (empty where something was refused), the package its head names, and the errors."""

    content: dict[str, Any]
    package: str | None
    errors: list[InputError]


def read_checked(path: Path) -> Checked:
    """Reads one YAML file unless something in it is refused."""
    if not path.is_file():
        return Checked({}, None, [InputError(str(path), None, "is not a plain file")])
    if path.stat().st_size > LARGEST_FILE:
        size = f"of {path.stat().st_size / 2**20:.1f} MiB"
        return Checked({}, None, [InputError(str(path), size, "a configuration file holds at most 1 MiB")])
    try:
        text = path.read_text(encoding="utf-8")
        errors = [InputError(f"{path}:{line}", None, refusal) for line, refusal in _refusals(text)]
        content = {} if errors else yaml.load(text, Loader=_Loader) or {}  # a safe loader, without tags
        if not isinstance(content, dict):
            errors, content = [InputError(str(path), None, "must hold keys and values")], {}
        return Checked(content, _package(text), errors)
    except yaml.MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark else 1
        return Checked({}, None, [InputError(f"{path}:{line}", None, f"is not valid YAML: {problem.problem}")])
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        reason = str(problem).splitlines()[0]
        return Checked({}, None, [InputError(str(path), None, f"is not valid YAML in UTF-8: {reason}")])


def check_override(text: str) -> list[InputError]:
    """What is refused in one `key=value` of the command line."""
    key, _, value = text.partition("=")
    key, shown = key.strip().lstrip("+~"), text if len(text) <= 80 else f"{text[:80]}…"
    if len(text) > LONGEST_OVERRIDE or not text.isprintable():
        return [InputError(shown, None, f"an override holds at most {LONGEST_OVERRIDE} printable characters")]
    if max(text.count(opening) for opening in "[{(") > DEEPEST:
        return [InputError(shown, None, f"holds more than {DEEPEST} brackets")]
    if _HYDRA.search(key) and not (key in LAUNCHER_KEYS and re.fullmatch(r"[\w.-]*", value)):
        return [InputError(key, value, f"Hydra's own settings are not for users; allowed: {', '.join(sorted(LAUNCHER_KEYS))}")]
    refusal = _refusal_of_text(value.strip().strip("'\""))
    if "$" in value and "\\" in value:
        refusal = "an escaped interpolation is refused"
    if _TARGET.search(text):
        refusal = "`_target_` would execute code and is refused; `kind` names what is built"
    return [InputError(key, value, refusal)] if refusal else []


@dataclass
class _Collection:
    """A mapping or sequence that is still open while the events pass by."""

    is_mapping: bool
    anchor: str
    in_defaults: bool
    values: int = 1
    keys: set[str] = field(default_factory=set)
    last_key: str | None = None
    expects_key: bool = True


@dataclass
class _Scan:
    """The collections around the present event, and how many values there are once aliases are expanded."""

    open: list[_Collection] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)  # values under each anchor
    total: int = 0
    documents: int = 0

    def enter(self, event: yaml.NodeEvent) -> None:
        """Counts a value; an alias counts as all it stands for, one to something still open as too much."""
        anchor = event.anchor or ""
        size = self.sizes.get(anchor, MOST_VALUES) if isinstance(event, yaml.AliasEvent) else 1
        self.total += size
        if isinstance(event, yaml.CollectionStartEvent):
            outer = self.open[-1] if self.open else None
            in_defaults = outer is not None and (outer.in_defaults or (len(self.open) == 1 and outer.last_key == "defaults"))
            self.open.append(_Collection(isinstance(event, yaml.MappingStartEvent), anchor, in_defaults))
            return
        if isinstance(event, yaml.ScalarEvent) and anchor:
            self.sizes[anchor] = 1
        if self.open:
            self.open[-1].values += size

    def leave(self) -> None:
        closed = self.open.pop()
        self.sizes[closed.anchor] = closed.values
        if self.open:
            self.open[-1].values += closed.values


def _package(text: str) -> str | None:
    """The `# @package` among the comments at the head of a file."""
    for line in text[:4096].split("\n"):
        if header := re.match(r"[ \t]*#[ \t]*@package[ \t]+(\S+)", line):
            return header[1]
        if line.strip() and not line.lstrip().startswith("#"):
            break
    return None


def _refusals(text: str) -> Iterator[tuple[int, str]]:
    """Line and reason of everything refused in a YAML text; ends at the first limit that is passed."""
    if _HYDRA.search(_package(text) or ""):
        yield 1, f"the package {_package(text)} belongs to Hydra"
    scan = _Scan()
    for event in yaml.parse(text, Loader=_FastLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            scan.documents += 1
            if event.tags or scan.documents > 1:
                yield line, "a file holds one document, without directives"
                return
        if isinstance(event, yaml.NodeEvent):
            yield from ((line, refusal) for refusal in _refusals_of_node(event, scan.open))
            scan.enter(event)
        if isinstance(event, yaml.CollectionEndEvent):
            scan.leave()
        if scan.total > MOST_VALUES or len(scan.open) > DEEPEST:
            yield line, f"holds more than {MOST_VALUES} values (aliases expanded) or {DEEPEST} levels"
            return


def _refusals_of_node(event: yaml.NodeEvent, open_: list[_Collection]) -> Iterator[str]:
    """What is refused in one key or value, given the collections around it."""
    parent = open_[-1] if open_ else None
    is_key = parent is not None and parent.is_mapping and parent.expects_key
    if parent is not None and parent.is_mapping:
        parent.expects_key = not parent.expects_key
    tag = getattr(event, "tag", None)
    if tag is not None:
        yield f"tags such as {tag} are refused"
    if not isinstance(event, yaml.ScalarEvent):
        if is_key:
            yield "a key must be plain text"
        return
    refusal = _refusal_of_text(event.value, parent is not None and parent.in_defaults)
    if refusal:
        yield refusal
    if (is_key or (parent is not None and parent.in_defaults)) and _HYDRA.search(event.value):
        yield f"{event.value}: Hydra's own settings are refused in files"
    if is_key and parent is not None:
        if event.value == "_target_":
            yield "`_target_` would execute code and is refused; `kind` names what is built"
        if event.value in parent.keys and event.value != "<<":
            yield f"the key {event.value} appears twice"
        parent.keys.add(event.value)
        parent.last_key = event.value


def _refusal_of_text(text: str, in_defaults: bool = False) -> str | None:
    """An interpolation names one key: no resolver, no nesting, no text around it that could grow by repetition."""
    if "${" not in text:
        return None
    if not _INTERPOLATION.fullmatch(text) and not (in_defaults and "${" not in _INTERPOLATION.sub("", text)):
        return "only whole interpolations of keys, such as ${lattice.size}, are allowed: no resolvers, no environment"
    return "Hydra's own settings are not read from here" if re.search(r"\$\{\.*hydra[.}\[]", text) else None
