"""What a report holds for those who check it: parameters with sources, orders of magnitude, tissue, ledger, how to repeat it."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from tme_sim.analysis.plausibility import hints
from tme_sim.files.literature import Published, cited
from tme_sim.files.run_folder import RunFolder
from tme_sim.views import html, story
from tme_sim.views.words import Html, join, name, number, tag

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


def parameters(run: RunFolder, meanings: Mapping[str, str]) -> Html:
    """Every parameter with its value, meaning and source, the assumed ones marked."""
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
    return [tag("h3", heading.capitalize(), begin), html.table(heads, body, classes="stack parameters")]


def citations(run: RunFolder, published: Mapping[str, Published]) -> Html | None:
    """What the rows say that the sources of the parameters name."""
    found = cited((p.source for p in story.parameters(run, {}) if p.used), published)
    if not found:
        return None
    text = 'What the ids in the table above stand for, in our words. "Recall" is from memory: to be checked against the paper.'
    rows = []
    for row in found:
        value = row.value if row.unit == "-" else f"{row.value} {row.unit}"
        cells = (row.id, row.quantity, value, "; ".join(filter(None, (row.context, row.source))), row.status)
        rows.append(tag("tr", *(tag("td", cell) for cell in cells)))
    heads = ["row", "quantity", "value", "from", "status"]
    return tag("section", tag("h2", "Published numbers", id="rows"), tag("p", text), html.table(heads, rows, classes="stack"))


def orders_of_magnitude(run: RunFolder) -> Html:
    """What the run implies beside what is known."""
    rows = [
        tag("tr", *(tag("td", cell) for cell in (h.quantity, f"{number(h.value)} {h.unit}".strip(), h.known, h.source)))
        for h in hints(run)
    ]
    text = "What this run implies, beside what is known: not a test, but a first look at whether the set-up is plausible."
    table = html.table(["quantity", "this run", "to hold it against", "from"], rows, classes="stack")
    return tag("section", tag("h2", "Orders of magnitude", id="plausible"), tag("p", text), table)


def tissue(run: RunFolder) -> Html:
    """Its size and morphometry."""
    rows = []
    for key, value in run.info["morphometry"].items():
        text, unit = MORPHOMETRY.get(key, (key.replace("_", " "), ""))
        rows.append(tag("tr", tag("th", text, scope="row"), html.cell(f"{number(value)} {unit}".strip())))
    patches = "; ".join(f"{patch['name']}: {number(patch['copies'])} copies" for patch in run.info["patches"])
    size = " × ".join(str(n) for n in run.info["sites"])
    words = f"{size} sites (z, y, x), voxels of {number(run.info['voxel_um'])} µm. Patches: {patches}."
    return tag("section", tag("h2", "The tissue"), tag("p", words), html.table(["measure", "value"], rows, numbers=True))


def ledger(run: RunFolder) -> Html:
    """Where everything that was injected is, at the end."""
    heading = tag("h2", "Ledger", id="ledger")
    if not (run.folder / "ledger.parquet").exists():
        return tag("section", heading, html.note("This run kept no ledger (record.level=summary); series keeps it."))
    last = run.ledger[run.ledger["time_s"] == run.ledger["time_s"].max()]
    residual = run.summary.get("ledger_residual")
    exactly = "It balances exactly, at every recorded time."
    closed = exactly if residual == 0 else f"Largest relative residual: {number(residual)}."
    text = "Every particle is somewhere: the terms add up to what was injected, in the whole body and route by route. "
    table = html.table(["term", "particles", "% of dose"], _terms(last[last["substance"] == "nanoparticle"]), numbers=True)
    parts = [heading, tag("p", text, closed if run.summary else ""), table]
    for substance, terms in last[last["substance"] != "nanoparticle"].groupby("substance", sort=False):
        unit = "amol" if substance == (run.config.get("drug") or {}).get("name") else "amount"
        parts.append(html.table([f"term, {substance}", unit, "% of dose"], _terms(terms), numbers=True))
    return tag("section", *parts)


def _terms(table: pd.DataFrame) -> list[Html]:
    """A row for each term of one substance, and their sum."""
    last = table.set_index("term")["amount"]
    injected = float(last["injected"])
    rows = []
    for term, amount in last.drop("injected").items():
        percent = number(100 * float(amount) / injected if injected else None)
        rows.append(tag("tr", tag("th", name(str(term)), scope="row"), html.cell(_exact(float(amount))), html.cell(percent)))
    rows.append(tag("tr", tag("th", "injected", scope="row"), html.cell(_exact(injected)), html.cell("100"), class_="sum"))
    return rows


def _exact(amount: float) -> str:
    return f"{amount:,.0f}" if amount == round(amount) else f"{amount:,.6f}" if amount < 1e9 else f"{amount:,.1f}"


def provenance(run: RunFolder) -> Html:
    """What made the run, and the command that makes it again."""
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
    return tag("section", tag("h2", "Run it again", id="again"), again, command, html.table(["", ""], rows, headless=True))


def words() -> Html:
    """A short glossary."""
    entries = [join(tag("dt", word), tag("dd", meaning)) for word, meaning in WORDS.items()]
    return tag("section", tag("h2", "Words"), tag("dl", *entries, class_="words"))
