"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write a file or folder under: it replaces `path` at the end, and leaves nothing behind where writing failed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part, old = (path.with_name(path.name + ending) for ending in (".part", ".old"))
    _remove(part)
    try:
        yield part
        if path.is_dir():  # no folder can take the place of one that holds something
            _remove(old)
            path.replace(old)
        part.replace(path)
        _remove(old)
    finally:
        _remove(part)


def write_text(path: Path, text: str) -> Path:
    """Write a text file whole or not at all."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write JSON whole or not at all; numpy's numbers and arrays become plain ones, what is not finite becomes null."""
    return write_text(path, json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
