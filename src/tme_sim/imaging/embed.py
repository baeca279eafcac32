"""Embedding: a lattice of a millimetre becomes the tumour of a body, so that instruments of millimetres can look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tme_sim.imaging.phantom import BODY, TUMOR, Phantom
from tme_sim.imaging.solids import edges_around, resample
from tme_sim.imaging.tiles import by_depth, tiled, turns
from tme_sim.state.errors import InputError
from tme_sim.state.lattice import Lattice

Floats = NDArray[np.float64]

CLOSURE = 1e-6
BLOOD = "blood"
REGION_OF = {"elsewhere": BODY}
"""Organ of a frame → the phantom's region, where it goes by another name."""


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """density: (z, y, x) amount per µm³ on the phantom's grid; amounts: by its regions; missing: of organs that it does not have.

    tiles: how many lattices the tumour holds; effective_tiles: the number of unlike ones that would vary as much, 1/Σ share²;
    fit: by how much the most changed patch was scaled to keep its mean, as its outer tiles are cut.
    """

    density: NDArray[np.float32]
    amounts: Mapping[str, float]
    missing: Mapping[str, float]
    tiles: float
    effective_tiles: float
    fit: float


def embed(
    phantom: Phantom,
    lattice: Lattice,
    amount: Floats,
    inside: Floats,
    organs: Mapping[str, float],
    random: np.random.Generator,
    *,
    tumor_amount: float,
    growth: float = 1.0,
    tolerance: float = CLOSURE,
) -> Embedded:
    """Fill the phantom's tumour with the lattice and its organs with their amounts.

    amount: (z, y, x) on one instance of the lattice; inside: (z, y, x) share of each voxel that is tumour; organs: amounts
    outside the tumour by region, of the whole body; `blood` is spread by the regions' shares of blood. growth: the tumour's
    volume over that which the lattice's copies stand for; amounts are kept, so that concentrations fall. Where the phantom's
    tumour is the lattice it is put there as it is; else the tumour is filled with it, turned and mirrored, patches by radial
    position.
    Raises InputError where the patches' mean times the phantom's tumour differs from `tumor_amount`.
    """
    _check_closure(phantom, lattice, amount, inside, tumor_amount, growth, tolerance)
    filled, fit = _fill_tumor(phantom, lattice, amount, inside, random)
    density = np.zeros(phantom.grid.shape, np.float32)
    density[phantom.regions[TUMOR][0]] = filled / phantom.grid.voxel_um**3
    held = _with_blood(phantom, {REGION_OF.get(organ, organ): amount for organ, amount in organs.items()})
    amounts = {TUMOR: float(filled.sum())}
    for region in [region for region in phantom.regions if region in held]:
        box, share = phantom.regions[region]
        amounts[region] = held[region] / phantom.whole.get(region, 1.0)
        density[box] += np.float32(amounts[region] / phantom.volume_um3(region)) * share
    tiles, effective = _count(phantom, lattice, inside)
    return Embedded(
        density=density,
        amounts=amounts,
        missing={organ: held[organ] for organ in held.keys() - phantom.regions.keys() if held[organ] > 0},
        tiles=tiles,
        effective_tiles=effective,
        fit=fit,
    )


def represented_um3(lattice: Lattice, inside: Floats) -> Floats:
    """(patches,) volume of tumour that each patch stands for with all its copies."""
    return np.asarray(lattice.copies * np.array([float(inside[planes].sum()) for planes in lattice.planes]) * lattice.voxel_um3)


def whole_tumor(lattice: Lattice, amount: Floats) -> float:
    """What the whole tumour holds: each patch by its copies."""
    return float(lattice.over_copies(amount))


