"""R2* of sites with few and many macrophages, and how well cohorts of such sites show their number, over the size of errors."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from tme_sim.api import Run
from tme_sim.imaging.mri_signal import decay_rate, noisy

CASES = {
    "glioma": ("#0072b2", "-", "57 times less in tumour cells"),
    "card": ("#009e73", "--", "6.8 times less (card)"),
    "keen": ("#cc79a7", "-", "57 times, macrophages 7 × as fast"),
    "avid": ("#e69f00", "-.", "57 times, macrophages 50 × as fast"),
    "alike": ("#777777", ":", "macrophages as tumour cells"),
}
MACROPHAGES = {"poor": 0.02, "usual": 0.2, "rich": 0.4}
VESSELS = {"half": 4.5, "once": 9.0, "twice": 18.0}
READOUT, SNR = "mri_r2star_3t", 500.0
SITES, COHORTS, FIT_DRAWS = 20, 2000, 40
OFFSET_MM, OFFSET_SD_MM, RANGE_MM = 4.4, 2.7, 10.0
FIELDS, FIELD_MM2, FIELD_SPREAD = 10, 0.24, 0.5
CELLS_PER_MM2 = 3e5 * (0.005 + 0.0168)  # in a section of 5 um, of cells of 16.8 um
READERS_ICC = 0.9
SOURCES = {"vessels": "vessels", "offset": "offset", "fields": "fields", "fit": "fit", "readers": "readers"}
SCALES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)


def quantities(arms):
    """Arm name and quantity -> one value per replicate; curves as `case.curve.SOURCE`, replicates' means over SCALES."""
    found = {}
    for case in CASES:
        sites = {(f, v): [site_of(folder) for folder in arms[f"{case}_{f}_{v}"]["folder"]] for f in MACROPHAGES for v in VESSELS}
        shares = 100 * arms[f"{case}_usual_once"]["intracellular_fraction_in_phagocytes"].to_numpy()
        found[f"{case}.in_macrophages_percent"] = shares
        for name in ("R2star", "R2star_before", "iron_ug_per_mL", "pg_per_macrophage"):
            for key, runs in sites.items():
                found[f"{case}_{key[0]}_{key[1]}.{name}"] = np.array([run[name] for run in runs])
        tables = [{key: runs[k] for key, runs in sites.items()} for k in range(len(shares))]
        everything = dict.fromkeys(SOURCES, 1.0)
        found[f"{case}.r_frozen"] = each(tables, everything)
        found[f"{case}.r_change_frozen"] = each(tables, everything, change=True)
        found[f"{case}.r_no_errors"] = each(tables, {})
        found[f"{case}.r_vessels_only"] = each(tables, {"vessels": 1.0})
        for range_mm in (5.0, 20.0):
            found[f"{case}.r_frozen_{range_mm:g}mm"] = each(tables, everything, range_mm=range_mm)
        r = np.concatenate([cohorts(table, everything) for table in tables])
        found[f"{case}.r_cohorts"] = np.percentile(r, (2.5, 25, 50, 75, 97.5))
        found[f"{case}.curve.all"] = [each(tables, dict.fromkeys(SOURCES, s)).mean() for s in SCALES]
        for source in SOURCES:
            found[f"{case}.curve.{source}"] = [each(tables, {source: s}).mean() for s in SCALES]
    late = [Run(folder).image(READOUT, overrides=settings(Run(folder))) for folder in arms["two_days"]["folder"]]
    found["two_days.dR2star"] = np.array([{q.quantity: q.value for q in image.quantities}["dR2star"] for image in late])
    return found | pictures(arms)


def settings(run):
    """A third of the block as voxel, with the noise of the clinical voxel that it stands for."""
    site_um = run.fields.attrs["spacing_um"]
    edge = run.fields["inside"].sizes["z"] // 3 * site_um
    return {"voxel": [f"{edge:g} um"] * 3, "snr_per_mm3": SNR / (edge / 1000) ** 3}


