from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, generate_binary_structure, label
from skimage.measure import euler_number

from tme_sim.numerics.thinning import thin


def drawn(voxels: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, bool)
    mask[tuple(voxels.T)] = True
    return mask


@pytest.mark.parametrize("seed", range(6))
def test_thinning_keeps_components_and_euler_number(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = gaussian_filter(rng.normal(size=(24, 30, 36)), 1.0 + seed / 4) > 0.0
    skeleton = drawn(thin(mask), mask.shape)
    assert not (skeleton & ~mask).any()
    assert skeleton.sum() < mask.sum() / 3
    corners = generate_binary_structure(3, 3)
    assert label(skeleton, corners)[1] == label(mask, corners)[1]
    assert euler_number(skeleton, 3) == euler_number(mask, 3)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("height", range(1, 9))
@pytest.mark.parametrize("width", range(1, 9))
def test_a_bar_of_any_width_leaves_a_line_of_its_length_less_its_width(height: int, width: int) -> None:
    mask = np.zeros((12, 12, 60), bool)
    mask[2 : 2 + height, 2 : 2 + width, 5:55] = True
    x = thin(mask)[:, 2]
    assert np.array_equal(np.unique(x), np.arange(x.min(), x.max() + 1))
    assert np.ptp(x) + 1 >= 50 - max(height, width)


@pytest.mark.parametrize("touching", [True, False])
def test_a_line_is_its_own_skeleton(touching: bool) -> None:
    mask = np.zeros((9, 9, 9), bool)
    step = np.arange(0 if touching else 1, 9 if touching else 8)
    mask[step, step, step] = True
    assert np.array_equal(thin(mask), np.argwhere(mask))


def test_an_empty_volume_has_no_skeleton() -> None:
    assert thin(np.zeros((3, 4, 5), bool)).shape == (0, 3)
