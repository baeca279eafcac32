"""Where carriers are within a voxel or a cell: placed one by one where they can be, and none lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tme_sim.imaging.anatomy import KINDS, NUCLEUS, Anatomy
from tme_sim.imaging.box import Box
from tme_sim.imaging.frame import COMPARTMENT_OF, Frame
from tme_sim.numerics.random import Key, stream_key, uniforms
from tme_sim.numerics.share import split
from tme_sim.state.variables import FORMS

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Bools = NDArray[np.bool_]

VESICLES = 40
"""Endosomes and lysosomes that hold what a cell holds (assumed)."""
ARRESTED_UM = 3.0
"""Radius of a cell that clings to the wall (assumed)."""
TRIES = 4
AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Placed:
    """Carriers of one compartment and form: flat indices of points of the box (some twice), and how many are at each."""

    compartment: str
    form: str
    point: Indices
    number: Floats


def place(frame: Frame, anatomy: Anatomy) -> list[Placed]:
    """Where the carriers of the box's voxels and cells are.

    In the lumen (those of arrested phagocytes at its wall), in the wall, outside cells: whole carriers at random where the voxel
    has such points, else anywhere in it; what it holds beyond a whole number is at one point. In cells: in vesicles around the
    nucleus. All add up to what the frame holds in the box, in blood, wall and cells voxel by voxel and cell by cell; those
    outside cells may be a voxel off, for so are the cells around them.
    """
    return [here for form in FORMS for here in (*_in_tissue(frame, anatomy, form), *_in_agents(frame, anatomy, form))]


def _in_tissue(frame: Frame, anatomy: Anatomy, form: str) -> Iterator[Placed]:
    box, f = anatomy.box, FORMS.index(form)
    key = partial(stream_key, frame.seed, "placed", form, round(frame.time_s))
    held = {name: box.voxels(frame.carriers[name][f]) for name in ("blood", "endothelium", "extracellular")}
    if "arrested" in frame.agents:
        held["blood"] = np.maximum(held["blood"] - box.voxels(arrested(frame, form)), 0.0)
        yield Placed("blood", form, *_clinging(frame, anatomy, form, key("arrested")))
    held["extracellular"] = lend(held["extracellular"], box.rows(anatomy.outside).sum(axis=1), key("lent"))
    where = {"blood": anatomy.lumen, "endothelium": anatomy.endothelium, "extracellular": anatomy.outside}
    for compartment, amount in held.items():
        yield Placed(compartment, form, *in_voxels(box, amount, where[compartment], key(compartment)))


def _in_agents(frame: Frame, anatomy: Anatomy, form: str) -> Iterator[Placed]:
    for kind, compartment in COMPARTMENT_OF.items():
        if kind in frame.held:
            cells = np.flatnonzero(anatomy.own & (anatomy.kind == KINDS.index(kind)))
            keys = stream_key(frame.seed, "vesicles", kind), stream_key(frame.seed, kind, form, round(frame.time_s))
            held = frame.held[kind][anatomy.row[cells], FORMS.index(form)]
            yield Placed(compartment, form, *in_cells(anatomy, cells, held, *keys))


def arrested(frame: Frame, form: str) -> Floats:
    """(z, y, x) carriers in phagocytes that hold to the vessel wall from within; a frame counts them as blood's."""
    cells, lattice = frame.agents["arrested"], frame.lattice
    load = np.bincount(cells["voxel"].to_numpy(np.int64), cells[f"load_{form}"].to_numpy(np.float64), lattice.n_voxels)
    return np.asarray(load.reshape(lattice.voxels))


def _clinging(frame: Frame, anatomy: Anatomy, form: str, key: Key) -> tuple[Indices, Floats]:
    """Points and numbers of what arrested phagocytes hold: a cell each, at a point of the lumen's edge in its voxel."""
    box, cells = anatomy.box, frame.agents["arrested"]
    row_of = np.full(frame.lattice.voxels, -1, np.int64)
    inside = box.voxels(row_of)
    inside[...] = np.arange(inside.size).reshape(inside.shape)
    row, load = row_of.ravel()[cells["voxel"].to_numpy(np.int64)], cells[f"load_{form}"].to_numpy(np.float64)
    ids, load, row = np.flatnonzero((row >= 0) & (load > 0)), load[(row >= 0) & (load > 0)], row[(row >= 0) & (load > 0)]
    weights = box.rows(anatomy.luminal_side)[row].astype(np.float64)
    weights[~weights.any(axis=1)] = 1.0
    at = np.stack(np.unravel_index(box.point(row, _one_of(weights, key, ids)), box.shape), axis=-1)
    centre = box.corner_um + (at + 0.5) * box.step_um
    entity = ids[:, None] * VESICLES + np.arange(VESICLES)
    u, v, w = (uniforms(key, entity, i) for i in range(1, 4))
    point = box.index(centre[:, None] + (ARRESTED_UM * np.cbrt(u))[..., None] * _direction(v, w))
    return point.ravel(), np.repeat(load / VESICLES, VESICLES)


def _direction(v: Floats, w: Floats) -> Floats:
    """Unit vectors, evenly over the sphere, from numbers evenly in (0, 1)."""
    across = np.sqrt(1 - (2 * v - 1) ** 2)
    return np.stack([2 * v - 1, across * np.sin(2 * np.pi * w), across * np.cos(2 * np.pi * w)], axis=-1)


