"""What is transported: the nanoparticle's card, and the physics that follows from its size."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, pi, sqrt

from tme_sim.state.clearance import Clearance
from tme_sim.state.contrast import GRAMS_PER_MOL, Contrast, ContrastAgent
from tme_sim.state.errors import InputError
from tme_sim.state.label import Label
from tme_sim.state.parameters import parameter
from tme_sim.state.release import Release

AVOGADRO_PER_MOL = 6.02214076e23
BOLTZMANN_J_PER_K = 1.380649e-23
BODY_TEMPERATURE_K = 310.15
WATER_VISCOSITY_PA_S = 0.692e-3  # 37 °C, literature row D03
PA_PER_MMHG = 133.322387415


@dataclass(frozen=True, kw_only=True)
class Uptake:
    """How one kind of cell takes up, keeps, gives back and degrades the particle (model section 5)."""

    clearance_um3_per_s: float = parameter(
        "volume of free concentration, of tissue or blood, that one cell clears", at_least=0, at_most=1e4
    )
    saturation: float = parameter("particles in a cell at which uptake stops", above=0)
    exocytosis_per_s: float = parameter("rate of giving back from the endosome", at_least=0)
    maturation_per_s: float = parameter("rate of passing from endosome to lysosome", at_least=0)
    degradation_per_s: float = parameter("rate of degradation in the lysosome", at_least=0)


@dataclass(frozen=True, kw_only=True)
class Binding:
    """Reversible binding to extracellular matrix (Langmuir)."""

    on_rate_per_s: float = parameter("binding rate of a free particle to empty matrix", at_least=0)
    off_rate_per_s: float = parameter("unbinding rate", at_least=0)
    capacity_per_um3: float = parameter("binding sites per tissue volume", above=0)


@dataclass(frozen=True, kw_only=True)
class Receptors:
    """Saturable transcytosis: particles per wall area and second, maximum · C/(half-saturation + C) at C in plasma."""

    maximum_per_um2_s: float = parameter("largest rate of delivery per area of the mean wall", at_least=0)
    half_saturation_per_um3: float = parameter("concentration in plasma at half of that rate", above=0)


@dataclass(frozen=True, kw_only=True)
class Nanoparticle:
    """A nanoparticle's card: size, mass, payload and how body, vessels and cells deal with it."""

    hydrodynamic_diameter_um: float = parameter("hydrodynamic diameter, mean of the particles", above=0.0005, at_most=2)
    corona_shift_um: float = parameter(
        "what blood proteins add to the hydrodynamic diameter; vessels, tissue and kidney see the sum",
        default=0.0,
        at_least=0,
        at_most=0.2,
    )
    polydispersity_index: float = parameter(
        "variance of the diameter over its squared mean; sizes are log-normal; 0: all alike", default=0.0, at_least=0, at_most=1
    )
    core_diameter_um: float | None = parameter(
        "diameter of the dense core, which sets the mass; null: hydrodynamic", default=None, above=0, at_most=2
    )
    density_g_per_mL: float | None = parameter(
        "effective density of that sphere; null: the mass is given by molar_mass", default=None, above=0, at_most=25
    )
    molar_mass_g_per_mol: float | None = parameter(
        "molar mass of a whole particle; null: the mass follows from density and diameter", default=None, above=100
    )
    mass_error: float | None = parameter(
        "relative standard error of the particle's mass and loading; null: not known", default=None, at_least=0, at_most=3
    )
    drug_fraction: float = parameter("mass of drug per mass of particle", default=0.0, at_least=0, below=1)
    iron_fraction: float = parameter("mass of iron per mass of particle", default=0.0, at_least=0, at_most=1)
    gadolinium_fraction: float = parameter("mass of gadolinium per mass of particle", default=0.0, at_least=0, at_most=1)
    polymer_fraction: float = parameter("mass of polymer per mass of particle", default=0.0, at_least=0, at_most=1)
    label: Label | None = parameter("label for imaging; null: none", default=None)
    contrast: Contrast | None = parameter("what MRI sees of it; null: nothing", default=None)
    diffusivity_um2_per_s: float | None = parameter(
        "measured interstitial diffusivity; null: from size and matrix", default=None, above=0, at_most=1000
    )
    accessible_share: float | None = parameter(
        "measured share of the extracellular space that the particle can reach; null: from size and matrix",
        default=None,
        above=0,
        at_most=1,
    )
    transcytosis_permeability_um_per_s: float = parameter("permeability of the wall by transcytosis", at_least=0, at_most=10)
    transcytosis_receptors: Receptors | None = parameter("saturable transcytosis by receptors; null: none", default=None)
    clearance: Clearance = parameter("clearance from plasma")
    binding: Binding = parameter("binding to extracellular matrix")
    uptake: dict[str, Uptake] = parameter("uptake by kind of cell")
    release: Release = parameter("release of the payload")

    def __post_init__(self) -> None:
        if self.density_g_per_mL is not None and self.molar_mass_g_per_mol is not None:
            told = "the mass is ambiguous: give density or molar_mass, and set the other to null"
            raise InputError("molar_mass_g_per_mol", f"{self.molar_mass_g_per_mol:g} g/mol", told)
        loaded = self.drug_fraction + self.iron_fraction + self.gadolinium_fraction + self.polymer_fraction
        if loaded > 1 + 1e-9:
            told = "drug, iron, gadolinium and polymer together are more than the particle"
            raise InputError("polymer_fraction", f"{self.polymer_fraction:g}", f"{told}: {loaded:.4g} of its mass")


