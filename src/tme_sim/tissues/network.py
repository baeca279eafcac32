"""A seeded, tumour-like microvascular network that fills a box and can carry blood from face to face.

Construction: the edges of a Voronoi diagram with one seed at random in each cell of a cubic lattice, reduced to mainly
bifurcations, as Smith et al. built capillary networks (2019, Front Physiol 10:233, doi:10.3389/fphys.2019.00233).
Added here for tumours: tortuous vessels, log-normal radii, and a core that is thinned without cutting loops open.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Delaunay

from tme_sim.state.errors import InputError
from tme_sim.state.vessels import VesselGraph

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

LENGTH_CONSTANT = 5.2  # measured (length density) × (seed spacing)² of the straight pattern: the first guess of a search
RESERVE = 1.25  # a pattern is made this much wider than its first guess of the spacing needs
ATTEMPTS = 40
TOLERANCE = 0.015  # on length; the radii then take up what is left, so that the surface is exact
BLOOD_MAX = 0.3  # above, neighbouring cylinders overlap too much to be called a network


def grow_network(
    size_um: tuple[float, float, float],
    *,
    vessel_radius_um: float,
    radius_variation: float,
    surface_per_um: float,
    tortuosity: float,
    avascular_core: float,
    seed_rng: np.random.Generator,
) -> VesselGraph:
    """A network whose wall (lateral surface) is `surface_per_um` × the volume of the box `size_um` = (z, y, x).

    vessel_radius_um: length-weighted mean (kept within 1.5 %); radius_variation: coefficient of variation of the log-normal
    radii, one per vessel between branch points; tortuosity: 0 straight, 1 paths 1.4 times their chords in the mean (0.5: 1.13);
    avascular_core: fraction by which length density falls in the core, the ellipsoid of half the box's axes, with a smooth
    passage up to the box's own.

    Vessels cross the faces at right angles. Their open ends are inlets in the half of each connected part that has the lower
    z, outlets in the other; every part has both. The same generator state gives the same network.
    Raises InputError for values out of range and for a surface that cannot be reached.
    """
    _check(size_um, vessel_radius_um, radius_variation, surface_per_um, tortuosity, avascular_core)
    box = np.asarray(size_um, float)
    wanted_um = surface_per_um * float(np.prod(box)) / (2 * np.pi * vessel_radius_um)
    margin_um = min(1.5 * vessel_radius_um, 0.1 * float(box.min()))
    constant = LENGTH_CONSTANT * (1 + 0.4 * tortuosity**2) * _mean_core_density(avascular_core)
    first_um = float(np.sqrt(constant * np.prod(box) / wanted_um))
    found: list[float] = []
    for _ in range(ATTEMPTS):
        pattern = _Pattern(box / first_um, avascular_core, seed_rng)
        spacing_um, bracket_um = first_um, [0.0, np.inf]
        for _ in range(10):
            shape = _Shape(pattern, spacing_um, box, margin_um, 1.5 * vessel_radius_um, tortuosity)
            ratio = shape.length_um / wanted_um
            found.append(ratio)
            if abs(ratio - 1) < TOLERANCE:
                return _with_radii(shape, vessel_radius_um / ratio, radius_variation, seed_rng)
            bracket_um[0 if ratio > 1 else 1] = spacing_um
            spacing_um = _next_spacing(spacing_um, ratio, bracket_um)
            if not first_um / RESERVE <= spacing_um <= first_um * RESERVE:
                break
        first_um = spacing_um  # a new pattern has its core where it belongs at this spacing
    nearest = surface_per_um * min((ratio for ratio in found if ratio > 0), key=lambda ratio: abs(np.log(ratio)), default=0.0)
    raise InputError("surface_per_um", surface_per_um, f"not reached; the nearest found in this box is {nearest:.3g} 1/um")


def _next_spacing(spacing_um: float, ratio: float, bracket_um: list[float]) -> float:
    """Bisection once lengths above and below the one wanted are known; until then by length ∝ 1/spacing²."""
    if bracket_um[0] > 0 and bracket_um[1] < np.inf:
        return float(np.sqrt(bracket_um[0] * bracket_um[1]))
    return spacing_um * float(np.sqrt(np.clip(ratio, 0.5, 2)))


def _check(
    size_um: tuple[float, ...], radius_um: float, variation: float, surface: float, tortuosity: float, core: float
) -> None:
    if len(size_um) != 3 or not all(np.isfinite(edge) and edge > 0 for edge in size_um):
        raise InputError("size_um", size_um, "three positive edges (z, y, x)")
    if not 0 < radius_um < min(size_um) / 4:
        raise InputError(
            "vessel_radius_um", radius_um, f"above 0 and below a quarter of the shortest edge of {min(size_um):g} um"
        )
    for name, value in (("radius_variation", variation), ("tortuosity", tortuosity), ("avascular_core", core)):
        if not 0 <= value <= 1:
            raise InputError(name, value, "between 0 and 1")
    most = 2 * BLOOD_MAX / (radius_um * (1 + variation**2))  # blood fraction = S/V · r/2 · (1 + CV²)
    if not 0 < surface <= most:
        raise InputError("surface_per_um", surface, f"above 0 and at most {most:.3g} 1/um at this radius")


def _core_density(offset: Floats, avascular_core: float) -> Floats:
    """Relative length density at offsets (…, 3) from the centre in half-edges: 1 − core up to q = 1/2, 1 from q = 1 on."""
    passage = np.clip(2 * np.linalg.norm(offset, axis=-1) - 1, 0, 1)
    return np.asarray(1 - avascular_core * np.cos(np.pi / 2 * passage) ** 2)


def _mean_core_density(avascular_core: float) -> float:
    axis = (np.arange(24) + 0.5) / 24
    return float(_core_density(np.stack(np.meshgrid(axis, axis, axis), axis=-1), avascular_core).mean())


class _Pattern:
    """Straight network in units of the seed spacing, centred on zero: wide enough for the box and a reserve.

    nodes (n, 3), edges (m, 2), bends (m, 2, 3): normal numbers that give each edge its course.
    """

    def __init__(self, box: Floats, avascular_core: float, rng: np.random.Generator) -> None:
        # A sphere empty of seeds is narrower than √3 cells, so two cells beyond the box decide everything inside it.
        cells = 2 * np.ceil(box * RESERVE / 2).astype(int) + 4
        corner = np.stack(np.meshgrid(*[np.arange(n) - n / 2 for n in cells], indexing="ij"), axis=-1).reshape(-1, 3)
        self.nodes, edges = _voronoi(corner + rng.random(corner.shape))
        within: Mask = np.all(np.abs(self.nodes) < cells / 2, axis=1)  # the outermost Voronoi edges run far out
        self.edges = edges[within[edges].all(axis=1)]
        self._reduce_to_bifurcations()
        self._join_near_nodes(0.1)
        if avascular_core > 0:
            self._thin_core(box / 2, avascular_core, rng)
        self.bends = rng.standard_normal((len(self.edges), 2, 3))

    @property
    def lengths(self) -> Floats:
        return np.asarray(np.linalg.norm(np.diff(self.nodes[self.edges], axis=1)[:, 0], axis=1))

    def _reduce_to_bifurcations(self) -> None:
        """Voronoi vertices have four edges: take away edges between such nodes, shortest first, until none joins two."""
        while True:
            degree = np.bincount(self.edges.ravel(), minlength=len(self.nodes))
            eligible = np.min(degree[self.edges], axis=1) > 3
            removed = _first_at_both_ends(self.edges, eligible, self.lengths, len(self.nodes))
            if not removed.any():
                return
            self.edges = self.edges[~removed]

    def _join_near_nodes(self, distance: float) -> None:
        """Contract edges shorter than a vessel is wide, no two at one node unless tiny: two bifurcations there are one."""
        short = _first_at_both_ends(self.edges, self.lengths < distance, self.lengths, len(self.nodes))
        cluster = _parts(len(self.nodes), self.edges[short | (self.lengths < distance / 5)])
        count = np.bincount(cluster)
        self.nodes = np.stack([np.bincount(cluster, axis) / count for axis in self.nodes.T], axis=1)
        joined = np.sort(cluster[self.edges], axis=1)
        self.edges = np.unique(joined[joined[:, 0] < joined[:, 1]], axis=0)

    def _thin_core(self, half_box: Floats, avascular_core: float, rng: np.random.Generator) -> None:
        """Remove whole vessels between branch points until each level of density has its length; what is left keeps its loops.

        Where that does not go far enough (a core nearly without vessels), the last ones are broken off and leave blind ends.
        """
        keep = _core_density(self.nodes[self.edges].mean(axis=1) / half_box, avascular_core)
        level, length = np.rint(20 * keep).astype(np.int64), self.lengths
        wanted = np.bincount(level, length * keep, minlength=21)
        for _ in range(30):
            held = np.bincount(level, length, minlength=21)
            excess = np.divide(np.maximum(held - wanted, 0), held, out=np.zeros(21), where=held > 0)
            if np.sum(excess * held) < 0.01 * np.sum(held[:20]):  # level 20 is the untouched rim
                return
            vessel, ends = _vessels(self.edges, len(self.nodes))
            degree = np.bincount(self.edges.ravel(), minlength=len(self.nodes))
            chance = np.bincount(vessel, length * excess[level]) / np.bincount(vessel, length)
            ticket = rng.random(len(ends))
            chosen = (ticket < chance) & (ends >= 0).all(axis=1) & (degree[ends] >= 3).all(axis=1)
            kept = ~_first_at_both_ends(ends, chosen, ticket, len(self.nodes))[vessel]
            self.edges, level, length = self.edges[kept], level[kept], length[kept]
        self.edges = self.edges[rng.random(len(self.edges)) >= excess[level]]


class _Shape:
    """The pattern at a spacing, cut by the box and made tortuous: nodes_um, segments, the vessel of each segment, open ends."""

    def __init__(
        self, pattern: _Pattern, spacing_um: float, box: Floats, margin_um: float, piece_um: float, tortuosity: float
    ) -> None:
        nodes, edges, kept, stubs, owner = _cut(pattern.nodes * spacing_um + box / 2, pattern.edges, box, margin_um)
        part = _parts(len(nodes), np.concatenate([edges, stubs]))
        carries = np.bincount(part[stubs[:, 1]], minlength=len(nodes)) >= 2  # blood comes in and goes out
        alive, open_ = carries[part[edges[:, 0]]], carries[part[stubs[:, 1]]]
        vessel, _ = _vessels(edges, len(nodes))
        points, pieces, piece_edge = _bend(nodes, edges[alive], pattern.bends[kept][alive], piece_um, tortuosity)
        inside = np.clip(points, margin_um, box - margin_um)
        self.nodes_um = np.concatenate([nodes, inside])
        self.segments = np.concatenate([pieces, stubs[open_]])
        self.vessel = np.concatenate([vessel[alive][piece_edge], vessel[owner[open_]]])
        self.open_ends, self.part = stubs[open_, 1], part
        ends = self.nodes_um[self.segments]
        self.lengths_um = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
        self.length_um = float(self.lengths_um.sum())


def _with_radii(shape: _Shape, mean_radius_um: float, variation: float, rng: np.random.Generator) -> VesselGraph:
    """The graph, with log-normal radii whose length-weighted mean is exactly the one given."""
    sigma = np.sqrt(np.log1p(variation**2))
    radius = rng.lognormal(0, sigma, int(shape.vessel.max()) + 1)[shape.vessel]
    radius *= mean_radius_um / np.average(radius, weights=shape.lengths_um)
    used, segments = np.unique(shape.segments, return_inverse=True)
    ends = np.searchsorted(used, shape.open_ends)
    nodes_um = shape.nodes_um[used]
    inlet = _lower_half(nodes_um[ends, 0], shape.part[shape.open_ends])
    return VesselGraph(nodes_um, segments.reshape(-1, 2).astype(np.int64), radius, np.sort(ends[inlet]), np.sort(ends[~inlet]))


def _lower_half(height: Floats, group: Ints) -> Mask:
    """Whether each item is in the lower half of its group; a group of two or more has items in both halves."""
    order = np.lexsort((height, group))
    _, start, count = np.unique(group[order], return_index=True, return_counts=True)
    lower = np.empty(len(height), bool)
    lower[order] = np.arange(len(height)) - np.repeat(start, count) < np.repeat(count // 2, count)
    return lower


def _voronoi(seeds: Floats) -> tuple[Floats, Ints]:
    """Vertices and edges of the Voronoi diagram: the centres of the Delaunay tetrahedra's spheres, joined across faces."""
    mesh = Delaunay(seeds)
    corners = seeds[mesh.simplices]
    sides = corners[:, 1:] - corners[:, :1]
    flat = np.abs(np.linalg.det(sides)) < 1e-9  # on the hull only, far outside the box
    sides[flat] = np.eye(3)
    centres = corners[:, 0] + np.linalg.solve(sides, 0.5 * np.sum(sides**2, axis=2)[..., None])[..., 0]
    first = np.repeat(np.arange(len(centres)), 4)
    edges = np.stack([first, mesh.neighbors.ravel()], axis=1).astype(np.int64)
    return centres, edges[(edges[:, 0] < edges[:, 1]) & ~flat[edges].any(axis=1)]


