"""State(0): the tissue and its cells before any process has prepared anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tme_sim.config.context import Context
from tme_sim.config.schema import Section, dump
from tme_sim.config.settings import Config
from tme_sim.config.units import format_quantity
from tme_sim.state.body import Body
from tme_sim.state.cells import occupied_sites
from tme_sim.state.errors import InputError
from tme_sim.state.kupffer import FLOW, Sinusoids
from tme_sim.state.kupffer import KIND as KUPFFER
from tme_sim.state.ledger import Ledger
from tme_sim.state.parameters import split_unit
from tme_sim.state.population import Population
from tme_sim.state.state import NumberMode, State
from tme_sim.state.vessels import Vessels
from tme_sim.tissues.base import Geometry, Tissue

LARGEST_LUMEN = 0.95
"""A voxel that holds wall keeps some tissue beside it, so that what crosses the wall has somewhere to be."""

MOST_CELLS_PER_SITE = 1.02
"""A site holds one cell; what is asked for above that is rounding."""

Random = Callable[[str], np.random.Generator]


def build_tissue(tissue: Tissue, section: Section, random: np.random.Generator, data: Path | None) -> Geometry:
    """The tissue's geometry; what its numerics refuse by their own names is told by the user's key and spelling."""
    try:
        return tissue.build(random, data)
    except InputError as error:
        names = [name for name in section.values if name == error.field or name.endswith(f"_{error.field}")]
        if "." in error.field or not names:
            raise
        key = split_unit(names[0])[0]
        raise InputError(f"tissue.{key}", dump(section)[key], error.allowed) from None


def with_copies(geometry: Geometry, tissue: Tissue) -> Geometry:
    """Give every patch as many copies as make up its share of the tumour's mass; at least one."""
    patches = []
    for patch, mass_g in zip(geometry.lattice.patches, patch_masses_g(geometry, tissue.density_g_per_mL), strict=True):
        copies = round(tissue.tumor_mass_g * patch.mass_share / mass_g)
        if copies < 1:
            least = f"must be at least {mass_g / patch.mass_share:.3g} g, which the patch {patch.name} on the lattice stands for"
            raise InputError("tissue.tumor_mass", format_quantity(tissue.tumor_mass_g, "g"), least)
        patches.append(replace(patch, copies=copies))
    return replace(geometry, lattice=replace(geometry.lattice, patches=tuple(patches)))


def patch_masses_g(geometry: Geometry, density_g_per_mL: float) -> list[float]:
    """Mass of the tumour tissue of one instance of each patch."""
    lattice = geometry.lattice
    return [float(geometry.inside[planes].sum() * lattice.voxel_um3 * 1e-12 * density_g_per_mL) for planes in lattice.planes]


def empty_tissue(config: Config, geometry: Geometry, number: NumberMode, context: Context) -> State:
    """The tissue's fields and vessel wall, without cells and carriers."""
    lattice = geometry.lattice
    state = State(lattice, number, body_of(config), Ledger.empty(len(lattice.patches), np.float64))
    lumen = np.clip(geometry.lumen_fraction, 0, 1)
    lumen = np.where(geometry.surface_um2 > 0, np.minimum(lumen, LARGEST_LUMEN), lumen)
    state.fields |= {
        "lumen_fraction": lumen,
        "wall_surface_um2": geometry.surface_um2,
        "inside": geometry.inside.astype(np.float64),
        "cell_fraction": np.zeros(lattice.voxels),
        "accessible_fraction": (1 - lumen) * context.accessible_share(),
    }
    if geometry.sinus is not None:
        state.fields["sinus"] = geometry.sinus.astype(np.float64)
    wall = np.where(geometry.inside, geometry.surface_um2, 0.0).ravel()
    voxel = np.flatnonzero(wall)
    state.vessels = Vessels(voxel, wall[voxel], graph=geometry.graph)
    return state


