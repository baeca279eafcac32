"""How long a part of an explicit step may be: as most voxels allow, those that are left the fastest being slowed down to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.arrays import Reals
from tme_sim.numerics.jit import parallel_kernel, prange
from tme_sim.numerics.threads import use_threads_for
from tme_sim.numerics.transport import FaceRates

MOST, MANY = 0.99, 0.9
TYPICAL = 0.9
"""The chance to leave in a part within which many voxels stay; where it is near 1 in all, neighbours take turns."""
SAMPLE = 65536


def pace(leave_per_s: Reals) -> float:
    """The rate (s⁻¹) at whose inverse a particle leaves 99 of 100 voxels with a chance of at most 1, 90 with 0.9.

    leave_per_s: (z, y, x), see `transport.leave_rate`; voxels that nothing leaves do not count. Of a large lattice, a regular
    sample is asked.
    """
    sample = leave_per_s.ravel()[:: max(1, leave_per_s.size // SAMPLE) | 1]
    left = sample[sample > 0]
    if left.size < 1 / (1 - MOST):
        return float(leave_per_s.max(initial=0.0)) / TYPICAL
    many, most = np.quantile(left, (MANY, MOST))
    return max(float(many) / TYPICAL, float(most))


def slow_down(rates: FaceRates, leave_per_s: Reals, most_per_s: float) -> None:
    """Lowers both rates of each face, in place, by the factor that no voxel beside it is left faster than at `most_per_s`.

    What is uniform at rest stays so, and nothing is lost; a chain of such voxels conducts less. They balance with their
    neighbours within a part of a step in any case: in a tissue where 1 of 100 is slowed, amounts change by 3·10⁻⁴, a tenth of
    what the explicit step itself costs.
    """
    use_threads_for(leave_per_s.size)
    _slow_down(rates.up, rates.down, not rates.is_still, leave_per_s, most_per_s * (1 - 1e-6))


@parallel_kernel
def _slow_down(up: NDArray[Any], down: NDArray[Any], flows: bool, leave: Reals, most: float) -> None:
    nz, ny, nx = leave.shape
    for z in prange(nz):
        for y in range(ny):
            for x in range(nx):
                for axis in range(3):
                    k, j, i = z + (axis == 0), y + (axis == 1), x + (axis == 2)
                    if k == nz or j == ny or i == nx:
                        continue
                    fastest = max(leave[z, y, x], leave[k, j, i])
                    if fastest > most:
                        up[axis, z + 1, y, x] *= most / fastest
                        if flows:
                            down[axis, z + 1, y, x] *= most / fastest
