"""How sharp the switch is, how many carriers it sets off in acid and in tissue at pH 7.4, and how many stay so away from acid."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np

from tme_sim.analysis.profiles import copies
from tme_sim.files.run_folder import RunFolder

_spec = spec_from_file_location("margins", Path(__file__).with_name("margins.py"))
margins = module_from_spec(_spec)
_spec.loader.exec_module(margins)

SERIES = re.compile(r"(balance|balance_hill_1|day|day_hill_1)_(\d+p\d+)")
OUTSIDE, CELLS, BODY = ("interstitium", "bound"), ("macrophages", "tumor_cells"), "body"
CAME_BACK = ("tumor", "reversible", "slow")
"""Here acid sets off enough that what is on in blood came back from the tumour."""
OFF_PH = 6.95
"""Above it less than a hundredth is on in balance, 2/40 above the midpoint."""
EDGES = np.arange(6.5, 7.41, 0.05)
ACID = ("acid_0p01", "tumor", "acid_0p06", "acid_0p1", "acid_0p3")
PICTURED = (*ACID, "normal", "healthy", "reversible", "hill_1", "hill_1_normal")
BLUE, GREEN, RED, GREY, ORANGE = "#0072b2", "#009e73", "#d55e00", "#999999", "#e69f00"
BARS = {
    "tumor": "tumour",
    "normal": "pH 7.4",
    "space_only": "endosomes\nneutral",
    "neither": "neither\nacid",
    "hill_1": "tumour,\nHill 1",
    "hill_1_normal": "pH 7.4,\nHill 1",
    "reversible": "goes\nback",
}


def quantities(arms):
    """Arm name and quantity -> one value per replicate."""
    found, titrations = {}, {}
    for arm, runs in arms.items():
        shares = [switched(RunFolder(folder)) for folder in runs["folder"]]
        keys = [key for key in shares[0] if arm in CAME_BACK or key != "kept_on_percent"]
        found |= {f"{arm}.{key}": np.array([share[key] for share in shares]) for key in keys}
        found[f"{arm}.on_percent_id_per_g"] = runs["tumor_percent_id_per_g_without_blood"] * found[f"{arm}.on_percent"] / 100
        if match := SERIES.fullmatch(arm):
            titrations.setdefault(match[1], {})[float(match[2].replace("p", "."))] = found[f"{arm}.outside_on_percent"] / 100
        else:
            maps = [by_pH(RunFolder(folder)) for folder in runs["folder"]]
            found |= {f"{arm}.{key}": np.array([each[key] for each in maps]) for key in maps[0]}
    for name, curve in titrations.items():
        found |= {f"{name}.{key}": value for key, value in titration(curve).items()}
    pictured = {arm: [RunFolder(folder) for folder in arms[arm]["folder"]] for arm in PICTURED}
    return found | contrasts(found) | margins.quantities(pictured)


def contrasts(found):
    """Carriers switched on per gram in tissue at pH 7.4 over the tumour's, and what either place of acid alone sets off."""
    on = {key.split(".")[0]: value for key, value in found.items() if key.endswith(".on_percent_id_per_g")}
    controls = {"acid_0p1": "normal", "hill_1": "hill_1_normal", "fluid": "fluid_normal", "space_only": "neither"}
    made = {f"{arm}.over_tumor_percent": 100 * on[arm] / on["tumor"] for arm in ("normal", "healthy")}
    made |= {f"{arm}.normal_over_tumor_percent": 100 * on[control] / on[arm] for arm, control in controls.items()}
    made["tumor.over_normal"], made["tumor.over_healthy"] = (on["tumor"] / on[arm] for arm in ("normal", "healthy"))
    both, space, cells = (found[f"{arm}.on_percent"] for arm in ("tumor", "space_only", "normal"))
    made["tumor.by_space_alone_percent"], made["tumor.by_endosomes_alone_percent"] = both - cells, both - space
    made["tumor.by_either_percent"] = space + cells - both
    return made


