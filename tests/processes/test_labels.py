"""Labels go with the particles, come off at the rate of the place, and add up to those injected."""

from __future__ import annotations

from math import exp, expm1

import numpy as np
import pytest

from tme_sim.processes.circulation import Circulation
from tme_sim.processes.labels import BORNE, Labels
from tme_sim.recording import label_terms
from tme_sim.simulation import Simulation
from tme_sim.state.clearance import Clearance
from tme_sim.state.errors import InputErrors
from tme_sim.state.label import Detachment, Label
from tme_sim.state.ledger import whole_body
from tme_sim.state.state import flatten, restore
from tme_sim.state.variables import PHAGOCYTES

DOSE = 1e10
FATES = {"bone": 3e-4, "urine": 1e-4}


def labelled(make_state, number="continuum", sinks=None, **rates):
    """Plasma with one sink, and labels; returns the simulation."""
    state = make_state(number=number)
    state.body.pools.clear()
    state.fields.clear()
    circulation = Circulation(
        clearance=Clearance(model="compartments", sinks_per_s=sinks or {}),
        dose=DOSE,
        dose_times_s=(0.0,),
        infusion_s=0.0,
        curve=None,
    )
    circulation.prepare(state, lambda purpose: np.random.default_rng(0))
    label = Label(name="89Zr", detachment=Detachment(**rates), fates_per_s=FATES)
    labels = Labels(label=label, pools=tuple(f"body.{name}" for name in state.body.pools), kinds=())
    labels.prepare(state, lambda purpose: np.random.default_rng(0))
    return Simulation(state, {"circulation": circulation, "labels": labels}, [], 60.0, 1)


def found(simulation):
    return {name: float(value[0]) for name, value in simulation.state.body.traits.items()}


def total(traits):
    return sum(value for name, value in traits.items() if name.startswith("label_"))


def test_label_that_comes_off_in_blood_goes_where_the_body_takes_it(make_state):
    """On particles D e^(-kt), in blood D k/(f - k) (e^(-kt) - e^(-ft)), the fates by their rates; to the step."""
    k, f, time_s = 1e-4, sum(FATES.values()), 7200.0
    simulation = labelled(make_state, plasma_per_s=k)
    simulation.run(time_s)
    traits = found(simulation)
    in_blood = DOSE * k / (f - k) * (exp(-k * time_s) - exp(-f * time_s))
    assert traits["label_on_plasma"] == pytest.approx(DOSE * exp(-k * time_s), rel=1e-12)
    assert traits["label_free_blood"] == pytest.approx(in_blood, rel=f * 60)
    assert traits["label_free_bone"] == pytest.approx(3 * traits["label_free_urine"], rel=1e-12)
    assert total(traits) == pytest.approx(DOSE, rel=1e-12)


