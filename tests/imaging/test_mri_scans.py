"""Whole scans of small tissues: what emerges, what is refused, and what is told beside the truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tme_sim.imaging.bloch_torrey import SpinEcho
from tme_sim.imaging.frame import COMPARTMENTS, Frame
from tme_sim.imaging.gradient_echo import FlipAngles, MultiEcho
from tme_sim.imaging.mri import Scanner
from tme_sim.imaging.relaxation import Water
from tme_sim.state.body import Body
from tme_sim.state.contrast import Contrast, ContrastAgent, Relaxivity
from tme_sim.state.errors import InputError
from tme_sim.state.lattice import Lattice, Patch

WATER = Water(
    tissue_r1_per_s=0.5,
    tissue_r2_per_s=20,
    blood_r1_per_s=0.5,
    blood_r2_per_s=20,
    blood_susceptibility_ppm=0.4,
    macrophage_iron_mM=0.5,
    diffusivity_um2_per_s=1000,
    vesicle_radius_um=0.25,
    vesicle_share=0.02,
)
ROW = Relaxivity(field_T=7, r1_per_mM_s=4, r2_per_mM_s=70)
IRON = Contrast(metal="iron", magnetisation_A_per_m=3.5e5, intact=(ROW,), r1_share_in_cells=0.3, r2_share_in_cells=0)
AGENT = ContrastAgent(IRON, 0.01, 0.0065)
COMMON: dict[str, Any] = {
    "field_T": 7.0,
    "voxel_um": (45.0, 45.0, 45.0),
    "snr_per_mm3": 1e6,
    "water": WATER,
    "agent": AGENT,
}
GRADIENT = MultiEcho(
    repetition_s=0.5, flip_angle_deg=40, first_echo_s=0.002, echo_spacing_s=0.002, echoes=5, shown_echo=3, **COMMON
)
ANGLES = FlipAngles(repetition_s=0.02, echo_s=0.002, flip_angles_deg=(3.0, 9.0, 20.0), **COMMON)
SPIN = SpinEcho(repetition_s=3, echo_spacing_s=0.006, echoes=3, shown_echo=2, spins_per_voxel=1, **COMMON)
SCANNERS = (GRADIENT, ANGLES, SPIN)


def frame_with(
    compartment: str = "extracellular",
    particles: Any = 0.0,
    *,
    sites: tuple[int, int, int] = (12, 12, 12),
    patches: tuple[Patch, ...] = (),
    cells: Any = 0.7,
    lumen: Any = 0.0,
    macrophages: Any = (),
    time_s: float = 3600.0,
    **fields: Any,
) -> Frame:
    """A tissue of this share of cells, with loaded particles per voxel in one compartment."""
    lattice = Lattice(sites, 15.0, 1, patches)
    carriers = {name: np.zeros((2, *sites)) for name in COMPARTMENTS}
    carriers[compartment][0] += particles
    volumes = {"lumen_fraction": lumen, "cell_fraction": cells, "inside": 1.0, **fields}
    return Frame(
        time_s=time_s,
        seed=3,
        lattice=lattice,
        carriers=carriers,
        held={},
        agents={"macrophages": pd.DataFrame({"site": np.asarray(macrophages, np.int64)})} if len(macrophages) else {},
        fields={name: np.broadcast_to(np.asarray(values, float), sites).copy() for name, values in volumes.items()},
        organs={},
        tumor_carriers=np.zeros(2),
        label_on={},
        label_free={},
        body=Body(1e12, 25.0),
        tumor_mass_g=0.1,
        injected=1e12,
    )


def read(scanner: Scanner, frame: Frame, region: str = "tumor") -> dict[str, float]:
    return {q.quantity: q.value for q in scanner.acquire(frame)[0].quantities if q.region == region}


def clumps(share: float = 0.05) -> np.ndarray:
    """(12, 12, 12) which sites hold a loaded cell."""
    return np.random.default_rng(1).random((12, 12, 12)) < share


@pytest.mark.parametrize("scanner", SCANNERS, ids=lambda s: s.kind)
def test_tissue_without_agent_changes_by_noise_alone(scanner: Scanner) -> None:
    images = scanner.acquire(frame_with(lumen=0.02))
    change = images[1]
    assert change.modality == f"d{scanner.rate}map"
    assert np.abs(change.layers["noise_free"]).max() == 0
    assert np.abs(change.data).max() > 0
    assert images[0].layers["truth"].mean() == pytest.approx({"R1": 0.5}.get(scanner.rate, 20.0), rel=0.02)


@pytest.mark.parametrize("scanner", SCANNERS, ids=lambda s: s.kind)
def test_dispersed_metal_is_read_as_what_it_is(scanner: Scanner) -> None:
    """Evenly outside cells, where a voxel has no cells: the field is even, rates are r·c, and the estimate is the truth."""
    found = read(scanner, frame_with("extracellular", 0.2 * 15**3 / 0.01, cells=0.0))
    symbol_true = 0.2 * 55.845
    assert found["Fe_true"] == pytest.approx(symbol_true)
    assert found[f"d{scanner.rate}_true"] == pytest.approx({"R1": 4}.get(scanner.rate, 70) * 0.2, rel=0.01)
    assert found["Fe"] == pytest.approx(symbol_true, rel=0.1)


def test_iron_in_few_cells_dephases_the_tissue_around_them() -> None:
    """It emerges from the lattice's field: per iron far more than dispersed, near the 720 per mM and s of static dephasing."""
    held = clumps()
    clustered = read(GRADIENT, frame_with("macrophages", held * 0.05 / held.mean() * 15**3 / 0.01))
    dispersed = read(GRADIENT, frame_with("extracellular", 0.05 * 15**3 / 0.01))
    assert clustered["Fe_true"] == pytest.approx(dispersed["Fe_true"], rel=0.05)
    assert dispersed["dR2star_per_Fe_true"] < 100
    assert 600 < clustered["dR2star_per_Fe_true"] < 1000