@dataclass(frozen=True, kw_only=True)
class Peripheral:
    """A compartment of the body that exchanges with plasma in first order."""

    to_per_s: float = parameter("rate from plasma into it", at_least=0)
    back_per_s: float = parameter("rate from it back into plasma", at_least=0)


@dataclass(frozen=True, kw_only=True)
class SmallMolecule:
    """How a dissolved drug moves in tissue, crosses walls and membranes, and leaves the body; all of it linear."""

    diffusivity_um2_per_s: float = parameter("diffusivity in tissue of what is free", above=0, at_most=1000)
    bound_per_free: float = parameter("amount bound outside cells per amount free, in fast equilibrium", at_least=0)
    wall_permeability_um_per_s: float = parameter("permeability of the vessel wall", at_least=0, at_most=100)
    influx_um3_per_s: float = parameter("volume of free concentration that one cell clears", at_least=0, at_most=1e6)
    efflux_per_s: float = parameter("rate at which a cell gives back what it holds", at_least=0)
    unbound_in_plasma: float = parameter("share of the drug in plasma that is not bound and can cross", at_least=0, at_most=1)
    central_volumes: float = parameter("volume of the compartment that plasma belongs to, in plasma volumes", at_least=1)
    elimination_per_s: float = parameter("rate of leaving the body from that compartment", at_least=0)
    peripheral: dict[str, Peripheral] = parameter("further compartments of the body by name", default=dict)


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """The extracellular matrix that hinders a particle (model section 4)."""

    fibre_volume_fraction: float = parameter("volume share of collagen in the extracellular space", at_least=0, below=0.5)
    fibre_radius_um: float = parameter("radius of its fibrils", above=0, at_most=0.5)
    hydraulic_conductivity_um2_per_mmHg_s: float = parameter("Darcy conductivity of the interstitium", above=0)


def stokes_einstein_um2_per_s(radius_um: float) -> float:
    """Diffusivity in water at 37 °C, D0 = k_B T / (6 π η a)."""
    return BOLTZMANN_J_PER_K * BODY_TEMPERATURE_K / (6 * pi * WATER_VISCOSITY_PA_S * radius_um * 1e-6) * 1e12


def fibre_crowding(radius_um: float, matrix: Matrix) -> float:
    """f = φ_f (1 + a/a_f)², the excluded share seen by a sphere of radius a among fibres (Ogston 1958)."""
    return matrix.fibre_volume_fraction * (1 + radius_um / matrix.fibre_radius_um) ** 2


