"""From an administered amount to a number of particles, and the words that say how (model section 11)."""

from __future__ import annotations

from dataclasses import dataclass

from tme_sim.config.settings import Config
from tme_sim.config.units import format_dose, format_quantity
from tme_sim.state.errors import InputError
from tme_sim.state.substance import particle_mass_g

MASS_KEYS = ("core_diameter_um", "density_g_per_mL", "molar_mass_g_per_mol", "polydispersity_index", "drug_fraction")
"""Of a card, what the mass of a particle and of its drug follow from."""

MOST_COUNTED = 1e16
"""Particles of a dose that can be counted one by one; real amounts go on to what grams of the smallest are."""
LARGEST = 1e22


@dataclass(frozen=True)
class Dosing:
    """One dose of the protocol: whole particles, and how they follow from what is given."""

    particles: float
    words: str


def dosing(config: Config, read: set[str]) -> Dosing:
    """N = dose · body mass/(loading · particle mass), or activity/activity of a particle. Raises InputError; adds to `read`."""
    read |= {"protocol.dose", "nanoparticle.hydrodynamic_diameter_um"}
    dose = config.protocol.dose
    if dose.basis == "particles":
        number, how = dose.value, ""
    elif dose.basis == "activity":
        number, how = _of_activity(config, read)
    else:
        number, how = _of_mass(config, read)
    most = MOST_COUNTED if config.number == "stochastic" else LARGEST
    if not 1 <= number <= most:
        raise InputError("protocol.dose", format_dose(dose), f"is {number:.3g} particles; must be between 1 and {most:.0e}")
    return Dosing(float(round(number)), f"{number:.4g} particles per injection{how}")


def _of_activity(config: Config, read: set[str]) -> tuple[float, str]:
    label, dose, of = config.nanoparticle.label, config.protocol.dose, config.protocol.dose_of
    if label is None or label.activity_Bq == 0:
        told = "this nanoparticle has no radioactive label; give particles or a mass"
        raise InputError("protocol.dose", format_dose(dose), told)
    read.add("nanoparticle.label.activity_Bq")
    if of == "activity":
        read.add("protocol.dose_of")
    return dose.value / label.activity_Bq, f" = {format_dose(dose)} of {label.name} / {label.activity_Bq:.4g} Bq per particle"


def _of_mass(config: Config, read: set[str]) -> tuple[float, str]:
    particle, dose, of = config.nanoparticle, config.protocol.dose, config.protocol.dose_of
    per_kg = dose.basis == "mass_per_kg"
    read |= {"protocol.dose_of", *(["body.mass_g"] if per_kg else []), *(f"nanoparticle.{key}" for key in MASS_KEYS)}
    if of == "activity":
        raise InputError("protocol.dose_of", of, f"needs a dose in Bq, and {format_dose(dose)} is a mass")
    if of == "drug" and config.drug is None:
        raise InputError("protocol.dose_of", of, "this run has no drug; choose one with drug=NAME, or dose_of=particle")
    loading = 1.0
    if of != "particle":
        read.add(f"nanoparticle.{of}_fraction")
        loading = float(getattr(particle, f"{of}_fraction"))
    if loading == 0:
        raise InputError("protocol.dose_of", of, f"needs nanoparticle.{of}_fraction above 0; or dose_of particle")
    mass_g = dose.value * (config.body.mass_g / 1e3 if per_kg else 1.0)
    each_g = particle_mass_g(particle)
    body = f" x {format_quantity(config.body.mass_g, 'g')} of body" if per_kg else ""
    load = "" if of == "particle" else f"{loading:g} x "
    return mass_g / (loading * each_g), (
        f" = {format_dose(dose)} of {of}{body} / ({load}{each_g:.4g} g), the mass from {_source(config)}; {_error(config, read)}"
    )


def _source(config: Config) -> str:
    """Where the mass of a particle comes from."""
    particle = config.nanoparticle
    if particle.molar_mass_g_per_mol is not None:
        return f"{particle.molar_mass_g_per_mol:.4g} g/mol"
    what, diameter_um = "the core's", particle.core_diameter_um
    if diameter_um is None:
        what, diameter_um = "the hydrodynamic", particle.hydrodynamic_diameter_um
    spread = f", polydispersity {particle.polydispersity_index:g}" if particle.polydispersity_index else ""
    return f"{particle.density_g_per_mL:g} g/mL and {what} diameter of {format_quantity(diameter_um, 'um')}{spread}"


def _error(config: Config, read: set[str]) -> str:
    """What is known of the number's error."""
    particle = config.nanoparticle
    read.add("nanoparticle.mass_error")
    if particle.mass_error is not None:
        return f"standard error {100 * particle.mass_error:.3g} % (nanoparticle.mass_error)"
    if particle.molar_mass_g_per_mol is not None:
        return "its error is not known (nanoparticle.mass_error)"
    return "its error is not known (nanoparticle.mass_error): 10 % in the diameter are 30 % in the number"