def test_cells_quench_r1_and_not_the_field() -> None:
    held = clumps()
    frame = frame_with("macrophages", held * 0.05 / held.mean() * 15**3 / 0.01)
    open_cells = ContrastAgent(replace(IRON, r1_share_in_cells=1.0), 0.01, 0.0065)
    assert read(ANGLES, frame)["dR1_true"] < 0.6 * read(replace(ANGLES, agent=open_cells), frame)["dR1_true"]
    ratio = read(GRADIENT, frame)["dR2star_true"] / read(replace(GRADIENT, agent=open_cells), frame)["dR2star_true"]
    assert ratio == pytest.approx(1, rel=0.02)


def test_spin_echoes_see_less_of_large_clusters_than_gradient_echoes() -> None:
    held = clumps()
    frame = frame_with("macrophages", held * 0.05 / held.mean() * 15**3 / 0.01)
    assert read(SPIN, frame)["dR2_true"] < 0.6 * read(GRADIENT, frame)["dR2star_true"]


def test_vessels_full_of_iron_dephase_tissue_unless_they_lie_along_the_field() -> None:
    along = np.zeros((12, 12, 12))
    along[:, 5, 5] = 0.8

    def change(lumen: np.ndarray) -> float:
        frame = frame_with("blood", lumen * 2.0 * 15**3 / 0.01, lumen=lumen, cells=np.where(lumen > 0, 0.0, 0.7))
        return read(GRADIENT, frame)["dR2star_true"]

    assert change(along.transpose(1, 2, 0)) > 10 > 2 > abs(change(along))


def test_macrophages_have_iron_of_their_own() -> None:
    with_iron, without = (
        read(GRADIENT, frame_with(macrophages=sites))["R2star_true"] for sites in (np.flatnonzero(clumps()), ())
    )
    assert with_iron > without + 0.05


def test_patches_do_not_feel_each_other() -> None:
    patches = (Patch("rim", 0, 9, 2, 0.7, 0.9), Patch("core", 9, 9, 3, 0.3, 0.1))
    particles = np.zeros((18, 12, 12))
    particles[:9] = np.random.default_rng(1).random((9, 12, 12)) < 0.05
    found = GRADIENT.acquire(frame_with("macrophages", particles * 1e6, sites=(18, 12, 12), patches=patches))[0]
    assert found.data.shape == (6, 4, 4)
    assert found.regions is not None
    assert found.regions[:, 0, 0].tolist() == [1, 1, 1, 2, 2, 2]
    of = {(q.region, q.quantity): q.value for q in found.quantities}
    assert of["core", "dR2star_true"] == 0 < of["rim", "dR2star_true"]
    assert of["tumor", "R2star"] == pytest.approx(0.7 * of["rim", "R2star"] + 0.3 * of["core", "R2star"])


