"""Hydra's Compose API over one table of files (name → path), instead of over directories.

So the first directory wins, an experiment may be any file, nothing outside the table can be read, and every file is checked
before it is parsed. Hydra's global instance is cleared before and put back after.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Hashable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_search_path import ConfigSearchPath, SearchPathElement
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tme_sim.config.keys import choice_of
from tme_sim.config.safety import read_checked
from tme_sim.state.errors import InputError, InputErrors

EXPERIMENT = "_experiment_"  # where the chosen experiment stands in the table, whatever its path
MOST_KEPT = 64  # merged configurations in memory


@dataclass
class Table:
    """The files that a composition may read (name as Hydra asks for it → path), and what was found wrong on the way."""

    paths: dict[str, Path] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)  # where a file's content goes if its head does not say
    errors: list[InputError] = field(default_factory=list)
    unfit: bool = False  # whether a file was refused
    loaded: dict[str, dict[str, Any]] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)  # sections of config.yaml that a choice of the user's takes the place of

    def add(self, folder: Path, paths: Iterable[Path], package: str | None = None) -> None:
        """Files below a folder; names that are there already stay."""
        for path in paths:
            name = path.relative_to(folder).with_suffix("").as_posix()
            if self.paths.setdefault(name, path) is path and package:
                self.packages[name] = package

    def choices(self, group: str) -> list[str]:
        """Names of the files of a group."""
        return sorted(name.removeprefix(f"{group}/") for name in self.paths if name.startswith(f"{group}/"))

    def stamp(self) -> Hashable:
        """What a merge depends on besides the choices: the files as they are now, where they go, and what is replaced."""
        files = frozenset((name, path, self.packages.get(name), *_changed(path)) for name, path in self.paths.items())
        return files, frozenset(self.replaced)

    def load(self, name: str) -> tuple[dict[str, Any], str | None]:
        """Content and package of a file; an unfit one counts as empty and its errors are kept."""
        file = read_checked(self.paths[name])
        self.errors += file.errors
        self.unfit |= bool(file.errors)
        content = {key: value for key, value in file.content.items() if name != "config" or key not in self.replaced}
        self.loaded[name] = content
        return content, file.package or self.packages.get(name)


def _changed(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


_kept: dict[Hashable, bytes] = {}  # Hydra takes a tenth of a second, and the jobs of a sweep mostly differ in values
_table: ContextVar[Table] = ContextVar("_table")
_lock = threading.Lock()  # Hydra has one global instance


class _TableSource(ConfigSource):
    """Hydra's view of the table of the composition that is under way."""

    @staticmethod
    def scheme() -> str:
        return "tme-sim"

    def load_config(self, config_path: str) -> ConfigResult:
        content, package = _table.get().load(config_path.removesuffix(".yaml"))
        return ConfigResult(self.provider, self.full_path(), OmegaConf.create(content), {"package": package})

    def is_group(self, config_path: str) -> bool:
        return bool(_table.get().choices(config_path)) if config_path else True

    def is_config(self, config_path: str) -> bool:
        return config_path.removesuffix(".yaml") in _table.get().paths

    def available(self) -> bool:
        return True

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return _table.get().choices(config_path)


class _TableOnly(SearchPathPlugin):
    """Replaces the directories that Hydra would search by the table, while one is in use."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if _table.get(None) is not None:
            own = [element for element in search_path.get_path() if element.provider == "hydra"]
            search_path.get_path()[:] = [*own, SearchPathElement("main", "tme-sim://")]


def merge(table: Table, choices: list[str]) -> DictConfig:
    """The merged files, from memory where none has changed. Raises InputErrors where Hydra cannot merge or a file was refused."""
    key = table.stamp(), tuple(choices)
    if key not in _kept:
        merged = pickle.dumps(_merge(table, choices))
        if len(_kept) >= MOST_KEPT:
            _kept.clear()
        _kept[key] = merged
    config: DictConfig = pickle.loads(_kept[key])
    return config


def _merge(table: Table, choices: list[str]) -> DictConfig:
    with _lock:
        outer, token = GlobalHydra.instance().hydra, _table.set(table)
        GlobalHydra.instance().clear()
        try:
            for plugin in (_TableSource, _TableOnly):
                Plugins.instance().register(plugin)
            with hydra.initialize_config_dir(str(Path(__file__).parent), job_name="tme-sim", version_base="1.3"):
                config = hydra.compose("config", overrides=choices)
        except MissingConfigException as missing:
            raise InputErrors([*table.errors, _missing(missing, table)]) from None
        except RecursionError:
            told = f"refer to each other in a circle ({', '.join(_circle(table))})"
            raise InputErrors([InputError("defaults", None, told)]) from None
        except (HydraException, OmegaConfBaseException, ValueError, TypeError, AttributeError, AssertionError) as failure:
            text = str(failure).strip() or str(failure.__cause__)
            text = text.splitlines()[0].replace(f"{EXPERIMENT}/experiment", str(table.paths.get(f"{EXPERIMENT}/experiment")))
            raise InputErrors([*table.errors, InputError("configuration", None, text)]) from None
        finally:
            GlobalHydra.instance().hydra = outer
            _table.reset(token)
    if table.unfit:
        raise InputErrors(table.errors)
    OmegaConf.set_struct(config, False)
    return config


def _circle(table: Table) -> list[str]:
    """Paths of the files that come back to themselves when their defaults are followed."""
    to = {name: _started_from(name, content.get("defaults")) for name, content in table.loaded.items()}
    found = []
    for name in to:
        seen, reached = set[str](), to[name]
        while reached - seen:
            seen |= reached
            reached = set().union(*(to.get(other, set()) for other in reached))
        found += [str(table.paths[name])] if name in seen else []
    return found


def _started_from(name: str, defaults: Any) -> set[str]:
    """Names of the files that a file's defaults list asks for."""
    group, asked = name.rpartition("/")[0], set()
    for item in defaults if isinstance(defaults, list) else []:
        for key, chosen in item.items() if isinstance(item, dict) else [("", item)]:
            folder = key.removeprefix("override ").strip()
            folder = folder[1:] if folder.startswith("/") else f"{group}/{folder}".strip("/")
            asked |= {f"{folder}/{one}".lstrip("/") for one in (chosen if isinstance(chosen, list) else [chosen])}
    return asked


def _missing(failure: MissingConfigException, table: Table) -> InputError:
    """A choice in a defaults list for which there is no file; Hydra does not say which list, so it is looked for."""
    group, _, name = (failure.missing_cfg_file or "").rpartition("/")
    lists = ((table.paths[file], content.get("defaults")) for file, content in table.loaded.items())
    asking = [path for path, defaults in lists if isinstance(defaults, list) and any(_asks(item, name) for item in defaults)]
    where = f" ({asking[-1]})" if asking else ""
    if not group:
        return InputError("defaults", name, f"is not there{where}")
    if group.startswith(EXPERIMENT):
        return InputError(
            "defaults", name, f"no such file to start from; a group's choice is written `- override /GROUP: NAME`{where}"
        )
    return InputError(group, name, f"is not a choice of {group}{where}; {choice_of(name, table.choices(group))}")


def _asks(item: Any, name: str) -> bool:
    chosen = list(item.values()) if isinstance(item, dict) else [item]
    return name in chosen or any(isinstance(names, list) and name in names for names in chosen)
