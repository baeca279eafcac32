"""`report.html`: a run for somebody who was not there, in one file that needs nothing from outside."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from string import Template

from tme_sim.analysis.plausibility import hints
from tme_sim.analysis.profiles import amounts
from tme_sim.files.run_folder import RunFolder
from tme_sim.files.run_store import RunStore
from tme_sim.state.errors import InputError
from tme_sim.state.variables import ROUTES
from tme_sim.views import story
from tme_sim.views.figures import Figure, figures, inline
from tme_sim.views.graphics import preflight
from tme_sim.views.palette import FAINT, GRID, INK, ON_DARK, PAPER, all_colors, color_of
from tme_sim.views.words import Html, join, name, number, tag

TEMPLATE = Path(__file__).with_name("report_template.html")

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
    ("plasma_half_life_h", 1, "h", "half-life in blood plasma"),
    ("liver_percent_id_per_g", 1, "%ID/g", "in the liver"),
    ("spleen_percent_id_per_g", 1, "%ID/g", "in the spleen"),
)
MORPHOMETRY = {
    "vessel_surface_mm2_per_mm3": ("vessel wall per tissue volume, S/V", "mm²/mm³"),
    "blood_volume_fraction": ("share of the volume that is blood", ""),
    "mean_distance_to_vessel_um": ("mean distance to the nearest vessel", "µm"),
    "p95_distance_to_vessel_um": ("95 % of the tissue is nearer to a vessel than", "µm"),
    "length_density_per_mm2": ("length of vessel per volume", "mm/mm³"),
    "vessel_density_per_mm2": ("vessels cut by a section", "per mm²"),
    "mean_vessel_radius_um": ("mean vessel radius", "µm"),
    "mean_vessel_spacing_um": ("mean spacing of vessels", "µm"),
}
WORDS = {
    "%ID, %ID/g": "Percent of the injected dose, and that per gram of tissue.",
    "Interstitium": "The space between cells and vessels. Particles there are free, or bound to the matrix of fibres.",
    "Gap": "An opening between the cells of the vessel wall.",
    "Transcytosis": "Transport through the cells of the vessel wall (the endothelium).",
    "Phagocytes, macrophages": "Cells that eat particles. Kupffer cells are the liver's.",
    "Route of entry": "How a particle came into the tumour. It keeps the mark wherever it goes.",
    "Assumed": "A number without a published source. A result that hangs on it is a hypothesis.",
    "Row": "An entry of the project's table of published numbers, with paper and status, by its id (X21).",
}
ORIGIN_WORDS = {
    "assumed": ("assumed, wholly or in part", "var(--warn)"),
    "literature": ("from a published source", "var(--c-0072b2)"),
    "stated": ("by choice, method or arithmetic, as noted", "var(--c-56b4e9)"),
    story.BY_USER: ("set by the user", "var(--c-009e73)"),
    "no source": ("without a source", "var(--faint)"),
}


def write_report(run: RunFolder, meanings: Mapping[str, str] | None = None) -> Path:
    """Write `report.html`, and each figure as `figures/NAME.svg` with `NAME.csv`; returns the report's path.

    meanings: key of the configuration → what it means; keys inside mappings may be given with NAME. What the run did not
    record (`record.level`) is left out and named.
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
        _parameters(run, meanings or {}),
        _hints(run),
        _tissue(run),
        _ledger(run),
        _provenance(run),
        _words(),
    ]
    body = join(_header(run), tag("main", *sections), tag("footer", "Written by tme-sim ", run.info["versions"]["tme_sim"], "."))
    page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=join(f"{run.info['name']}: {story.title(run)}"), colors=_colors(), body=body
    )
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
        parts.append(_note(f"This run is not done: its status is “{info['status']}”{reached}.{why} There is no summary yet."))
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
        return _note(f"No 3D picture. {missing}")
    from tme_sim.views.scene import screenshot

    path = run.folder / "figures" / "scene.jpg"
    try:
        screenshot(run, path)
    except InputError as why:
        return _note(f"No 3D picture: {why}.")
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    text = "Blood vessels, a sample of the particles outside cells coloured by their route of entry, and macrophages, at the end."
    image = tag("img", src=f"data:image/jpeg;base64,{data}", alt=text, width=1600, height=1200).removesuffix("</img>")
    return tag("figure", Html(image), tag("figcaption", text), class_="scene")


