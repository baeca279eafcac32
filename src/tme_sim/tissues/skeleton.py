"""From a segmented volume to the graph of its vessels: thinning, chains, smooth centrelines, radii as distances to tissue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_fill_holes, generate_binary_structure, label
from scipy.signal import savgol_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from tme_sim.numerics.thinning import thin
from tme_sim.state.errors import InputError
from tme_sim.state.vessels import VesselGraph
from tme_sim.tissues.chains import Chain, Web

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Voxel = tuple[float, float, float]

CUBES_MAX = 2**29  # voxels; thinning and labelling take about 8 bytes for each
VOXELS_OF_A_VESSEL = 8  # smaller components are noise of the segmentation
BLOB = 2.5  # radii: what is shorter, and not cut by the image on both sides, has no axis
EDGES_UNLIKE = 1.01  # voxels whose edges differ by more are divided into cubes, for thinning peels layer by layer
ROUNDS = 3  # of smoothing and centring
SAMPLES = 4  # places in each segment that its radius is the mean of


def graph_from_mask(mask: Mask, voxel_um: Voxel) -> VesselGraph:
    """The vessels of `mask` (z, y, x), with voxels of edges `voxel_um`, as cylinders along their centrelines.

    Thinning keeps the topology. Centrelines are local parabolas through the skeleton's voxels, whose staircase would be up to a
    tenth too long, moved to the middle of the vessel and divided into segments about as long as wide. A segment's radius is
    the mean distance from its axis to the nearest voxel centre outside the vessel. Thinning shortens free ends: they are led
    straight on to the vessel's surface. Ends at the image's faces carry blood: inlets in the half of each connected part with
    the lower position along the image's longest edge, outlets in the other. Beyond the image vessels are taken to go on: its
    faces are no wall.

    Specks (see `clean_mask`) and blobs (shorter than 2.5 radii, not cut on both sides) have no axis and get no segments.
    Raises InputError for a mask that is no volume, is empty or full, or has more than 2^29 cubic voxels.
    """
    vessel = _Vessel(clean_mask(mask)[0], np.asarray(voxel_um, float))
    web = _thin(vessel)
    lines = [line for chain in web.chains.values() if (line := _line(web, chain, vessel)) is not None]
    return _graph(lines, vessel)


def clean_mask(mask: Mask) -> tuple[Mask, int]:
    """`mask` with closed voids filled and components of fewer than 8 voxels dropped, and the number of those.

    A void closed all round is lumen: stains of the wall leave it dark. Voxels that share a corner are connected.
    """
    if mask.ndim != 3 or mask.dtype != np.bool_:
        raise InputError("mask", f"of shape {mask.shape}, {mask.dtype}", "must be boolean with three axes (z, y, x)")
    if not mask.any() or mask.all():
        raise InputError("mask", f"{mask.mean():.0%} vessel", "must mark some voxels as vessel and leave some")
    part, count = label(binary_fill_holes(mask), generate_binary_structure(3, 3))
    size = np.bincount(part.ravel())
    kept = size >= VOXELS_OF_A_VESSEL
    kept[0] = False
    return np.asarray(kept[part]), count - int(kept.sum())


class _Vessel:
    """A cleaned mask in space: its voxel, its size, how far each place is from tissue."""

    def __init__(self, mask: Mask, voxel_um: Floats) -> None:
        self.mask, self.voxel_um, self.size_um = mask, voxel_um, mask.shape * voxel_um
        # the nearest voxel outside always shares a face with a voxel inside
        rim = np.argwhere(binary_dilation(mask) & ~mask)
        self._outside = KDTree((rim + 0.5) * voxel_um)
        if not len(rim) and mask.any():
            raise InputError("mask", "100% vessel", "must leave some voxels outside vessels and their closed voids")

    def radius_um(self, points_um: Floats) -> Floats:
        """(n,) distance to the nearest voxel centre outside."""
        return np.asarray(self._outside.query(points_um)[0], float)

    def holds(self, points_um: Floats) -> Mask:
        """(n,) whether each point lies in the vessel, and in the image."""
        index = np.floor(points_um / self.voxel_um).astype(np.int64)
        within = np.all((index >= 0) & (index < self.mask.shape), axis=1)
        within[within] = self.mask[tuple(index[within].T)]
        return np.asarray(within)

    def at_face(self, point_um: Floats) -> Mask:
        """(3,) whether a point lies in the outermost half of the image's outermost voxels, along each axis."""
        return np.asarray(self.face_um(point_um) < 0.6 * self.voxel_um)

    def face_um(self, points_um: Floats) -> Floats:
        """(…, 3) distance to the nearer of the image's two faces along each axis."""
        return np.minimum(points_um, self.size_um - points_um)

    def centre(self, points_um: Floats, radius_um: float) -> Floats:
        """Points of a line moved across it, to the middle of the vessel within 1.5 radii; its ends stay.

        The ball is sampled at fixed places in opposite pairs; beyond the image its outermost voxels count.
        """
        if len(points_um) < 3:
            return points_um
        reach = BALL * max(1.5 * radius_um, 1.5 * float(self.voxel_um.max()))
        inner = points_um[1:-1]
        index = np.floor((inner[:, None] + reach) / self.voxel_um).astype(np.int64)
        held = self.mask[tuple(np.moveaxis(np.clip(index, 0, np.asarray(self.mask.shape) - 1), 2, 0))]
        shift = held @ reach / np.maximum(held.sum(axis=1), 1)[:, None]
        along = points_um[2:] - points_um[:-2]
        along /= np.maximum(np.linalg.norm(along, axis=1), 1e-12)[:, None]
        shift -= np.sum(shift * along, axis=1)[:, None] * along
        centred = points_um.copy()
        centred[1:-1] = np.clip(inner + shift, 0, self.size_um)
        return centred


