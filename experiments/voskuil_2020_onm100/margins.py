"""Margins of a specimen as a camera sees them: a sphere of tumour in a block of tissue, lit and seen from above."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import ndimage, stats

from tme_sim.config.instruments import frame_of, readout_of
from tme_sim.config.load import load, request
from tme_sim.imaging.diffuse_optics import VIEWS, Medium
from tme_sim.imaging.labels import pools
from tme_sim.imaging.macroscopic import CROSS_SECTION_UM2
from tme_sim.imaging.optical_properties import SOFT, boundary_factor
from tme_sim.imaging.reflectance import SEEN

READOUT = "reflectance_nir1"
CAMERA = (f"readouts=[{READOUT}]", f"readouts.{READOUT}.longest_exposure=0.1 s", "variant=full")
SHAPE, AIR, BLOOD, VIEW = (48, 26, 48), 2, 0.03, VIEWS["back"]
"""Voxels (along, deep, across), those of air above, blood in the tissue, and the side that is lit and seen."""
DEPTHS_MM, SIZES_MM = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0), (0.5, 1.0, 2.0, 4.0, 8.0)
MARGINS = [(depth, size) for depth in (0.0, 0.5, 1.0) for size in (2.0, 4.0, 8.0)]
"""A trial: nine positive margins."""
PATCH_MM, SPOT_MM = 2.0, 1.0
CV, READER = 0.2, 1.5
"""Frozen before the first picture, as is all above (README)."""


@cache
def camera():
    """Configuration and instrument, without a run."""
    config = load(request(["voskuil_2020_onm100", *CAMERA])).config
    return config, readout_of(config, READOUT)


def light(run):
    """Patch -> dyes per um3 as bright as if nothing quenched them, (as the card has it, all on), blood in vessels included."""
    config, readout = camera()
    frame = frame_of(run, config)
    lattice, found = frame.lattice, {}
    held = [pools(frame, worth).on_lattice for worth in (readout.brightness, readout.molecules)]
    for patch, planes in zip(run.info["patches"], lattice.planes, strict=True):
        volume = held[0][planes].size * lattice.voxel_um3
        found[patch["name"]] = tuple(float(each[planes].sum()) / volume for each in held)
    return found


@cache
def block():
    """The lamp's fluence in the tissue, and the tissue for the light that comes out."""
    _, readout = camera()
    inside = np.zeros(SHAPE, bool)
    inside[:, AIR:] = True
    media = []
    for wave in (readout.dye.excitation_um, readout.dye.emission_um):
        each = (SOFT.absorption_per_um(wave, BLOOD, readout.saturation), SOFT.scattering_per_um(wave))
        filled = [np.where(inside, value, 0) for value in each]
        media.append(Medium(*filled, inside, readout.grid_um, boundary_factor(readout.refractive_index)))
    lamp = media[0].fluence(media[0].first_scattering(readout.irradiance_per_um2_s * readout.transmitted, VIEW))
    return lamp, media[1]


@cache
def sphere(depth_mm, size_mm):
    """Share of each voxel that is tumour."""
    _, readout = camera()
    fine, voxel = 4, readout.grid_um / 1e3
    axes = [(np.arange(fine * n) + 0.5) / fine * voxel for n in SHAPE]
    middle = (SHAPE[0] * voxel / 2, AIR * voxel + depth_mm + size_mm / 2, SHAPE[2] * voxel / 2)
    z, y, x = (axis - at for axis, at in zip(axes, middle, strict=True))
    within = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 <= (size_mm / 2) ** 2
    return within.reshape(SHAPE[0], fine, SHAPE[1], fine, SHAPE[2], fine).mean(axis=(1, 3, 5))


@cache
def patchy(seed, cv):
    """Uneven tissue, of mean 1: lognormal, as smooth as a Gaussian of PATCH_MM."""
    _, readout = camera()
    noise = np.random.default_rng(seed).standard_normal(SHAPE)
    smooth = ndimage.gaussian_filter(noise, PATCH_MM * 1e3 / readout.grid_um, mode="wrap")
    sigma = np.sqrt(np.log(1 + cv**2))
    return np.exp(sigma * smooth / smooth.std() - sigma**2 / 2)


