"""Dataclasses of parameters become strict schemas; every kind of wrong input has its sentence, and all are listed together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from tme_sim.config.keys import Section, choice_of, collect_sources, describe, dump
from tme_sim.config.schema import validate
from tme_sim.config.units import Dose
from tme_sim.state.errors import InputError, InputErrors
from tme_sim.state.parameters import given, parameter


@dataclass(frozen=True, kw_only=True)
class Lattice:
    size_um: float | tuple[float, float, float] = parameter("edge of the box, or its edges", above=0, at_most=20000)
    site_um: float = parameter("edge of a site", default=15.0, at_least=5, at_most=50)
    refinement: Literal[1, 2, 3] = parameter("voxels per site edge", default=1)


@dataclass(frozen=True, kw_only=True)
class Rates:
    plasma_per_s: float = parameter("rate in plasma", at_least=0)
    ends_s: tuple[float, ...] = parameter("times", default=(), at_least=0)

    def __post_init__(self) -> None:
        if self.ends_s and self.plasma_per_s == 0:
            raise InputError("plasma_per_s", self.plasma_per_s, "must be above 0 where times are given")


@dataclass(frozen=True, kw_only=True)
class Gaps:
    pore_radius_um: float = parameter("radius of a gap", above=0, at_most=1)
    area_fraction: float = parameter("share of the wall", default=0.0005, at_least=0, below=1)
    diameter_um: float = given("nanoparticle.hydrodynamic_diameter_um")


@dataclass(frozen=True, kw_only=True)
class Tree:
    spacing_um: float = parameter("distance of vessels", default=100.0, above=0)


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = parameter("seed", at_least=0, below=2**63)
    number: Literal["auto", "stochastic", "continuum"] = parameter("arithmetic", default="auto")
    report: bool = parameter("whether a report is written", default=False)
    name: str = parameter("name", default="run")
    image: Path | None = parameter("a file", default=None)
    temperature_C: float = parameter("temperature", default=37.0, at_least=0, at_most=50)
    dose: Dose = parameter("dose", default=Dose(1e10, "particles"))
    weights: list[float] = parameter("weights", default=list)
    labels: tuple[str, ...] = parameter("labels", default=())
    sinks_per_s: dict[str, float] = parameter("rate constants by name", default=dict, at_least=0)
    lattice: Lattice = parameter("mesh")
    release: Rates | None = parameter("release", default=None)
    uptake: dict[str, Rates] = parameter("by kind of cell", default=dict)
    tissue: Any = parameter("tissue", kind_of="tissue")
    processes: dict[str, Any] = parameter("mechanisms in order", default=dict, kind_of="process")


class Registered:
    kinds: dict[str, dict[str, type]] = {"tissue": {"tree": Tree}, "process": {"gaps": Gaps}}  # noqa: RUF012

    def resolve(self, kind_of: str, kind: str) -> type[Any]:
        return self.kinds[kind_of][kind]

    def known(self, kind_of: str) -> Iterable[str]:
        return self.kinds[kind_of]


GOOD: dict[str, Any] = {
    "seed": 1,
    "number": "stochastic",
    "report": True,
    "image": "data/tumor.nii.gz",
    "temperature": "310.15 K",
    "dose": "5mg/kg",
    "weights": [1, "50 %", 0.25],
    "labels": ["a", "b"],
    "sinks": {"spleen": "3.6 1/h"},
    "lattice": {"size": "0.48 mm", "refinement": 2, "sources": {"size": {"row": "X30"}}},
    "release": {"plasma": "0.036 1/h", "ends": ["1 h", "1 d"], "sources": {"plasma": "assumed"}},
    "uptake": {"macrophages": {"plasma": "0 1/s"}},
    "tissue": {"kind": "tree"},
    "processes": {"wide": {"kind": "gaps", "pore_radius": "500 nm", "enabled": False}, "gaps": {"pore_radius": "250nm"}},
    "sources": {"seed": {"note": "any"}, "lattice.size": "assumed"},
}


def checked(**changes: Any) -> Config:
    return validate(Config, GOOD | changes, registry=Registered())


def test_values_arrive_in_internal_units_and_declared_types() -> None:
    config = checked()
    assert config.lattice == Lattice(size_um=480.0, site_um=15.0, refinement=2)
    assert config.release == Rates(plasma_per_s=1e-5, ends_s=(3600.0, 86400.0))
    assert config.sinks_per_s == {"spleen": 1e-3}
    assert (config.temperature_C, config.dose, config.weights) == (37.0, Dose(0.005, "mass_per_kg"), [1.0, 0.5, 0.25])
    assert config.image == Path("data/tumor.nii.gz")
    assert config.name == "run"


def test_a_list_is_read_where_a_list_or_a_value_may_stand() -> None:
    config = checked(lattice={"size": ["0.1 mm", "200 um", "3e-4 m"]})
    assert config.lattice.size_um == (100.0, 200.0, 300.0)


def test_a_section_with_a_kind_keeps_its_order_and_leaves_given_fields_open() -> None:
    config = checked()
    assert list(config.processes) == ["wide", "gaps"]
    assert config.processes["gaps"] == Section("gaps", True, Gaps, {"pore_radius_um": 0.25, "area_fraction": 0.0005})
    assert not config.processes["wide"].enabled
    assert config.tissue.values == {"spacing_um": 100.0}


def test_an_empty_section_stands_for_its_defaults() -> None:
    with pytest.raises(InputErrors, match=r"^processes\.gaps\.pore_radius: is missing"):
        checked(processes={"gaps": None})
    assert checked(tissue={"kind": "tree"}).tissue.cls is Tree


def test_what_is_dumped_validates_to_the_same_configuration_to_the_last_bit() -> None:
    config = replace(checked(), sinks_per_s={"odd": 1 / 3}, temperature_C=36.6)
    written = dump(config)
    assert written["lattice"] == {"size": "480 um", "site": "15 um", "refinement": 2}
    assert written["processes"]["gaps"]["pore_radius"] == "250 nm"
    assert validate(Config, written, registry=Registered()) == config


BAD: list[tuple[dict[str, Any], str]] = [
    ({"sed": 1}, "sed 1: is not a key here; did you mean seed? one of seed, number, report"),
    (
        {"lattice": {"siez": "1 um", "size": "1 um"}},
        "lattice.siez 1 um: is not a key here; did you mean size? one of size, site, refinement",
    ),
    ({"lattice": {}}, "lattice.size: is missing; needs a quantity in um above 0 um and at most 20000 um (edge of the box"),
    ({"lattice": {"size": 480}}, "lattice.size 480: needs a unit: a quantity in um, such as `480 um`"),
    ({"lattice": {"size": "480 s"}}, "lattice.size 480 s: needs a quantity in um; s measures something else"),
    ({"lattice": {"size": "3 cm"}}, "lattice.size 3 cm: must be above 0 um and at most 20000 um"),
    ({"lattice": {"size": "0 um"}}, "lattice.size 0 um: must be above 0 um"),
    ({"lattice": {"size": ["1 um", "2 um"]}}, "lattice.size ['1 um', '2 um']: needs a list of 3, such as [a,b]"),
    ({"lattice": {"size": ["1 um", "2 um", "3"]}}, "lattice.size[2] 3: needs a unit"),
    ({"lattice": {"size": "1 um", "site": ["5 um"]}}, "lattice.site ['5 um']: needs a single value"),
    ({"lattice": {"size": "1 um", "refinement": 4}}, "lattice.refinement 4: one of 1, 2, 3"),
    ({"lattice": {"size": "1 um", "refinement": True}}, "lattice.refinement True: one of 1, 2, 3"),
    ({"lattice": "480 um"}, "lattice 480 um: needs a section with keys size, site, refinement"),
    ({"lattice": ["480 um"]}, "lattice ['480 um']: needs a section with keys"),
    ({"seed": 1.5}, "seed 1.5: needs a whole number"),
    ({"seed": -1}, "seed -1: must be at least 0"),
    ({"seed": True}, "seed True: needs a plain number"),
    ({"seed": [1, 2]}, "seed [1, 2]: needs a single value"),
    ({"seed": None}, "seed: needs a plain number"),
    ({"number": "continum"}, "number continum: did you mean continuum? one of auto, stochastic, continuum"),
    ({"number": ["auto"]}, "number ['auto']: did you mean auto? one of auto, stochastic, continuum"),
    ({"report": "yes"}, "report yes: needs true or false"),
    ({"report": 1}, "report 1: needs true or false"),
    ({"name": 5}, "name 5: needs text"),
    ({"image": 5}, "image 5: needs a path"),
    ({"temperature": "37 C"}, "temperature 37 C: needs a quantity in degC"),
    ({"temperature": "60 degC"}, "temperature 60 degC: must be at least 0 degC and at most 50 degC"),
    ({"dose": "5"}, "dose 5: a number of particles, a mass, a mass per kg of body, or an activity"),
    ({"weights": 1}, "weights 1: needs a list"),
    ({"weights": [1, "x"]}, "weights[1] x: needs a plain number"),
    ({"weights": [True]}, "weights[0] True: needs a plain number"),
    ({"labels": "a"}, "labels a: needs a list"),
    ({"labels": [1]}, "labels[0] 1: needs text"),
    ({"sinks": {"spleen": "-1 1/s"}}, "sinks.spleen -1 1/s: must be at least 0 1/s"),
    ({"sinks": "1 1/s"}, "sinks 1 1/s: needs a mapping of names"),
    ({"uptake": {"macrophages": {"plasm": "1 1/s"}}}, "uptake.macrophages.plasma: is missing"),
    ({"release": {"plasma": "0 1/s", "ends": ["1 h"]}}, "release.plasma 0.0: must be above 0 where times are given"),
    ({"tissue": {"kind": "treee"}}, "tissue.kind treee: is no tissue; did you mean tree? one of tree"),
    ({"tissue": {}}, "tissue.kind: is missing; one of tree"),
    ({"tissue": {"kind": ["tree"]}}, "tissue.kind ['tree']: is no tissue"),
    ({"tissue": "tree"}, "tissue tree: needs the section of a tissue, with its kind"),
    ({"processes": {"gap": {}}}, "processes.gap.kind gap: is no process; did you mean gaps? one of gaps"),
    ({"processes": {"gaps": {"pore_radius": "1 um", "enabled": "no"}}}, "processes.gaps.enabled no: needs true or false"),
    ({"processes": {"gaps": {"pore_radius": "1 um", "diameter": "1 um"}}}, "processes.gaps.diameter 1 um: is not a key here"),
    ({"processes": ["gaps"]}, "processes ['gaps']: needs a mapping of names"),
    ({"sources": {"sed": "assumed"}}, "sources.sed: is not a key of this section; did you mean seed?"),
    ({"sources": {"seed": "a paper"}}, "sources.seed a paper: needs `assumed`, or at least one of row, doi, note"),
    ({"sources": {"seed": {"row": "X1", "pmid": 5}}}, "sources.seed pmid: is neither row, doi nor note"),
    ({"sources": {"seed": {}}}, "sources.seed {}: needs `assumed`"),
    ({"sources": "assumed"}, "sources assumed: needs a mapping"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_every_kind_of_wrong_input_has_its_sentence(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputErrors) as failure:
        checked(**changes)
    assert any(line.startswith(message) for line in str(failure.value).splitlines()), str(failure.value)


def test_all_errors_are_listed_together_with_earlier_ones_first_and_none_twice() -> None:
    earlier = [InputError("seed", "${x}", "refers to a key that is not there"), InputError("a=", None, "cannot be read")]
    wrong = GOOD | {
        "seed": None,
        "report": 2,
        "lattice": {"size": 1, "sit": 2},
        "tissue": {"kind": "x"},
        "processes": {"gaps": {"enabled": 0}},
    }
    with pytest.raises(InputErrors) as failure:
        validate(Config, wrong, "base", Registered(), earlier)
    fields = [error.field for error in failure.value.errors]
    expected = ["seed", "a=", "base.seed", "base.report", "base.lattice.size", "base.lattice.sit", "base.tissue.kind"]
    assert fields == [*expected, "base.processes.gaps.enabled", "base.processes.gaps.pore_radius"]
    with pytest.raises(InputErrors) as failure:
        validate(Config, wrong, "", Registered(), earlier)
    assert [error.field for error in failure.value.errors].count("seed") == 1


def test_earlier_errors_are_raised_even_if_the_rest_is_valid() -> None:
    with pytest.raises(InputErrors, match="cannot be read"):
        validate(Config, GOOD, registry=Registered(), earlier=[InputError("a", "b", "cannot be read")])


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(InputErrors) as failure:
        checked(report="x" * 10**6)
    assert len(str(failure.value)) < 200


def test_rows_for_explain_carry_key_unit_meaning_range_and_default() -> None:
    rows = {row.key: row for row in describe(Config)}
    assert rows["lattice.site"] == ("lattice.site", "um", "edge of a site", "at least 5 um and at most 50 um", "15 um")
    assert rows["uptake.NAME.plasma"].default == "required"
    assert rows["processes.NAME"].meaning == "mechanisms in order"
    assert [row.key for row in describe(Gaps, "processes.gaps")] == ["processes.gaps.pore_radius", "processes.gaps.area_fraction"]


def test_sources_are_found_with_their_full_keys_and_the_outer_one_holds() -> None:
    assert collect_sources(GOOD) == {"seed": {"note": "any"}, "lattice.size": "assumed", "release.plasma": "assumed"}


def test_a_choice_names_the_nearest_spelling_whatever_the_case() -> None:
    assert choice_of("Mouse", ["human", "mouse"]) == "did you mean mouse? one of human, mouse"
    assert choice_of("xyz", ["human"]) == "one of human"
    assert re.match("nothing", choice_of("x", []))


def test_the_models_are_frozen() -> None:
    config = checked()
    with pytest.raises(AttributeError):
        config.seed = 2  # type: ignore[misc]
