"""docs/performance.md and its plot, from benchmarks/results.json. Run: python benchmarks/page.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).resolve().parents[1] / "docs"
Found = dict[str, Any]


class Goal(NamedTuple):
    """What was set for a row: at least (sign 1) or at most (-1) so much."""

    meaning: str
    sign: int
    goal: float


GOALS = {
    "explicit_over_triad_128": Goal("explicit step on 128³, float32: 16 B × voxels/s over the memory triad, one thread", 1, 0.6),
    "threads_2_over_1_64": Goal("two threads over one, 64³", 1, 1.7),
    "over_pypde_variable": Goal(
        "explicit step with varying D over py-pde, float64 amounts (ours on float32 face weights, as in a run)", 1, 20
    ),
    "over_numpy": Goal("over numpy, float32", 1, 15),
    "over_scipy_csr": Goal("over scipy's CSR product, float64 amounts (ours on float32 face weights)", 1, 3),
    "rhs_evaluations_over_euler": Goal("24 h of a nanoparticle to 10⁻³: evaluations over explicit Euler", -1, 0.3),
    "pcg_iterations": Goal("steady balance to 10⁻⁸: iterations", -1, 10),
    "pcg_over_scipy_cg": Goal("its wall time over scipy's CG", -1, 0.25),
    "agents_over_mesa": Goal("agents, a rule on columns over Mesa's `shuffle_do`, per agent", 1, 300),
    "uptake_1e6_ms": Goal("binning and uptake of 10⁶ agents, one thread", -1, 120),
    **{
        f"cells_{name}_1e6_ms": Goal(f"{words}, 10⁶ cells, one thread (the goal of uptake)", -1, 120)
        for name, words in (
            ("cell_cycle", "division"),
            ("cell_death", "death and clearance"),
            ("macrophages", "macrophages walking and polarising"),
            ("effect_drug", "effect of the drug"),
            ("effect_heat", "effect of heat"),
        )
    },
    "pet_mouse_frame_s": Goal("PET of a whole mouse, one frame", -1, 2),
    "mri_multi_echo_128_s": Goal("multi-echo MRI of 128³ sites", -1, 5),
    "gallery_s": Goal("what all instruments see, in a gallery", -1, 60),
    "reference_continuum_r1_s": Goal("reference run, continuum, refinement 1", -1, 25),
    "reference_continuum_r2_s": Goal("reference run, continuum, refinement 2", -1, 120),
    "reference_stochastic_r1_s": Goal("reference run, stochastic, refinement 1", -1, 180),
    "reference_stochastic_r2_s": Goal("reference run, stochastic, refinement 2", -1, 900),
    "reference_peak_memory_mb": Goal("its largest memory", -1, 1500),
    "hop_occupancy_1_ms": Goal("stochastic hop, 100³, 1 per voxel, one thread", -1, 15),
    "hop_occupancy_10_ms": Goal("10 per voxel", -1, 50),
    "hop_occupancy_100_ms": Goal("100 per voxel", -1, 120),
    "exponent_voxels": Goal("cost against voxels", -1, 1.05),
    "exponent_agents": Goal("cost against agents", -1, 1.05),
    "exponent_particles": Goal("cost against particles", -1, 1.05),
    "startup_warm_s": Goal("ten steps on 16³ sites from the shell, compiled", -1, 2.5),
    "startup_first_s": Goal("the same, nothing compiled yet", -1, 30),
}

REASONS = {
    "threads_2_over_1_64": "A slab copies its neighbours' planes before its pass, so at 64³ two threads do 1.05 times the work "
    "of one; the rest is a barrier, which costs 20 times as much where another process has the core.",
    "over_numpy": "numpy takes 1.7 ms for this step here, not the 16 ms of the goal's machine; 15 times that would be more than "
    "memory can bring.",
    "reference_continuum_r1_s": "A quarter is the drug: vessels open and shut every 10 min, and each time blood and tissue are "
    "solved in turn (one Krylov solve with the blood in it is the next step); a sixth the 49 full frames, a sixth transport.",
    "reference_continuum_r2_s": "A third is the drug (as above); a quarter transport, 11 explicit parts a step for each of 6 "
    "components, bound by memory; a seventh the frames.",
    "reference_peak_memory_mb": "At refinement 2 the state alone is 570 MB, imports 210 MB, a frame being recorded some 130 MB.",
}
"""Why a row misses its goal, from its profile; shown where it does."""

ELSEWHERE = """\
| constant D, 100³, one step of 0.01 min, float64 | 1 thread | 2 threads | |
|---|---|---|---|
| BioFVM (as in PhysiCell 1.14.2) | 62–69 ms | 37–43 ms | 2.8 % off at its own default step |
| paraBioFVM, one substance | 9.8 ms | 5.3 ms | same method and error; 38 MB |
| paraBioFVM, four substances | 19 ms | 12 ms | 130 MB |
| FiPy | 3.8 s | | |
| PhysiCell, mechanics of cells | 11.4 µs per cell and step | | |
"""


def verdict(name: str, value: float | None) -> str:
    """Whether a row keeps to its goal."""
    if name not in GOALS:
        return ""
    if value is None:
        return "not measured"
    goal = GOALS[name]
    return "met" if goal.sign * (value - goal.goal) >= 0 else "**missed**"


def table(found: Found) -> str:
    """All rows with their goals."""
    about = found["machine"]
    final = about["idle"] and about["size"] == "full"
    lines = [f"| row | what | goal | measured | error | {'' if final else 'provisional'} |", "|---|---|---|---|---|---|"]
    for row in found["rows"]:
        name, value, goal = row["name"], row["value"], GOALS.get(row["name"])
        told = "" if goal is None else f"{'≥' if goal.sign > 0 else '≤'} {goal.goal:g}{_unit(row)}"
        measured = "–" if value is None else f"{value:.3g}{_unit(row)}{' (extrapolated)' if row.get('extrapolated') else ''}"
        error = row["error"] if isinstance(row["error"], str) else "" if row["error"] is None else f"{row['error']:.2g}"
        lines.append(f"| `{name}` | {goal.meaning if goal else ''} | {told} | {measured} | {error} | {verdict(name, value)} |")
    return "\n".join(lines)


def _unit(row: Found) -> str:
    return "" if row["unit"] in ("1", "") else f" {row['unit']}"


def details(found: Found) -> str:
    """Times and conditions of each row."""
    lines = []
    for row in found["rows"]:
        time = ""
        if "minimum" in row:
            median = f", median {row['median']:.3g}" if "median" in row else ""
            time = f"{row['minimum']:.3g} {row['time_unit']}{median}. "
        if time or row.get("note"):
            lines.append(f"- `{row['name']}`: {time}{row.get('note', '')}")
    return "\n".join(lines)


def misses(found: Found) -> str:
    """The reason for each goal that is missed."""
    missed = [row["name"] for row in found["rows"] if verdict(row["name"], row["value"]) == "**missed**"]
    return "\n".join(f"- `{name}`: {REASONS.get(name, 'not looked into yet.')}" for name in missed) or "None."


def page(found: Found) -> str:
    """The whole of docs/performance.md."""
    about = found["machine"]
    quiet = "on an otherwise idle machine" if about["idle"] else "**on a machine that others used at the same time: provisional**"
    size = "" if about["size"] == "full" else f" The sizes are those of `--{about['size']}`, not those of the goals."
    versions = ", ".join(f"{name} {about[name]}" for name in ("python", "numpy", "numba", "tme_sim"))
    verdicts = [verdict(row["name"], row["value"]) for row in found["rows"]]
    return f"""\
