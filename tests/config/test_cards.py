"""The cards of nanoparticles and tumours: every agent has one, says where each number comes from, and clears as was published."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
import yaml
from numpy.linalg import eigvals

from tme_sim.cli import main
from tme_sim.config.build import build
from tme_sim.config.load import conf_dirs, load, request
from tme_sim.config.settings import Config
from tme_sim.files.run_folder import RunFolder
from tme_sim.simulation import Simulation
from tme_sim.state.clearance import renal_passage
from tme_sim.state.ledger import RELATIVE_TOLERANCE, audit, whole_body
from tme_sim.state.substance import Nanoparticle, drug_per_particle_amol, particle_mass_g

CONF = conf_dirs()[-1]
CARDS = sorted((CONF / "nanoparticle").glob("*.yaml"))
TUMOURS = [file for file in sorted((CONF / "tissue").glob("*.yaml")) if "defaults" in file.read_text("utf-8")]
SECTIONS = {  # of the table of published numbers, section 1, in its order
    "1a": ["sulfur_colloid", "albumin_nanocolloid"],
    "1b": ["ferumoxides", "ferumoxtran_10", "ferumoxytol", "es_spion", "liposome_irinotecan"],
    "1d": ["c_dot", "onm_100", "sers_gold_silica", "erbium_nir2b"],
    "1e": ["macrin", "macroflor", "rhdl_zr89"],
    "1f": ["mm_302", "liposome_in111", "liposome_cu64", "albumin_cu64", "liposome_doxorubicin"],
    "1g": ["micelle_65nm", "cpc634_zr89"],
    "1h": ["ccpm_cy7"],
    "1i": ["aguix", "nanotherm", "nbtxr3", "gold_gum_arabic"],
    "1j": [
        "crgd_nanoparticle",
        "liposome_topotecan_thermo",
        "liposome_doxorubicin_thermo",
        "liposome_gd_thermo",
        "liposome_gd_hpdo3a_thermo",
    ],
}
AGENTS = [name for names in SECTIONS.values() for name in names]


@cache
def config(*words: str) -> Config:
    return load(request(["lattice.size=60um", *words])).config


def card(particle: str) -> Nanoparticle:
    return config(f"nanoparticle={particle}", *usual_dose(CONF / "nanoparticle" / f"{particle}.yaml")).nanoparticle


def content(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    return found


def leaves(data: Mapping[str, Any], where: str = "") -> list[str]:
    """Dotted keys of everything that a card sets to something."""
    found: list[str] = []
    for key, value in data.items():
        if key not in ("sources", "defaults", "kind", "model", "name") and value is not None:
            found += leaves(value, f"{where}{key}.") if isinstance(value, Mapping) else [f"{where}{key}"]
    return found


def usual_dose(file: Path) -> list[str]:
    """The words of the second comment line that are `key=value`."""
    lines = [line for line in file.read_text("utf-8").splitlines() if line.startswith("# Usual dose:")]
    return [word for line in lines for word in line.split() if "=" in word]


def half_life_h(particle: str, body: str) -> float:
    """In plasma at low dose: ln 2 over the sum of all first-order rates."""
    clearance, settings = card(particle).clearance, config(f"body={body}").body
    volume_um3 = settings.plasma_volume_um3
    rate = settings.kupffer_cells * clearance.kupffer_maximum_per_s / (clearance.kupffer_half_saturation_per_um3 * volume_um3)
    passed = clearance.renal_sieving * renal_passage(card(particle).hydrodynamic_diameter_um)
    rate += sum(clearance.sinks_per_s.values()) + passed * settings.glomerular_filtration_um3_per_s / volume_um3
    return log(2) / rate / 3600


def of_size_h(diameter_nm: float) -> float:
    """Half-life of stealth particles in mice, row P11."""
    first = 1081 * exp(-(((diameter_nm + 16.63) / 84.82) ** 2))
    return (first + 517.4 * exp(-(((diameter_nm - 65.61) / 996.6) ** 2))) / 60


def test_every_agent_has_a_card() -> None:
    assert set(AGENTS) <= {file.stem for file in CARDS}
    assert len(AGENTS) == len(set(AGENTS)) == 31


@pytest.mark.parametrize("file", CARDS + TUMOURS, ids=lambda file: file.stem)
def test_what_a_card_changes_it_sources_itself(file: Path) -> None:
    """What it builds on must not lend its sources to other numbers: every key has the card's own, and nothing of the base's."""
    own = content(file)
    sources = own["sources"]
    unsourced = [
        key for key in leaves(own) if not any(".".join(key.split(".")[:end]) in sources for end in range(1, key.count(".") + 2))
    ]
    assert unsourced == []
    base = lent(file)
    for key, source in sources.items():  # where both are mappings, Hydra merges them
        if isinstance(source, Mapping) and isinstance(base.get(key), Mapping):
            assert set(base[key]) <= set(source), key


def lent(file: Path) -> dict[str, Any]:
    """The sources of what a card builds on."""
    found: dict[str, Any] = {}
    for name in content(file).get("defaults", []):
        below = file.with_name(f"{name}.yaml")
        found |= lent(below) | content(below)["sources"]
    return found


@pytest.mark.parametrize("file", CARDS, ids=lambda file: file.stem)
def test_a_card_is_complete_and_balances_at_its_usual_dose(file: Path) -> None:
    c = config(f"nanoparticle={file.stem}", *usual_dose(file))
    start = build(c)
    assert 1e10 <= start.dose <= 1e21
    simulation = Simulation(start.state, start.processes, [], c.step_s, c.seed)
    simulation.run(600)
    assert audit(start.state) <= (0 if start.state.number == "stochastic" else RELATIVE_TOLERANCE)
    assert sum(whole_body(start.state).values()) == pytest.approx(start.dose, rel=1e-12)


def test_every_agent_but_the_default_says_its_usual_dose() -> None:
    assert [name for name in AGENTS if not usual_dose(CONF / "nanoparticle" / f"{name}.yaml")] == ["micelle_65nm"]


@pytest.mark.parametrize(
    ("particle", "diameter_nm"),
    [
        ("peg_particle", 50),
        ("micelle_65nm", 65),
        ("peg_liposome", 100),
        ("liposome_doxorubicin", 85),
        ("macrin", 20),
    ],
)
def test_stealth_particles_stay_in_mice_as_long_as_their_size_says(particle: str, diameter_nm: float) -> None:
    assert half_life_h(particle, "mouse") == pytest.approx(of_size_h(diameter_nm), rel=0.01)


@pytest.mark.parametrize(
    ("particle", "body", "hours", "within"),
    [
        ("ferumoxides", "human", 2.0, 0.01),  # S14
        ("ferumoxtran_10", "human", 30.0, 0.2),  # S15: 24-36 h
        ("macroflor", "mouse", 6.5 / 60, 0.01),  # S51
        ("aguix", "mouse", 0.3, 0.5),  # S96, from memory; one sieving coefficient for both bodies
        ("aguix", "human", 1.0, 0.5),
        ("liposome_in111", "human", of_size_h(100) * (70 / 0.025) ** 0.25, 0.01),  # P11, times scaled with (body mass)^(1/4)
        ("albumin_cu64", "mouse", 30.0, 0.01),
        ("mm_302", "human", of_size_h(100) * (70 / 0.025) ** 0.25, 0.01),
        ("onm_100", "human", of_size_h(30) * (70 / 0.025) ** 0.25, 0.01),
        ("cpc634_zr89", "human", 3.56 / 0.0156 * log(2), 0.01),  # S74
    ],
)
def test_half_lives_are_those_that_the_card_cites(particle: str, body: str, hours: float, within: float) -> None:
    assert half_life_h(particle, body) == pytest.approx(hours, rel=within)


def test_a_cornell_dot_of_6_nm_stays_in_a_mouse_as_measured() -> None:
    body = config("body=mouse").body
    passed = card("c_dot").clearance.renal_sieving * renal_passage(0.006)
    kidney = passed * body.glomerular_filtration_um3_per_s / body.plasma_volume_um3
    assert log(2) / (kidney + log(2) / (of_size_h(12) * 3600)) / 60 == pytest.approx(350, rel=0.01)  # S39


@pytest.mark.parametrize(("dose", "hours"), [("1mg/kg", 13.7), ("4mg/kg", 21.0), ("510mg", 26.7)])
def test_ferumoxytol_takes_longer_to_halve_the_higher_the_dose(simulate: Any, dose: str, hours: float) -> None:
    """Row S20, t = (K_m ln 2 + C_0/2) V/V_max for a man of 80 kg, from the population's V_max, K_m and V (S17-S19)."""
    body = ("body=human", "body.mass=80kg", "body.plasma_volume=2.78L", "body.blood_volume=5L")
    words = (
        "nanoparticle=ferumoxytol",
        *body,
        f"protocol.dose={dose}",
        "protocol.dose_of=iron",
        "processes=[circulation]",
        "step=300s",
    )
    simulation = simulate("lattice.size=60um", "protocol.duration=30h", *words)
    plasma, least = simulation.state.body.pools["plasma"], float("inf")
    while least > 0.5:
        before = least
        simulation.step()
        least = float(plasma.sum()) / float(simulation.state.ledger.injected.sum())
    ticks = simulation.state.tick - (0.5 - least) / (before - least)  # between two steps
    assert ticks * 300 / 3600 == pytest.approx(hours, rel=0.02)