def _where(run: RunFolder) -> Html | None:
    if not (run.folder / "series.parquet").exists():
        return None
    table = amounts(run)
    last = table[table["time_s"] == table["time_s"].max()]
    by_route = last.pivot_table("amount", "compartment", "route", "sum", sort=False)
    total = last.groupby("compartment", sort=False)["amount"].sum()
    dose = last.groupby("compartment", sort=False)["percent_id"].sum()
    shown = [route for route in ROUTES if route in by_route and by_route[route].sum() > 0]
    in_tumor = [key for key in total.index if by_route.loc[key].drop("all", errors="ignore").notna().any()]
    groups = {"in the tumour": in_tumor, "in the rest of the body": [key for key in total.index if key not in in_tumor]}
    bodies = []
    for heading, keys in groups.items():
        rows = [tag("tr", tag("th", heading, colspan=len(shown) + 3, scope="rowgroup"), class_="group")]
        for key in keys:
            color = tag("span", class_="key", style=f"background:{_variable(color_of(str(key)))}")
            split = [number(float(by_route.loc[key, route])) if by_route.loc[key, route] > 0 else "" for route in shown]
            cells = [number(float(dose[key])), number(float(total[key])), *split]
            rows.append(
                tag("tr", tag("th", color, name(str(key)), scope="row", class_="where"), *(_cell(text) for text in cells))
            )
        bodies.append(rows)
    sums = [number(float(dose.sum())), number(float(total.sum())), *("" for _ in shown)]
    bodies.append([tag("tr", tag("th", "together", scope="row", class_="where"), *(_cell(text) for text in sums), class_="sum")])
    heads = ["where", "% of dose", "particles", *(f"by {name(route)}".replace("scy", "s\u00adcy") for route in shown)]
    text = "At the end. What is in the tumour is told apart by its route of entry."
    return tag("section", tag("h2", "Where the particles are"), _table(heads, *bodies, caption=text, numbers=True))


def _figures(drawn: Iterable[Figure], missing: Iterable[str]) -> Html:
    swap = {color: _variable(color) for color in all_colors()}
    parts = []
    for figure in drawn:
        files = [tag("a", kind, href=f"figures/{figure.name}.{kind.lower()}") for kind in ("SVG", "CSV")]
        caption = tag("figcaption", figure.caption, " Beside this file: ", files[0], ", ", files[1], ".")
        heading = tag("h3", figure.title, id=f"{figure.name}-title")
        parts.append(tag("figure", heading, Html(inline(figure, swap)), caption))
    notes = [_note(f"Left out, because it was not recorded: {why}.") for why in missing]
    return tag("section", tag("h2", "Over time, over distance, from cell to cell"), *notes, tag("div", *parts, class_="figures"))


def _parameters(run: RunFolder, meanings: Mapping[str, str]) -> Html:
    every = story.parameters(run, meanings)
    counted = [p for p in every if p.counted and p.used]
    number_of = {origin: sum(p.origin == origin for p in counted) for origin in story.ORIGINS}
    bar, legend = [], []
    for origin, (text, color) in ORIGIN_WORDS.items():
        if number_of[origin]:
            bar.append(tag("span", style=f"flex:{number_of[origin]};background:{color}"))
            key = tag("span", class_="key", style=f"background:{color}")
            legend.append(tag("li", key, f"{number_of[origin]} {text}"))
    first = tag("strong", f"{number_of['assumed']} of {len(counted)} parameters are assumed,")
    parts: list[object] = [
        tag("p", first, " wholly or in part; they are marked below. Exact values are in ", tag("code", "config.yaml"), "."),
        tag("div", *bar, class_="bar", aria_hidden="true"),
        tag("ul", *legend, class_="legend"),
    ]
    for section in story.SCIENCE:
        parts += _group(section, [p for p in every if p.key.split(".")[0] == section], bool(meanings))
    rest = [p for p in every if p.key.split(".")[0] not in story.SCIENCE]
    parts += _group("how it is computed and what is kept (not counted above)", rest, bool(meanings))
    return tag("section", tag("h2", "Parameters", id="parameters"), *parts)


