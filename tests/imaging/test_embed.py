"""The lattice becomes the tumour of a body, and nothing is lost on the way."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from tme_sim.imaging.blur import blur, margin_um
from tme_sim.imaging.bodies import CHEST_WHOLE, MOUSE, human_chest, label_map, mouse
from tme_sim.imaging.embed import Embedded, embed, represented_um3, whole_tumor
from tme_sim.imaging.isotopes import ISOTOPES
from tme_sim.imaging.phantom import BODY, TUMOR, Phantom
from tme_sim.imaging.solids import Grid, Sampled, Solid, resample
from tme_sim.imaging.tiles import by_depth, edges_around, orientations, tiled
from tme_sim.numerics.blocks import block_mean
from tme_sim.state.body import Body
from tme_sim.state.errors import InputError
from tme_sim.state.lattice import Lattice, Patch

FWHM_UM, GRID_UM = 3000.0, 600.0
RANGES = ISOTOPES["89Zr"].ranges
MOUSE_BODY = Body(1e12, 25.0, {"liver": 1.375, "spleen": 0.1}, blood_volume_um3=1.7e12)
ORGANS = {"blood": 4e8, "liver": 3e8, "spleen": 5e7, "elsewhere": 2e8, "bone": 1e7, "bladder": 1e6}
CUBE = Lattice((20, 20, 20), 15.0, 1, (Patch("tumor", 0, 20, 15000),))
PATCHES = Lattice(
    (60, 20, 20),
    15.0,
    1,
    (Patch("rim", 0, 20, 8000, 0.5, 0.9), Patch("middle", 20, 20, 5000, 0.35, 0.6), Patch("core", 40, 20, 2000, 0.15, 0.3)),
)


def sphere(um3: float) -> Solid:
    return Solid((0.0, 0.0, 0.0), ((3 * um3 / (4 * np.pi)) ** (1 / 3),) * 3)


def ones(lattice: Lattice) -> np.ndarray:
    return np.ones(lattice.voxels)


def in_mouse(lattice: Lattice, factor: int = 2) -> Phantom:
    volume = float(represented_um3(lattice, ones(lattice)).sum())
    return mouse(GRID_UM, sphere(volume), MOUSE_BODY, margin_um=margin_um(FWHM_UM, RANGES), factor=factor)


def put(phantom: Phantom, lattice: Lattice, amount: np.ndarray, seed: int = 1, **more: float) -> Embedded:
    given = {"tumor_amount": whole_tumor(lattice, amount), **more}
    return embed(phantom, lattice, amount, ones(lattice), ORGANS, np.random.default_rng(seed), **given)


def _axes(phantom: Phantom) -> list[tuple[np.ndarray, tuple[int, int]]]:
    """Centres of the voxels along each axis, and the other two axes."""
    return [(phantom.grid.centres(axis), others) for axis, others in enumerate(((1, 2), (0, 2), (0, 1)))]


def speckled(lattice: Lattice) -> np.ndarray:
    return np.random.default_rng(9).gamma(0.4, 25.0, lattice.voxels)


@pytest.fixture(scope="module")
def body() -> Phantom:
    return in_mouse(CUBE)


def test_the_mouse_has_its_organs_masses_and_no_voxel_is_filled_twice(body: Phantom) -> None:
    total = np.zeros(body.grid.shape)
    for box, share in body.regions.values():
        assert share.min() >= 0
        total[box] += share
    assert total.max() <= 1 + 1e-6
    for name, organ in MOUSE.items():
        mass_g = MOUSE_BODY.organ_mass_g.get(name, organ.mass_share * 25)
        assert body.volume_um3(name) == pytest.approx(mass_g / organ.density_g_per_mL * 1e12, rel=0.01)
    assert body.volume_um3(TUMOR) == pytest.approx(float(represented_um3(CUBE, ones(CUBE)).sum()), rel=1e-6)


def test_the_liver_is_right_the_spleen_left_the_bladder_low_and_the_spine_behind(body: Phantom) -> None:
    def centre(name: str) -> np.ndarray:
        box, share = body.regions[name]
        where = np.indices(share.shape).reshape(3, -1) @ share.ravel() / share.sum()
        return where + [part.start for part in box]

    middle = centre(BODY)
    assert centre("liver")[2] > middle[2] > centre("spleen")[2]
    assert centre(TUMOR)[2] > middle[2]
    assert centre("bladder")[0] < middle[0] < centre("brain")[0]
    assert centre("bone")[1] < middle[1] < centre("liver")[1]


def test_activity_is_kept_through_embedding_blur_and_sampling(body: Phantom) -> None:
    amount = speckled(CUBE)
    embedded = put(body, CUBE, amount)
    total = whole_tumor(CUBE, amount) + sum(ORGANS.values())
    assert embedded.missing == {}
    assert sum(embedded.amounts.values()) == pytest.approx(total, rel=1e-9)
    assert embedded.density.sum(dtype=np.float64) * GRID_UM**3 == pytest.approx(total, rel=1e-6)
    seen = block_mean(blur(embedded.density, GRID_UM, FWHM_UM, RANGES), 2)
    assert seen.sum(dtype=np.float64) * (2 * GRID_UM) ** 3 == pytest.approx(total, rel=1e-6)


def test_every_patch_keeps_its_mean_and_lies_at_its_depth() -> None:
    amount = speckled(PATCHES)
    amount[:20], amount[20:40], amount[40:] = amount[:20] * 9, amount[20:40] * 4, 1.0
    phantom = in_mouse(PATCHES)
    embedded = put(phantom, PATCHES, amount)
    box, share = phantom.regions[TUMOR]
    held = embedded.density[box].astype(np.float64)
    layers = by_depth(share, represented_um3(PATCHES, ones(PATCHES)))
    for layer, planes in list(zip(layers, PATCHES.planes, strict=True))[::2]:  # whole voxels of the rim and of the core
        pure = layer >= 0.999 * np.maximum(share, 1e-9)
        pure &= layer > 0.9
        assert held[pure].mean() == pytest.approx(amount[planes].mean() / 15.0**3, rel=0.03)
    assert layers.sum(axis=(1, 2, 3)) / layers.sum() == pytest.approx(PATCHES.copies / PATCHES.copies.sum(), rel=1e-9)
    assert embedded.amounts[TUMOR] == pytest.approx(whole_tumor(PATCHES, amount), rel=1e-12)
    assert embedded.fit < 0.1


def test_a_tumor_that_does_not_hold_the_amount_is_refused_with_both_numbers(body: Phantom) -> None:
    amount = speckled(CUBE)
    held = whole_tumor(CUBE, amount)
    told = f"mean times this volume is {held:.8g}, but the tumour of the run holds {2 * held:.8g}"
    with pytest.raises(InputError, match=re.escape(told)):
        put(body, CUBE, amount, tumor_amount=2 * held)
    larger = replace(CUBE, patches=(replace(CUBE.patches[0], copies=15100),))
    with pytest.raises(InputError, match="phantom tumor"):
        put(body, larger, amount)


def test_growth_dilutes_and_keeps_the_amount() -> None:
    amount, volume = speckled(CUBE), 2 * float(represented_um3(CUBE, ones(CUBE)).sum())
    grown = mouse(GRID_UM, sphere(volume), MOUSE_BODY, margin_um=4000.0)
    embedded = put(grown, CUBE, amount, growth=2.0)
    assert embedded.amounts[TUMOR] == pytest.approx(whole_tumor(CUBE, amount), rel=1e-12)
    assert embedded.tiles == pytest.approx(30000, rel=1e-6)


def test_a_tumor_of_one_lattice_is_put_as_it_is() -> None:
    lattice = Lattice((20, 16, 12), 150.0)
    amount = np.zeros(lattice.voxels)
    amount[:4, -4:, :3] = 7.0  # low, at the front, left
    phantom = mouse(GRID_UM, Sampled((0, 0, 0), ones(lattice), (150.0,) * 3), MOUSE_BODY, margin_um=4000.0)
    embedded = embed(phantom, lattice, amount, ones(lattice), {}, np.random.default_rng(0), tumor_amount=float(amount.sum()))
    held = embedded.density
    centre = [grid_axis @ held.sum(axis=others) / held.sum() for grid_axis, others in _axes(phantom)]
    expected = [c + offset for c, offset in zip(phantom.tumor_centre_um, (-8 * 150, 6 * 150, -4.5 * 150), strict=True)]
    assert centre == pytest.approx(expected, abs=GRID_UM / 4)
    assert embedded.amounts[TUMOR] == pytest.approx(amount.sum(), rel=1e-9)
    assert embedded.effective_tiles == pytest.approx(1)


def test_blood_is_spread_by_what_organs_hold_of_it(body: Phantom) -> None:
    embedded = embed(body, CUBE, np.zeros(CUBE.voxels), ones(CUBE), {"blood": 1e6}, np.random.default_rng(0), tumor_amount=0.0)
    level = {name: embedded.amounts[name] / body.volume_um3(name) for name in ("heart", "liver", BODY)}
    assert level["liver"] / level["heart"] == pytest.approx(0.31 / 0.7, rel=1e-6)
    assert level[BODY] / level["heart"] == pytest.approx(0.04 / 0.7, rel=1e-6)
    assert sum(embedded.amounts.values()) == pytest.approx(1e6, rel=1e-9)


def test_a_chest_holds_its_part_of_the_body_and_names_what_is_elsewhere() -> None:
    human = Body(3e15, 70e3, {"liver": 1800.0}, blood_volume_um3=5.1e15)
    lattice = replace(CUBE, patches=(replace(CUBE.patches[0], copies=400_000),))
    volume = float(represented_um3(lattice, ones(lattice)).sum())
    chest = human_chest(4000.0, sphere(volume), human, margin_um=20000.0)
    embedded = put(chest, lattice, np.ones(lattice.voxels))
    assert set(embedded.missing) == {"liver", "spleen", "bladder", "blood"}
    everything = sum(embedded.amounts.values()) + sum(embedded.missing.values())
    assert everything < whole_tumor(lattice, np.ones(lattice.voxels)) + sum(ORGANS.values())
    share = chest.volume_um3(BODY) / (CHEST_WHOLE[BODY] * 70e3 / 1.04 * 1e12)
    assert embedded.amounts[BODY] == pytest.approx(
        share * ORGANS["elsewhere"] + chest.volume_um3(BODY) * 0.04 * 4e8 / 5.1e15, rel=1e-6
    )


def test_the_same_seed_gives_the_same_tumor(body: Phantom) -> None:
    wide = Lattice((20, 20, 20), 75.0, 1, (Patch("tumor", 0, 20, 120),))
    amount = speckled(wide)
    first, again, other = (put(body, wide, amount, seed).density for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_unlike_tiles_are_counted_by_their_shares(body: Phantom) -> None:
    embedded = put(body, CUBE, speckled(CUBE))
    assert embedded.tiles == pytest.approx(15000, rel=1e-6)
    assert embedded.effective_tiles == pytest.approx(48, rel=0.01)


def test_a_cube_has_48_orientations_and_a_slab_16() -> None:
    cube, slab = np.arange(27).reshape(3, 3, 3), np.arange(18).reshape(2, 3, 3)
    assert len({variant.tobytes() for variant in orientations(cube)}) == 48
    assert len({variant.tobytes() for variant in orientations(slab)}) == 16


def test_tiles_fill_space_and_keep_their_mean() -> None:
    grid = Grid((30, 30, 30), 100.0, (0.0, 0.0, 0.0))
    block = np.random.default_rng(1).random((12, 12, 12))
    box = (slice(3, 27), slice(3, 27), slice(3, 27))  # eight tiles of 1.2 mm, aligned with the voxels
    space = tiled(block, 100.0, grid, box, (1500.0, 1500.0, 1500.0), np.random.default_rng(2))
    assert space.mean() == pytest.approx(block.mean(), rel=1e-12)
    assert sorted(space[:12, :12, :12].ravel()) == pytest.approx(sorted(block.ravel()))


def test_resampling_to_any_voxels_keeps_amounts() -> None:
    grid = Grid((9, 9, 9), 130.0, (-585.0, -585.0, -585.0))
    cells = np.random.default_rng(6).random((7, 5, 6))
    edges = edges_around((30.0, -20.0, 10.0), cells.shape, 90.0)
    box = (slice(0, 9),) * 3
    assert resample(cells, edges, grid, box).sum() * 130.0**3 == pytest.approx(cells.sum() * 90.0**3, rel=1e-12)


def test_a_label_map_is_a_body_and_must_have_a_tumor() -> None:
    labels = np.zeros((40, 20, 24), np.int16)
    labels[2:38, 2:18, 2:22], labels[20:30, 6:14, 6:16], labels[8:13, 7:12, 15:20] = 1, 2, 5
    names = {1: "body", 2: "liver", 5: "tumor"}
    phantom = label_map(labels, (500.0, 400.0, 400.0), names, grid_um=GRID_UM, margin_um=2000.0)
    for number, name in names.items():
        assert phantom.volume_um3(name) == pytest.approx((labels == number).sum() * 500 * 400 * 400, rel=1e-6)
    assert phantom.tumor_centre_um == pytest.approx((10.5 * 500, 9.5 * 400, 17.5 * 400))
    assert not phantom.is_lattice
    with pytest.raises(InputError, match="one of the labels must be the `tumor`"):
        label_map(labels, (500.0,) * 3, {1: "body"}, grid_um=GRID_UM, margin_um=2000.0)
    with pytest.raises(InputError, match=r"label_names 9: spleen"):
        label_map(labels, (500.0,) * 3, {5: "tumor", 9: "spleen"}, grid_um=GRID_UM, margin_um=2000.0)
