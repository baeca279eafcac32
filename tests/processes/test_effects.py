"""Hill, linear-quadratic and thermal-dose survival, and the chance by which cells meet them, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.config.build import build
from tme_sim.processes.base import StateView, Streams
from tme_sim.processes.effect_drug import EffectDrug
from tme_sim.processes.effect_heat import EffectHeat
from tme_sim.processes.effect_radiation import Beam, EffectRadiation, Enhancer, Fraction, Sensitiser
from tme_sim.recording import dead_field
from tme_sim.state.cells import is_alive
from tme_sim.state.damage import DrugEffect, give_damage, harm
from tme_sim.state.errors import InputError, InputErrors
from tme_sim.state.state import flatten, restore
from tme_sim.state.substance import SmallMolecule

HOUR = 3600.0
MANY = 20_000
BEAMS = {"soft": Beam(gold=150.0, hafnium=100.0), "hard": Beam(gold=0.0, hafnium=0.0)}
LQ = {"alpha_per_Gy": 0.3, "beta_per_Gy2": 0.03, "repair_half_life_s": 1.5 * HOUR, "beams": BEAMS}


@pytest.fixture
def tissue(make_state, add_cells):
    """Tumour cells, one on each of the first sites, beside a macrophage on the last."""

    def make(sites=(1, 1, 3), cells=None, number="continuum", **more):
        state = make_state(sites, number, **more)
        add_cells(state, "tumor_cells", np.arange(state.lattice.n_sites - 1 if cells is None else cells))
        add_cells(state, "macrophages", [state.lattice.n_sites - 1])
        return state

    return make


def step(process, state, dt_s, steps=1, seed=1):
    for _ in range(steps):
        process.step(
            StateView(state, process.reads, process.writes, state.tick * dt_s), dt_s, Streams(seed, "effect", state.tick)
        )
        state.tick += 1
    return state.populations["tumor_cells"]


def radiation(state, *fractions, **more):
    process = EffectRadiation(**LQ | {"fractions": fractions, "step_s": 60.0} | more)
    if process.with_decays:
        state.fields["decay_dose_Gy"] = np.zeros(state.lattice.voxels)
    process.prepare(state, None)
    return process


def drug(state, by="exposure", half_mM=1e-3, hill=2.0, refinement=1):
    card = SmallMolecule(
        diffusivity_um2_per_s=1, bound_per_free=0, wall_permeability_um_per_s=0, influx_um3_per_s=200, efflux_per_s=0.004,
        unbound_in_plasma=1, central_volumes=1, elimination_per_s=0,
    )  # fmt: skip
    effect = DrugEffect(half_mM=half_mM, exposure_s=72 * HOUR, hill=hill)
    process = EffectDrug(by=by, drug=effect, card=card, kinds=("macrophages", "tumor_cells"))
    process.prepare(state, None)
    state.fields["drug_in_cells_amol"] = np.zeros(state.lattice.voxels)
    return process


def hold(state, concentration_mM):
    """Every site's cells hold what they would in balance with the concentration: c CL/k."""
    lattice = state.lattice
    state.fields["drug_in_cells_amol"][...] = concentration_mM * 200 / 0.004 / lattice.refinement**3


# chance and damage


@pytest.mark.parametrize("steps", [1, 10])
def test_of_cells_with_damage_h_the_share_exp_minus_h_survives(tissue, steps):
    """Within 4 standard deviations of the binomial, whether the damage comes at once or in parts: the same cells."""
    state = tissue((1, 1, MANY + 1))
    cells = state.populations["tumor_cells"]
    give_damage(cells)
    for _ in range(steps):
        harm(cells, np.full(MANY, 0.7 / steps), seed=3)
    survival = np.exp(-0.7)
    alive = is_alive(cells)
    assert alive.mean() == pytest.approx(survival, abs=4 * np.sqrt(survival * (1 - survival) / MANY))
    at_once = tissue((1, 1, MANY + 1)).populations["tumor_cells"]
    give_damage(at_once)
    harm(at_once, np.full(MANY, 0.7), seed=3)
    assert (is_alive(at_once) != alive).sum() <= 1  # rounding of a sum of ten
    harm(at_once, np.full(MANY, 0.3), seed=3)
    assert not (is_alive(at_once) & ~alive).any()
    assert at_once["damage"][~alive].max() < 0.7 + 1e-9  # what is dead cannot be harmed