def _ball(pairs: int) -> Floats:
    """(2 pairs, 3) places that fill the unit ball evenly, each with its opposite."""
    rank = np.arange(pairs) + 0.5
    height, turn = rank / pairs, np.pi * (3 - np.sqrt(5)) * rank
    shell = ((rank * (np.sqrt(2) % 1)) % 1) ** (1 / 3)
    ring = np.sqrt(1 - height**2)
    half = shell[:, None] * np.stack([height, ring * np.cos(turn), ring * np.sin(turn)], axis=1)
    return np.concatenate([half, -half])


BALL = _ball(100)


@dataclass(frozen=True)
class _Line:
    """A vessel's centreline, points_um (n, 3), the web's nodes at its ends, and whether these are cut by a face, or blind."""

    points_um: Floats
    start: int
    end: int
    cut: tuple[bool, bool]
    blind: tuple[bool, bool]
    radius_um: float


def _thin(vessel: _Vessel) -> Web:
    """The skeleton's chains."""
    cubes, edge_um = vessel.mask, vessel.voxel_um
    if edge_um.max() > EDGES_UNLIKE * edge_um.min():
        edge_um = np.full(3, edge_um.min())
        shape = np.ceil(vessel.size_um / edge_um - 1e-6).astype(np.int64)
        _check_size(shape)
        rows = [((np.arange(n) + 0.5) * edge_um[0] / edge).astype(int) for n, edge in zip(shape, vessel.voxel_um, strict=True)]
        rows = [np.minimum(row, n - 1) for row, n in zip(rows, vessel.mask.shape, strict=True)]
        cubes = vessel.mask[np.ix_(*rows)]
    _check_size(np.asarray(cubes.shape))
    places = thin(cubes)
    places_um = np.minimum((places + 0.5) * edge_um, vessel.size_um)
    web = Web(places, places_um, vessel.radius_um(places_um))
    web.simplify(float(edge_um.max()))
    return web