def switched(run):
    """Per cent of the carriers of a place that are on at the last time; of those that came back on into blood, that still are."""
    table = run.series[(run.series["time_s"] == run.series["time_s"].max()) & (run.series["substance"] == "nanoparticle")]
    weighted = table["value"] * table["patch"].map(copies(run))
    sums = weighted.groupby([table["quantity"], table["patch"], table["compartment"], table["form"]]).sum()
    held, tally = sums["amount"], sums.groupby(["quantity", "form"]).sum()
    tissue, body = held.drop(BODY), held[BODY]
    outside, cells = (tissue[tissue.index.isin(places, level="compartment")] for places in (OUTSIDE, CELLS))
    found = {"on_percent": on(tissue), "outside_on_percent": on(outside), "cells_on_percent": on(cells)}
    found |= {f"{patch}_on_percent": on(tissue[patch]) for patch in tissue.index.unique("patch")}
    found["plasma_on_percent"] = on(body["plasma"])
    found["on_in_cells_percent"] = 100 * amount(cells, "released") / float(tissue.sum())
    found["in_cells_percent"] = 100 * float(cells.sum() / tissue.sum())
    kept, back = amount(body, "released") + tally["entered", "released"], tally["returned", "released"]
    return found | {"kept_on_percent": 100 * kept / back if back > 0 else np.nan}


def amount(held, form):
    return float(held[held.index.get_level_values("form") == form].sum())


def on(held):
    total = float(held.sum())
    return 100 * amount(held, "released") / total if total > 0 else np.nan


def by_pH(run):
    """The pH of the tissue and its patches; the share on outside cells where balance has it off, and by local pH by patch."""
    fields = run.fields.isel(time=run.frame())
    pH = np.asarray(fields["pH"], float)
    carriers = sum(np.asarray(fields[name].sum("route"), float) for name in ("nanoparticle", "bound"))
    found, weight, refinement = (
        {"lowest_pH": pH.min(), "highest_pH": pH.max()},
        np.zeros(pH.shape),
        len(pH) // run.info["sites"][0],
    )
    for patch in run.info["patches"]:
        planes = slice(refinement * patch["first_plane"], refinement * (patch["first_plane"] + patch["planes"]))
        weight[planes] = patch["copies"]
        found[f"{patch['name']}_pH"] = pH[planes].mean()
        place = np.digitize(pH[planes].ravel(), EDGES)
        forms = np.array([np.bincount(place, form[planes].ravel(), len(EDGES) + 1)[1:-1] for form in carriers])
        middles = (EDGES[:-1] + EDGES[1:]) / 2
        found |= {f"{patch['name']}_at_{middle:.3f}": share_on(*pair) for middle, pair in zip(middles, forms.T, strict=True)}
    found["mean_pH"] = np.average(pH, weights=weight)
    found["on_where_off_percent"] = share_on(*(carriers * weight)[:, pH > OFF_PH].sum(axis=1))
    return found


def share_on(off, switched_on):
    return 100 * switched_on / (off + switched_on) if off + switched_on > 0 else np.nan


def titration(curve):
    """pH -> shares: where a tenth, half and nine tenths are on, straight in the logit between; off at 7.4 over on at 5.8."""
    pH = np.array(sorted(curve))
    shares = np.clip([curve[each] for each in pH], 1e-12, 1 - 1e-12)
    logit = np.log(shares / (1 - shares))
    high, middle, low = (crossing(pH, logit, np.log(level / (1 - level))) for level in (0.1, 0.5, 0.9))
    return {"width_pH": high - low, "midpoint_pH": middle, "off_over_on_percent": 100 * curve[7.4] / curve[5.8]}


def crossing(pH, logit, level):
    """(replicates,) the pH at which each falling column passes the level; not a number where none does."""
    found = [np.interp(-level, -column, pH, left=np.nan, right=np.nan) for column in logit.T]
    return np.array(found)


def null_model(values):
    """Any Hill coefficient from 1, not cooperative, to the 51 of S41."""
    hill = np.linspace(1, 51, 501)
    off, full = (1 / (1 + 10 ** (hill * (pH - 6.9))) for pH in (7.4, 5.8))
    return {"balance.width_pH": list(np.log10(81) / hill), "balance.off_over_on_percent": list(100 * off / full)}


