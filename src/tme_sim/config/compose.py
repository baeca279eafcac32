"""Composing a configuration: which files, in which order, and what the command line changes.

Hydra merges the base configuration, the groups, an experiment and its variant (`tme_sim.config.table`). Values from the command
line are set afterwards, one by one: each wrong one is told apart, unknown keys reach the validation, and all errors can be listed
together. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from tme_sim.config.keys import choice_of
from tme_sim.config.overrides import read_single
from tme_sim.config.safety import DEEPEST, MOST_RESOLVED, read_checked
from tme_sim.config.table import EXPERIMENT, Table, merge
from tme_sim.state.errors import InputError, InputErrors

LIST_GROUPS = ("processes", "readouts")
"""Groups of which a run takes several, in the order given."""

VARIANTS = ("full", "small")
_PARTS = ("experiment", "small")  # the files of an experiment that are configuration


def available(conf_dirs: Iterable[Path], group: str) -> list[str]:
    """Names of the choices of a group, of all directories together."""
    names = (path.relative_to(folder / group) for folder in conf_dirs for path in (folder / group).rglob("*.yaml"))
    return sorted({name.with_suffix("").as_posix() for name in names})


def experiments(experiment_dirs: Iterable[Path]) -> list[str]:
    """Names of the experiments: the folders that hold an experiment.yaml."""
    return sorted({path.parent.name for folder in experiment_dirs for path in folder.glob("*/experiment.yaml")})


def compose(
    conf_dirs: Sequence[Path],
    experiment_dirs: Sequence[Path],
    experiment: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    variant: str | None = None,
    base: Path | None = None,
    errors: list[InputError] | None = None,
) -> dict[str, Any]:
    """The composed configuration as plain data, interpolations resolved.

    conf_dirs: directories of config.yaml and of the groups; of every file the first directory that has it wins.
    experiment: a name in `experiment_dirs`, or the path of a YAML file; small.yaml beside it is its small variant.
    overrides: `key=value` of a single run, where commas make a list; `variant=small` may be among them.
    base: a resolved configuration that takes the place of config.yaml; a group that is chosen anew replaces its section.
    errors: where given, it receives what is wrong and the rest is returned for validation, which adds its own. Without it, and
    whenever nothing sensible can be composed, InputErrors is raised.
    """
    table = Table()
    for folder in conf_dirs:
        table.add(folder, folder.rglob("*.yaml"))
    request, groups = _sort(overrides, table), sorted({name.partition("/")[0] for name in table.paths if "/" in name})
    if base is not None:
        table.paths["config"], table.replaced = base, {choice.partition("=")[0] for choice in request.choices}
        request.choices = [f"+{choice}" for choice in request.choices]
    for folder in experiment_dirs:
        table.add(folder, (path for path in folder.glob("*/*.yaml") if path.stem in _PARTS), "_global_")
    variant = request.variant or variant or "full"
    parts = _add_experiment(table, experiment, experiment_dirs, variant)
    if misplaced := [error for part in parts for error in _misplaced_choices(table.paths[f"{EXPERIMENT}/{part}"], groups)]:
        raise InputErrors([*table.errors, *misplaced])
    config = merge(table, [*request.choices, *([f"+{EXPERIMENT}=[{','.join(parts)}]"] if parts else [])])
    if "variant" in config and base is None:
        config["variant"] = variant
    _set_values(config, request.values, table.errors)
    plain: dict[str, Any] = _Resolver(table.errors).read(config)
    if errors is not None:
        errors += table.errors
    elif table.errors:
        raise InputErrors(table.errors)
    return plain


def _add_experiment(table: Table, experiment: str | Path | None, experiment_dirs: Sequence[Path], variant: str) -> list[str]:
    """Puts the chosen experiment into the table; its parts in the order of merging."""
    if variant not in VARIANTS:
        table.errors.append(InputError("variant", variant, f"is no variant; {choice_of(variant, VARIANTS)}"))
    if experiment is None:
        return []
    path = Path(experiment)
    if path.suffix not in (".yaml", ".yml"):
        if str(experiment) not in (names := experiments(experiment_dirs)):
            unknown = InputError("experiment", experiment, f"is not known; {choice_of(experiment, names)}")
            raise InputErrors([*table.errors, unknown])
        path = table.paths[f"{experiment}/experiment"]
    parts = {"experiment": path} | ({"small": path.with_name("small.yaml")} if variant == "small" else {})
    for part, file in parts.items():
        if not file.is_file():
            raise InputErrors([*table.errors, InputError(part, file, "there is no such file")])
        table.paths[f"{EXPERIMENT}/{part}"] = file
        table.packages[f"{EXPERIMENT}/{part}"] = "_global_"
    return list(parts)


def _misplaced_choices(file: Path, groups: list[str]) -> list[InputError]:
    """What is not written as a file of a run has it: choices as `- override /GROUP: NAME` in its defaults, keys as sections."""
    content, errors = read_checked(file).content, []
    for group in groups:
        if isinstance(content.get(group), str | list):
            chosen = str(content[group]).replace("'", "")
            errors.append(InputError(group, chosen, f"goes into defaults, as `- override /{group}: {chosen}` ({file})"))
    for key, value in content.items():
        if "." in key:
            sections = ": {".join(key.split(".")) + f": {value}" + "}" * key.count(".")
            errors.append(InputError(key, value, f"is written in sections, as `{sections}` ({file})"))
    defaults = content.get("defaults")
    for item in defaults if isinstance(defaults, list) else []:
        name, choice = next(iter(item.items()), ("", "")) if isinstance(item, dict) else (item, None)
        group = str(name).removeprefix("override ").partition("@")[0].strip("/ ")
        if choice is None or (name == f"override /{group}" and group in groups):
            continue
        allowed = (
            f"must be written `- override /{group}: {choice}`"
            if group in groups
            else f"no group {group}; {choice_of(group, groups)}"
        )
        errors.append(InputError("defaults", f"{name}: {choice}", f"{allowed} ({file})"))
    return errors


@dataclass
class _Request:
    """The overrides of a run, sorted: choices of groups, as Hydra takes them; values; the variant."""

    choices: list[str] = field(default_factory=list)
    values: list[Override] = field(default_factory=list)
    variant: str | None = None


def _sort(overrides: Sequence[str], table: Table) -> _Request:
    request, without_choice = _Request(), set[str]()
    for text in overrides:
        try:
            override = read_single(text)
        except InputErrors as wrong:
            table.errors += wrong.errors
            continue
        if override is None:
            continue
        group = override.key_or_group
        if group == "variant":
            request.variant = str(override.value())
        elif not isinstance(override.value(), dict) and (table.choices(group) or (group in LIST_GROUPS and override.value())):
            wrong_names = _wrong_choices(group, override.value(), table.choices(group))
            table.errors += wrong_names
            without_choice |= {group} if wrong_names else set()
            if not wrong_names:
                names = ",".join(f"'{name}'" for name in _listed(override.value()))
                request.choices.append(f"{group}=[{names}]" if group in LIST_GROUPS else f"{group}={names}")
        else:
            request.values.append(override)
    # What belongs to a choice that failed would only be blamed for not fitting the choice that was not replaced.
    request.values = [o for o in request.values if not any(o.key_or_group.startswith(f"{g}.") for g in without_choice)]
    return request


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _wrong_choices(group: str, value: Any, options: list[str]) -> list[InputError]:
    names = _listed(value)
    if group not in LIST_GROUPS and isinstance(value, list):
        return [InputError(group, ",".join(map(str, names)), "takes a single choice; with -m, commas make a sweep")]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        return [InputError(group, twice[0], "appears twice")]
    names = ["null" if name is None else name for name in names]
    allowed = f"is not a choice of {group}; {{}}" if options else f"this version has no {group} to choose from"
    return [InputError(group, n, allowed.format(choice_of(n, options))) for n in names if n not in options]


def _set_values(config: DictConfig, values: list[Override], errors: list[InputError]) -> None:
    for override in values:
        key, value = override.key_or_group, override.value()
        group, _, below = key.partition(".")
        name, _, parameter = below.partition(".")
        if group in LIST_GROUPS and parameter and name not in (config.get(group) or {}):
            names = choice_of(name, config.get(group) or {})
            errors.append(InputError(key, value, f"{name} is not among the {group} of this run; {names}; {group}=a,b chooses"))
            continue
        try:
            present = OmegaConf.select(config, key, throw_on_missing=False, throw_on_resolution_failure=False)
            if isinstance(present, ListConfig) and not isinstance(value, list | dict):
                value = [value]  # without a comma, a list of one, as in protocol.times=6h
            OmegaConf.update(config, key, value, merge=True, force_add=True)
        except (OmegaConfBaseException, ValueError, TypeError, AssertionError) as failure:
            errors.append(InputError(key, value, f"cannot be set: {str(failure).splitlines()[0]}"))


@dataclass
class _Resolver:
    """Turns nodes into plain data, each interpolation into what it names."""

    errors: list[InputError]
    values: int = 0

    def read(self, node: DictConfig | ListConfig, path: str = "") -> Any:
        """Plain data below a node; what refers to nothing, or was left open (`???`), is an error by its path."""
        if isinstance(node, ListConfig):
            return [self._entry(node, index, f"{path}[{index}]") for index in range(len(node))]
        names = [str(key) for key in node]
        return {name: self._entry(node, key, f"{path}.{name}" if path else name) for key, name in zip(node, names, strict=True)}

    def _entry(self, node: DictConfig | ListConfig, key: Any, path: str) -> Any:
        self.values += 1
        if self.values > MOST_RESOLVED or path.count(".") > DEEPEST:
            raise InputErrors([*self.errors, InputError(path, None, "refers to itself, or its interpolations explode")])
        try:
            entry = node[key]
        except MissingMandatoryValue:
            self.errors.append(InputError(path, "???", "must be set"))
        except (OmegaConfBaseException, RecursionError):
            written = OmegaConf.to_container(node, resolve=False)
            self.errors.append(InputError(path, written[key] if written else None, "refers to a key that is not there"))
        else:
            return self.read(entry, path) if isinstance(entry, DictConfig | ListConfig) else entry
        return None