def body_of(config: Config) -> Body:
    """The body around the tumour, empty of carriers."""
    settings = config.body
    organs = {"liver": settings.liver_mass_g, "spleen": settings.spleen_mass_g}
    if settings.blood_volume_um3 < settings.plasma_volume_um3:
        at_least = f"must be at least the plasma volume, {format_quantity(settings.plasma_volume_um3, 'um**3')}"
        raise InputError("body.blood_volume", format_quantity(settings.blood_volume_um3, "um**3"), at_least)
    return Body(settings.plasma_volume_um3, settings.mass_g, organs, blood_volume_um3=settings.blood_volume_um3)


def seed_cells(state: State, config: Config, geometry: Geometry, context: Context, random: Random) -> None:
    """At most one cell per site, by the tissue outside vessels; its volume is taken from the extracellular space."""
    lattice, cells = state.lattice, config.cells
    if geometry.occupancy is None:
        context.read.add("cells.density_per_um3")
    share_of_site = cells.volume_um3 / lattice.site_um**3
    if share_of_site > 0.95:
        raise InputError(
            "lattice.site", f"{lattice.site_um:g} um", f"a cell of {cells.volume_um3:g} um^3 must fill at most 95 % of a site"
        )
    per_site = cells.density_per_um3 * lattice.site_um**3
    if geometry.occupancy is None and per_site > MOST_CELLS_PER_SITE:
        most = (
            f"at sites of {lattice.site_um:g} um at most {1e9 * MOST_CELLS_PER_SITE / lattice.site_um**3:.3g} 1/mm^3, one a site"
        )
        raise InputError("cells.density", f"{1e9 * cells.density_per_um3:.3g} 1/mm^3", f"{most}; or a smaller lattice.site")
    lumen = state.fields["lumen_fraction"]
    tissue = lattice.on_sites((1 - lumen) * geometry.inside)
    uniform = per_site * tissue
    chance = np.clip(uniform if geometry.occupancy is None else geometry.occupancy, 0, 1)
    generator = random("cells")
    site = np.flatnonzero(generator.random(lattice.n_sites) < chance.ravel()).astype(np.int64)
    fraction = (
        np.full(lattice.sites, cells.macrophage_fraction)
        if geometry.macrophage_fraction is None
        else geometry.macrophage_fraction
    )
    is_macrophage = generator.random(len(site)) < fraction.ravel()[site]
    for kind, members in (("macrophages", site[is_macrophage]), ("tumor_cells", site[~is_macrophage])):
        empty = {column: state.empty_cargo(len(members)) for column in ("cargo", "lysosome")}
        state.populations[kind] = Population({"site": members, **empty})
    state.populations |= {kind: state.no_cells() for kind in context.carrying_kinds() if kind not in state.populations}
    context.cell_space().fill(lattice, state.fields, occupied_sites(lattice, state.populations))
    if geometry.sinusoids is not None:
        _seed_kupffer_cells(state, config, geometry.sinusoids, context, random)


def _seed_kupffer_cells(state: State, config: Config, sinusoids: Sinusoids, context: Context, random: Random) -> None:
    """As many as the body's liver has in that volume, outside the lesion."""
    density: float = context("tissue.density_g_per_mL")
    liver_um3 = config.body.liver_mass_g / density * 1e12
    around_um3 = float((state.fields["inside"] == 0).sum()) * state.lattice.voxel_um3
    cells = round(context("body.kupffer_cells") * around_um3 / liver_um3)
    state.populations[KUPFFER] = sinusoids.populate(cells, state.total_dtype, random("kupffer cells"))
    state.body.traits[FLOW] = np.array([sinusoids.plasma_flow_per_s * liver_um3])


def carrier_pools(state: State) -> list[str]:
    """Everything outside cells that holds carriers, by its dotted name."""
    fields = [f"fields.{name}" for name in ("nanoparticle", "bound") if name in state.fields]
    walls = ["vessels.endothelium"] if state.vessels and "endothelium" in state.vessels.arrays else []
    return fields + walls + [f"body.{name}" for name in state.body.pools]
