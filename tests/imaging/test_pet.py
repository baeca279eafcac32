"""PET of a hand-made frame: activity, counts, uptake and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml

from tme_sim.files.image import Image
from tme_sim.imaging.frame import COMPARTMENTS, Frame
from tme_sim.imaging.isotopes import ISOTOPES
from tme_sim.imaging.labels import DETACHED, INTACT, pools
from tme_sim.imaging.pet import Pet
from tme_sim.imaging.uptake import FEW, PARTIAL, Uptake
from tme_sim.state.body import Body
from tme_sim.state.errors import InputError
from tme_sim.state.label import Detachment, Label
from tme_sim.state.lattice import Lattice, Patch

HOUR_S = 3600.0
CARDS = Path(__file__).parents[2] / "conf" / "nanoparticle"
VOXEL_ML = 1.6**3 * 1e-3
LATTICE = Lattice((10, 10, 10), 60.0, 1, (Patch("tumor", 0, 10, 2000),))
DENSITY = 1.05
TUMOR_G = 2000 * 0.6**3 * 1e-3 * DENSITY
BODY = Body(1e12, 25.0, {"liver": 1.375, "spleen": 0.1}, blood_volume_um3=1.7e12)


def frame(**changes: Any) -> Frame:
    """Two carriers a voxel outside cells, one in macrophages; plasma, liver and spleen hold the rest."""
    zero = np.zeros((2, *LATTICE.voxels))
    carriers = {name: zero.copy() for name in COMPARTMENTS}
    carriers["extracellular"][0], carriers["macrophages"][1] = 2.0, 1.0
    lumen = np.full(LATTICE.voxels, 0.03)
    organs = {"blood": 4e7, "liver": 6e7, "spleen": 1e7, "elsewhere": 3e7}
    carriers["blood"][0] = lumen * LATTICE.voxel_um3 * organs["blood"] / 1.7e12
    in_tissue = 2000 * 3 * 1000.0
    made = Frame(
        time_s=24 * HOUR_S,
        seed=4,
        lattice=LATTICE,
        carriers=carriers,
        held={},
        agents={},
        fields={"lumen_fraction": lumen, "inside": np.ones(LATTICE.voxels)},
        organs={name: np.array([amount, 0.0]) for name, amount in organs.items()},
        tumor_carriers=np.array([4e6, 2e6]),
        label_on={},
        label_free={},
        body=BODY,
        tumor_mass_g=TUMOR_G,
        injected=in_tissue + sum(organs.values()),
    )
    return replace(made, **changes)


def scanner(**changes: Any) -> Pet:
    """A coarse whole-mouse scanner, quick enough for tests."""
    label = Label(name="64Cu", half_life_s=12.7 * HOUR_S, activity_Bq=0.05, detachment=Detachment())
    settings: dict[str, Any] = {
        "phantom": "mouse",
        "grid_um": 800.0,
        "voxel_um": 1600.0,
        "fwhm_um": 4000.0,
        "fwhm_contains_range": False,
        "sensitivity": 0.05,
        "transmission": 0.8,
        "scan_s": 1200.0,
        "reconstruction_fwhm_um": 1500.0,
        "excess_noise": 10.0,
        "peak_diameter_um": 5000.0,
        "label": label,
        "density_g_per_mL": DENSITY,
    }
    return Pet(**(settings | changes))


def value(image: Image, region: str, quantity: str) -> float:
    (found,) = (q.value for q in image.quantities if (q.region, q.quantity) == (region, quantity))
    return found


@pytest.fixture(scope="module")
def image() -> Image:
    (taken,) = scanner().acquire(frame())
    return taken


def test_the_image_holds_the_activity_of_the_whole_body(image: Image) -> None:
    activity = 0.05 * 2 ** (-24 / 12.7) * frame().injected
    for layer in ("truth", "noise_free"):
        assert image.layers[layer].sum(dtype=np.float64) * VOXEL_ML == pytest.approx(activity, rel=1e-6)
    assert image.data.sum(dtype=np.float64) * VOXEL_ML == pytest.approx(activity, rel=0.01)
    assert image.unit == "Bq/mL"
    assert image.acquisition["TracerRadionuclide"] == "Cu64"
    assert image.acquisition["LabelsOutsideTheImage"] == pytest.approx(0, abs=1e-12)


def test_decay_runs_back_to_the_injection(image: Image) -> None:
    (later,) = scanner().acquire(frame(time_s=48 * HOUR_S))
    factor = 2 ** (-24 / 12.7)
    np.testing.assert_allclose(later.layers["truth"], image.layers["truth"] * factor, rtol=1e-5, atol=1e-3)
    for quantity in ("percent_id_per_g_true", "suv_mean_true"):
        assert value(later, "tumor", quantity) == pytest.approx(value(image, "tumor", quantity), rel=1e-12)


def test_the_tumor_has_its_true_uptake_beside_what_is_measured(image: Image) -> None:
    given = frame()
    in_blood = 0.03 * 2000 * 0.6**3 * 1e9 * 4e7 / 1.7e12
    percent = 100 * (given.tumor_carriers.sum() + in_blood) / given.injected / TUMOR_G
    assert value(image, "tumor", "percent_id_per_g_true") == pytest.approx(percent, rel=1e-9)
    assert value(image, "tumor", "recovery") < 1
    assert value(image, "tumor", "percent_id_per_g") == pytest.approx(percent * value(image, "tumor", "recovery"), rel=0.05)
    assert {q.flag for q in image.quantities if (q.region, q.quantity) == ("tumor", "suv_mean")} == {PARTIAL}
    assert value(image, "tumor", "suv_max") > value(image, "tumor", "suv_peak") > value(image, "tumor", "suv_mean")


def test_before_the_injection_there_is_nothing_to_see() -> None:
    zero = {name: np.zeros((2, *LATTICE.voxels)) for name in COMPARTMENTS}
    organs = {name: np.zeros(2) for name in ("blood", "liver", "spleen", "elsewhere")}
    (seen,) = scanner().acquire(frame(carriers=zero, organs=organs, injected=0.0, tumor_carriers=np.zeros(2)))
    assert not seen.data.any()
    assert value(seen, "tumor", "activity") == value(seen, "tumor", "activity_true") == 0
    assert np.isnan([value(seen, "tumor", name) for name in ("percent_id_per_g", "suv_mean", "suv_max")]).all()


def test_suv_is_percent_id_per_gram_times_mass_over_100(image: Image) -> None:
    uptake = Uptake(injected_Bq=3.7e6, body_mass_g=23.4, density_g_per_mL=1.05)
    assert uptake.suv(12345.6) == pytest.approx(uptake.percent_id_per_g(12345.6) * 23.4 / 100, rel=1e-12)
    assert uptake.suv(3.7e6 / 23.4 * 1.05) == pytest.approx(1, rel=1e-12)
    for region in ("tumor", "liver", "body"):
        assert value(image, region, "suv_mean") == pytest.approx(value(image, region, "percent_id_per_g") / 4, rel=1e-12)
        assert value(image, region, "percent_id_per_kg") == pytest.approx(
            1e3 * value(image, region, "percent_id_per_g"), rel=1e-12
        )


def test_counts_follow_sensitivity_volume_and_time() -> None:
    pet = scanner()
    trues = pet._counts_per_activity()
    expected = 0.05 * 0.8 * 0.175 * VOXEL_ML * 12.7 * HOUR_S / np.log(2) * (1 - 2 ** (-1200 / (12.7 * HOUR_S)))
    assert trues == pytest.approx(expected, rel=1e-12)
    sharp = scanner(reconstruction_fwhm_um=0.0, excess_noise=1.0)
    (taken,) = sharp.acquire(frame())
    counts, mean = taken.data.astype(np.float64) * trues, taken.layers["noise_free"].astype(np.float64) * trues
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-2)
    hot = mean > 5
    assert ((counts - mean)[hot] ** 2 / mean[hot]).mean() == pytest.approx(1, abs=3 * np.sqrt(2.2 / hot.sum()))


def test_noise_is_of_the_seed_and_the_time(image: Image) -> None:
    assert np.array_equal(scanner().acquire(frame())[0].data, image.data)
    assert not np.array_equal(scanner().acquire(frame(seed=5))[0].data, image.data)


def test_detached_label_is_where_its_fate_took_it() -> None:
    free = {"bone": 8e6, "blood": 4e6, "urine": 3e6, "kidney": 2e6, "bile": 1e6}
    given = frame(label_on={"blood": 0.9, "tissue": 0.8, "cells": 0.5, "liver": 0.7}, label_free=free)
    held = pools(given)
    assert held.tumor["extracellular", INTACT].sum() == pytest.approx(0.8 * 2000)
    assert held.tumor["macrophages", INTACT].sum() == pytest.approx(0.5 * 1000)
    assert held.tumor["blood", DETACHED].sum() == pytest.approx(0.03 * 0.6**3 * 1e9 * 4e6 / 1.7e12)
    assert held.body["liver", INTACT] == pytest.approx(0.7 * 6e7)
    organs = held.by_organ()
    assert (organs["bladder"], organs["kidneys"], organs["gut"]) == (3e6, 2e6, 1e6)
    (seen,) = scanner().acquire(given)
    total = sum(organs.values()) + 2000 * (0.8 * 2000 + 0.5 * 1000)
    assert seen.layers["truth"].sum(dtype=np.float64) * VOXEL_ML == pytest.approx(0.05 * 2 ** (-24 / 12.7) * total, rel=1e-6)
    assert value(seen, "bone", "activity_true") > value(seen, "body", "activity_true")


def test_a_tumor_of_one_lattice_is_seen_for_what_it_is_not() -> None:
    small = replace(LATTICE, patches=(Patch("tumor", 0, 10, 1),))
    (taken,) = scanner().acquire(frame(lattice=small, tumor_mass_g=TUMOR_G / 2000))
    assert value(taken, "tumor", "percent_id_per_g_true") > 5 * value(taken, "body", "percent_id_per_g_true")
    assert value(taken, "tumor", "recovery") < 0.2
    assert {q.flag for q in taken.quantities if (q.region, q.quantity) == ("tumor", "activity")} == {PARTIAL}
    assert taken.acquisition["EffectiveLatticesInTumor"] == pytest.approx(1)


def test_few_counts_are_flagged() -> None:
    (dim,) = scanner(scan_s=0.01).acquire(frame())
    assert {q.flag for q in dim.quantities if (q.region, q.quantity) == ("brain", "suv_mean")} <= {FEW, f"{PARTIAL}, {FEW}"}


def test_a_grown_tumor_keeps_its_amount(image: Image) -> None:
    (grown,) = scanner().acquire(frame(tumor_mass_g=2 * TUMOR_G))
    tissue = 6e6 / (6e6 + 0.03 * 2000 * 0.6**3 * 1e9 * 4e7 / 1.7e12)
    ratio = value(grown, "tumor", "activity_true") / value(image, "tumor", "activity_true")
    assert ratio == pytest.approx(tissue / 2 + (1 - tissue), rel=1e-7)
    everything = [taken.layers["truth"].sum(dtype=np.float64) for taken in (grown, image)]
    assert everything[0] == pytest.approx(everything[1], rel=1e-6)


def test_a_users_labels_are_a_body(tmp_path: Path) -> None:
    labels = np.zeros((30, 40, 60), np.int16)  # x, y, z of NIfTI
    labels[2:28, 4:36, 4:56], labels[8:18, 12:28, 30:45] = 1, 2
    labels[18:24, 18:28, 8:20] = 3
    affine = np.diag([0.6, 0.5, 1.2, 1.0])  # 720 voxels of 0.36 mm3 are the run's 259 mm3
    nibabel.save(nibabel.Nifti1Image(labels, affine), tmp_path / "labels.nii.gz")
    names = {"body": 1, "liver": 2, "tumor": 3}
    settings = {"phantom": "label_map", "label_map": str(tmp_path / "labels.nii.gz"), "label_names": names}
    given = frame(tumor_mass_g=TUMOR_G)
    assert labels[labels == 3].size * 0.36 / 432 == pytest.approx(0.6)
    with pytest.raises(InputError, match=r"phantom tumor 259\.2 mm\^3: the patches' mean.*it has 432 mm\^3"):
        scanner(**settings).acquire(given)
    (taken,) = scanner(**settings, closure=0.7).acquire(given)
    assert set(taken.region_names.values()) == {"tumor", "body", "liver"}
    where = {name: np.argwhere(taken.regions == number).mean(axis=0) for number, name in taken.region_names.items()}
    assert where["liver"][0] > where["tumor"][0]  # z up
    assert where["liver"][2] < where["tumor"][2]  # x to the right
    assert taken.acquisition["LabelsOutsideTheImage"] == pytest.approx(1e7 / given.injected, rel=1e-6)  # there is no spleen


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"phantom": "none"}, "phantom none: an instrument of millimetres sees nothing true of a bare lattice"),
        ({"phantom": "label_map"}, "label_map: goes with phantom=label_map"),
        ({"voxel_um": 2000.0}, "voxel 2 mm: must be a multiple of the grid's 0.8 mm"),
        ({"fwhm_um": 3000.0}, "grid 0.8 mm: must be at most a fifth of fwhm, 0.6 mm"),
        ({"label": Label(name="111In", half_life_s=2e5, activity_Bq=1.0, detachment=Detachment())}, "label.name 111In: emits no"),
        ({"label": Label(name="89Zr", half_life_s=2e5, detachment=Detachment())}, "label.activity 0 Bq: must be above 0"),
    ],
)
def test_what_pet_cannot_see_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told.replace("(", r"\(")):
        scanner(**changes)


def test_blood_beside_the_tumor_is_not_the_tumors() -> None:
    half = np.ones(LATTICE.voxels)
    half[:, :5] = 0
    fields = {"lumen_fraction": np.full(LATTICE.voxels, 0.03), "inside": half}
    assert pools(frame(fields=fields)).shared.sum() == pytest.approx(pools(frame()).shared.sum() / 2)
    (seen,) = scanner().acquire(frame(fields=fields, tumor_mass_g=TUMOR_G / 2))
    activity = 0.05 * 2 ** (-24 / 12.7) * frame().injected
    assert seen.layers["truth"].sum(dtype=np.float64) * VOXEL_ML == pytest.approx(activity, rel=1e-6)


def test_labels_outside_the_image_are_all_that_it_does_not_hold() -> None:
    man = replace(BODY, mass_g=70e3, blood_volume_um3=5.1e15)
    scan = {"phantom": "human_chest", "grid_um": 4000.0, "voxel_um": 8000.0, "fwhm_um": 20000.0}
    given = frame(body=man, injected=2 * frame().injected)  # half of them are nowhere, as if degraded
    (seen,) = scanner(**scan).acquire(given)
    held = seen.layers["truth"].sum(dtype=np.float64) * 8.0**3 * 1e-3 / (0.05 * 2 ** (-24 / 12.7) * given.injected)
    assert seen.acquisition["LabelsOutsideTheImage"] == pytest.approx(1 - held, rel=1e-5)
    assert held < 0.5


def test_a_grid_that_would_not_fit_is_refused_before_it_is_made() -> None:
    with pytest.raises(InputError, match=r"grid 10 um: makes \d+ × \d+ × \d+ voxels of this body, and up to 2e\+08 fit"):
        scanner(grid_um=10.0, voxel_um=20.0).acquire(frame())


def test_a_phantom_of_another_body_is_refused() -> None:
    with pytest.raises(InputError, match="phantom human_chest: the run's body weighs 25 g; mouse fits it"):
        scanner(phantom="human_chest").acquire(frame())
    with pytest.raises(InputError, match="phantom mouse: the run's body weighs 70000 g; human_chest fits it"):
        scanner().acquire(frame(body=replace(BODY, mass_g=70e3)))


@pytest.mark.parametrize("card", sorted(CARDS.glob("*.yaml")), ids=lambda card: card.stem)
def test_isotopes_of_the_cards_are_known_and_decay_as_the_table_says(card: Path) -> None:
    label = yaml.safe_load(card.read_text("utf-8")).get("label") or {}
    if label.get("half_life"):
        number, unit = label["half_life"].split()
        assert float(number) * {"h": HOUR_S, "min": 60}[unit] == pytest.approx(ISOTOPES[label["name"]].half_life_s, rel=5e-3)


def test_isotopes_are_those_of_the_table() -> None:
    assert ISOTOPES["64Cu"].positron_fraction / ISOTOPES["18F"].positron_fraction == pytest.approx(0.181, abs=5e-4)
