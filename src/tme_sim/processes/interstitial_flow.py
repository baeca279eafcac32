"""Interstitial pressure and flow: plasma leaks from vessels and seeps outwards (model section 1.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import pi, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.numerics.faces import OPEN, Faces
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.lattice import Lattice
from tme_sim.state.outflow import FIELDS
from tme_sim.state.parameters import given, parameter
from tme_sim.state.pores import driving_pressure_mmHg, gap_filtration_um3_per_mmHg_s
from tme_sim.state.state import State
from tme_sim.state.steady import SteadyField, per_volume
from tme_sim.state.substance import Matrix

Reals = NDArray[np.float64]
UM3_PER_ML = 1e12
PRESSURE, VELOCITY = "interstitial_pressure_mmHg", "interstitial_velocity_um_per_s"


def sphere_pressure(alpha: float, radius: ArrayLike) -> Reals:
    """Rise above the edge's pressure in a sphere that leaks evenly, 1 − sinh(α r̂)/(r̂ sinh α), 1 is that of no outflow.

    radius: r̂, the distance from the centre over the sphere's radius, clipped to 1; α = R √(Lp (S/V)/K) (Baxter & Jain 1989,
    doi:10.1016/0026-2862(89)90074-5).
    """
    r = np.clip(np.asarray(radius, np.float64), 1e-6, 1.0)
    if alpha < 1e-6:
        return np.zeros_like(r)
    return np.asarray(1 - np.exp(alpha * (r - 1)) * np.expm1(-2 * alpha * r) / (r * np.expm1(-2 * alpha)))


def edge_radii(shape: tuple[int, ...], voxel_um: float, outward_um: float) -> list[tuple[Reals, Reals]]:
    """Distances in µm from the tumour's centre to the middle of each voxel face on a box's surface.

    shape: voxels (z, y, x) of the box, whose centre lies `outward_um` away along +x. Per axis the planes of the lower and the
    upper faces.
    """
    place = [(np.arange(n) + 0.5 - n / 2) * voxel_um for n in shape]
    found = []
    for axis, n in enumerate(shape):
        sides = []
        for end_um in (-n / 2 * voxel_um, n / 2 * voxel_um):
            z, y, x = np.ix_(*(np.array([end_um]) if i == axis else place[i] for i in range(3)))
            sides.append(np.sqrt(z**2 + y**2 + (x + outward_um) ** 2).squeeze(axis))
        found.append((sides[0], sides[1]))
    return found


@dataclass(kw_only=True, eq=False)
class InterstitialFlow(Process):
    """∇·(K∇p) = −Lp (S/V) [p_v − p − σ (π_v − π_i)] + lymph · (p − p_lymph), and the superficial velocity v = −K∇p.

    Lp S is that of the perfused wall and of the gaps in it. Every patch is a box cut out of a spherical tumour, its centre at
    the patch's radial position on the outward axis +x: its faces hold the pressure that the sphere has there, with the Lp S/V of
    the whole lattice. Voxels outside the tumour hold edge_pressure. Velocities between patches are 0.

    Fluid leaves the tumour, or enters it, through the faces of each patch and where tissue borders on voxels outside; lymph
    drains it where p > p_lymph. These flows are kept per voxel, for whatever the fluid carries.
    """

    vessel_pressure_mmHg: float = parameter("pressure in the vessels, p_v", at_least=0, at_most=150)
    vessel_oncotic_pressure_mmHg: float = parameter("oncotic pressure of plasma", at_least=0, at_most=60)
    tissue_oncotic_pressure_mmHg: float = parameter("oncotic pressure of the interstitium", at_least=0, at_most=60)
    oncotic_reflection: float = parameter("reflection coefficient of plasma proteins", at_least=0, at_most=1)
    wall_conductivity_um_per_mmHg_s: float = parameter("hydraulic conductivity Lp of the wall between gaps", at_least=0)
    lymph_per_mmHg_s: float = parameter("lymph drained per tissue volume and pressure", at_least=0)
    lymph_pressure_mmHg: float = parameter("pressure below which nothing drains", at_least=0)
    edge_pressure_mmHg: float = parameter("pressure in the tissue around the tumour", at_least=0)
    matrix: Matrix = given("tissue.matrix")
    tumor_mass_g: float = given("tissue.tumor_mass_g")
    density_g_per_mL: float = given("tissue.density_g_per_mL")
    gap_length_um: float | None = given("gap_length_um")
    _balance: SteadyField | None = field(default=None, init=False, repr=False)

    @property
    def reads(self) -> frozenset[str]:
        columns = ("voxel", "radius_um", "open") if self.gap_length_um is not None else ()
        return frozenset({"fields.inside", "vessels.perfused"} | {f"populations.gaps.{column}" for column in columns})

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({f"fields.{name}" for name in (PRESSURE, VELOCITY, *FIELDS)})

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """At rest, at the pressure at which nothing leaks, until the first step: a gap that acts before it only diffuses."""
        at_rest = np.where(state.fields["inside"] > 0, self._driving_mmHg, self.edge_pressure_mmHg)
        state.fields[PRESSURE] = at_rest
        state.fields[VELOCITY] = np.zeros((3, *state.lattice.voxels))
        state.fields |= {name: np.zeros(state.lattice.voxels) for name in FIELDS}

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if dt_s == 0:
            return
        pressure, lattice = state.fields[PRESSURE], state.lattice
        self._balance = balance = self._balance or self._prepare_balance(state, streams.process)
        leak = self._leak_per_mmHg_s(state)
        edges = self._edge_mmHg(lattice, state.fields["inside"] * leak, state.fields["inside"])
        source = leak * self._driving_mmHg + self.lymph_per_mmHg_s * self.lymph_pressure_mmHg
        for faces, planes, edge in zip(balance.faces, lattice.planes, edges, strict=True):
            source[planes] += faces.inflow_at_edge(edge)
        balance.solve(pressure, leak + self.lymph_per_mmHg_s, source, state.time_s)
        velocity, inside = state.fields[VELOCITY], state.fields["inside"] > 0
        out, into = (state.fields[name] for name in FIELDS)
        np.maximum(self.lymph_per_mmHg_s * (pressure - self.lymph_pressure_mmHg) * inside, 0.0, out=out)
        into[...] = 0.0
        for faces, planes, edge in zip(balance.faces, lattice.planes, edges, strict=True):
            arrays = pressure[planes], inside[planes], velocity[:, planes], out[planes], into[planes]
            self._flow(faces, edge, lattice.voxel_um, *arrays)
        velocity[0, [b - 1 for b in lattice.blocked_z]] = 0.0

    @property
    def _driving_mmHg(self) -> float:
        return driving_pressure_mmHg(
            self.vessel_pressure_mmHg,
            self.vessel_oncotic_pressure_mmHg,
            self.tissue_oncotic_pressure_mmHg,
            self.oncotic_reflection,
        )

    @property
    def _conductivity(self) -> float:
        return self.matrix.hydraulic_conductivity_um2_per_mmHg_s

    def _prepare_balance(self, state: StateView, name: str) -> SteadyField:
        outside = state.fields["inside"] == 0
        return SteadyField(
            name,
            PRESSURE,
            state.lattice,
            self._conductivity,
            state.time_s,
            OPEN,
            outside if outside.any() else None,
            self.edge_pressure_mmHg,
        )

    def _leak_per_mmHg_s(self, state: StateView) -> Reals:
        """(z, y, x) Lp S/V of the perfused wall and its gaps."""
        voxel, perfused = state.vessels["voxel"], state.vessels["perfused"]
        through = self.wall_conductivity_um_per_mmHg_s * state.vessels["surface_um2"]
        if self.gap_length_um is not None:
            gaps = state.populations["gaps"]
            open_to = gap_filtration_um3_per_mmHg_s(gaps["radius_um"], self.gap_length_um, self._conductivity)
            through = through + np.bincount(np.searchsorted(voxel, gaps["voxel"]), open_to * gaps["open"], len(voxel))
        return per_volume(state.lattice, voxel, perfused * through)

    def _edge_mmHg(self, lattice: Lattice, leak: Reals, inside: Reals) -> list[list[tuple[Reals, Reals]]]:
        """By patch and axis, the sphere's pressure on the lower and upper faces of the patch."""
        volume, total = (
            float(np.dot(lattice.copies, [part[planes].sum() for planes in lattice.planes])) for part in (inside, leak)
        )
        mean_leak, lymph = total / volume, self.lymph_per_mmHg_s
        drained = mean_leak + lymph
        radius_um = (3 * self.tumor_mass_g / self.density_g_per_mL * UM3_PER_ML / (4 * pi)) ** (1 / 3)
        alpha = radius_um * sqrt(drained / self._conductivity)
        plateau = (mean_leak * self._driving_mmHg + lymph * self.lymph_pressure_mmHg) / drained if drained > 0 else 0.0

        def on(distance_um: Reals) -> Reals:
            rise = sphere_pressure(alpha, distance_um / radius_um)
            return self.edge_pressure_mmHg + (plateau - self.edge_pressure_mmHg) * rise

        found = []
        for patch, planes in zip(lattice.patches, lattice.planes, strict=True):
            shape = leak[planes].shape
            radii = edge_radii(shape, lattice.voxel_um, patch.radial_position * radius_um)
            found.append([(on(low), on(high)) for low, high in radii])
        return found

    def _flow(
        self, faces: Faces, edge: list[tuple[Reals, Reals]], voxel_um: float,
        pressure: Reals, inside: NDArray[np.bool_], velocity: Reals, out: Reals, into: Reals,
    ) -> None:  # fmt: skip
        """Fills v (3, z, y, x) through each voxel's upper faces; adds what passes the tumour's bounds to `out` and `into`."""
        for axis in range(3):
            g, (low, high) = np.moveaxis(faces.arrays[axis], axis, 0), edge[axis]
            p, tumor, leaves, enters = (np.moveaxis(array, axis, 0) for array in (pressure, inside, out, into))
            through = np.empty_like(g)
            through[1:-1] = self._conductivity / voxel_um * (p[:-1] - p[1:])
            through[0], through[-1] = g[0] * voxel_um * (low - p[0]), g[-1] * voxel_um * (p[-1] - high)
            np.moveaxis(velocity[axis], axis, 0)[...] = through[1:]
            rise = np.diff(tumor.astype(np.int8), axis=0, prepend=0, append=0)  # 1 where the tumour begins, -1 where it ends
            first, (after, *across) = np.nonzero(rise > 0), np.nonzero(rise < 0)
            for own, outward in ((first, -through[first]), ((after - 1, *across), through[after, *across])):
                leaves[own] += np.maximum(outward, 0.0) / voxel_um
                enters[own] -= np.minimum(outward, 0.0) / voxel_um