def _parts(count: int, edges: Ints) -> Ints:
    """(count,) the connected part that each node belongs to."""
    links = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def _vessels(edges: Ints, nodes: int) -> tuple[Ints, Ints]:
    """The vessel of each edge, where nodes with two edges continue a vessel; and (vessels, 2) its end nodes, −1 for a ring."""
    order = np.argsort(edges, axis=None, kind="stable")
    node = edges.ravel()[order]
    second = np.flatnonzero(node[1:] == node[:-1]) + 1
    passing = second[np.bincount(node, minlength=nodes)[node[second]] == 2]
    vessel = _parts(len(edges), np.stack([order[passing - 1] // 2, order[passing] // 2], axis=1))
    ends = np.full((int(vessel.max(initial=-1)) + 1, 2), -1, np.int64)
    half = np.flatnonzero((np.bincount(node, minlength=nodes) != 2)[edges.ravel()])
    pair = half[np.argsort(vessel[half // 2], kind="stable")].reshape(-1, 2)  # every vessel but a ring has two
    ends[vessel[pair[:, 0] // 2]] = edges.ravel()[pair]
    return vessel, ends


def _first_at_both_ends(edges: Ints, eligible: Mask, priority: Floats, nodes: int) -> Mask:
    """The eligible edges with the lowest priority among the eligible at both their ends: no two of them share a node."""
    best = np.full(nodes, np.inf)
    np.minimum.at(best, edges[eligible].ravel(), np.repeat(priority[eligible], 2))
    return np.asarray(eligible & (best[edges] == priority[:, None]).all(axis=1))


def _cut(nodes: Floats, edges: Ints, box: Floats, margin_um: float) -> tuple[Floats, Ints, Ints, Ints, Ints]:
    """Cut edges at the box less a margin, and lead each cut end straight to its face.

    A tube that met a face obliquely would lose wall there. What a cut leaves shorter than 1 um goes too. Returns nodes, edges,
    the index each edge had, the stubs (cut node, face node) and the edge that each stub continues.
    """
    start = nodes[edges[:, 0]]
    along = nodes[edges[:, 1]] - start
    with np.errstate(divide="ignore", invalid="ignore"):
        walls = np.stack([(margin_um - start) / along, (box - margin_um - start) / along])
    enter, leave = walls.min(axis=0), walls.max(axis=0)
    share = np.stack([np.maximum(enter.max(axis=1), 0), np.minimum(leave.min(axis=1), 1)], axis=1)
    left_um = (share[:, 1] - share[:, 0]) * np.linalg.norm(along, axis=1)
    kept = np.flatnonzero((left_um >= 1) | (share == [0, 1]).all(axis=1))
    share, edges = share[kept], edges[kept].copy()
    axis = np.stack([enter[kept].argmax(axis=1), leave[kept].argmin(axis=1)], axis=1)
    owner, end = np.nonzero((share > [0, -1]) & (share < [2, 1]))  # entered after its start; left before its end
    cut = start[kept[owner]] + share[owner, end, None] * along[kept[owner]]
    cut = np.clip(cut, margin_um, box - margin_um)
    face, wall = cut.copy(), axis[owner, end]
    rows = np.arange(len(cut))
    face[rows, wall] = np.where(2 * cut[rows, wall] < box[wall], 0, box[wall])
    stubs = len(nodes) + np.stack([rows, rows + len(cut)], axis=1)
    edges[owner, end] = stubs[:, 0]
    return np.concatenate([nodes, cut, face]), edges, kept, stubs, owner


def _bend(nodes: Floats, edges: Ints, bends: Floats, piece_um: float, tortuosity: float) -> tuple[Floats, Ints, Ints]:
    """Give each edge the course chord + Σ_k a_k sin(kπt), k = 1, 2, across the chord, in pieces of about `piece_um`.

    Returns the new points (numbered after `nodes`), the pieces as node pairs in order along each edge, and each piece's edge.
    """
    start, chord = nodes[edges[:, 0]], nodes[edges[:, 1]] - nodes[edges[:, 0]]
    length = np.linalg.norm(chord, axis=1)
    count = np.maximum(np.rint(length / piece_um).astype(np.int64), 1)
    edge = np.repeat(np.arange(len(edges)), count)
    place = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    inner = np.flatnonzero(place > 0)
    parallel = np.sum(bends * chord[:, None], axis=2) / length[:, None] ** 2
    across = (bends - parallel[..., None] * chord[:, None]) * (0.25 * tortuosity * length)[:, None, None]
    share = (place / count[edge])[inner, None]
    points = start[edge[inner]] + share * chord[edge[inner]]
    for k in (1, 2):
        points += np.sin(k * np.pi * share) * across[edge[inner], k - 1] / k
    pieces = edges[edge]
    pieces[inner, 0] = len(nodes) + np.arange(len(inner))
    pieces[inner - 1, 1] = pieces[inner, 0]
    return points, pieces, edge