def test_noise_is_a_function_of_seed_instrument_and_time() -> None:
    frame = frame_with()
    first, again = GRADIENT.acquire(frame), GRADIENT.acquire(frame)
    assert all(np.array_equal(a.data, b.data) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[-1].data, GRADIENT.acquire(replace(frame, time_s=7200.0))[-1].data)
    assert not np.array_equal(first[-1].data, GRADIENT.acquire(replace(frame, seed=4))[-1].data)


def test_images_carry_their_sequence_and_voxels() -> None:
    rate, _, metal, shown, echoes = GRADIENT.acquire(frame_with())
    assert [image.modality for image in (rate, metal, shown, echoes)] == ["R2starmap", "Femap", "T2starw", "MEGRE"]
    assert echoes.data.shape == (5, 4, 4, 4)
    assert echoes.acquisition["EchoTime"] == [0.002, 0.004, 0.006, 0.008, 0.01]
    assert shown.acquisition["EchoTime"] == 0.006
    assert rate.acquisition["FieldParts"] == 3
    assert replace(GRADIENT, field_parts=1).acquire(frame_with())[0].acquisition["FieldParts"] == 1
    assert rate.voxel_um == (45.0, 45.0, 45.0)
    assert rate.origin_um == (22.5, 22.5, 22.5)
    assert np.array_equal(shown.data, echoes.data[2])


def test_the_metal_of_a_released_payload_is_where_the_payload_is() -> None:
    gadolinium = Contrast(
        metal="gadolinium",
        intact=(replace(ROW, r1_per_mM_s=1),),
        released=(replace(ROW, r1_per_mM_s=4),),
        leaves_as="drug",
        r1_share_in_cells=1,
        r2_share_in_cells=1,
    )
    scanner = replace(ANGLES, agent=ContrastAgent(gadolinium, 0.01, None))
    with pytest.raises(InputError, match="leaves as drug, which this run did not follow"):
        scanner.acquire(frame_with())
    found = read(scanner, frame_with(cells=0.5, drug_mM=0.2, drug_in_cells_amol=0.0))
    assert found["Gd_true"] == pytest.approx(0.1 * 157.25)
    fast = replace(scanner, water=replace(WATER, cell_residence_s=0.0))
    assert read(fast, frame_with(cells=0.5, drug_mM=0.2, drug_in_cells_amol=0.0))["dR1_true"] == pytest.approx(0.4, rel=0.01)


@pytest.mark.parametrize(
    ("voxel_um", "told"),
    [((5.0, 45.0, 45.0), "finer than the lattice"), ((45.0, 75.0, 45.0), "at most a third of the 180 um")],
)
def test_voxels_that_the_lattice_cannot_fill_are_refused(voxel_um: tuple[float, float, float], told: str) -> None:
    with pytest.raises(InputError, match=told):
        replace(GRADIENT, voxel_um=voxel_um).acquire(frame_with())


def test_a_run_without_the_volume_of_its_cells_is_refused() -> None:
    frame = frame_with()
    old = replace(frame, fields={"lumen_fraction": frame.fields["lumen_fraction"]})
    with pytest.raises(InputError, match="cell_fraction: was not recorded by this run"):
        GRADIENT.acquire(old)


@pytest.mark.parametrize(
    ("scanner", "wrong", "told"),
    [
        (GRADIENT, {"shown_echo": 9}, "there are 5 echoes"),
        (GRADIENT, {"repetition_s": 0.005}, "the last echo is at 0.01 s"),
        (ANGLES, {"flip_angles_deg": (5.0, 5.0)}, "two angles"),
        (ANGLES, {"echo_s": 0.1}, "before the next pulse"),
        (SPIN, {"shown_echo": 4}, "there are 3 echoes"),
        (SPIN, {"repetition_s": 0.01}, "the last echo is at 0.018 s"),
    ],
)
def test_sequences_that_cannot_be_played_are_refused(scanner: Scanner, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        replace(scanner, **wrong)