@cache
def seen(what, *which):
    """(along, across) photo-electrons per second of one unit of light per path: even tissue, patches, a sphere, patches in it."""
    _, readout = camera()
    lamp, medium = block()
    if what == "even":
        glow = np.ones(SHAPE)
    elif what == "sphere":
        glow = sphere(*which)
    else:
        depth, size, seed, cv = which
        glow = patchy(seed, cv) * (sphere(depth, size) if size else 1)
    leaving = medium.exitance(medium.fluence(lamp * glow), VIEW)
    return leaving * readout.grid_um**2 * readout.efficiency


def picture(tumor, around, depth, size, seed, *, cv=CV, autofluorescence=1.0, noise=0):
    """A margin as photographed, in photo-electrons per second, and without noise; dyes per um3; size 0: no tumour."""
    _, readout = camera()
    per_um = CROSS_SECTION_UM2 * readout.dye.brightness
    rate = autofluorescence * readout.autofluorescence_per_um * seen("even") + per_um * around * seen("patchy", 0, 0, seed, cv)
    if size:
        rate = rate + per_um * (tumor * seen("sphere", depth, size) - around * seen("patchy", depth, size, seed, cv))
    exposure = readout.exposed(rate)
    counts = readout.detector.read(
        rate * exposure, np.random.default_rng([noise, seed, int(10 * size), int(10 * (depth + size))])
    )
    return readout.detector.above_background(counts) / exposure, rate


def contrast(data, rate):
    """The brightest place over the median, and its height over the camera's noise."""
    _, readout = camera()
    hottest, middle = ndimage.gaussian_filter(data, SPOT_MM * 1e3 / readout.grid_um, mode="reflect").max(), np.median(data)
    return float(hottest / middle), float((hottest - middle) / (data - rate).std())


def found(tumor, around, depth, size, seed, reader=READER, **errors):
    """Whether the reader calls it a tumour, and the contrast."""
    ratio, over_noise = contrast(*picture(tumor, around, depth, size, seed, **errors))
    return ratio >= reader and over_noise >= SEEN, ratio


def trial(tumor, around, replicate, **errors):
    """Nine positive margins, and nine without tumour: how many are called, and the mean contrast."""
    positive = [found(tumor, around, *at, k, noise=replicate, **errors) for k, at in enumerate(MARGINS)]
    negative = [found(tumor, around, 0, 0, k, noise=replicate, **errors) for k in range(len(MARGINS))]
    return sum(yes for yes, _ in positive), sum(yes for yes, _ in negative), float(np.mean([c for _, c in positive]))


def at_least(seen_of, n, level=0.05):
    """One-sided lower bound of a share (Clopper and Pearson)."""
    return float(stats.beta.ppf(level, seen_of, n - seen_of + 1)) if seen_of else 0.0


def between(seen_of, n, level=0.05):
    """Two-sided interval of a share (Clopper and Pearson)."""
    low = stats.beta.ppf(level / 2, seen_of, n - seen_of + 1) if seen_of else 0.0
    high = stats.beta.ppf(1 - level / 2, seen_of + 1, n - seen_of) if seen_of < n else 1.0
    return float(low), float(high)


def quantities(folders):
    """Arm -> its runs; the trials, one per replicate, and the maps and curves of the same margins over each error."""
    lights = {arm: [light(run) for run in runs] for arm, runs in folders.items()}
    made = {f"{arm}.{key}": value for arm, every in lights.items() for key, value in per_um3(every).items()}

    def pairs(tumor, around, patch="rim", on=0):
        return [(a[patch][on], b["rim"][on]) for a, b in zip(lights[tumor], lights[around], strict=True)]

    cases = {arm: pairs(arm, "normal") for arm in lights if arm.startswith("acid_") or arm in ("tumor", "reversible")}
    cases |= {"not_activated": pairs("normal", "normal"), "core": pairs("tumor", "normal", "core")}
    cases |= {"always_on": pairs("tumor", "normal", on=1), "hill_1": pairs("hill_1", "hill_1_normal")}
    cases |= {"tumor_in_healthy": pairs("tumor", "healthy"), "always_on_in_healthy": pairs("tumor", "healthy", on=1)}
    for name, case in cases.items():
        made |= {f"{name}.{key}": value for key, value in told(case).items()}
    for name in ("tumor", "acid_0p06"):
        made |= {f"{name}.{key}": value for key, value in curves(cases[name], pairs(name, "healthy")).items()}
    return made