def _group(heading: str, rows: list[story.Parameter], with_meaning: bool) -> list[object]:
    if not rows:
        return []
    heads = ["key", "value", *(["meaning"] if with_meaning else []), "source"]
    body = []
    for p in rows:
        key = Html(str(tag("code", p.key.removeprefix(f"{heading}."))).replace(".", ".<wbr>").replace("_", "_<wbr>"))
        mark = [tag("span", "assumed", class_="mark"), " "] if p.origin == "assumed" and p.counted else []
        source = "" if p.source == "assumed" and mark else p.source or "–"
        cells = [key, p.value, *([p.meaning] if with_meaning else []), join(*mark, source, "" if p.used else " (switched off)")]
        kinds = [kind for kind, holds in (("assumed", bool(mark)), ("off", not p.used)) if holds]
        body.append(tag("tr", *(tag("td", cell) for cell in cells), **({"class_": " ".join(kinds)} if kinds else {})))
    begin = tag("span", " keys begin with ", tag("code", f"{heading}."), class_="faint") if heading in story.SCIENCE else None
    return [tag("h3", heading.capitalize(), begin), _table(heads, body, classes="stack parameters")]


def _hints(run: RunFolder) -> Html:
    rows = [
        tag("tr", *(tag("td", cell) for cell in (h.quantity, f"{number(h.value)} {h.unit}".strip(), h.known, h.source)))
        for h in hints(run)
    ]
    text = "What this run implies, beside what is known: not a test, but a first look at whether the set-up is plausible."
    table = _table(["quantity", "this run", "to hold it against", "from"], rows, classes="stack")
    return tag("section", tag("h2", "Orders of magnitude", id="plausible"), tag("p", text), table)


def _tissue(run: RunFolder) -> Html:
    rows = []
    for key, value in run.info["morphometry"].items():
        text, unit = MORPHOMETRY.get(key, (key.replace("_", " "), ""))
        rows.append(tag("tr", tag("th", text, scope="row"), _cell(f"{number(value)} {unit}".strip())))
    patches = "; ".join(f"{patch['name']}: {number(patch['copies'])} copies" for patch in run.info["patches"])
    size = " × ".join(str(n) for n in run.info["sites"])
    words = f"{size} sites (z, y, x), voxels of {number(run.info['voxel_um'])} µm. Patches: {patches}."
    return tag("section", tag("h2", "The tissue"), tag("p", words), _table(["measure", "value"], rows, numbers=True))


def _ledger(run: RunFolder) -> Html:
    heading = tag("h2", "Ledger", id="ledger")
    if not (run.folder / "ledger.parquet").exists():
        return tag("section", heading, _note("This run kept no ledger (record.level=summary); series keeps it."))
    ledger = run.ledger[run.ledger["substance"] == "nanoparticle"]
    last = ledger[ledger["time_s"] == ledger["time_s"].max()].set_index("term")["amount"]
    injected = float(last["injected"])
    rows = []
    for term, amount in last.drop("injected").items():
        percent = number(100 * float(amount) / injected if injected else None)
        rows.append(tag("tr", tag("th", name(str(term)), scope="row"), _cell(_exact(float(amount))), _cell(percent)))
    residual = run.summary.get("ledger_residual")
    rows.append(tag("tr", tag("th", "injected", scope="row"), _cell(_exact(injected)), _cell("100"), class_="sum"))
    exactly = "It balances exactly, at every recorded time."
    closed = exactly if residual == 0 else f"Largest relative residual: {number(residual)}."
    text = "Every particle is somewhere: the terms add up to what was injected, in the whole body and route by route. "
    table = _table(["term", "particles", "% of dose"], rows, numbers=True)
    return tag("section", heading, tag("p", text, closed if run.summary else ""), table)