# Performance

Measured {about["date"]} {quiet} (load {about["load_before"]}), by one run of
`uv run --group bench python benchmarks/run.py --write`, which writes this page.{size}
{about["processor"]}, {about["cores"]} cores, {about["system"]}; {versions}.

Of {len(verdicts) - verdicts.count("")} goals {verdicts.count("met")} are met, {verdicts.count("**missed**")} missed and \
{verdicts.count("not measured")} not measured. Every time has beside it the error of what was timed; ratios are of
the fastest calls, after one that compiles.

{table(found)}

The reference run is a cubic millimetre of tumour (64³ sites of 15 µm, some 2·10⁵ cells) for 48 h: a 65 nm particle with
D = 0.5 µm²/s by all routes that there are, perfusion, interstitial pressure and oxygen; about 10 particles per site
where they are counted.

## What misses its goal, and why

{misses(found)}

## Cost against size

![Time against voxels, agents, particles and threads](performance.svg)

The exponents are fitted to all points of a panel; the dashed lines have exponent 1 (threads: −1).

## How each row was measured

{details(found)}

## Measured elsewhere

Not in this run, and not all with the same problem; on two cores of an x86-64 server, as ratios at best:

{ELSEWHERE}"""


def plot(points: dict[str, list[list[float]]], path: Path) -> None:
    """Four panels of time against size."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from scaling import exponent

    mpl.rcParams |= {"svg.hashsalt": "performance", "svg.fonttype": "none"}
    labels = {
        "voxels": "explicit step, float32",
        "agents": "binning and uptake",
        "particles": "stochastic hop",
        "threads": "explicit step",
    }
    figure = Figure(figsize=(10, 2.9), layout="constrained")
    for axes, what in zip(figure.subplots(1, 4), labels, strict=True):
        if len(pairs := points.get(what, [])) == 0:
            continue
        size, ms = [p[0] for p in pairs], [1e3 * p[1] for p in pairs]
        (axes.plot if what == "threads" else axes.loglog)(size, ms, "o-", color="#1f5f8b", markersize=4)
        axes.set_xlabel(what)
        axes.set_title(labels[what], fontsize=10)
        if what == "threads":
            axes.plot(size, [ms[0] * size[0] / n for n in size], "--", color="#999999", linewidth=1)
            axes.set_xticks(size)
            axes.set_ylim(bottom=0)
        else:
            axes.loglog(size, [ms[-1] * n / size[-1] for n in size], "--", color="#999999", linewidth=1)
            axes.text(0.05, 0.9, f"exponent {exponent([(p[0], p[1]) for p in pairs])[0]:.2f}", transform=axes.transAxes)
    figure.axes[0].set_ylabel("ms")
    figure.savefig(path, metadata={"Date": None})


def write(found: Found) -> None:
    """Page and plot."""
    (DOCS / "performance.md").write_text(page(found), encoding="utf-8")
    plot(found["points"], DOCS / "performance.svg")


if __name__ == "__main__":
    write(json.loads((Path(__file__).resolve().parent / "results.json").read_text(encoding="utf-8")))
