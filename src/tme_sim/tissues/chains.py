"""The topology of a one voxel wide skeleton: chains of voxels between nodes, with the spurs and knots of thinning undone."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HALF_THE_NEIGHBOURS = [step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]


SPUR = 1.5


@dataclass(frozen=True)
class Chain:
    """Voxels (k,) in order from node `start` to node `end`; a junction's own voxels belong to its node, a free end's do not."""

    start: int
    end: int
    voxels: Ints

    def turned(self) -> Chain:
        """The same chain in the other direction."""
        return Chain(self.end, self.start, self.voxels[::-1])


class Web:
    """Chains and the nodes they meet at.

    nodes_um: (nodes, 3); places_um, inner_um: (voxels, 3) and (voxels,) places of the voxels and the vessel's radius there;
    chains: by a number that is never used twice; ends: node → numbers of the chains that end there, a loop twice.
    """

    def __init__(self, places: Ints, places_um: Floats, radius_um: Floats) -> None:
        """Take apart a skeleton of voxels `places` (n, 3) in lexical order, at `places_um`, inside a vessel of `radius_um`."""
        self.places_um, self.inner_um = places_um, radius_um
        self.chains: dict[int, Chain] = {}
        self.ends: defaultdict[int, list[int]] = defaultdict(list)
        self._new = 0
        pairs = _neighbours(places)
        junction = np.bincount(pairs.ravel(), minlength=len(places)) > 2
        cluster = _parts(len(places), pairs[junction[pairs].all(axis=1)])
        _, cluster[junction] = np.unique(cluster[junction], return_inverse=True)
        weight = np.maximum(np.bincount(cluster[junction]), 1)
        middle = [np.bincount(cluster[junction], axis) / weight for axis in places_um[junction].T]
        self._nodes = list(np.stack(middle, axis=1))
        self._radius = [0.0] * len(self._nodes)
        for node, radius in zip(cluster[junction], radius_um[junction], strict=True):
            self._radius[node] = max(self._radius[node], radius)
        self._trace(pairs, junction, cluster, radius_um)

    @property
    def nodes_um(self) -> Floats:
        """(nodes, 3) places of all nodes; some may have lost their chains."""
        return np.asarray(self._nodes, float).reshape(-1, 3)

    def points_um(self, chain: Chain) -> Floats:
        """(k + 2, 3) places along a chain, from node to node; a free end's voxel appears twice and is given once."""
        inner = self.places_um[chain.voxels]
        ends = [self._nodes[node][None] for node in (chain.start, chain.end)]
        whole = np.concatenate([ends[0], inner, ends[1]])
        return np.asarray(whole[np.r_[True, np.any(np.diff(whole, axis=0) != 0, axis=1)]])

    def is_free(self, node: int) -> bool:
        """Whether a single chain ends at this node."""
        return len(self.ends[node]) == 1

    def simplify(self, voxel_um: float) -> None:
        """Remove spurs and knots, the shortest first: thinning leaves them where a vessel's surface is rough.

        A spur is a chain from a junction to a free end that hardly leaves the vessel it starts in (1.5 of the junction's radii
        and a voxel: the rim of a flat end is √2 away). A knot joins two junctions that lie in one another's vessel, or is a ring
        too narrow for its own tube. Nodes that are left with two chains are dissolved into one.
        """
        for node in list(self.ends):
            self._dissolve(node)
        self._queue = [(self._length_um(chain), number) for number, chain in self.chains.items()]
        heapq.heapify(self._queue)
        while self._queue:
            length_um, number = heapq.heappop(self._queue)
            chain = self.chains.get(number)
            if chain is None:
                continue
            radius_um = max(self._radius[chain.start], self._radius[chain.end])
            degrees = sorted(len(self.ends[node]) for node in (chain.start, chain.end))
            reach_um = float(np.linalg.norm(self._nodes[chain.end] - self._nodes[chain.start]))
            if degrees[0] == 1 and degrees[1] > 2 and reach_um < SPUR * radius_um + voxel_um:
                self._remove(number)
                self._dissolve(chain.start)
                self._dissolve(chain.end)
                continue
            narrow_um = 2 * np.pi * (radius_um + voxel_um) if chain.start == chain.end else radius_um
            if degrees[0] > 2 and length_um < narrow_um:
                self._remove(number)
                self._merge(chain.start, chain.end)

    def _trace(self, pairs: Ints, junction: NDArray[np.bool_], cluster: Ints, radius_um: Floats) -> None:
        beside, touching = defaultdict(list), defaultdict(list)
        first_is, second_is = junction[pairs].T
        for one, other in pairs[~first_is & ~second_is].tolist():
            beside[one].append(other)
            beside[other].append(one)
        mixed = pairs[first_is != second_is]
        mixed = np.where(junction[mixed[:, :1]], mixed[:, ::-1], mixed)  # the chain's voxel first
        for voxel, node in zip(mixed[:, 0].tolist(), cluster[mixed[:, 1]].tolist(), strict=True):
            touching[voxel].append(node)
        seen: set[int] = set()
        voxels = np.flatnonzero(~junction).tolist()
        for voxel in sorted(voxels, key=lambda voxel: len(beside[voxel]) == 2):  # rings, which have no ends, last
            if voxel in seen:
                continue
            path = _walk(voxel, beside)
            seen.update(path)
            if len(beside[voxel]) == 2:
                node = self._add_node(voxel, radius_um)
                self._add(Chain(node, node, np.asarray(path[1:], np.int64)))
                continue
            nodes = touching[path[0]] if len(path) == 1 else touching[path[0]][:1] + touching[path[-1]][:1]
            at_start, at_end = bool(touching[path[0]]), bool(touching[path[-1]]) and len(nodes) > (len(path) == 1)
            start = touching[path[0]][0] if at_start else self._add_node(path[0], radius_um)
            end = nodes[-1] if at_end else self._add_node(path[-1], radius_um)
            self._add(Chain(start, end, np.asarray(path, np.int64)))

    def _add_node(self, voxel: int, radius_um: Floats) -> int:
        self._nodes.append(self.places_um[voxel])
        self._radius.append(float(radius_um[voxel]))
        return len(self._nodes) - 1

    def _add(self, chain: Chain) -> int:
        self.chains[self._new] = chain
        for node in (chain.start, chain.end):
            self.ends[node].append(self._new)
        self._new += 1
        return self._new - 1

    def _remove(self, number: int) -> Chain:
        chain = self.chains.pop(number)
        for node in (chain.start, chain.end):
            self.ends[node].remove(number)
        return chain

    def _dissolve(self, node: int) -> None:
        """Make one chain of the two that end at a node, unless they are one ring."""
        numbers = self.ends[node]
        if len(numbers) != 2 or numbers[0] == numbers[1]:
            return
        first, second = self._remove(numbers[0]), self._remove(numbers[0])
        first = first if first.end == node else first.turned()
        second = second if second.start == node else second.turned()
        number = self._add(Chain(first.start, second.end, np.concatenate([first.voxels, second.voxels])))
        self._push(number)

    def _merge(self, node: int, other: int) -> None:
        """Let the chains of `other` end at `node`, in the middle between them."""
        if node != other:
            self._nodes[node] = (self._nodes[node] + self._nodes[other]) / 2
            self._radius[node] = max(self._radius[node], self._radius[other])
            for number in set(self.ends[other]):
                chain = self._remove(number)
                start, end = (node if at == other else at for at in (chain.start, chain.end))
                self._add(Chain(start, end, chain.voxels))
            for number in set(self.ends[node]):
                self._push(number)
        self._dissolve(node)

    def _push(self, number: int) -> None:
        if hasattr(self, "_queue"):
            heapq.heappush(self._queue, (self._length_um(self.chains[number]), number))

    def _length_um(self, chain: Chain) -> float:
        return float(np.linalg.norm(np.diff(self.points_um(chain), axis=0), axis=1).sum())


def _neighbours(places: Ints) -> Ints:
    """(pairs, 2) rows of voxels that share a face, an edge or a corner."""
    if not len(places):
        return np.empty((0, 2), np.int64)
    shape = places.max(axis=0) + 3
    flat = np.ravel_multi_index(tuple((places + 1).T), tuple(shape))
    found = []
    for step in HALF_THE_NEIGHBOURS:
        wanted = flat + int(np.dot(step, (shape[1] * shape[2], shape[2], 1)))
        row = np.minimum(np.searchsorted(flat, wanted), len(flat) - 1)
        hit = np.flatnonzero(flat[row] == wanted)
        found.append(np.stack([hit, row[hit]], axis=1))
    return np.concatenate(found).astype(np.int64)


def _parts(count: int, pairs: Ints) -> Ints:
    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def _walk(first: int, beside: defaultdict[int, list[int]]) -> list[int]:
    """The voxels of a chain from an end, or round a ring; none has more than two beside it."""
    path, previous = [first], -1
    while True:
        onward = [voxel for voxel in beside[path[-1]] if voxel != previous]
        if not onward or onward[0] == first:
            return path
        previous = path[-1]
        path.append(onward[0])
