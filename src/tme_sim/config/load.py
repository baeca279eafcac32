"""From words on the command line to a validated configuration: where files are looked for, and what the user set."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tme_sim.config import compose, registry
from tme_sim.config.safety import read_checked
from tme_sim.config.schema import collect_sources, validate
from tme_sim.config.settings import Config
from tme_sim.files.run_folder import find_run
from tme_sim.state.errors import InputError, InputErrors

PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Request:
    """What the user asked for: an experiment's name or file, or an earlier run's configuration, and overrides."""

    experiment: str | Path | None
    overrides: tuple[str, ...]
    from_run: Path | None = None
    extensions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loaded:
    """A validated configuration, the sources of its numbers, and the keys that the user set."""

    config: Config
    sources: dict[str, Any]
    user_set: tuple[str, ...]


def conf_dirs() -> list[Path]:
    """Where configuration groups are: ./conf first, then the package's own."""
    return [folder for folder in (Path("conf").resolve(), _shipped("conf")) if folder.is_dir()]


def experiment_dirs() -> list[Path]:
    """Where experiments are: ./experiments first, then the package's own."""
    return [folder for folder in (Path("experiments").resolve(), _shipped("experiments")) if folder.is_dir()]


def _shipped(name: str) -> Path:
    """A folder that ships with the package: inside it in a wheel, at the top of a source checkout."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parents[1] / name


def request(words: Sequence[str], *, from_run: str | None = None, extensions: Iterable[str] = ()) -> Request:
    """Sort the words into an experiment and overrides. Raises InputError for two experiments, or one beside --from."""
    modules = tuple(extensions)
    load_extensions(modules)
    names = [word for word in words if "=" not in word]
    overrides = tuple(word for word in words if "=" in word)
    if len(names) > 1:
        raise InputError("experiment", " ".join(names), "one experiment at a time; overrides are written key=value")
    if names and from_run:
        raise InputError("experiment", names[0], "--from RUN takes the place of an experiment; give one of them")
    if from_run:
        return Request(None, overrides, find_run(from_run) / "config.yaml", modules)
    name = names[0] if names else None
    is_file = name is not None and name.endswith((".yaml", ".yml"))
    return Request(Path(str(name)) if is_file else name, overrides, None, modules)


def load(asked: Request) -> Loaded:
    """Compose and validate. Raises InputErrors that list everything wrong at once."""
    errors: list[InputError] = []
    for word in asked.overrides:
        key, _, value = word.lstrip("+").partition("=")
        if key == "tissue.kind":  # another kind has other keys, so every key of the present one would be refused
            raise InputError(key, value, f"a tissue is chosen with tissue={value}")
    composed = compose.compose(
        conf_dirs(), experiment_dirs(), asked.experiment, asked.overrides, base=asked.from_run, errors=errors
    )
    return validated(composed, tuple(word.split("=", 1)[0].lstrip("+") for word in asked.overrides), errors)


def validated(composed: dict[str, Any], user_set: tuple[str, ...] = (), earlier: Sequence[InputError] = ()) -> Loaded:
    """A composed mapping as a configuration; `earlier` errors are listed with those found here."""
    sources = collect_sources(composed) | {key: {"note": "set by the user"} for key in user_set}
    return Loaded(validate(Config, composed, registry=registry, earlier=earlier), sources, user_set)


def study_file(path: Path) -> dict[str, Any]:
    """A study.yaml as plain data, read as strictly as a configuration. Raises InputErrors."""
    checked = read_checked(path)
    if checked.errors:
        raise InputErrors(checked.errors)
    return checked.content


def reopen(folder: Path) -> Loaded:
    """The configuration that a run was started with."""
    try:
        content = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        content = None
    if not isinstance(content, dict):
        raise InputError("run", folder, "has no config.yaml that can be read; start it again")
    return validated(content)


def load_extensions(modules: Iterable[str]) -> None:
    """Import modules that register kinds of their own; they are looked for in the working directory first."""
    for module in modules:
        if str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise InputError("--extension", module, f"must be an importable Python module ({error})") from None
