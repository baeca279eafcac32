"""The field that magnetised tissue adds to the scanner's: from metal on the lattice to angular frequencies of its water."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from tme_sim.imaging.frame import Frame
from tme_sim.imaging.relaxation import GYROMAGNETIC_PER_S_T, Metal, Water
from tme_sim.numerics.threads import use_threads_for
from tme_sim.state.contrast import SQUARED_MOMENT_OF_FERRITIN_IRON, ContrastAgent, curie_per_mM

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


def susceptibility(frame: Frame, metal: Metal, agent: ContrastAgent, water: Water, field_T: float) -> Floats:
    """(z, y, x) volume susceptibility (SI) over bare tissue's: of the agent, of blood, and of the macrophages' own iron.

    Cells quench the agent's relaxivity and not this.
    """
    own = water.blood_susceptibility_ppm * 1e-6 * np.asarray(frame.fields["lumen_fraction"], np.float64)
    if "macrophages" in frame.agents and water.macrophage_iron_mM:
        site = frame.agents["macrophages"]["site"].to_numpy(np.int64)
        here = frame.lattice.on_voxels(np.bincount(site, minlength=frame.lattice.n_sites) > 0)
        iron_mM = water.macrophage_iron_mM * here * frame.fields["cell_fraction"]
        own = own + iron_mM * curie_per_mM(SQUARED_MOMENT_OF_FERRITIN_IRON)
    return np.asarray(own + metal.total_mM * agent.susceptibility_per_mM(field_T))


def field_shift(chi: NDArray[np.floating]) -> Singles:
    """ΔB/B0 along z of (z, y, x) susceptibility, in open space: the spectrum's product with (1/3 − k_z²/k²), zero-padded.

    The factor is taken as the transform of the dipole's own field (3 cos²θ − 1)/(4π r³), 0 at r = 0 by Lorentz' sphere: sampled
    in k instead, it stands for a periodic lattice (1.6 % off at three radii from a sphere) and rings at edges. Voxels are balls.
    """
    half = [fft.next_fast_len(n, real=True) for n in chi.shape]
    workers = use_threads_for(chi.size)
    spectrum = fft.rfftn(np.asarray(chi, np.float32), [2 * n for n in half], workers=workers)
    kernel = _dipole_spectrum((half[0], half[1], half[2]))
    for k in range(2 * half[0]):
        plane = kernel[min(k, 2 * half[0] - k)]
        spectrum[k, : half[1] + 1] *= plane
        spectrum[k, half[1] + 1 :] *= plane[half[1] - 1 : 0 : -1]
    shift = fft.irfftn(spectrum, [2 * n for n in half], workers=workers)
    return np.ascontiguousarray(shift[tuple(slice(n) for n in chi.shape)])


def _dipole_spectrum(half: tuple[int, int, int]) -> Singles:
    """(z, y, x) of the frequencies from 0 to the highest: even along each axis, so one octant is all, by cosine transforms."""
    z, y, x = (np.arange(n + 1, dtype=np.float32) for n in half)
    z2, lateral2 = z[:, None, None] ** 2, y[:, None] ** 2 + x**2
    r2 = z2 + lateral2
    r2[0, 0, 0] = 1
    field = (3 * z2 / r2 - 1) / (4 * np.pi * r2**1.5)
    field[0, 0, 0] = 0
    return np.asarray(fft.dctn(field, type=1), np.float32)


def turning(chi: Floats, field_T: float, parts: int = 1) -> Singles:
    """(parts z, parts y, parts x) angular frequency of water, of voxels that are divided into parts³ for it.

    Around an object of one voxel the field changes within the next: what it dephases is −18 to +29 % off with one part, and
    within 4 % with three, of what five say. The block lies in tissue of its own mean susceptibility: cut out, its faces would
    dephase it as much as what is in it.
    """
    fine = chi - chi.mean()
    for axis in range(3):
        fine = np.repeat(fine, parts, axis)
    return field_shift(fine) * np.float32(GYROMAGNETIC_PER_S_T * field_T)
