"""Instruments: a PET frame of a whole mouse, gradient echoes of a large lattice, and the page that shows what all of them see."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rows import Rows, Sizes, Timing, on_threads, thread_counts, timed

from tme_sim.acquiring import acquire, store, with_readouts
from tme_sim.config.compose import available
from tme_sim.config.instruments import frame_of, readout_of
from tme_sim.config.load import conf_dirs, load, request
from tme_sim.files.run_folder import RunFolder
from tme_sim.runner import execute

ALWAYS = ("drug=none", "number=continuum", "report=false", "protocol.duration=10min", "record.interval=10min", "step=5min")
PROCESSES = "processes=circulation,gaps,transcytosis,transport,uptake"


def instruments(sizes: Sizes) -> Rows:
    """Times of `acquire` alone, the run being read; and of a gallery from the run's folder to its page."""
    if not sizes.startup:
        raise RuntimeError("left out: whole bodies take long")
    on_threads(thread_counts()[-1])
    side = sizes.reference_sites // 2
    with run_of(side, "nanoparticle=liposome_cu64", "protocol.dose=10MBq", "protocol.dose_of=activity") as run:
        time_s, off = once(run, "pet_preclinical", sizes)
        note = "10 MBq of 64Cu liposomes, a mouse on 0.2 mm; error: what the tumour reads off its truth, partial volume"
        yield time_s.row("pet_mouse_frame_s", time_s.minimum, "s", off, note)
    with run_of(sizes.step, "nanoparticle=ferumoxytol", "protocol.dose=5mg/kg", "protocol.dose_of=iron") as run:
        time_s, off = once(run, "mri_r2star", sizes)
        note = f"{sizes.step}³ sites, 8 echoes before and after ferumoxytol, with fits; error: R2* of the tumour off its truth"
        yield time_s.row("mri_multi_echo_128_s", time_s.minimum, "s", off, note)
    with run_of(side, "nanoparticle=ccpm_cy7", "protocol.dose=1e13particles") as run:
        names = available(conf_dirs(), "readouts")
        seen: list[int] = []

        def gallery() -> None:
            images, refused = acquire(run, with_readouts(run, names).config, keep_going=True)
            store(run, images, refused, ["nifti"])
            seen[:] = [len(images), len(refused)]

        time_s = timed(gallery, sizes)
        note = (
            f"{sizes.hops}³ sites; {seen[0]} instruments that see a dye, {seen[1]} that do not; from the run's folder to the page"
        )
        yield time_s.row("gallery_s", time_s.minimum, "s", None, note)


@contextmanager
def run_of(side: int, *words: str) -> Iterator[RunFolder]:
    """A short run on side³ sites, gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        execute(load(request([*ALWAYS, *words, PROCESSES, f"lattice.size={15 * side}um"])).config, Path(folder, "run"))
        yield RunFolder(Path(folder, "run"))


def once(run: RunFolder, name: str, sizes: Sizes) -> tuple[Timing, float]:
    """Time of one image of a frame that has been read; and how far its first number is from the truth beside it."""
    config = with_readouts(run, [name]).config
    readout, frame = readout_of(config, name), frame_of(run, config)
    time_s = timed(lambda: readout.acquire(frame), sizes)
    read = {q.quantity: q.value for q in readout.acquire(frame)[0].quantities if q.region == "tumor"}
    first = next(iter(read))
    return time_s, abs(read[first] / read[f"{first}_true"] - 1)
