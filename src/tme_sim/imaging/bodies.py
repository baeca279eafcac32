"""Bodies around a tumour: an analytic mouse, an adult's chest, and a user's labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.imaging.phantom import BODY, BODY_BLOOD, TUMOR, Phantom, Shapes, assemble
from tme_sim.imaging.solids import Sampled, Shape, Solid, Triple
from tme_sim.state.body import Body
from tme_sim.state.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Organ:
    """mass_share: of the body's mass, where its own is not given; blood: share of its volume; its solids are scaled to it."""

    solids: tuple[Solid, ...]
    blood: float
    mass_share: float
    density_g_per_mL: float = 1.04


def mm(*values: float) -> Triple:
    """Millimetres (z, y, x) in µm."""
    z, y, x = (1e3 * value for value in values)
    return z, y, x


MOUSE_OUTLINE = Solid(mm(0, 0, 0), mm(44, 11, 12.4))
MOUSE = {
    "heart": Organ(solids=(Solid(mm(14, 3, -1), mm(4.4, 3.4, 3.6)),), blood=0.7, mass_share=0.009),
    "lungs": Organ(
        solids=(Solid(mm(14.5, -0.5, 5.2), mm(6.5, 5.2, 3.2)), Solid(mm(14.5, -0.5, -6.2), mm(6.5, 4.6, 2.6))),
        blood=0.25,
        mass_share=0.0073,
        density_g_per_mL=0.3,
    ),
    "liver": Organ(solids=(Solid(mm(1.5, 2.5, 1.5), mm(5.8, 6.2, 8.9)),), blood=0.31, mass_share=0.055),
    "spleen": Organ(solids=(Solid(mm(-6, -1.5, -9), mm(5, 2.2, 1.9)),), blood=0.17, mass_share=0.0035),
    "kidneys": Organ(
        solids=(Solid(mm(-8, -4.5, 6), mm(4.7, 2.9, 3.2)), Solid(mm(-11, -4.5, -6), mm(4.7, 2.9, 3.2))),
        blood=0.24,
        mass_share=0.0167,
    ),
    "gut": Organ(solids=(Solid(mm(-16, 3, 0), mm(8.5, 5, 6.5)),), blood=0.03, mass_share=0.0422),
    "bladder": Organ(solids=(Solid(mm(-30, 2.5, 0), mm(3.2, 3, 3.2)),), blood=0.0, mass_share=0.005),
    "bone": Organ(
        solids=(
            Solid(mm(-2, -6, 0), mm(28, 1.9, 1.9), axis=0),
            Solid(mm(-29, -1, 6.5), mm(5, 1.2, 1.2), axis=0),
            Solid(mm(-29, -1, -6.5), mm(5, 1.2, 1.2), axis=0),
        ),
        blood=0.11,
        mass_share=0.035,
        density_g_per_mL=1.3,
    ),
    "thyroid": Organ(solids=(Solid(mm(25, 3, 0), mm(0.9, 0.6, 1.2)),), blood=0.18, mass_share=0.0001),
    "brain": Organ(solids=(Solid(mm(34, -1, 0), mm(5.5, 3.6, 4.9)),), blood=0.03, mass_share=0.0165),
}
"""Where a mouse's organs are: z to the head, y to the belly, x to its right. Drawn by hand in an adult's proportions: shapes,
places, and the masses of bone (spine and thighs, a third of the skeleton), bladder and thyroid are assumed. Masses that a body
does not give, and blood, after Brown et al. 1997 (Toxicol Ind Health 13:407), from memory; the heart with the blood it holds,
and half of the lungs' blood, because they hold as much air.
"""
CHEST = {
    "heart": Organ(solids=(Solid(mm(-20, 25, -20), mm(55, 45, 50)),), blood=0.7, mass_share=0.01),
    "lungs": Organ(
        solids=(Solid(mm(0, 0, 78), mm(105, 72, 55)), Solid(mm(0, 0, -85), mm(105, 72, 48))),
        blood=0.13,
        mass_share=0.0143,
        density_g_per_mL=0.26,
    ),
    "bone": Organ(solids=(Solid(mm(0, -70, 0), mm(105, 22, 22), axis=0),), blood=0.05, mass_share=0.006, density_g_per_mL=1.3),
}
CHEST_OUTLINE = Solid(mm(0, 0, 0), mm(110, 105, 155), axis=0)
CHEST_WHOLE = {"bone": 0.15, BODY: 0.75}
"""An adult's chest, drawn by hand as the mouse is: all of it is assumed. CHEST_WHOLE: what of a region the whole body holds,
by share of its mass."""
CHEST_TUMOR_UM = mm(20, 80, 70)
ADULT_G = 70e3
MOUSE_FLANK_UM = mm(-20, 1, 0)
DENSITY_G_PER_ML = 1.04