def evenly(frame: Frame, box: Box) -> list[Placed]:
    """As `place`, every voxel's carriers shared evenly by its points; for optics that cannot tell."""
    everywhere, points = np.ones(box.shape, bool), np.arange(int(np.prod(box.shape)))
    return [
        Placed(compartment, form, points, spread(box, box.voxels(amount[f]), everywhere).ravel().astype(np.float64))
        for compartment, amount in frame.carriers.items()
        for f, form in enumerate(FORMS)
        if amount[f].any()
    ]


def in_voxels(box: Box, amount: Floats, support: Bools, key: Key) -> tuple[Indices, Floats]:
    """Points and numbers: the carriers (z, y, x) of each voxel at random among its points in the support; of all if none is."""
    amounts, allowed = amount.ravel(), box.rows(support)
    filled = np.flatnonzero(amounts > 0)
    points, numbers = [np.empty(0, np.int64)], [np.empty(0)]
    for voxels in np.array_split(filled, max(1, len(filled) * allowed.shape[1] // AT_ONCE)):
        weights = allowed[voxels].astype(np.float64)
        weights[~weights.any(axis=1)] = 1.0
        whole = np.floor(amounts[voxels]).astype(np.int64)
        parts = split(whole, weights, key, voxels)
        row, part = np.nonzero(parts)
        last = _one_of(weights, (key[0], key[1] ^ 1), voxels)
        points += [box.point(voxels[row], part), box.point(voxels, last)]
        numbers += [parts[row, part].astype(np.float64), amounts[voxels] - whole]
    return np.concatenate(points), np.concatenate(numbers)


def lend(amount: Floats, room: NDArray[np.int64], key: Key) -> Floats:
    """(z, y, x) whole carriers shared with the voxels next door by the room (voxels,) there, weights 1:2:1 along each axis.

    Otherwise a voxel that its wandering cells leave little room in would be crowded, and its neighbours empty.
    """
    numbers = np.pad(np.arange(amount.size).reshape(amount.shape), 1, constant_values=amount.size)
    around = sliding_window_view(numbers, (3, 3, 3)).reshape(amount.size, 27)
    near = np.array([1.0, 2.0, 1.0])
    kernel = (near[:, None, None] * near[:, None] * near).ravel()
    weights = kernel * np.append(room, 0)[around]
    weights[~weights.any(axis=1), 13] = 1.0  # itself
    whole = np.floor(amount.ravel()).astype(np.int64)
    lent = np.bincount(around.ravel(), split(whole, weights, key).ravel(), amount.size + 1)[:-1]
    return np.asarray(lent.reshape(amount.shape) + amount - np.floor(amount))


def spread(box: Box, amount: Floats, support: Bools) -> NDArray[np.float32]:
    """(z, y, x) points: the amount (z, y, x) of each voxel, evenly over its points in the support, or over all if it has none."""
    count = box.rows(support).sum(axis=1).reshape(amount.shape)
    each = amount / np.where(count > 0, count, np.prod(box.parts_of_voxel))
    return np.where(support | box.on_points(count == 0), box.on_points(each), 0.0).astype(np.float32)


def in_cells(anatomy: Anatomy, cells: Indices, held: Floats, vesicles: Key, key: Key) -> tuple[Indices, Floats]:
    """Points and numbers: what each cell holds (cells,), in vesicles between its nucleus and its surface.

    vesicles: key of where and how large they are; key: of who is in which.
    """
    cells, held = cells[held > 0], held[held > 0]
    entity = anatomy.id[cells][:, None] * VESICLES + np.arange(VESICLES)
    whole = np.floor(held).astype(np.int64)
    number = split(whole, -np.log(uniforms(vesicles, entity)), key, anatomy.id[cells]).astype(np.float64)
    number[:, 0] += held - whole
    return _vesicles(anatomy, cells, entity, vesicles).ravel(), number.ravel()


def _vesicles(anatomy: Anatomy, cells: Indices, entity: Indices, key: Key) -> Indices:
    """(cells, vesicles) points: the first of a few tries within the cell as it is drawn, else the last, within its ball."""
    centre, radius = anatomy.centre_um[cells][:, None], anatomy.radius_um[cells][:, None]
    within, chosen = anatomy.cell.ravel(), np.full(entity.shape, -1, np.int64)
    settled = np.zeros(entity.shape, bool)
    for attempt in range(TRIES):
        u, v, w = (uniforms(key, entity, 1 + 3 * attempt + i) for i in range(3))
        inner = NUCLEUS + (0.95 - NUCLEUS) * u**1.5  # denser towards the nucleus
        chosen = np.where(settled, chosen, anatomy.box.index(centre + (inner * radius)[..., None] * _direction(v, w)))
        settled = within[chosen] == cells[:, None]
    return chosen


def _one_of(weights: Floats, key: Key, entity: Indices) -> Indices:
    """Per row, a part drawn with a chance in proportion to its weight."""
    reached = np.cumsum(weights, axis=1)
    return np.asarray(np.argmax(reached > (uniforms(key, entity) * reached[:, -1])[:, None], axis=1), np.int64)