def test_masses_are_those_that_are_known() -> None:
    fmx = card("ferumoxytol")
    atoms = particle_mass_g(fmx) * fmx.iron_fraction / 55.845 * 6.02214076e23
    core = 5.2e-12 * 3.14159265 / 6 * 0.0065**3 * 0.72 / 55.845 * 6.02214076e23
    assert atoms == pytest.approx(core, rel=0.02)  # S16: a core of 6.5 nm of magnetite, 72 % of it iron
    aguix = card("aguix")
    assert particle_mass_g(aguix) * aguix.gadolinium_fraction / 157.25 * 6.02214076e23 == pytest.approx(12, rel=0.01)  # S94


def test_the_gadolinium_chelate_is_its_own_reporter_and_leaves_the_body_as_such_chelates_do() -> None:
    drug = config("nanoparticle=liposome_gd_hpdo3a_thermo", "drug=gd_hpdo3a").drug
    assert drug is not None
    assert drug.transport is not None
    particle = card("liposome_gd_hpdo3a_thermo")
    assert particle.release.reporter is not None
    molecules = drug_per_particle_amol(particle, drug.molar_mass_g_per_mol) * 6.02214076e5
    assert particle.release.reporter.per_particle == pytest.approx(molecules, rel=1e-3)
    beyond, out = drug.transport.peripheral["extracellular"], drug.transport.elimination_per_s
    rates = eigvals([[-out - beyond.to_per_s, beyond.back_per_s], [beyond.to_per_s, -beyond.back_per_s]])
    assert sorted(log(2) / -rates / 60) == pytest.approx([1.3, 24.9], rel=0.1)  # min; Gd(DO3A-Lys), doi:10.1002/cmmi.1634