def test_a_daughter_has_the_chances_of_her_mother(tissue):
    """Mothers that survived 0.5 and daughters with a damage of zero survive another 0.5 alike, exp(−0.5)."""
    cells = tissue((1, 1, MANY + 1)).populations["tumor_cells"]
    give_damage(cells)
    harm(cells, np.full(MANY, 0.5), seed=4)
    cells.remove(~is_alive(cells))
    mothers = len(cells)
    cells.add({"site": cells["site"]})
    harm(cells, np.full(2 * mothers, 0.5), seed=4)
    alive, s = is_alive(cells), np.exp(-0.5)
    for who in (alive[:mothers], alive[mothers:]):
        assert who.mean() == pytest.approx(s, abs=4 * np.sqrt(s * (1 - s) / mothers))


# radiation


def test_survival_of_fractions_is_linear_quadratic_with_repair_between(tissue):
    """α ΣD + β ΣD² + 2β D1 D2 2^(−t/T): two fractions one repair half-life apart, and a third after it is long repaired."""
    state = tissue()
    gy = [(0.0, 2.0), (1.5 * HOUR, 3.0), (400 * HOUR, 1.0)]
    process = radiation(state, *(Fraction(start_s=t, dose_Gy=d, beam="hard") for t, d in gy), step_s=HOUR / 2)
    cells = step(process, state, HOUR / 2, 900)
    expected = 0.3 * 6 + 0.03 * (4 + 9 + 1) + 2 * 0.03 * 2 * 3 / 2
    np.testing.assert_allclose(cells["damage"][is_alive(cells)], expected, rtol=1e-12)
    np.testing.assert_allclose(state.fields["dose_Gy"], 6.0, rtol=1e-12)


def test_the_share_that_survives_a_fraction_is_linear_quadratic(tissue):
    """exp(−αD − βD²) of 20 000 cells within 4 standard deviations of the binomial; the map of the dead is the same share."""
    state = tissue((1, 1, MANY + 1))
    cells = step(radiation(state, Fraction(start_s=0.0, dose_Gy=3.0, beam="hard")), state, 60.0)
    expected = np.exp(-0.3 * 3 - 0.03 * 9)
    assert is_alive(cells).mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / MANY))
    np.testing.assert_array_equal(dead_field(state).ravel(), np.append(~is_alive(cells), False))


@pytest.mark.parametrize("steps", [1, 9])
def test_a_constant_dose_rate_has_lea_and_catchesides_factor(tissue, steps):
    """G = 2 (x − 1 + e^−x)/x² with x = μ T, for any number of steps."""
    state, hours, dose = tissue(), 6 * HOUR, 2.0
    process = radiation(state, with_decays=True)
    for _ in range(steps):
        state.fields["decay_dose_Gy"] += dose / steps
        cells = step(process, state, hours / steps)
    x = np.log(2) * 6 / 1.5
    expected = 0.3 * dose + 0.03 * dose**2 * 2 * (x - 1 + np.exp(-x)) / x**2
    np.testing.assert_allclose(cells["damage"], expected, rtol=1e-10)
    np.testing.assert_allclose(state.fields["dose_Gy"], dose, rtol=1e-12)


def with_particles(state, g_per_mL, in_cells):
    """Carriers of a picogram: in the tissue, or in endosomes of every cell."""
    count = g_per_mL * state.lattice.site_um**3 * 1e-12 / 1e-12
    if in_cells:
        for kind in ("tumor_cells", "macrophages"):
            state.populations[kind]["cargo"][:, 1, 0] = count
    else:
        state.fields["nanoparticle"][1, 1] = count / state.lattice.refinement**3
    carrying = ("tumor_cells", "macrophages")
    return {"particle_g": 1e-12, "density_g_per_mL": 1.05, "pools": ("body.plasma", "fields.nanoparticle"), "kinds": carrying}