def _check_closure(
    phantom: Phantom, lattice: Lattice, amount: Floats, inside: Floats, tumor_amount: float, growth: float, tolerance: float
) -> None:
    volume = phantom.volume_um3(TUMOR)
    mean = whole_tumor(lattice, amount) / float(represented_um3(lattice, inside).sum()) / growth
    if abs(mean * volume - tumor_amount) > tolerance * max(abs(tumor_amount), np.finfo(float).tiny):
        told = (
            f"the patches' mean times this volume is {mean * volume:.8g}, but the tumour of the run holds {tumor_amount:.8g}; "
            f"it has {tumor_amount / mean * 1e-9 if mean else 0:.6g} mm^3"
        )
        raise InputError("phantom tumor", f"{volume * 1e-9:.6g} mm^3", told)


def _fill_tumor(
    phantom: Phantom, lattice: Lattice, amount: Floats, inside: Floats, random: np.random.Generator
) -> tuple[Floats, float]:
    """Amounts in the voxels of the tumour's box, and by how much the most changed patch was scaled to keep its mean."""
    grid, (box, share), centre = phantom.grid, phantom.regions[TUMOR], phantom.tumor_centre_um
    if phantom.is_lattice:
        edges = edges_around(centre, lattice.voxels, lattice.voxel_um)
        return resample(amount * (grid.voxel_um / lattice.voxel_um) ** 3, edges, grid, box), 0.0
    represented = represented_um3(lattice, inside)
    inwards = np.argsort([-patch.radial_position for patch in lattice.patches])
    layers = by_depth(share, represented[inwards])
    filled, fit = np.zeros(share.shape), 0.0
    for layer, patch in zip(layers, inwards.tolist(), strict=True):
        planes = lattice.planes[patch]
        total = int(lattice.copies[patch]) * float(amount[planes].sum())
        if total == 0:
            continue
        block = _filled(amount[planes], inside[planes])
        held = tiled(block, lattice.voxel_um, grid, box, centre, random) * layer
        mean = float(amount[planes].sum() / inside[planes].sum())
        filled += held * (total / held.sum())
        fit = max(fit, abs(float(mean * layer.sum() / held.sum()) - 1))
    return filled, fit


def _filled(amount: Floats, inside: Floats) -> Floats:
    """Amount per volume of tumour, with its mean where the block holds none."""
    return np.asarray(np.where(inside > 0, amount / np.maximum(inside, 1e-9), amount.sum() / inside.sum()))


def _with_blood(phantom: Phantom, organs: Mapping[str, float]) -> dict[str, float]:
    """Amounts of whole organs, that in blood shared among them by how much blood each has."""
    held = {organ: amount for organ, amount in organs.items() if organ != BLOOD}
    blood_um3 = {
        region: share * phantom.volume_um3(region) * phantom.whole.get(region, 1.0)
        for region, share in phantom.blood.items()
        if region in phantom.regions and region != TUMOR
    }
    all_um3 = phantom.blood_um3 or sum(blood_um3.values())
    for region, volume in blood_um3.items():
        held[region] = held.get(region, 0.0) + organs.get(BLOOD, 0.0) * volume / all_um3
    rest = organs.get(BLOOD, 0.0) * (1 - sum(blood_um3.values()) / all_um3)
    return held | ({BLOOD: rest} if rest > 1e-9 * organs.get(BLOOD, 0.0) else {})


def _count(phantom: Phantom, lattice: Lattice, inside: Floats) -> tuple[float, float]:
    """Number of tiles, and of unlike ones: n drawn among m variants have Σ share² = 1/n + (1 − 1/n)/m in the mean."""
    represented = represented_um3(lattice, inside)
    share = represented / represented.sum()
    volumes = phantom.volume_um3(TUMOR) * share
    tiles = np.maximum(volumes / (represented / lattice.copies), 1.0)
    variants = np.array([len(turns(inside[planes].shape)) * 8 for planes in lattice.planes])
    alike = 1 / tiles + (1 - 1 / tiles) / variants
    return float(tiles.sum()), float(1 / np.sum(share**2 * alike))