def site_of(folder):
    """What the scanner gives of one block, over the size of its noise, and what there is."""
    run = Run(folder)
    images = {image.name: image for image in run.images(READOUT, overrides=settings(run))}
    rate, echoes = images["mri_r2star"], images["mri_r2star_MEGRE"]
    signal, noise = echoes.layers["noise_free"].astype(complex), echoes.acquisition["NoiseOverFullSignal"]
    times, random = np.array(echoes.acquisition["EchoTime"]), np.random.default_rng(22)
    fits = {}
    for scale in sorted({0.0, *SCALES}):
        drawn = [decay_rate(noisy(signal, scale * noise, random), times, scale * noise) for _ in range(FIT_DRAWS if scale else 1)]
        means = np.array([np.nanmean(one) if np.isfinite(one).any() else np.nan for one in drawn])
        fits[scale] = float(np.nanmean(means)), float(np.nanstd(means))
    told = {q.quantity: q.value for q in rate.quantities}
    cells = run.agents("macrophages")
    held = cells[[name for name in cells if name.startswith(("cargo_", "lysosome_"))]].sum(axis=1)
    card = run.config["nanoparticle"]
    pg = float(card["molar_mass"].split()[0]) * card["iron_fraction"] / 6.02214076e23 * 1e12
    return {
        "fits": fits,
        "R2star": told["R2star"],
        "R2star_before": float(np.nanmean(rate.layers["noise_free"] - images["mri_r2star_change"].layers["noise_free"])),
        "iron_ug_per_mL": told["Fe_true"],
        "macrophages": float((held > 0).sum()) / np.prod(run.info["sites"]),
        "pg_per_macrophage": float(held.mean()) * pg,
    }


def each(tables, scale, **more):
    """Mean r of cohorts, for each replicate."""
    return np.array([np.nanmean(cohorts(table, scale, **more)) for table in tables])


def cohorts(table, scale, *, change=False, range_mm=RANGE_MM):
    """(cohort,) r of what is read as R2* with what is counted, at these scales of the error sources; those not named are 0."""
    size = dict.fromkeys(SOURCES, 0.0) | scale
    random = np.random.default_rng(2019)
    shape = (COHORTS, SITES)
    there = random.normal(size=shape)
    apart_mm = size["offset"] * np.abs(random.normal(OFFSET_MM, OFFSET_SD_MM, shape))
    alike = np.exp(-apart_mm / range_mm)
    scanned = alike * there + np.sqrt(1 - alike**2) * random.normal(size=shape)
    surface = np.clip(9.0 * 2 ** (size["vessels"] * random.normal(size=shape)), 4.5, 18.0)
    fit = min(SCALES, key=lambda s: abs(s - size["fit"]))
    mean = between(table, lambda site: site["fits"][fit][0], share(scanned), surface)
    sd = between(table, lambda site: site["fits"][fit][1], share(scanned), surface)
    before = between(table, lambda site: site["R2star_before"], share(scanned), surface) if change else 0.0
    rate = read(mean - before + sd * random.normal(size=shape) * (2**0.5 if change else 1), size["readers"], random)
    holding = between(table, lambda site: site["macrophages"], share(there), np.full(shape, 9.0))
    seen = holding * CELLS_PER_MM2 * FIELD_MM2
    spread = np.sqrt((FIELD_SPREAD * seen) ** 2 + seen) * size["fields"] / FIELDS**0.5
    counted = read(np.maximum(seen + spread * random.normal(size=shape), 0), size["readers"], random)
    return correlation(rate, counted)


def share(normal):
    """Macrophages among the cells, evenly from the poorest to the richest."""
    low, high = MACROPHAGES["poor"], MACROPHAGES["rich"]
    return low + (high - low) * norm.cdf(normal)


def between(table, what, shares, surface):
    """A value of the runs, straight between them in macrophages and in vessels."""
    values = np.array([[what(table[f, v]) for v in VESSELS] for f in MACROPHAGES])
    f, v = np.array(list(MACROPHAGES.values())), np.array(list(VESSELS.values()))
    i, j = (np.clip(np.searchsorted(grid, at) - 1, 0, 1) for grid, at in ((f, shares), (v, surface)))
    a, b = (shares - f[i]) / (f[i + 1] - f[i]), (surface - v[j]) / (v[j + 1] - v[j])
    low, high = (values[n, j] * (1 - b) + values[n, j + 1] * b for n in (i, i + 1))
    return low * (1 - a) + high * a


def read(values, scale, random):
    """With a reader's error, of the size that an intraclass correlation says, in each cohort."""
    sd = values.std(axis=1, keepdims=True) * np.sqrt(1 / READERS_ICC - 1)
    return values + scale * sd * random.normal(size=values.shape)