def _check_size(shape: Ints) -> None:
    if np.prod(shape, dtype=float) > CUBES_MAX:
        size = " x ".join(str(n) for n in shape)
        raise InputError("mask", f"{size} cubic voxels", f"at most {CUBES_MAX}: crop the volume or bin its voxels")


def _line(web: Web, chain: Chain, vessel: _Vessel) -> _Line | None:
    """The smooth centreline of a chain, its free ends led to the surface; None where there is no axis."""
    points = web.points_um(chain)
    ring = chain.start == chain.end and len(web.ends[chain.start]) == 2
    if len(points) < 2:
        return None
    radius = float(np.median(web.inner_um[chain.voxels])) if len(chain.voxels) else float(vessel.radius_um(points).mean())
    smooth = points
    for _ in range(ROUNDS):
        smooth = _smooth(smooth, max(radius, 3 * float(vessel.voxel_um.max())), ring)
        smooth = vessel.centre(smooth, radius)
    smooth = _smooth(smooth, max(radius, 3 * float(vessel.voxel_um.max())), ring)
    free = [not ring and web.is_free(node) for node in (chain.start, chain.end)]
    cut = [False, False]
    if free[1]:
        smooth, cut[1] = _lead_on(smooth, radius, vessel)
    if free[0]:
        turned, cut[0] = _lead_on(smooth[::-1], radius, vessel)
        smooth = turned[::-1]
    if ring and _arc_um(smooth)[-1] < 2 * np.pi * radius:
        return None
    if all(free) and _arc_um(smooth)[-1] < (radius if all(cut) else BLOB * radius):
        return None
    blind = [end and not face for end, face in zip(free, cut, strict=True)]
    return _Line(smooth, chain.start, chain.end, (cut[0], cut[1]), (blind[0], blind[1]), radius)


def _smooth(points_um: Floats, reach_um: float, ring: bool) -> Floats:
    """Local parabolas over `reach_um` to both sides; the ends stay."""
    step_um = _arc_um(points_um)[-1] / (len(points_um) - 1)
    window = min(2 * int(np.ceil(reach_um / step_um)) + 1, len(points_um) - 1 + len(points_um) % 2)
    if window < 5:
        return points_um
    if ring:
        smooth = savgol_filter(points_um[:-1], min(window, len(points_um) - 2 + len(points_um) % 2), 2, axis=0, mode="wrap")
        return np.asarray(np.concatenate([smooth, smooth[:1]]))
    smooth = savgol_filter(points_um, window, 2, axis=0, mode="interp")
    smooth[[0, -1]] = points_um[[0, -1]]
    return np.asarray(smooth)


def _lead_on(points_um: Floats, radius_um: float, vessel: _Vessel) -> tuple[Floats, bool]:
    """Replace a line's end, which thinning bends to an edge, by a straight run to the surface; whether it meets a face."""
    back = _arc_um(points_um)[-1] - _arc_um(points_um)
    coarse_um = float(vessel.voxel_um.max())
    clear = back[vessel.face_um(points_um).min(axis=1) >= radius_um]  # a face cuts a vessel askew
    bend_um = float(np.clip(clear.min(initial=np.inf), 1.5 * radius_um, 4 * radius_um)) + coarse_um
    base = int(np.flatnonzero(back >= min(bend_um, back[0] / 2))[-1])
    before = int(np.flatnonzero(back >= min(bend_um + 2 * (radius_um + coarse_um), back[0]))[-1])
    course = points_um[base] - points_um[before]
    length = float(np.linalg.norm(course))
    if length == 0:
        return points_um, False
    course, far_um = course / length, 6 * radius_um + 4 * coarse_um
    tip = _exit(points_um[base], course, back[base] + far_um, vessel)
    if not vessel.at_face(tip).any() and (points_um[-1] - tip) @ course > radius_um:  # a bent vessel, left too early
        tip = _exit(points_um[-1], course, far_um, vessel)
    cut = vessel.at_face(tip)
    tip = np.where(cut, np.where(2 * tip < vessel.size_um, 0, vessel.size_um), tip)
    return np.concatenate([points_um[: base + 1], tip[None]]), bool(cut.any())