def figure(values, path):
    """The switch against imposed pH; who is on, by arm; on against the tissue's pH; on against the pH at the place."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(9.6, 7.0), layout="constrained")
    (switch, who), (acid, place) = canvas.subplots(2, 2)
    draw_switch(switch, values)
    draw_who(who, values)
    draw_acid(acid, values)
    draw_place(place, values)
    FigureCanvasSVG(canvas).print_svg(str(path), metadata={"Date": None})
    margins.figure(values, path.with_name("margins.svg"))


def draw_switch(axes, values):
    axes.axvspan(6.775, 7.025, color=RED, alpha=0.15, lw=0, label="0.25 pH wide (S42)")
    looks = {
        "balance": (BLUE, "o-", "in balance, Hill 40"),
        "balance_hill_1": (GREY, "s--", "in balance, Hill 1"),
        "day": (GREEN, "D-", "latched, after a day"),
        "day_hill_1": (ORANGE, "^:", "latched, a day, Hill 1"),
    }
    for name, (colour, style, words) in looks.items():
        curve = {}
        for key, found in values.items():
            match = SERIES.fullmatch(key.removesuffix(".outside_on_percent"))
            if match and match[1] == name:
                curve[float(match[2].replace("p", "."))] = np.mean(found)
        pH = sorted(curve)
        axes.plot(pH, [curve[each] for each in pH], style, color=colour, ms=4, lw=1.2, label=words)
    axes.set(xlabel="pH imposed outside cells", ylabel="on, of carriers outside cells (%)", title="The switch", ylim=(-3, 150))
    axes.set_yticks(range(0, 101, 20))
    axes.legend(frameon=False, fontsize=7.5, ncols=2, loc="upper left")


def draw_who(axes, values):
    for x, arm in enumerate(BARS):
        cells, every = values[f"{arm}.on_in_cells_percent"], values[f"{arm}.on_percent"]
        axes.bar(x, np.mean(cells), 0.6, color=ORANGE, label=None if x else "in cells")
        rest = np.mean(every) - np.mean(cells)
        axes.bar(x, rest, 0.6, bottom=np.mean(cells), color=BLUE, label=None if x else "outside cells")
        axes.plot(np.full(len(every), x), every, "D", color="#222222", ms=3)
    plasma = [np.mean(values[f"{arm}.plasma_on_percent"]) for arm in BARS]
    axes.plot(np.arange(len(BARS)) + 0.4, plasma, "o", mfc="none", color=RED, ms=5, label="of those in plasma")
    axes.set_xticks(range(len(BARS)), list(BARS.values()), fontsize=7.5)
    axes.set(ylabel="on, of carriers in the tissue (%)", ylim=(0, 135), title="On after a day")
    axes.set_yticks(range(0, 101, 20))
    axes.legend(frameon=False, fontsize=7.5, loc="upper left", ncols=3)


def draw_acid(axes, values):
    axes.axvspan(6.5, 6.9, color=GREY, alpha=0.2, lw=0, label="tumours (C20, from memory)")
    for patch, (colour, marker) in {"rim": (GREEN, "o"), "core": (BLUE, "s")}.items():
        pH, share = (np.concatenate([values[f"{arm}.{patch}_{what}"] for arm in ACID]) for what in ("pH", "on_percent"))
        axes.plot(pH, share, marker, color=colour, alpha=0.6, ms=5, label=f"{patch}, acid × ⅓ to 10")
        pH, share = (np.mean(values[f"tumor.{patch}_{what}"]) for what in ("pH", "on_percent"))
        axes.plot([pH], [share], marker, mfc="none", color="black", ms=9, label="as given" if patch == "core" else None)
    axes.axhline(np.mean(values["normal.on_percent"]), color=ORANGE, ls="--", lw=1.2, label="endosomes alone (pH 7.4)")
    axes.set(
        xlabel="mean pH of the tissue, over the range of S44", ylabel="on, of carriers in it (%)", title="On against acidity"
    )
    axes.set(xlim=(5.8, 7.4), ylim=(0, 155))
    axes.set_yticks(range(0, 101, 20))
    axes.legend(frameon=False, fontsize=7.5, loc="upper left", ncols=2)


def draw_place(axes, values):
    looks = {"tumor": ("o-", "latched (S45)"), "reversible": ("s--", "goes back")}
    for patch, colour in {"core": BLUE, "rim": GREEN}.items():
        for arm, (style, words) in looks.items():
            keys = [key for key in values if key.startswith(f"{arm}.{patch}_at_")]
            middle = np.array([float(key.rsplit("_", 1)[1]) for key in keys])
            share = np.array([np.nanmean(values[key]) if np.isfinite(values[key]).any() else np.nan for key in keys])
            axes.plot(middle, share, style, color=colour, ms=4, lw=1.2, label=f"{patch}, {words}")
    axes.axvline(6.9, color=RED, lw=1, label="midpoint (S43)")
    axes.set(xlabel="pH at the place", ylabel="on, of carriers outside cells (%)", title="On against where they are now")
    axes.set(xlim=(6.6, 7.3), ylim=(-3, 150))
    axes.set_yticks(range(0, 101, 20))
    axes.legend(frameon=False, fontsize=7.5, loc="upper left", ncols=2)