@pytest.mark.parametrize("in_cells", [False, True])
@pytest.mark.parametrize("beam", ["soft", "hard"])
def test_metal_raises_the_dose_of_a_beam_by_its_mass_share(tissue, beam, in_cells):
    """D (1 + r w): 8 mg of particles with 0.8 of gold in 1.05 g of tissue."""
    state = tissue((1, 1, 3), refinement=2)
    given = with_particles(state, 8e-3, in_cells) | {"enhancer": Enhancer(metal="gold", fraction=0.8)}
    cells = step(radiation(state, Fraction(start_s=0.0, dose_Gy=0.5, beam=beam), **given), state, 60.0)
    dose = 0.5 * (1 + BEAMS[beam].gold * 8e-3 * 0.8 / 1.05)
    np.testing.assert_allclose(state.fields["dose_Gy"], dose, rtol=1e-12)
    np.testing.assert_allclose(cells["damage"], 0.3 * dose + 0.03 * dose**2, rtol=1e-12)


@pytest.mark.parametrize(("g_per_mL", "ratio"), [(0.0, 1.0), (0.5e-3, 1.15), (1e-3, 1.3), (5e-3, 1.3)])
def test_a_sensitiser_acts_on_alpha_in_proportion_up_to_what_was_measured(tissue, g_per_mL, ratio):
    state = tissue()
    given = with_particles(state, g_per_mL, False) | {"sensitiser": Sensitiser(ratio=1.3, at_g_per_mL=1e-3)}
    cells = step(radiation(state, Fraction(start_s=0.0, dose_Gy=1.0, beam="soft"), **given), state, 60.0)
    np.testing.assert_allclose(cells["damage"], 0.3 * ratio + 0.03, rtol=1e-12)
    np.testing.assert_allclose(state.fields["dose_Gy"], 1.0, rtol=1e-12)


def test_fractions_that_cannot_be_given_are_refused():
    def given(start_s=0.0, beam="hard"):
        return EffectRadiation(**LQ, fractions=(Fraction(start_s=start_s, dose_Gy=2.0, beam=beam),), step_s=60.0, duration_s=HOUR)

    assert given(start_s=HOUR - 60)
    for wrong, word in (({"beam": "blue"}, "soft, hard"), ({"start_s": 90.0}, "multiple"), ({"start_s": HOUR}, "before the end")):
        with pytest.raises(InputError, match=word):
            given(**wrong)


# drug


@pytest.mark.parametrize("by", ["exposure", "concentration"])
@pytest.mark.parametrize(("refinement", "steps"), [(1, 1), (2, 12)])
def test_under_a_constant_concentration_for_the_assays_time_survival_is_hills(tissue, by, refinement, steps):
    state = tissue(refinement=refinement)
    process = drug(state, by)
    hold(state, 0.7e-3)
    cells = step(process, state, 72 * HOUR / steps, steps)
    np.testing.assert_allclose(np.exp(-cells["damage"][is_alive(cells)]), 1 / (1 + 0.7**2), rtol=1e-12)


def test_under_a_short_peak_the_two_measures_differ_as_hill_says(tissue):
    """12 h at 6 IC50: the area is that of 72 h at IC50, 1/2; moment by moment it is (1 + 36)^(−1/6)."""
    found = {}
    for by in ("exposure", "concentration"):
        state = tissue(cells=1)
        process = drug(state, by)
        hold(state, 6e-3)
        step(process, state, 12 * HOUR)
        hold(state, 0.0)
        found[by] = np.exp(-step(process, state, 12 * HOUR, 5)["damage"][0])
    assert found == pytest.approx({"exposure": 1 / 2, "concentration": 37 ** (-1 / 6)}, rel=1e-12)


