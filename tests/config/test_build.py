"""From a configuration to State(0): number type, dose, copies, times, and keys that nobody reads."""

from __future__ import annotations

from dataclasses import replace
from math import pi

import numpy as np
import pytest

from tme_sim.config.build import build
from tme_sim.config.load import load, request
from tme_sim.simulation import Simulation
from tme_sim.state.errors import InputError, InputErrors
from tme_sim.state.ledger import lattice_amounts

PARTICLE_G = 1.05e-12 * pi / 6 * 0.065**3  # 65 nm at 1.05 g/mL


def built_as_asked(*words):
    """With the keys that the user set, as the command line builds it."""
    loaded = load(request(["lattice.size=120um", *words]))
    return build(loaded.config, None, loaded.user_set)


def errors_of(*words):
    with pytest.raises((InputError, InputErrors)) as caught:
        built_as_asked(*words)
    return str(caught.value).splitlines()


LABEL = ("nanoparticle.label={name: 89Zr, half_life: 78.4 h, activity: 2e-5 Bq, detachment: {}}",)


@pytest.mark.parametrize(
    ("dose", "number"), [("1e9particles", "stochastic"), ("1e11particles", "stochastic"), ("1e12particles", "continuum")]
)
def test_few_particles_are_counted_and_many_are_real_amounts(built, dose, number):
    start = built("number=auto", f"protocol.dose={dose}")
    assert start.state.number == number
    assert (start.occupancy <= 100) == (number == "stochastic")
    assert f"{start.occupancy:.2g} particles per voxel expected" in start.number_why


def test_the_number_type_that_is_asked_for_is_taken(built):
    assert built("number=continuum", "protocol.dose=1e6particles").state.number == "continuum"
    start = built("number=stochastic", "protocol.dose=1e13particles")
    assert (start.state.number, start.number_why) == ("stochastic", "as asked for")


def test_counts_that_would_overflow_are_refused():
    (error,) = errors_of("number=stochastic", "protocol.dose=1e16particles", "nanoparticle.transcytosis_permeability=1e-4cm/s")
    assert error.startswith("number stochastic: about")
    assert "at most 1e+07, else continuum" in error


def test_the_expected_occupancy_is_an_upper_bound_and_near_what_comes(configure):
    """With no clearance and nothing coming back it is the occupancy itself, up to the transit through the wall."""
    words = ["number=continuum", "processes.gaps.enabled=false", "protocol.duration=24h"]
    config = configure(*words)
    clearance = replace(config.nanoparticle.clearance, kupffer_maximum_per_s=0.0, sinks_per_s={})
    config = replace(config, nanoparticle=replace(config.nanoparticle, clearance=clearance))
    start = build(config)
    Simulation(start.state, start.processes, [], config.step_s, config.seed).run(24 * 3600)
    held = sum(amounts.sum() for amounts in lattice_amounts(start.state).values()) / start.state.lattice.n_voxels
    assert held == pytest.approx(start.occupancy, rel=0.05)
    ordinary = build(configure("number=continuum", "protocol.duration=24h"))
    Simulation(ordinary.state, ordinary.processes, [], 60, 1).run(24 * 3600)
    held = sum(amounts.sum() for amounts in lattice_amounts(ordinary.state).values()) / ordinary.state.lattice.n_voxels
    assert held < ordinary.occupancy < 10 * held


