"""A frame holds what the run recorded, and nothing is lost on the way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tme_sim.config.instruments import frame_of
from tme_sim.config.load import load, request
from tme_sim.files.run_folder import RunFolder
from tme_sim.imaging.frame import COMPARTMENTS, Frame
from tme_sim.runner import execute
from tme_sim.state.errors import InputError

WORDS = (
    *(
        "nanoparticle=liposome_cu64",
        "drug=none",
        "lattice.size=120um",
        "lattice.refinement=2",
        "number=continuum",
        "report=false",
    ),
    *(
        "protocol.duration=40min",
        "protocol.dose=1e12particles",
        "protocol.dose_of=particle",
        "record.interval=20min",
        "step=5min",
    ),
    "processes=circulation,gaps,transcytosis,phagocytes,migration,transport,binding,uptake,labels",
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Frame]:
    """A frame of one run, by its time."""
    config = load(request(list(WORDS))).config
    folder = tmp_path_factory.mktemp("runs") / "run"
    execute(config, folder)
    return lambda time_s=None: frame_of(RunFolder(folder), config, time_s)


def test_what_was_injected_is_in_the_tumor_the_body_or_gone(recorded: Callable[..., Frame]) -> None:
    frame = recorded()
    arrested = frame.agents["arrested"]
    on_wall = frame.lattice.copies[0] * float(arrested[["load_loaded", "load_released"]].to_numpy().sum())
    total = frame.tumor_carriers.sum() + sum(pool.sum() for pool in frame.organs.values()) + on_wall
    assert total == pytest.approx(frame.injected, rel=1e-6)  # the rest is degraded within 40 minutes
    assert frame.tumor_carriers.sum() > 0


def test_carriers_of_a_compartment_add_up_to_its_term_of_the_series(recorded: Callable[..., Frame]) -> None:
    frame = recorded()
    assert set(frame.carriers) == set(COMPARTMENTS)
    for kind in ("macrophages", "tumor_cells"):
        assert frame.carriers[kind].sum() == pytest.approx(frame.held[kind].sum(), rel=1e-12)
    blood_per_um3 = frame.organs["blood"].sum() / frame.body.blood_volume_um3
    lumen_um3 = frame.fields["lumen_fraction"].sum() * frame.lattice.voxel_um3
    on_wall = frame.agents["arrested"][["load_loaded", "load_released"]].to_numpy().sum()
    assert frame.carriers["blood"].sum() == pytest.approx(blood_per_um3 * lumen_um3 + on_wall, rel=1e-12)


def test_labels_on_particles_and_off_them_are_those_injected(recorded: Callable[..., Frame]) -> None:
    frame = recorded()
    organs = {"blood": "plasma", "liver": "kupffer", "spleen": "spleen"}
    assert set(frame.label_on) >= {"plasma", "kupffer", "tissue", "cells", "blood_phagocytes"}
    assert all(0 < share <= 1 + 1e-9 for share in frame.label_on.values())
    assert all(frame.organs[organ].sum() > 0 for organ in organs)
    off = sum(frame.label_free.values())
    assert 0 < off < frame.injected
    mean_on = 1 - off / frame.injected
    assert min(frame.label_on.values()) <= mean_on <= max(frame.label_on.values())


def test_an_earlier_frame_is_that_of_its_time(recorded: Callable[..., Frame]) -> None:
    first, last = recorded(1200.0), recorded()
    assert (first.time_s, last.time_s) == (1200.0, 2400.0)
    assert first.organs["blood"].sum() > last.organs["blood"].sum()
    assert first.lattice == last.lattice
    assert first.lattice.refinement == 2
    assert np.all(recorded(0.0).tumor_carriers == 0)


def test_a_time_that_was_not_recorded_is_told_with_those_that_were(recorded: Callable[..., Frame]) -> None:
    with pytest.raises(InputError, match=r"time 0\.1 h: was not recorded; recorded are 0 h, 0\.333333 h, 0\.666667 h"):
        recorded(360.0)