def _exit(start_um: Floats, course: Floats, most_um: float, vessel: _Vessel) -> Floats:
    """The last place in the vessel on a straight run from a place within."""
    run = start_um + np.arange(0, most_um, 0.1 * float(vessel.voxel_um.min()))[:, None] * course
    held = vessel.holds(run)
    return np.asarray(run[-1 if held.all() else max(int(np.argmin(held)) - 1, 0)])


def _arc_um(points_um: Floats) -> Floats:
    """(n,) length along a line up to each of its points."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points_um, axis=0), axis=1))])


def _graph(lines: Sequence[_Line], vessel: _Vessel) -> VesselGraph:
    """Divide each line into equal pieces about as long as wide, and give them their radii."""
    nodes: list[Floats] = [np.empty((0, 3))]
    segments: list[Ints] = [np.empty((0, 2), np.int64)]
    samples: list[Floats] = [np.empty((0, 3))]
    ends: list[int] = []
    number: dict[int, int] = {}  # of the web's nodes, in the graph
    count = 0
    for line in lines:
        length = _arc_um(line.points_um)[-1]
        pieces = max(round(length / max(line.radius_um, 3 * vessel.voxel_um.min())), 3 if line.start == line.end else 2)
        new = [at for at in dict.fromkeys((line.start, line.end)) if at not in number]
        number |= {at: count + row for row, at in enumerate(new)}
        count += len(new)
        places = _at(line, np.arange(pieces + 1) / pieces * length)
        nodes += [places[[0 if at == line.start else -1 for at in new]], places[1:-1]]
        path = np.array([number[line.start], *range(count, count + pieces - 1), number[line.end]])
        count += pieces - 1
        segments.append(np.stack([path[:-1], path[1:]], axis=1))
        ends += [int(path[row]) for row, cut in zip((0, -1), line.cut, strict=True) if cut]
        margin = np.minimum(2 * line.radius_um * np.asarray(line.blind), length / 2)  # nearer to a blind end is its cap
        middle = (np.arange(SAMPLES * pieces) + 0.5) / (SAMPLES * pieces) * length
        samples.append(_at(line, np.clip(middle, margin[0], length - margin[1])))
    radius = vessel.radius_um(np.concatenate(samples)).reshape(-1, SAMPLES).mean(axis=1)
    graph = VesselGraph(np.concatenate(nodes), np.concatenate(segments), radius)
    open_ends = np.asarray(ends, np.int64)
    inlet = _lower_half(graph, open_ends, int(np.argmax(vessel.size_um)))
    graph.inlets, graph.outlets = np.sort(open_ends[inlet]), np.sort(open_ends[~inlet])
    return graph


def _at(line: _Line, arc_um: Floats) -> Floats:
    """(n, 3) places at these lengths along a line."""
    arc = _arc_um(line.points_um)
    return np.stack([np.interp(arc_um, arc, axis) for axis in line.points_um.T], axis=1)


def _lower_half(graph: VesselGraph, ends: Ints, axis: int) -> Mask:
    """Whether each end is in the lower half, along an axis, of the ends of its connected part; a lone end is in the upper."""
    count = len(graph.nodes_um)
    links = coo_array((np.ones(len(graph.segments), bool), tuple(graph.segments.T)), shape=(count, count))
    part = connected_components(links, directed=False)[1][ends]
    order = np.lexsort((graph.nodes_um[ends, axis], part))
    _, first, held = np.unique(part[order], return_index=True, return_counts=True)
    lower = np.empty(len(ends), bool)
    lower[order] = np.arange(len(ends)) - np.repeat(first, held) < np.repeat(held // 2, held)
    return lower