def test_human_tumours_have_the_volumes_that_were_measured() -> None:
    """Row S63; the rim of 5 mm is what the patches' shares say."""
    for place, volume_mL in (("head_and_neck", 36.2), ("lung", 114.5), ("breast", 234.7)):
        tissue = config(f"tissue=human_{place}").tissue.values
        assert tissue["tumor_mass_g"] / tissue["density_g_per_mL"] == pytest.approx(volume_mL)
        radius_cm = (3 * volume_mL / (4 * 3.14159265)) ** (1 / 3)
        assert tissue["patches"]["core"].mass_share == pytest.approx((1 - 0.5 / radius_cm) ** 3, abs=1e-3)


def test_all_are_listed_in_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    for kind, names in (("nanoparticles", AGENTS), ("tissues", [file.stem for file in TUMOURS])):
        assert main(["list", kind]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert set(names) <= {line.split()[0] for line in lines}
        assert all(len(line.split()) > 3 for line in lines)


def test_ferumoxytol_runs_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "nanoparticle=ferumoxytol",
        "tissue=vascular_tree",
        "lattice.size=60um",
        "protocol.duration=1h",
        "record.level=summary",
    ]
    assert main(["run", *words, *usual_dose(CONF / "nanoparticle" / "ferumoxytol.yaml"), "--quiet"]) == 0
    summary = RunFolder(capsys.readouterr().out.strip()).summary
    assert summary["injected"] == pytest.approx(5e-6 * 70e3 / (0.43 * 7.5e5 / 6.02214076e23), rel=1e-6)
    assert summary["tumor_percent_id"] > 0
