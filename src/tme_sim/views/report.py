"""`report.html`: a run for somebody who was not there, in one file that needs nothing from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tme_sim.analysis.profiles import amounts
from tme_sim.files.literature import Published
from tme_sim.files.run_folder import RunFolder
from tme_sim.files.run_store import RunStore
from tme_sim.state.errors import InputError
from tme_sim.state.variables import ROUTES
from tme_sim.views import appendix, html, story
from tme_sim.views.figures import Figure, figures, inline
from tme_sim.views.graphics import preflight
from tme_sim.views.palette import all_colors, color_of
from tme_sim.views.words import Html, join, name, number, tag

# key of the summary, factor, unit, what it is
TILES = (
    ("tumor_percent_id_per_g", 1, "%ID/g", "in the tumour, with the blood in it"),
    ("tumor_percent_id_per_g_without_blood", 1, "%ID/g", "in the tumour, without blood"),
    ("tumor_percent_id", 1, "%", "of the dose is in the tumour"),
    ("extracellular_fraction", 100, "%", "of that is outside cells"),
    ("intracellular_fraction", 100, "%", "is inside cells"),
    ("intracellular_fraction_in_phagocytes", 100, "%", "of what is in cells is in macrophages and phagocytes"),
    ("route_fraction_gap", 100, "%", "of all entries were through gaps"),
    ("route_fraction_transcytosis", 100, "%", "were by transcytosis"),
    ("route_fraction_phagocyte", 100, "%", "were inside phagocytes"),
    ("released_fraction", 100, "%", "of the particles in the tumour have released their payload"),
    ("drug_tumor_percent_injected", 1, "%", "of the drug is in the tumour and out of its carriers"),
    ("plasma_half_life_h", 1, "h", "half-life in blood plasma"),
    ("liver_percent_id_per_g", 1, "%ID/g", "in the liver"),
    ("spleen_percent_id_per_g", 1, "%ID/g", "in the spleen"),
)


def write_report(
    run: RunFolder, meanings: Mapping[str, str] | None = None, published: Mapping[str, Published] | None = None
) -> Path:
    """Write `report.html`, and each figure as `figures/NAME.svg` with `NAME.csv`; returns the report's path.

    meanings: key of the configuration → what it means; keys inside mappings may be given with NAME. published: the rows that
    sources may cite. What the run did not record (`record.level`) is left out and named.
    """
    with ThreadPoolExecutor(1) as beside:  # a child process that takes a second
        graphics = beside.submit(preflight) if (run.folder / "fields.zarr").exists() else None
        drawn, missing = figures(run)
    folder = run.folder / "figures"
    folder.mkdir(exist_ok=True)
    store = RunStore(folder)
    for figure in drawn:
        store.write_text(f"{figure.name}.svg", figure.svg)
        store.write_text(f"{figure.name}.csv", figure.table.to_csv(index=False, lineterminator="\n"))
    sections = [
        _asked(run),
        _found(run),
        _scene(run, graphics.result()) if graphics else None,
        _where(run),
        _figures(drawn, missing),
        appendix.parameters(run, meanings or {}),
        appendix.citations(run, published or {}),
        appendix.orders_of_magnitude(run),
        appendix.tissue(run),
        appendix.ledger(run),
        appendix.provenance(run),
        appendix.words(),
    ]
    body = join(_header(run), tag("main", *sections), tag("footer", "Written by tme-sim ", run.info["versions"]["tme_sim"], "."))
    page = html.page(f"{run.info['name']}: {story.title(run)}", body)
    RunStore(run.folder).write_text("report.html", page)
    return run.folder / "report.html"


def _header(run: RunFolder) -> Html:
    info = run.info
    facts = f"Run {info['name']} · {info['started'][:10]} · seed {info['seed']} · tme-sim {info['versions']['tme_sim']}"
    chapters = {"parameters": "Parameters", "plausible": "Orders of magnitude", "ledger": "Ledger", "again": "Run it again"}
    links = [tag("li", tag("a", text, href=f"#{anchor}")) for anchor, text in chapters.items()]
    parts = [tag("h1", story.title(run)), tag("p", facts, class_="faint")]
    if info["status"] != "done":
        reached = f" at {number(info['at_s'] / 3600)} h" if "at_s" in info else ""
        why = f" {info['error']}" if info.get("error") else ""
        parts.append(html.note(f"This run is not done: its status is “{info['status']}”{reached}.{why} There is no summary yet."))
    return tag("header", *parts, tag("nav", tag("ul", *links), aria_label="Chapters"))


def _asked(run: RunFolder) -> Html:
    counted = [p for p in story.parameters(run, {}) if p.counted and p.used]
    assumed = sum(p.origin == "assumed" for p in counted)
    honest = join(
        "These are the results of a model, of one run with one random seed. ",
        tag("a", f"{assumed} of {len(counted)} parameters are assumed", href="#parameters"),
        ", wholly or in part; a comparison with measurements, and the spread between replicates, belong to a study.",
    )
    return tag("section", tag("p", story.paragraph(run), class_="lead"), tag("p", honest))


def _found(run: RunFolder) -> Html | None:
    summary = run.summary
    if not summary:
        return None
    spread = summary.get("tumor_percent_id_per_g_patch_sd")
    more = {"tumor_percent_id": f" of {number(summary['tumor_mass_g'])}\u00a0g"}
    if spread is not None:
        more["tumor_percent_id_per_g_without_blood"] = f" (± {number(spread, 2)} between patches)"
    tiles = []
    for key, factor, unit, text in TILES:
        value = summary.get(key)
        if value is not None and (value or key != "route_fraction_phagocyte"):
            shown = tag("dd", number(value * factor), Html("&nbsp;"), tag("small", unit))
            tiles.append(tag("div", tag("dt", text, more.get(key)), shown))
    return tag("section", tag("h2", "What came out"), tag("dl", *tiles, class_="tiles"))


def _scene(run: RunFolder, missing: str | None) -> Html:
    """The 3D picture, or one line that says why there is none."""
    if missing is not None:
        return html.note(f"No 3D picture. {missing}")
    from tme_sim.views.scene import screenshot

    path = run.folder / "figures" / "scene.jpg"
    try:
        screenshot(run, path)
    except InputError as why:
        return html.note(f"No 3D picture: {why}.")
    text = "Blood vessels, a sample of the particles outside cells coloured by their route of entry, and macrophages, at the end."
    image = html.picture(path.read_bytes(), "jpeg", text, 1600, 1200)
    return tag("figure", image, tag("figcaption", text), class_="scene")


def _where(run: RunFolder) -> Html | None:
    if not (run.folder / "series.parquet").exists():
        return None
    table = amounts(run)
    last = table[table["time_s"] == table["time_s"].max()]
    by_route = last.pivot_table("amount", "compartment", "route", "sum", sort=False)
    total = last.groupby("compartment", sort=False)["amount"].sum()
    dose = last.groupby("compartment", sort=False)["percent_id"].sum()
    shown = [route for route in ROUTES if route in by_route and by_route[route].sum() > 0]
    total = total.drop("washed_out") if not total["washed_out"] else total  # without a flow there is no such thing
    in_tumor = [key for key in total.index if by_route.loc[key].drop("all", errors="ignore").notna().any()]
    groups = {"in the tumour": in_tumor, "in the rest of the body": [key for key in total.index if key not in in_tumor]}
    bodies = []
    for heading, keys in groups.items():
        rows = [tag("tr", tag("th", heading, colspan=len(shown) + 3, scope="rowgroup"), class_="group")]
        for key in keys:
            color = tag("span", class_="key", style=f"background:{html.variable(color_of(str(key)))}")
            split = [number(float(by_route.loc[key, route])) if by_route.loc[key, route] > 0 else "" for route in shown]
            cells = [number(float(dose[key])), number(float(total[key])), *split]
            rows.append(
                tag("tr", tag("th", color, name(str(key)), scope="row", class_="where"), *(html.cell(text) for text in cells))
            )
        bodies.append(rows)
    sums = [number(float(dose.sum())), number(float(total.sum())), *("" for _ in shown)]
    bodies.append(
        [tag("tr", tag("th", "together", scope="row", class_="where"), *(html.cell(text) for text in sums), class_="sum")]
    )
    heads = ["where", "% of dose", "particles", *(f"by {name(route)}".replace("scy", "s\u00adcy") for route in shown)]
    text = "At the end. What is in the tumour is told apart by its route of entry."
    return tag("section", tag("h2", "Where the particles are"), html.table(heads, *bodies, caption=text, numbers=True))


def _figures(drawn: Iterable[Figure], missing: Iterable[str]) -> Html:
    swap = {color: html.variable(color) for color in all_colors()}
    parts = []
    for figure in drawn:
        files = [tag("a", kind, href=f"figures/{figure.name}.{kind.lower()}") for kind in ("SVG", "CSV")]
        caption = tag("figcaption", figure.caption, " Beside this file: ", files[0], ", ", files[1], ".")
        heading = tag("h3", figure.title, id=f"{figure.name}-title")
        parts.append(tag("figure", heading, Html(inline(figure, swap)), caption))
    notes = [html.note(f"Left out, because it was not recorded: {why}.") for why in missing]
    return tag("section", tag("h2", "Over time, over distance, from cell to cell"), *notes, tag("div", *parts, class_="figures"))