@pytest.mark.parametrize(
    ("words", "particles"),
    [
        (("protocol.dose=3.5e11particles",), 3.5e11),
        (("protocol.dose=5mg/kg", "body.mass=25g"), 125e-6 / PARTICLE_G),
        (("protocol.dose=5mg/kg", "body.mass=20g"), 100e-6 / PARTICLE_G),
        (("protocol.dose=5mg/kg", "protocol.dose_of=drug", "nanoparticle.drug_fraction=0.1"), 125e-6 / 0.1 / PARTICLE_G),
        (("protocol.dose=2ug",), 2e-6 / PARTICLE_G),
        (
            ("protocol.dose=2ug", "nanoparticle.core_diameter=20nm", "nanoparticle.density=5.2g/mL"),
            2e-6 / (5.2e-12 * pi / 6 * 0.02**3),
        ),
        (
            ("protocol.dose=2ug", "nanoparticle.density=null", "nanoparticle.molar_mass=750 kg/mol"),
            2e-6 * 6.02214076e23 / 7.5e5,
        ),
        (("protocol.dose=2ug", "nanoparticle.polydispersity_index=0.1"), 2e-6 / PARTICLE_G / 1.1**3),
        *(
            (
                ("protocol.dose=0.5mg/kg", f"protocol.dose_of={of}", f"nanoparticle.{of}_fraction=0.25"),
                12.5e-6 / 0.25 / PARTICLE_G,
            )
            for of in ("iron", "gadolinium", "polymer")
        ),
        *((("protocol.dose=5MBq", *of, *LABEL), 5e6 / 2e-5) for of in ((), ("protocol.dose_of=activity",))),
    ],
)
def test_a_dose_becomes_particles(built, words, particles):
    """N = dose · body mass/(loading · m), m = ρ π d³/6, to the whole particle."""
    start = built(*words)
    assert start.dose == pytest.approx(particles, rel=1e-9)
    assert start.dose == int(start.dose)
    assert start.processes["circulation"].dose == start.dose


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("protocol.dose=5MBq",), "no radioactive label"),
        (("protocol.dose=0.1particles",), "must be between 1 and 1e+22"),
        (("protocol.dose=1e6kg",), "must be between 1 and 1e+22"),
        (("protocol.dose=1kg", "number=stochastic"), "must be between 1 and 1e+16"),
        (
            ("protocol.dose=1mg", "protocol.dose_of=drug", "nanoparticle.drug_fraction=0"),
            "needs nanoparticle.drug_fraction above 0",
        ),
        (("protocol.dose=1mg", "protocol.dose_of=iron"), "needs nanoparticle.iron_fraction above 0"),
        (("protocol.dose=1mg", "protocol.dose_of=activity"), "needs a dose in Bq, and 0.001 g is a mass"),
    ],
)
def test_a_dose_that_is_no_number_of_particles_is_refused(words, said):
    (error,) = errors_of(*words)
    assert error.startswith("protocol.dose")
    assert said in error


@pytest.mark.parametrize(
    ("mass", "copies"),
    [("200mg", 115741), ("1.728ug", 1), ("2.5ug", 1), ("2.6ug", 2)],  # 120 um cubed weigh 1.728 ug
)
def test_the_lattice_counts_as_often_as_makes_up_the_tumour(built, mass, copies):
    start = built(f"tissue.tumor_mass={mass}")
    assert start.state.lattice.copies.tolist() == [copies]
    assert start.tumor_mass_g == pytest.approx(copies * 1.728e-6, rel=1e-12)


def test_a_tumour_smaller_than_its_lattice_is_refused():
    (error,) = errors_of("tissue.tumor_mass=0.8ug")
    assert error.startswith("tissue.tumor_mass")
    assert "1.73" in error  # micrograms


def test_all_times_that_are_no_multiples_of_the_step_are_listed_together():
    found = errors_of(
        "step=60s",
        "protocol.duration=90s",
        "protocol.times=[0s, 61s]",
        "protocol.infusion=59s",
        "record.interval=100s",
        "processes.uptake.interval=30s",
        "processes.gaps.interval=61s",
    )
    assert {line.split(" ")[0] for line in found} == {
        "protocol.duration",
        "protocol.times[1]",
        "protocol.infusion",
        "record.interval",
        "processes.uptake.interval",
        "processes.gaps.interval",
    }
    assert all("must be a whole multiple of the step, 60 s" in line for line in found)


@pytest.mark.parametrize("times", ["[]", "[0h, 24h]"])
def test_a_protocol_without_a_dose_in_its_time_is_refused(times):
    (error,) = errors_of(f"protocol.times={times}", "protocol.duration=24h")
    assert error.startswith("protocol.times")
    assert "every dose before protocol.duration" in error


UNREAD = [
    (("nanoparticle.binding.capacity=5/um^3", "processes.binding.enabled=false"), ["nanoparticle.binding.capacity"]),
    (("processes.gaps.pore_radius=100nm", "processes.gaps.enabled=false"), ["processes.gaps.pore_radius"]),
    (("nanoparticle.core_diameter=20nm", "drug=none"), ["nanoparticle.core_diameter"]),
    (
        ("nanoparticle.release.plasma=1/h", "nanoparticle.transcytosis_permeability=1e-8cm/s", "processes=[circulation,gaps]"),
        ["nanoparticle.release.plasma", "nanoparticle.transcytosis_permeability"],
    ),
]