def correlation(a, b):
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    return (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))


def pictures(arms):
    """The middle plane of R2* as the scanner gives it and of the iron that there is, as flat lists."""
    found = {}
    for name in MACROPHAGES:
        run = Run(arms[f"glioma_{name}_once"]["folder"].iloc[0])
        site_um = run.fields.attrs["spacing_um"]
        fine = {"voxel": [f"{site_um:g} um"] * 3, "snr_per_mm3": SNR / (site_um / 1000) ** 3}
        images = {image.name: image for image in run.images(READOUT, overrides=fine)}
        rate, iron = images["mri_r2star"], images["mri_r2star_Fe"]
        middle = rate.data.shape[0] // 2
        found[f"picture.{name}.R2star"] = rate.data[middle].ravel()
        found[f"picture.{name}.iron"] = iron.layers["truth"][middle].ravel()
    return found


def figure(values, path):
    """Planes of the blocks; R2* against macrophages; r over the size of all errors, and of each."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    page = Figure(figsize=(11, 6.6), layout="constrained")
    top, bottom = page.subfigures(2, 1, height_ratios=[1, 1.25])
    draw_pictures(top, values)
    left, middle, right = bottom.subplots(1, 3)
    for case, (colour, style, words) in CASES.items():
        x = [100 * f for f in MACROPHAGES.values()]
        rates = {v: [np.mean(values[f"{case}_{f}_{v}.R2star"]) for f in MACROPHAGES] for v in VESSELS}
        left.fill_between(x, rates["half"], rates["twice"], color=colour, alpha=0.15, lw=0)
        left.plot(x, rates["once"], style, color=colour, marker="o", markersize=4, label=words)
        middle.plot(SCALES, values[f"{case}.curve.all"], style, color=colour, marker="o", markersize=4)
    left.set(
        xlabel="macrophages, of the cells (%)",
        ylabel="R2* at 24 h, 3 T (1/s)",
        yscale="log",
        ylim=(20, 1500),
        yticks=(20, 50, 100, 200, 400),
    )
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_locator(NullLocator())
    left.set_title("shaded: half to twice the vessels", fontsize=9)
    middle.axhspan(0.64, 0.71, color="#d55e00", alpha=0.35, lw=0, label="published, CD163 (S22)")
    middle.axhspan(0.5, 0.85, color="#d55e00", alpha=0.12, lw=0, label="band of S22")
    middle.axvline(1, color="#555555", lw=0.8)
    middle.set(xlabel="size of all errors over the frozen one", ylabel="r of R2* with macrophages", ylim=(-0.15, 1.2))
    middle.set_title("20 sites; mean of 2000 cohorts", fontsize=9)
    marks = dict(zip(SOURCES, "osD^v", strict=True))
    greys = dict(zip(SOURCES, ("#d55e00", "#0072b2", "#cc79a7", "#56b4e9", "#555555"), strict=True))
    for source, words in SOURCES.items():
        right.plot(SCALES, values[f"glioma.curve.{source}"], marker=marks[source], color=greys[source], markersize=4, label=words)
    right.set(xlabel="size of one error over the frozen one", ylabel="r, the others at 0", ylim=(-0.15, 1.2))
    right.set_title("57 times less in tumour cells", fontsize=9)
    for axes in (left, middle, right):
        axes.legend(frameon=False, fontsize=7, loc={left: "upper left", middle: "upper right"}.get(axes, "lower left"))
    FigureCanvasSVG(page).print_svg(str(path), metadata={"Date": None})


def draw_pictures(page, values):
    planes = page.subplots(1, 6)
    shown = (("iron", "iron there is (µg/mL)", 60, "viridis"), ("R2star", "R2* (1/s)", 150, "magma"))
    for n, (what, unit, top, colours) in enumerate(shown):
        for k, (name, share_) in enumerate(MACROPHAGES.items()):
            axes, flat = planes[3 * n + k], np.array(values[f"picture.{name}.{what}"])
            edge = round(len(flat) ** 0.5)
            drawn = axes.imshow(flat.reshape(edge, edge), vmin=0, vmax=top, cmap=colours, origin="lower")
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"{100 * share_:g} % macrophages", fontsize=9)
        page.colorbar(drawn, ax=list(planes[3 * n : 3 * n + 3]), location="bottom", shrink=0.6, label=unit)