def _provenance(run: RunFolder) -> Html:
    info, summary = run.info, run.summary
    facts = {
        "Configuration": info["hash"],
        "Seed": info["seed"],
        "Particles": f"{info['number']}: {info['number_why']}",
        "Started": info["started"],
        "Resumed from": f"{number(info['resumed_from'] / 3600)} h" if info.get("resumed_from") is not None else None,
        "Took": f"{number(info['wall_s'])} s with {info['threads']} threads on {info['machine']}" if "wall_s" in info else None,
        "Memory": f"{number(summary['peak_memory_mb'])} MB at most" if "peak_memory_mb" in summary else None,
        "Commit": info.get("commit"),
        "Data folder": info.get("data"),
        "Versions": ", ".join(f"{library} {version}" for library, version in info["versions"].items()),
    }
    rows = [tag("tr", tag("th", key, scope="row"), tag("td", value)) for key, value in facts.items() if value is not None]
    data = f" --data {info['data']}" if info.get("data") else ""
    again = tag("p", "The same run again, to the last bit on the same type of processor: ")
    command = tag("p", tag("code", f"tme-sim run --from {run.folder}{data}"))
    return tag("section", tag("h2", "Run it again", id="again"), again, command, _table(["", ""], rows, headless=True))


def _words() -> Html:
    entries = [join(tag("dt", word), tag("dd", meaning)) for word, meaning in WORDS.items()]
    return tag("section", tag("h2", "Words"), tag("dl", *entries, class_="words"))


def _table(
    heads: list[str], *groups: list[Html], caption: str = "", numbers: bool = False, classes: str = "", headless: bool = False
) -> Html:
    """A table that scrolls on its own where the page is too narrow; with `numbers` all columns but the first are to the right."""
    aligned = [tag("th", head, scope="col", class_="n" if numbers and i else "t") for i, head in enumerate(heads)]
    parts = [tag("caption", caption) if caption else None, None if headless else tag("thead", tag("tr", *aligned))]
    table = tag("table", *parts, *(tag("tbody", *rows) for rows in groups), **({"class_": classes} if classes else {}))
    return tag("div", table, class_="scroll")


def _cell(text: str) -> Html:
    return tag("td", text, class_="n")


def _exact(amount: float) -> str:
    return f"{amount:,.0f}" if amount == round(amount) else f"{amount:,.6f}" if amount < 1e9 else f"{amount:,.1f}"


def _note(text: str) -> Html:
    return tag("div", tag("p", text), class_="note", role="note")


def _variable(color: str) -> str:
    names = {INK: "ink", FAINT: "faint", GRID: "grid", PAPER: "page"}
    return f"var(--{names.get(color) or 'c-' + color[1:]})"


def _colors() -> str:
    """The palette as CSS variables, and what changes on a dark screen; paper stays light."""

    def block(colors: Mapping[str, str], extra: str) -> str:
        return "".join(f"{_variable(key)[4:-1]}:{value};" for key, value in colors.items()) + extra

    light = block({color: color for color in all_colors()}, "--card:#f4f6f8;--link:#0b5c9e;--warn:#e0a100;--on-warn:#1d2731")
    dark = block(ON_DARK, "--card:#1f262e;--link:#7cc0f5;--warn:#d9a520;--on-warn:#171c22")
    return (
        f":root{{color-scheme:light;{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{color-scheme:dark;{dark}}}}}"
    )
