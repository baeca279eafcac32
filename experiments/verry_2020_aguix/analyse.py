"""Enhancement of T1-weighted images and gadolinium by R1, as a scanner gives them and as they are, over the dose."""

from __future__ import annotations

import numpy as np

from tme_sim.api import Run

DOSES = (15, 30, 50, 75, 100)
PUBLISHED = ((26.3, 15.3), (24.8, 16.3), (56.7, 23.8), (64.4, 26.7), (120.5, 68.0))
CASES = {
    "card": ("#d55e00", "o-", "in plasma alone (card)"),
    "spread": ("#0072b2", "s-", "shared with the body's fluid"),
    "card_tight": ("#d55e00", "o:", "in plasma, tight walls"),
    "spread_tight": ("#0072b2", "s:", "shared, tight walls"),
}
READOUT, SNR, GD_G_PER_MOL = "mri_t1", 500.0, 157.25
FAST = {"water.cell_residence": "0 s", "water.blood_residence": "0 s"}
TIMES_MIN = (30, 60, 90, 120)


def quantities(arms):
    """Arm name and quantity -> one value per replicate; over time, and the pictures, of the first."""
    found = {}
    for arm, table in arms.items():
        runs = [Run(folder) for folder in table["folder"]]
        found |= {f"{arm}.{name}": values for name, values in together([read(run) for run in runs]).items()}
        if arm in ("card_100", "spread_100"):
            found[f"{arm}.enhancement_percent_fast"] = np.array([read(run, **FAST)["enhancement_percent"] for run in runs])
            later = [together([read(run, time_min * 60.0) for run in runs]) for time_min in TIMES_MIN]
            for name in ("enhancement_percent", "reader_gd_uM", "true_gd_uM"):
                found[f"{arm}.time.{name}"] = [one[name].mean() for one in later]
    for case in CASES:
        steps = np.diff([found[f"{case}_{dose}.enhancement_percent"] for dose in (50, 75, 100)], axis=0)
        found[f"{case}.least_step_percent"] = steps.min(axis=0)
    for dose in (15, 50, 100):
        found |= picture(Run(arms[f"spread_{dose}"]["folder"].iloc[0]), f"picture.{dose}")
    return found


def together(rows):
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def settings(run, sites=None):
    """A third of the block as voxel, with the noise of the larger one that it stands for."""
    site_um = run.fields.attrs["spacing_um"]
    edge = (sites or run.fields["inside"].sizes["z"] // 3) * site_um
    return {"voxel": [f"{edge:g} um"] * 3, "snr_per_mm3": SNR / (edge / 1000) ** 3}


def read(run, time_s=None, **more):
    """What a reader has of the tumour, and what there is."""
    image = run.image(READOUT, time_s, overrides=settings(run) | more)
    told = {q.quantity: q.value for q in image.quantities}
    before = told["SNR"] - told["CNR"]
    return {
        "enhancement_percent": 100 * told["CNR"] / before,
        "enhancement_percent_true": 100 * told["CNR_true"] / (told["SNR_true"] - told["CNR_true"]),
        "reader_gd_uM": 1000 * told["Gd"] / GD_G_PER_MOL,
        "true_gd_uM": 1000 * told["Gd_true"] / GD_G_PER_MOL,
        "dR1": told["dR1"],
        "dR1_per_mM": told["dR1_per_Gd_true"],
    }


def picture(run, name):
    """The middle plane of the T1-weighted image and of the gadolinium that there is, in voxels of one site, as flat lists."""
    images = {image.name: image for image in run.images(READOUT, overrides=settings(run, 1))}
    middle = images["mri_t1"].data.shape[0] // 2
    gd = 1000 * images["mri_t1_Gd"].layers["truth"][middle] / GD_G_PER_MOL
    return {f"{name}.T1w": images["mri_t1_T1w"].data[middle].ravel(), f"{name}.gd": gd.ravel()}


def figure(values, path):
    """T1-weighted images; enhancement and gadolinium over the dose; gadolinium over time, read and true."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    page = Figure(figsize=(11, 6.6), layout="constrained")
    top, bottom = page.subfigures(2, 1, height_ratios=[1, 1.3])
    draw_pictures(top, values)
    left, middle, right = bottom.subplots(1, 3)
    published = {"color": "#555555", "fmt": "D", "capsize": 3, "markersize": 4, "label": "published, ± SD (S97)"}
    left.errorbar(DOSES, [mean for mean, _ in PUBLISHED], [sd for _, sd in PUBLISHED], **published)
    middle.axhspan(8, 63, color="#555555", alpha=0.2, lw=0, label="published, 100 mg/kg (S98)")
    for case, (colour, style, words) in CASES.items():
        shown = {"color": colour, "markersize": 4, "label": words}
        left.plot(DOSES, [np.mean(values[f"{case}_{dose}.enhancement_percent"]) for dose in DOSES], style, **shown)
        middle.plot(DOSES, [np.mean(values[f"{case}_{dose}.reader_gd_uM"]) for dose in DOSES], style, **shown)
    left.set(xlabel="dose (mg/kg)", ylabel="enhancement at 2 h (%)", ylim=(0, 200))
    middle.set(xlabel="dose (mg/kg)", ylabel="gadolinium at 2 h by R1 (µM)", yscale="log", ylim=(0.3, 600))
    for case in ("card", "spread"):
        colour, _, words = CASES[case]
        right.plot(TIMES_MIN, values[f"{case}_100.time.true_gd_uM"], "-", color=colour, label=f"there is; {words}")
        right.plot(TIMES_MIN, values[f"{case}_100.time.reader_gd_uM"], "--", color=colour, label="by R1")
    right.set(xlabel="time (min)", ylabel="gadolinium, 100 mg/kg (µM)", xticks=TIMES_MIN, ylim=(0, 750))
    for axes, place in ((left, "upper left"), (middle, "lower right"), (right, "upper right")):
        axes.legend(frameon=False, fontsize=7, loc=place)
    FigureCanvasSVG(page).print_svg(str(path), metadata={"Date": None})


def draw_pictures(page, values):
    """Three doses: what there is on the left, the T1-weighted images on the right."""
    planes = page.subplots(1, 6)
    shown = (("gd", "gadolinium there is (µM)", "viridis"), ("T1w", "T1-weighted signal (of relaxed water's)", "gray"))
    for n, (what, unit, colours) in enumerate(shown):
        flats = {dose: np.array(values[f"picture.{dose}.{what}"]) for dose in (15, 50, 100)}
        top = np.percentile(flats[100], 99)
        for axes, (dose, flat) in zip(planes[3 * n : 3 * n + 3], flats.items(), strict=True):
            edge = round(len(flat) ** 0.5)
            drawn = axes.imshow(flat.reshape(edge, edge), vmin=0, vmax=top, cmap=colours, origin="lower")
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"{dose} mg/kg", fontsize=9)
        page.colorbar(drawn, ax=list(planes[3 * n : 3 * n + 3]), location="bottom", shrink=0.6, label=unit)