def per_um3(every):
    """Dyes per um3 of a patch, by their light and by their number, and the light as ICG in nM."""
    made = {
        f"{patch}_{what}": np.array([each[patch][i] for each in every])
        for patch in ("rim", "core")
        for i, what in enumerate(("light", "dyes"))
    }
    return made | {f"{patch}_nM": made[f"{patch}_light"] * 1e15 / 6.02214076e23 * 1e9 for patch in ("rim", "core")}


def told(case):
    trials = np.array([trial(*pair, k) for k, pair in enumerate(case)])
    seen_of, wrong, ratio = trials.T
    found_in = {"margins_seen": seen_of, "negatives_called": wrong, "contrast": ratio}
    found_in["margins_lower_bound"] = np.array([at_least(int(each), len(MARGINS)) for each in seen_of])
    return found_in | {"true_contrast": np.array([a / b for a, b in case])}


def curves(case, leakless):
    """Share called of nine margins a replicate at each depth and size, and of the trial over each error."""
    made = {}
    for depth in DEPTHS_MM:
        for size in SIZES_MM:
            every = np.array([[found(*pair, depth, size, k, noise=r) for k in range(9)] for r, pair in enumerate(case)])
            made[f"at_{depth:g}_{size:g}"], made[f"contrast_at_{depth:g}_{size:g}"] = every[..., 0].mean(1), every[..., 1].mean(1)
    for size in SIZES_MM:
        called = [np.mean([found(*pair, -size / 2, size, k, noise=r)[0] for k in range(9)]) for r, pair in enumerate(case)]
        made[f"cut_{size:g}"] = np.array(called)
    sweeps = {
        "cv": [(cv, {"cv": cv}) for cv in (0.0, 0.1, 0.2, 0.4, 0.6)],
        "autofluorescence": [(times, {"autofluorescence": times}) for times in (0.0, 1.0, 3.0, 10.0)],
        "reader": [(ratio, {"reader": ratio}) for ratio in (1.2, 1.5, 2.0, 3.0)],
    }
    for name, steps in sweeps.items():
        for at, errors in steps:
            trials = np.array([trial(*pair, k, **errors) for k, pair in enumerate(case)])
            made[f"by_{name}_{at:g}"], made[f"wrong_by_{name}_{at:g}"] = trials[:, 0], trials[:, 1]
    for leak in (0.0, 0.1, 0.2, 0.3, 0.5, 1.0):
        mixed = [(a, leak * b + (1 - leak) * c) for (a, b), (_, c) in zip(case, leakless, strict=True)]
        made[f"by_leak_{leak:g}"] = np.array([trial(*pair, k)[0] for k, pair in enumerate(mixed)])
    return made


PICTURES = {
    "always on": ("tumor.rim_dyes", "normal.rim_dyes"),
    "no acid": ("normal.rim_light", "normal.rim_light"),
    "as given": ("tumor.rim_light", "normal.rim_light"),
    "twice the acid": ("acid_0p06.rim_light", "normal.rim_light"),
    "the same, around it\nno leak": ("acid_0p06.rim_light", "healthy.rim_light"),
}
BARS = {
    "always_on": "always on",
    "not_activated": "no acid",
    "reversible": "goes back",
    "tumor": "as given",
    "core": "as given, core",
    "acid_0p06": "twice the acid",
    "acid_0p3": "ten times",
    "always_on_in_healthy": "no leak around,\nalways on",
    "tumor_in_healthy": "no leak around,\nas given",
}
AS_IS = ("tumor", "core", "acid_0p06", "acid_0p3", "tumor_in_healthy")
COLOURS = ("#999999", "#56b4e9", "#0072b2", "#009e73", "#d55e00")


