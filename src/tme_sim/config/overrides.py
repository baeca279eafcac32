"""`key=value` of the command line, in Hydra's grammar: read one, or expand the sweeps among many into single runs."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, ParsedElementType, RangeSweep, Transformer
from hydra.errors import HydraException

from tme_sim.config.safety import LAUNCHER_KEYS, check_override
from tme_sim.state.errors import InputError, InputErrors

MOST_JOBS = 100_000
_KEY = re.compile(r"\+{0,2}[A-Za-z_][\w-]*(?:[./][\w-]+)*")
_UNQUOTED = re.compile(r"[\w.\-+*/^%: ]*")


def read_override(text: str) -> Override | None:
    """One override as Hydra parses it, with µ as u; None for a launcher's setting, which is no part of a configuration.

    A value that Hydra's grammar cannot read bare, such as `5 um^2/s`, is taken as if it were quoted. Raises InputErrors.
    """
    text = text.replace("µ", "u").replace("μ", "u")
    if refused := check_override(text):
        raise InputErrors(refused)
    key, equals, value = text.partition("=")
    if key.lstrip("+") in LAUNCHER_KEYS:
        return None
    if key.startswith("~"):
        raise InputErrors([InputError(text, None, "nothing can be deleted; switch it off, as in processes.NAME.enabled=false")])
    if not equals or not _KEY.fullmatch(key):
        raise InputErrors([InputError(text, None, "is not of the form key=value, such as lattice.size=480um")])
    quoted = ",".join(f"'{part.strip()}'" for part in value.split(","))
    for attempt in (value, quoted if not set(value) & set("'\"[]{}\\") else value):
        try:
            return OverridesParser.create().parse_override(f"{key}={attempt}")
        except HydraException:
            continue
    raise InputErrors([InputError(key, value, "cannot be read; a value with brackets, quotes or backslashes goes inside quotes")])


def read_single(text: str) -> Override | None:
    """One override of a single run, where `a,b` is the list of a and b. Raises InputErrors for any other sweep."""
    override = read_override(text)
    if override is None or not override.is_sweep_override():
        return override
    key, _, value = str(override.input_line).partition("=")
    sweep = override.value()
    if not (isinstance(sweep, ChoiceSweep) and sweep.simple_form):
        raise InputErrors([InputError(key, value, "is a sweep, and needs -m")])
    return OverridesParser.create().parse_override(f"{key}=[{value}]")


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of every job of a sweep: the product of all `key=a,b,c` and `key=range(1,4)`, the last key fastest.

    Raises InputErrors with everything that cannot be swept.
    """
    axes, errors = [], []
    for text in overrides:
        try:
            axes.append(_points(text))
        except InputErrors as wrong:
            errors += wrong.errors
    jobs = math.prod(len(points) for points in axes)
    if jobs > MOST_JOBS:
        errors.append(InputError("sweep", f"of {jobs} jobs", f"at most {MOST_JOBS}"))
    if errors:
        raise InputErrors(errors)
    return [list(itertools.chain(*job)) for job in itertools.product(*axes)]


def _points(text: str) -> list[list[str]]:
    """What one override contributes to each job: itself, or one point of its sweep, or nothing for a launcher's setting."""
    override = read_override(text)
    if override is None:
        return [[]]
    key, _, value = str(override.input_line).partition("=")
    if not override.is_sweep_override():
        return [[f"{key}={value}"]]
    sweep = override.value()
    if isinstance(sweep, RangeSweep) and sweep.start is not None and sweep.stop is not None and not sweep.shuffle:
        if sweep.step == 0 or (sweep.stop - sweep.start) / sweep.step > MOST_JOBS:
            raise InputErrors([InputError(key, value, f"needs a step other than 0 and at most {MOST_JOBS} values")])
    elif not isinstance(sweep, ChoiceSweep) or sweep.shuffle:
        raise InputErrors([InputError(key, value, "is no sweep that can be listed; use a,b,c or range(start,stop,step)")])
    return [[f"{key}={point}"] for point in override.sweep_iterator(_as_text)]


def _as_text(element: ParsedElementType) -> str:
    plain = isinstance(element, str) and _UNQUOTED.fullmatch(element)
    return str(element) if plain else str(Transformer.str(element))
