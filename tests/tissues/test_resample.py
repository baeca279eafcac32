from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tme_sim.state.errors import InputError
from tme_sim.tissues.resample import fitting_shape, overlap_um, resample, resample_sum

EDGES = st.floats(0.5, 5.0)


@settings(max_examples=50, deadline=None)
@given(voxel_um=st.tuples(EDGES, EDGES, EDGES), target_um=st.floats(0.5, 4.0))
def test_the_integral_over_the_covered_box_is_preserved(voxel_um: tuple[float, float, float], target_um: float) -> None:
    data = np.random.default_rng(1).random((8, 9, 10))
    shape = fitting_shape(data.shape, voxel_um, target_um)
    box = data
    for axis, (edge, count) in enumerate(zip(voxel_um, shape, strict=True)):  # how much of each source voxel the box covers
        covered = np.clip(count * target_um / edge - np.arange(data.shape[axis]), 0, 1)
        box = box * np.expand_dims(covered, tuple({0, 1, 2} - {axis}))
    # 1e-6 of a voxel is what fitting_shape may let the last target voxel stick out; it is then a mean of what is there
    assert resample(data, voxel_um, target_um, shape).sum() * target_um**3 == pytest.approx(
        box.sum() * np.prod(voxel_um), rel=1e-5
    )
    assert resample_sum(data, voxel_um, target_um, shape).sum() == pytest.approx(box.sum(), rel=1e-12)


def test_the_integral_is_preserved_to_rounding_where_the_target_covers_the_source_exactly() -> None:
    data = np.random.default_rng(1).random((15, 30, 45))
    mean = resample(data, (4.0, 4.0, 4.0), 15.0, (4, 8, 12))
    assert mean.sum() * 15.0**3 == pytest.approx(data.sum() * 64, rel=1e-12)
    assert resample_sum(data, (4.0, 4.0, 4.0), 15.0, (4, 8, 12)).sum() == pytest.approx(data.sum(), rel=1e-12)


def test_whole_multiples_are_block_means() -> None:
    data = np.random.default_rng(1).integers(0, 1000, (4, 6, 8)).astype(np.uint16)
    blocks = data.reshape(2, 2, 3, 2, 4, 2).mean(axis=(1, 3, 5))
    assert resample(data, (2.0, 2.0, 2.0), 4.0, (2, 3, 4)) == pytest.approx(blocks, rel=1e-12)
    assert resample_sum(data, (2.0, 2.0, 2.0), 4.0, (2, 3, 4)) == pytest.approx(8 * blocks, rel=1e-12)


def test_a_voxel_between_two_targets_is_shared_by_its_overlap() -> None:
    assert overlap_um(3, 2.0, 2, 3.0).toarray() == pytest.approx(np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]]))


def test_finer_voxels_repeat_the_source() -> None:
    data = np.random.default_rng(1).random((2, 3, 4))
    fine = resample(data, (3.0, 3.0, 3.0), 1.0, (6, 9, 12))
    assert fine == pytest.approx(data.repeat(3, 0).repeat(3, 1).repeat(3, 2), rel=1e-12)


def test_a_constant_stays_constant_and_axes_stay_apart() -> None:
    assert resample(np.ones((5, 6, 7)), (4.1, 2.3, 3.7), 1.9, (10, 7, 13)) == pytest.approx(np.ones((10, 7, 13)), rel=1e-12)
    ramp = np.broadcast_to(np.arange(6.0)[:, None], (4, 6, 5))
    assert resample(ramp, (1.0, 2.0, 1.0), 2.0, (2, 6, 2)) == pytest.approx(np.broadcast_to(np.arange(6.0)[:, None], (2, 6, 2)))


def test_as_many_whole_voxels_fit_as_the_extent_holds() -> None:
    assert fitting_shape((15, 440, 573), (4.0, 4.0, 4.0), 15.0) == (4, 117, 152)
    assert fitting_shape((15, 440, 573), (4.0, 4.0, 4.0), 15.0, multiple=4) == (4, 116, 152)
    assert fitting_shape((3, 3, 3), (0.1, 0.1, 0.1), 0.3) == (1, 1, 1)  # 0.1 * 3 / 0.3 is a rounding off 1


def test_a_voxel_larger_than_the_volume_is_refused() -> None:
    with pytest.raises(InputError, match=r"15 um.*12 x 440 x 440 um"):
        fitting_shape((3, 110, 110), (4.0, 4.0, 4.0), 15.0)


@pytest.mark.parametrize("shape", [(3, 2, 2), (0, 2, 2)])
def test_targets_beyond_the_source_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(InputError):
        resample(np.ones((4, 4, 4)), (1.0, 1.0, 1.0), 2.0, shape)