def figure(values, path):
    """A margin as photographed, by arm; margins seen over depth and size, by arm, and over the leak around."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(10.5, 6.6), layout="constrained")
    above, below = canvas.subfigures(2, 1, height_ratios=(1, 1.45))
    draw_pictures(above, values)
    depth, arms, leak = below.subplots(1, 3)
    draw_depth(depth, values)
    draw_arms(arms, values)
    draw_leak(leak, values)
    FigureCanvasSVG(canvas).print_svg(str(path), metadata={"Date": None})


def draw_pictures(part, values):
    panels = part.subplots(1, len(PICTURES))
    for axes, (title, names) in zip(panels, PICTURES.items(), strict=True):
        data, rate = picture(*(float(values[name][0]) for name in names), 0.5, 8.0, 1)
        shown = axes.imshow(data / np.median(data), vmin=0.5, vmax=3.5, cmap="cividis", extent=(0, 24, 24, 0))
        axes.set_title(f"{title}: {contrast(data, rate)[0]:.1f}", fontsize=8.5)
        axes.set_xticks([]), axes.set_yticks([])
    panels[0].set_ylabel("24 mm", fontsize=8)
    part.colorbar(shown, ax=panels, label="light over the median", shrink=0.8)
    part.suptitle("8 mm of tumour, 0.5 mm under the cut (number: contrast as read)", fontsize=9.5)


def draw_depth(axes, values):
    for colour, size in zip(COLOURS, SIZES_MM, strict=True):
        every = [np.asarray(values[f"acid_0p06.at_{depth:g}_{size:g}"]) for depth in DEPTHS_MM]
        n = 9 * len(every[0])
        share = np.array([each.mean() for each in every])
        bounds = np.array([between(round(each.sum() * 9), n) for each in every])
        axes.errorbar(
            DEPTHS_MM, share, abs(bounds.T - share), color=colour, marker="o", ms=4, lw=1.2, capsize=2, label=f"{size:g} mm"
        )
    axes.axhline(0.7, color="#cc79a7", ls="--", lw=1)
    axes.axvspan(0, 1, color="#999999", alpha=0.15, lw=0)
    axes.set(xlabel="depth under the cut (mm); grey: positive margin", ylabel="share seen, 95 % interval", ylim=(-0.03, 1.3))
    axes.set_title("Twice the acid, by width", fontsize=9.5)
    axes.set_yticks(np.arange(0, 1.01, 0.2))
    axes.legend(frameon=False, fontsize=7.5, ncols=3, loc="upper left")


def draw_arms(axes, values):
    for y, arm in enumerate(BARS):
        every = np.asarray(values[f"{arm}.margins_seen"])
        axes.barh(y, every.mean(), 0.6, color=COLOURS[2] if arm in AS_IS else COLOURS[0])
        axes.plot(every, np.full(len(every), y), "D", color="#222222", ms=3)
    axes.axvline(9, color="#cc79a7", ls="--", lw=1.2)
    axes.text(8.85, -0.75, "9 of 9 (S40)", ha="right", va="center", fontsize=7.5)
    axes.set_yticks(range(len(BARS)), list(BARS.values()), fontsize=7.5)
    axes.set(xlabel="margins seen, of nine", xlim=(0, 9.4), ylim=(len(BARS) - 0.4, -1.1))
    axes.set_title("Surroundings as leaky as the tumour, if not said", fontsize=9.5)


def draw_leak(axes, values):
    for arm, (colour, mark, words) in {
        "tumor": (COLOURS[2], "o", "as given"),
        "acid_0p06": (COLOURS[4], "s", "twice the acid"),
    }.items():
        keys = sorted((key for key in values if key.startswith(f"{arm}.by_leak_")), key=lambda key: float(key.rsplit("_", 1)[1]))
        at, mean = [float(key.rsplit("_", 1)[1]) for key in keys], [np.mean(values[key]) for key in keys]
        axes.plot(at, mean, mark + "-", color=colour, ms=5, lw=1.3, label=words)
    axes.axhline(9, color="#cc79a7", ls="--", lw=1.2, label="9 of 9 (S40)")
    axes.set(xlabel="leak of surroundings, over the tumour's", ylabel="margins seen, of nine", ylim=(-0.3, 12.2))
    axes.set_yticks(range(0, 10, 3))
    axes.set_title("What leaks around it", fontsize=9.5)
    axes.legend(frameon=False, fontsize=7.5, loc="upper right")