def interstitial_diffusivity_um2_per_s(radius_um: float, matrix: Matrix) -> float:
    """D = D0 F S with F = [1 + a/√k + a²/(3k)]⁻¹ (k from K) and S = exp(−0.84 f^1.09) (Johnson 1996; Phillips 1989)."""
    viscosity_mmHg_s = WATER_VISCOSITY_PA_S / PA_PER_MMHG
    k_um2 = matrix.hydraulic_conductivity_um2_per_mmHg_s * viscosity_mmHg_s
    drag = 1 / (1 + radius_um / sqrt(k_um2) + radius_um**2 / (3 * k_um2))
    steric = exp(-0.84 * fibre_crowding(radius_um, matrix) ** 1.09)
    return stokes_einstein_um2_per_s(radius_um) * drag * steric


def accessible_share(radius_um: float, matrix: Matrix) -> float:
    """Share of the extracellular space that a sphere can reach, exp(−f) (Ogston 1958)."""
    return exp(-fibre_crowding(radius_um, matrix))


def pore_hindrance(ratio: float) -> float:
    """H(λ) of diffusion through a cylindrical pore, partition included; 0 for λ ≥ 1 (Dechadilok & Deen 2006, eq. 16)."""
    if ratio >= 1:
        return 0.0
    if ratio <= 0:
        return 1.0
    polynomial = (-1.56034, 0.528155, 1.91521, -2.81903, 0.270788, 1.10115, -0.435933)
    return max(0.0, 1 + 9 / 8 * ratio * log(ratio) + sum(c * ratio ** (i + 1) for i, c in enumerate(polynomial)))


def pore_convective_hindrance(ratio: float) -> float:
    """W(λ) = Φ K_c of convection through a cylindrical pore, partition included; 0 for λ ≥ 1.

    Φ = (1 − λ)², K_c = (1 + 3.867 λ − 1.907 λ² − 0.834 λ³)/(1 + 1.867 λ − 0.741 λ²) (Dechadilok & Deen 2006,
    doi:10.1021/ie051387n, eq. 18).
    """
    if ratio >= 1:
        return 0.0
    x = max(ratio, 0.0)
    return (1 - x) ** 2 * (1 + 3.867 * x - 1.907 * x**2 - 0.834 * x**3) / (1 + 1.867 * x - 0.741 * x**2)


def diameter_in_blood_um(particle: Nanoparticle) -> float:
    """Hydrodynamic diameter with its corona: what pores, fibres and glomeruli meet."""
    return particle.hydrodynamic_diameter_um + particle.corona_shift_um


def particle_mass_g(particle: Nanoparticle) -> float:
    """Mean mass, M/N_A or ρ π ⟨d³⟩/6 with d the core's diameter where the card has one; ⟨d³⟩ = d³ (1 + PDI)³ if log-normal."""
    if particle.molar_mass_g_per_mol is not None:
        return particle.molar_mass_g_per_mol / AVOGADRO_PER_MOL
    if particle.density_g_per_mL is None:
        raise InputError("nanoparticle.density", None, "the mass of a particle is needed: give density or molar_mass")
    diameter_um = particle.core_diameter_um or particle.hydrodynamic_diameter_um
    return particle.density_g_per_mL * 1e-12 * pi * (diameter_um * (1 + particle.polydispersity_index)) ** 3 / 6


def contrast_agent(particle: Nanoparticle, contrast: Contrast) -> ContrastAgent:
    """What MRI sees of a particle: its metal by number or by the card's mass fraction, and the diameter of its magnetic core."""
    atoms, metal = contrast.atoms, contrast.metal
    if atoms is None:
        share = {"iron": particle.iron_fraction, "gadolinium": particle.gadolinium_fraction}[metal]
        if share == 0:
            raise InputError("nanoparticle.contrast.atoms", None, f"is needed, for the card has no {metal}_fraction")
        atoms = particle_mass_g(particle) * share / GRAMS_PER_MOL[metal] * AVOGADRO_PER_MOL
    return ContrastAgent(contrast, atoms / AVOGADRO_PER_MOL * 1e18, contrast.core_diameter_um or particle.core_diameter_um)


def drug_per_particle_g(particle: Nanoparticle) -> float:
    """Mass of drug that a loaded particle holds."""
    return particle_mass_g(particle) * particle.drug_fraction


def drug_per_particle_amol(particle: Nanoparticle, molar_mass_g_per_mol: float) -> float:
    """Amount of drug that a loaded particle holds."""
    return drug_per_particle_g(particle) / molar_mass_g_per_mol * 1e18
