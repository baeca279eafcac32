"""`tme-sim image`: what instruments show of a run."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from tme_sim.acquiring import Times, acquire, store, with_readouts
from tme_sim.config.compose import available
from tme_sim.config.load import conf_dirs
from tme_sim.config.units import parse_quantity
from tme_sim.files.image import Image
from tme_sim.files.images import check_formats
from tme_sim.files.run_folder import RunFolder, find_run
from tme_sim.state.errors import InputError

MOST_ROWS = 12
"""Of an instrument's numbers, how many are shown; all are in the table on disk."""


def image(options: argparse.Namespace) -> int:
    """Images, their numbers and a gallery into the run's folder; exit code 2 if no instrument can see the run."""
    run = RunFolder(find_run(options.run))
    names = [name for word in options.what if "=" not in word for name in word.split(",")]
    settings = [word for word in options.what if "=" in word]
    there = available(conf_dirs(), "readouts")
    names = there if options.all else names or list(run.config.get("readouts") or {})
    if not names:
        raise InputError("READOUT", None, f"name one or more of {', '.join(there)}; or --all")
    formats = options.format.split(",")
    check_formats(formats)
    config = with_readouts(run, names, settings).config
    try:
        images, refused = acquire(run, config, _times(options.time, run), options.data, keep_going=options.all)
        files = store(run, images, refused, formats)
    except KeyboardInterrupt:
        print("interrupted; files already written are whole, the same command writes the rest", file=sys.stderr)
        return 130
    for name, made in images.items():
        _numbers(name, made)
    for name, why in refused.items():
        print(f"{name}: {why}")
    for folder, count in Counter(
        run.folder / "images" / file.relative_to(run.folder / "images").parts[0] for file in files
    ).items():
        print(f"{folder}{f'  ({count} files)' if count > 1 else ''}")
    return 0 if images else 2


def _times(text: str | None, run: RunFolder) -> Times | None:
    """Recorded times as users write them: a quantity, several with commas, `last` or `all`."""
    if text is None:
        return None
    if text == "all":
        return run.frame_times_s
    return [None if word == "last" else parse_quantity(word, "s", "--time") for word in text.split(",")]


def _numbers(name: str, images: Sequence[Image]) -> None:
    """What can be read off the images of one instrument."""
    table = Table(title=name, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("time", "image", "region", "quantity", "value", "unit", ""):
        table.add_column(column, justify="right" if column == "value" else "left")
    rows = [(image, quantity) for image in images for quantity in image.quantities]
    for image, q in rows[:MOST_ROWS]:
        table.add_row(f"{image.time_s / 3600:g} h", image.name, q.region, q.quantity, f"{q.value:.4g}", q.unit, q.flag)
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(table)
    if len(rows) > MOST_ROWS:
        console.print(f"… and {len(rows) - MOST_ROWS} more in images/quantification.parquet")