def test_cells_on_one_site_share_what_is_in_its_cells(tissue):
    state = tissue((1, 1, 2), cells=2)  # the second beside a macrophage
    process = drug(state, hill=1.0)
    hold(state, 1e-3)
    np.testing.assert_allclose(step(process, state, 72 * HOUR)["damage"], [np.log(2), np.log(1.5)], rtol=1e-12)


# heat


def test_survival_falls_with_thermal_dose_and_a_large_exponent_is_a_threshold(tissue):
    """2^(−(C/C50)^n), counted in parts or at once."""
    for n in (1.0, 2.3, 40.0):
        for parts in (1, 5):
            state = tissue()
            process = EffectHeat(half_dose_s=50 * 60, exponent=n)
            state.fields["thermal_dose_min"] = np.zeros(state.lattice.voxels)
            process.prepare(state, None)
            for _ in range(parts):
                state.fields["thermal_dose_min"] += 45 / parts
                cells = step(process, state, 60.0)
            np.testing.assert_allclose(cells["damage"][is_alive(cells)], np.log(2) * 0.9**n, rtol=1e-12)


# in a run


EFFECTS = "decays,effect_drug,effect_radiation,effect_heat"
PROCESSES = f"processes=[circulation,gaps,transcytosis,transport,uptake,heat,release,drug,cell_cycle,cell_death,{EFFECTS}]"
RUN = (PROCESSES, "nanoparticle=cpc634_zr89", "tissue.doubling_time=4h", "drug.effect.half=1mM")


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_a_run_with_every_effect_goes_on_from_the_middle_bit_for_bit(simulate, digests, number):
    words = (*RUN, f"number={number}", "processes.effect_drug.interval=5min", "processes.cell_cycle.interval=5min")
    whole, half, second = (simulate(*words) for _ in range(3))
    whole.run(2 * HOUR)
    half.run(HOUR)
    restore(second.state, {name: array.copy() for name, array in flatten(half.state).items()}, half.state.tick)
    second.run(2 * HOUR)
    assert digests(second.state) == digests(whole.state)
    cells = whole.state.populations["tumor_cells"]
    assert (cells["drug_exposure_mM_s"] > 0).all()
    assert whole.state.fields["decay_dose_Gy"].min() > 0
    dead = 1 - np.exp(-0.3 * 2 - 0.03 * 4)
    assert (~is_alive(cells)).mean() == pytest.approx(dead, abs=0.15)  # divided and cleared for an hour after 2 Gy


def test_daughters_have_met_the_drug_that_their_mothers_met(simulate):
    """With room most divide after an hour; of their exposure the last ten minutes alone are the daughters' own."""
    room = ("cells.density=5e4/mm^3", "processes.cell_cycle.interval=1h", "tissue.doubling_time=1h")
    run = simulate(*RUN, *room, "processes.effect_radiation.fractions=[]")
    run.run(HOUR)
    first_id = run.state.populations["tumor_cells"].next_id
    run.run(HOUR + 600)
    cells = run.state.populations["tumor_cells"]
    daughter, exposure = cells["id"] >= first_id, cells["drug_exposure_mM_s"]
    assert daughter.sum() > 50
    assert exposure[daughter].mean() > 0.8 * exposure[~daughter].mean()


def test_what_an_effect_needs_is_asked_for(configure):
    processes = "processes=[circulation,gaps,transport,release,drug,effect_drug]"
    for words, told in (
        (("drug=irinotecan", processes), "drug.effect.* drug=NAME with one of docetaxel, doxorubicin, topotecan"),
        (("drug=irinotecan", processes), "drug.transport.* drug=NAME with one of docetaxel, .*topotecan\n"),
        (("processes=[circulation,gaps,effect_heat]",), "add heat"),
        (("processes=[circulation,gaps,release,effect_drug]",), "add drug"),
        (("processes=[circulation,gaps,effect_radiation]", "processes.effect_radiation.fractions=[{start: 1h, dose: 2}]"), "Gy"),
    ):
        with pytest.raises((InputError, InputErrors), match=told):
            build(configure(*words))