@pytest.mark.parametrize(("words", "keys"), UNREAD)
def test_keys_that_nothing_reads_are_refused_together(words, keys):
    found = errors_of(*words)
    assert [line.split(": ")[0] for line in found] == keys
    assert all("nothing reads this key" in line for line in found)


@pytest.mark.parametrize(
    "words",
    [
        ("drug=none",),
        ("nanoparticle.drug_fraction=0.2",),
        ("nanoparticle.density=1.2g/mL",),
        ("integrator=explicit", "number=continuum"),
        ("nanoparticle.binding.capacity=5/um^3",),
        ("nanoparticle.hydrodynamic_diameter=30nm",),
        ("tissue.matrix.fibre_radius=30nm", "lattice.refinement=2", "lattice.site=15um"),
        ("processes.gaps.enabled=false", "processes.uptake.interval=10min"),
        ("processes=[circulation,gaps,release]",),
        ("body=human", "protocol=intravenous_infusion", "record.level=summary", "replicates=3", "report=false"),
    ],
)
def test_keys_that_something_reads_are_taken(words):
    assert built_as_asked(*words).state.tick == 0


def test_volume_shares_add_up_in_every_voxel(built):
    for refinement in (1, 2):
        fields = built(f"lattice.refinement={refinement}").state.fields
        shares = {name: fields[name] for name in ("lumen_fraction", "cell_fraction", "accessible_fraction")}
        for share in shares.values():
            assert share.min() >= 0
        extracellular = 1 - shares["lumen_fraction"] - shares["cell_fraction"]
        assert extracellular.min() >= 0
        assert extracellular[fields["wall_surface_um2"] > 0].min() > 0
        tissue = extracellular > 0
        ratio = shares["accessible_fraction"][tissue] / extracellular[tissue]
        assert 0 < ratio[0] < 1
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)


def test_cells_are_as_many_as_their_density_says_and_never_two_on_a_site(built):
    """Binomial over 20³ sites: 4.5 sigma."""
    state = built("lattice.size=300um", "cells.macrophage_fraction=0.3", "cells.density=2e5/mm^3").state
    lumen = state.lattice.on_sites(state.fields["lumen_fraction"])
    chance = 2e5 * 1e-9 * 15**3 * (1 - lumen)
    kinds = [state.populations[kind]["site"] for kind in ("macrophages", "tumor_cells")]
    everyone = np.concatenate(kinds)
    assert len(set(everyone.tolist())) == len(everyone)
    assert abs(len(everyone) - chance.sum()) < 4.5 * np.sqrt((chance * (1 - chance)).sum())
    assert abs(len(kinds[0]) - 0.3 * len(everyone)) < 4.5 * np.sqrt(0.21 * len(everyone))


def test_a_kind_of_cell_that_the_card_does_not_know_is_refused(configure):
    config = configure()
    uptake = {"tumor_cells": config.nanoparticle.uptake["tumor_cells"]}
    config = replace(config, nanoparticle=replace(config.nanoparticle, uptake=uptake))
    with pytest.raises(InputErrors, match=r"uptake\.macrophages: is missing; the tissue holds macrophages"):
        build(config)


def test_the_seed_decides_the_tissue(built, digests):
    one, same, other = (digests(built("number=stochastic", f"seed={seed}").state) for seed in (3, 3, 4))
    assert one == same
    assert one["populations.tumor_cells.site"] != other["populations.tumor_cells.site"]
    assert one["fields.lumen_fraction"] != other["fields.lumen_fraction"]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("protocol.dose=2e10particles",), ["2e+10 particles per injection"]),
        (
            ("protocol.dose=5mg/kg",),
            [
                "8.279e+11 particles",
                "0.005 g/kg of particle x 25 g of body / (1.51e-16 g)",
                "1.05 g/mL",
                "65 nm",
                "error is not known",
            ],
        ),
        (
            ("protocol.dose=5mg/kg", "protocol.dose_of=drug", "nanoparticle.mass_error=0.2"),
            ["of drug", "0.1 x", "standard error 20 %"],
        ),
        (
            ("protocol.dose=2ug", "nanoparticle.density=null", "nanoparticle.molar_mass=750 kg/mol"),
            ["the mass from 7.5e+05 g/mol"],
        ),
        (("protocol.dose=5MBq", *LABEL), ["2.5e+11 particles", "of 89Zr / 2e-05 Bq per particle"]),
    ],
)
def test_the_conversion_of_a_dose_is_told_with_its_error(built, words, parts):
    told = built(*words).dose_words
    assert [part for part in parts if part not in told] == [], told