def test_an_organ_holds_the_label_of_what_it_took(make_state):
    """dA/dt = s P - k A with P = D e^(-st): A = D s/(k - s) (e^(-st) - e^(-kt)); in plasma every particle keeps its label."""
    s, k, time_s = 2e-4, 5e-5, 14400.0
    simulation = labelled(make_state, sinks={"liver_endothelium": s}, organ_per_s=k)
    simulation.run(time_s)
    traits = found(simulation)
    assert traits["label_on_plasma"] == pytest.approx(simulation.state.body.pools["plasma"].sum(), rel=1e-12)
    exact = DOSE * s / (k - s) * (exp(-s * time_s) - exp(-k * time_s))
    assert traits["label_on_liver_endothelium"] == pytest.approx(exact, rel=k * 60)
    assert total(traits) == pytest.approx(DOSE, rel=1e-12)


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_without_detachment_every_place_holds_as_many_labels_as_particles(make_state, number):
    simulation = labelled(make_state, number, sinks={"spleen": 1e-4, "skin": 3e-5})
    simulation.run(3600)
    traits, pools = found(simulation), simulation.state.body.pools
    for place in ("plasma", "spleen", "skin"):
        assert traits[f"label_on_{place}"] == pytest.approx(pools[place].sum(), rel=1e-12)
    assert traits["label_free_blood"] == 0


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_labels_of_a_whole_run_add_up_and_stay_with_their_particles(simulate, number):
    fast = ("nanoparticle.uptake.macrophages.degradation=1/h", "nanoparticle.uptake.macrophages.maturation=10/h")
    processes = "processes=[circulation,gaps,transcytosis,transport,binding,uptake,release,labels]"
    simulation = simulate(f"number={number}", processes, "protocol.dose=1e11particles", *fast)
    simulation.run(6 * 3600)
    traits = found(simulation)
    assert total(traits) == pytest.approx(1e11, rel=1e-9)
    assert min(traits.values()) >= 0
    assert traits["label_on_plasma"] == pytest.approx(traits["carriers_seen_plasma"], rel=1e-4)  # none comes off in blood
    kept = traits["label_on_kupffer"] / traits["carriers_seen_kupffer"]
    assert exp(-0.005 * 6) < kept < exp(-0.005 * 2)  # of particles that came in over six hours
    held = sum(traits[f"label_on_{place}"] for place in ("tissue", "cells", "lysosomes"))
    assert 0 < held < traits["label_on_plasma"]
    assert traits["label_free_bone"] == pytest.approx(traits["label_free_urine"], rel=1e-12)
    assert traits["label_free_blood"] + 2 * traits["label_free_bone"] < 1e11 * -expm1(-0.01 * 6)


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_labels_go_into_the_tissue_with_the_phagocytes_that_carry_them(simulate, number):
    """None comes off in phagocytes, all of it in plasma at once: those who carry hold the label of what they took up."""
    traffic = [f"processes.phagocytes.{kind}.{what}" for kind in PHAGOCYTES for what in ("arrest=2um/s", "crossing=1/h")]
    detachment = [f"nanoparticle.label.detachment.{place}=0/h" for place in ("organ", "tissue", "cell", "lysosome")]
    processes = "processes=[circulation,phagocytes,labels]"
    words = (
        f"number={number}",
        processes,
        "protocol.dose=1e13particles",
        "tissue.tumor_mass=1mg",
        "processes.labels.interval=1min",
        *traffic,
        *detachment,
    )
    for in_plasma in (False, True):
        simulation = simulate(*words, f"nanoparticle.label.detachment.plasma={2 * in_plasma}/h")
        simulation.run(3 * 3600)
        traits, held = found(simulation), whole_body(simulation.state)
        assert total(traits) == pytest.approx(1e13, rel=1e-12)
        carried = {"wall_bound": held["wall_bound"], "cells": sum(held[kind] for kind in PHAGOCYTES)}
        carried |= {BORNE[0]: sum(held[f"blood_{kind}"] for kind in PHAGOCYTES), BORNE[2]: held[BORNE[2]]}
        kept = {place: traits[f"label_on_{place}"] / amount for place, amount in carried.items()}
        if not in_plasma:
            assert kept == pytest.approx(dict.fromkeys(carried, 1.0), rel=1e-6)
        else:  # the further a cell has come, the earlier it took up what it holds
            plasma = traits["label_on_plasma"] / held["plasma"]
            assert plasma == pytest.approx(exp(-6), rel=1e-3)
            assert 1 > kept["cells"] > kept["wall_bound"] > kept[BORNE[0]] > plasma
            assert 1 > kept[BORNE[2]] > 10 * plasma


def test_a_card_without_a_label_is_refused(built):
    for process in ("labels", "decays"):
        with pytest.raises(
            InputErrors, match=r"nanoparticle.label: must be on this nanoparticle's card; labels and decays need it"
        ):
            built(f"processes=[circulation,gaps,{process}]", "nanoparticle.label=null")


def test_the_ledger_takes_down_where_the_labels_are(make_state):
    simulation = labelled(make_state, sinks={"spleen": 1e-4}, organ_per_s=1e-5)
    simulation.run(3600)
    terms = label_terms(simulation.state)
    assert terms.pop("injected") == DOSE
    assert {"on_plasma", "on_spleen", "free_blood", "free_bone", "free_urine"} <= terms.keys()
    assert sum(terms.values()) == pytest.approx(DOSE, rel=1e-12)
    assert label_terms(make_state()) == {}


def test_labels_and_sizes_survive_a_restart_to_the_bit(simulate, digests):
    words = ("number=continuum", "protocol.dose=1e11particles", "nanoparticle.polydispersity_index=0.1", "lattice.size=60um")
    words += ("nanoparticle.clearance.size_exponent=1", "processes=[circulation,transcytosis,transport,labels]")
    whole, half, rest = (simulate(*words) for _ in range(3))
    whole.run(3600)
    half.run(1800)
    restore(rest.state, {name: data.copy() for name, data in flatten(half.state).items()}, half.state.tick)
    rest.run(3600)
    assert digests(rest.state) == digests(whole.state)
    assert {"traits.plasma_sizes", "traits.label_on_kupffer", "traits.label_free_bone"} <= digests(rest.state).keys()