def mouse(voxel_um: float, tumor: Shape, body: Body, *, margin_um: float, factor: int = 1) -> Phantom:
    """An adult mouse with the tumour on its right flank, half sunk in; lengths go with the cube root of mass.

    tumor: a shape, moved to the flank; a sampled one is the run's lattice. The body's organ masses replace those by share of its
    mass. factor: the grid divides into blocks of factor³.
    """
    size = (body.mass_g / DENSITY_G_PER_ML * 1e12 / MOUSE_OUTLINE.volume_um3) ** (1 / 3)
    outline = _moved(MOUSE_OUTLINE, size)
    z, y, _ = (size * c for c in MOUSE_FLANK_UM)
    surface = outline.semi_um[2] * float(np.sqrt(1 - (z / outline.semi_um[0]) ** 2 - (y / outline.semi_um[1]) ** 2))
    placed = tumor.at((z, y, surface + 0.2 * (3 * tumor.volume_um3 / (4 * np.pi)) ** (1 / 3)))
    shapes: Shapes = {TUMOR: [placed], **_organs(MOUSE, body, size), BODY: [outline]}
    made = assemble(voxel_um, shapes, {name: organ.blood for name, organ in MOUSE.items()}, margin_um, factor)
    return replace(made, is_lattice=isinstance(tumor, Sampled))


def human_chest(voxel_um: float, tumor: Shape, body: Body, *, margin_um: float, factor: int = 1) -> Phantom:
    """The chest of an adult, 22 cm of it, with the tumour under its front; the rest of the body's organs are not here."""
    size = (body.mass_g / ADULT_G) ** (1 / 3)
    z, y, x = (size * c for c in CHEST_TUMOR_UM)
    shapes: Shapes = {TUMOR: [tumor.at((z, y, x))], **_organs(CHEST, body, size), BODY: [_moved(CHEST_OUTLINE, size)]}
    made = assemble(voxel_um, shapes, {name: organ.blood for name, organ in CHEST.items()}, margin_um, factor)
    in_body_um3 = {name: share * body.mass_g / DENSITY_G_PER_ML * 1e12 for name, share in CHEST_WHOLE.items()}
    whole = {name: volume / made.volume_um3(name) for name, volume in in_body_um3.items()}
    blood_um3 = body.blood_volume_um3 or body.plasma_volume_um3
    return replace(made, whole=whole, blood_um3=blood_um3, is_lattice=isinstance(tumor, Sampled))


def _organs(organs: Mapping[str, Organ], body: Body, size: float) -> dict[str, list[Solid]]:
    """Solids of a body `size` times as long, each organ then scaled to its mass."""
    solids = {name: [_moved(solid, size) for solid in organ.solids] for name, organ in organs.items()}
    for name, organ in organs.items():
        volume = body.organ_mass_g.get(name, organ.mass_share * body.mass_g) / organ.density_g_per_mL * 1e12
        stretch = (volume / sum(solid.volume_um3 for solid in solids[name])) ** (1 / 3)
        solids[name] = [solid.scaled(stretch) for solid in solids[name]]
    return solids


def _moved(solid: Solid, size: float) -> Solid:
    """Place and size of a solid in a body `size` times as long."""
    z, y, x = (size * c for c in solid.centre_um)
    return Solid((z, y, x), solid.scaled(size).semi_um, solid.axis)


def label_map(
    labels: NDArray[np.integer[Any]],
    voxel_um: Triple,
    names: Mapping[int, str],
    *,
    grid_um: float,
    margin_um: float,
    factor: int = 1,
) -> Phantom:
    """A body of a user's labels (z, y, x): region by number, on cubic voxels of grid_um; blood as in the mouse's regions.

    Raises InputError where no label is the tumour, or a named one is not in the image.
    """
    if TUMOR not in names.values():
        raise InputError("label_names", ", ".join(names.values()) or None, f"one of the labels must be the `{TUMOR}`")
    shapes: dict[str, list[Shape]] = {}
    for number, name in sorted(names.items(), key=lambda item: item[1] != TUMOR):
        where = labels == number
        if not where.any():
            raise InputError("label_names", f"{number}: {name}", "no voxel of the label map has this number")
        shapes[name] = [_crop(where, voxel_um)]
    blood = {name: MOUSE[name].blood if name in MOUSE else BODY_BLOOD for name in shapes if name != TUMOR}
    return assemble(grid_um, shapes, blood, margin_um, factor)


def _crop(where: NDArray[np.bool_], voxel_um: Triple) -> Sampled:
    """A mask as a shape: the box that holds it, around where this lies."""
    found = np.argwhere(where)
    low, high = found.min(axis=0), found.max(axis=0) + 1
    z, y, x = ((low + high) / 2 * voxel_um).tolist()
    part = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    return Sampled((z, y, x), where[part].astype(np.float32), voxel_um)