@pytest.mark.parametrize(
    ("words", "field", "said"),
    [
        (("nanoparticle.molar_mass=1e6 g/mol",), "nanoparticle.molar_mass", "the mass is ambiguous: give density or molar_mass"),
        (("nanoparticle.density=null", "protocol.dose=1ug"), "nanoparticle.density", "give density or molar_mass"),
        (("nanoparticle.iron_fraction=0.95",), "nanoparticle.polymer_fraction", "together are more than the particle"),
        (
            ("nanoparticle.label={name: 89Zr, half_life: null, activity: 1 Bq, detachment: {}}",),
            "nanoparticle.label.half_life",
            "an active label needs its isotope's half-life",
        ),
    ],
)
def test_an_ambiguous_or_impossible_mass_is_refused(words, field, said):
    (error,) = errors_of(*words)
    assert error.startswith(field)
    assert said in error


def test_an_infusion_that_outlasts_the_run_is_refused():
    (error,) = errors_of("protocol.infusion=3h", "protocol.duration=4h", "protocol.times=[0h, 2h]")
    assert error == "protocol.infusion 3 h: the infusion that begins at 2 h must end within protocol.duration"


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("nanoparticle.clearance.kupffer_capacity=1e5", "only with kupffer=capacity"),
        ("nanoparticle.clearance.size_exponent=1", "without polydispersity_index all sizes are alike"),
        ("nanoparticle.clearance.renal_sieving=0.5", "the particle is too large for the kidney"),
    ],
)
def test_a_key_of_clearance_that_its_model_does_not_read_is_told_with_the_reason(word, why):
    (error,) = errors_of(word)
    assert error.startswith(word.split("=", maxsplit=1)[0])
    assert error.endswith(f"({why})")


def test_a_corona_is_met_by_gaps_fibres_and_kidney(built):
    bare, coated = (
        built("nanoparticle.hydrodynamic_diameter=45nm"),
        built("nanoparticle.hydrodynamic_diameter=25nm", "nanoparticle.corona_shift=20nm"),
    )
    for name in ("gaps", "transport"):
        mine, other = (vars(start.processes[name]) for start in (bare, coated))
        keys = [key for key in mine if key.endswith(("diameter_um", "diffusivity_um2_per_s"))]
        assert keys
        assert {key: mine[key] for key in keys} == pytest.approx({key: other[key] for key in keys})
    np.testing.assert_allclose(bare.state.fields["accessible_fraction"], coated.state.fields["accessible_fraction"])
    assert bare.processes["circulation"].sizes_um == pytest.approx(coated.processes["circulation"].sizes_um)


def test_the_body_brings_its_kupffer_cells_its_kidney_and_its_plasma(built):
    """One card in both: a cell takes up as fast, but an adult has 1300 times as many in 3000 times the plasma."""
    rates = {}
    for body in ("mouse", "human"):
        start = built(f"body={body}", "nanoparticle.hydrodynamic_diameter=5nm", "processes=[circulation,transcytosis]")
        circulation, volume = start.processes["circulation"], start.state.body.plasma_volume_um3
        kupffer, *_, urine = circulation._rates(volume, 0.0)[0][0]
        rates[body] = kupffer, urine
    assert rates["human"][0] / rates["mouse"][0] == pytest.approx(2.5e10 / 1.9e7 / 3000, rel=1e-9)
    assert rates["mouse"][1] == pytest.approx(0.28 / 1.0 / 60, rel=1e-9)
    assert rates["human"][1] == pytest.approx(120 / 3000 / 60, rel=1e-9)
