"""Which file wins, what experiments and the command line change, and that all mistakes are told together, in plain words."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from tme_sim.config.compose import available, compose, experiments
from tme_sim.config.overrides import expand
from tme_sim.config.schema import validate
from tme_sim.state.errors import InputError, InputErrors
from tme_sim.state.parameters import parameter

PACKAGED = {
    "conf/config.yaml": """
        defaults:
          - tissue: sphere
          - particle: micelle
          - drug: none
          - processes: [flow, gaps]
          - readouts: []
          - _self_
        seed: 1
        variant: full
        lattice: {size: 480 um, site: 15 um}
        protocol: {dose: 1e12particles}
        """,
    "conf/tissue/sphere.yaml": "kind: sphere\nradius: 200 um\n",
    "conf/tissue/slab.yaml": "kind: slab\n",
    "conf/particle/micelle.yaml": "diameter: 65 nm\ncharge: 0\n",
    "conf/particle/gold.yaml": "diameter: 20 nm\n",
    "conf/drug/none.yaml": "# a carrier alone\n# @package _global_\ndrug: null\n",
    "conf/processes/flow.yaml": "flow:\n  enabled: true\n",
    "conf/processes/gaps.yaml": "gaps:\n  enabled: true\n  pore_radius: 250 nm\n",
    "conf/processes/uptake.yaml": "uptake: {rate: 1 1/s}\n",
    "conf/readouts/pet.yaml": "pet: {time: 24 h}\n",
    "conf/readouts/confocal.yaml": "confocal: {}\n",
    "experiments/quick/experiment.yaml": """
        defaults:
          - override /particle: gold
          - override /processes: [gaps, uptake, flow]
        seed: 5
        lattice: {size: 960 um}
        particle: {charge: 7}
        """,
    "experiments/quick/small.yaml": "lattice: {size: 240 um}\n",
    "experiments/whole/experiment.yaml": "# @package _global_\nseed: 9\n",
    "experiments/whole/study.yaml": "arms: {}\n",
}


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(line.removeprefix(" " * 8) for line in text.splitlines()))
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write(tmp_path / "packaged", PACKAGED)


def composed(
    tree: Path, *overrides: str, experiment: str | Path | None = None, own: Path | None = None, **options: Any
) -> dict[str, Any]:
    folders = [tree / "conf"] if own is None else [own / "conf", tree / "conf"]
    return compose(folders, [tree / "experiments"], experiment, overrides, **options)


def messages(tree: Path, *overrides: str, **options: Any) -> str:
    with pytest.raises(InputErrors) as failure:
        composed(tree, *overrides, **options)
    return str(failure.value)


def test_the_base_configuration_takes_its_groups(tree: Path) -> None:
    config = composed(tree)
    assert config["tissue"] == {"kind": "sphere", "radius": "200 um"}
    assert config["drug"] is None
    assert list(config["processes"]) == ["flow", "gaps"]
    assert "hydra" not in config
    assert "defaults" not in config


def test_an_experiment_overrides_groups_order_and_values_without_any_header(tree: Path) -> None:
    config = composed(tree, experiment="quick")
    assert config["particle"] == {"diameter": "20 nm", "charge": 7}
    assert list(config["processes"]) == ["gaps", "uptake", "flow"]
    assert (config["seed"], config["lattice"]) == (5, {"size": "960 um", "site": "15 um"})
    assert composed(tree, experiment="whole")["seed"] == 9


def test_the_small_variant_comes_after_the_experiment_and_the_command_line_last(tree: Path) -> None:
    assert composed(tree, "variant=small", experiment="quick")["lattice"]["size"] == "240 um"
    assert composed(tree, experiment="quick", variant="small")["variant"] == "small"
    assert composed(tree, "variant=full", experiment="quick", variant="small")["lattice"]["size"] == "960 um"
    config = composed(tree, "lattice.size=120um", "particle=micelle", "processes=flow", experiment="quick", variant="small")
    assert config["lattice"]["size"] == "120um"
    assert config["particle"] == {"diameter": "65 nm", "charge": 7}
    assert list(config["processes"]) == ["flow"]


def test_an_experiment_may_be_any_file(tree: Path, tmp_path: Path) -> None:
    own = write(
        tmp_path / "my own, é", {"run.yaml": "defaults:\n  - override /tissue: slab\nseed: 3\n", "small.yaml": "seed: 4\n"}
    )
    assert composed(tree, experiment=own / "run.yaml")["tissue"] == {"kind": "slab"}
    assert composed(tree, experiment=str(own / "run.yaml"), variant="small")["seed"] == 4


def test_one_file_in_ones_own_conf_is_enough_and_comes_first(tree: Path, tmp_path: Path) -> None:
    own = write(
        tmp_path / "work",
        {"conf/particle/mine.yaml": "diameter: 5 nm\n", "conf/tissue/sphere.yaml": "kind: sphere\nradius: 1 mm\n"},
    )
    assert composed(tree, "particle=mine", own=own)["particle"] == {"diameter": "5 nm"}
    assert composed(tree, own=own)["tissue"]["radius"] == "1 mm"
    assert composed(tree, own=tmp_path / "nowhere") == composed(tree)
    assert available([own / "conf", tree / "conf"], "particle") == ["gold", "micelle", "mine"]
    assert available([tree / "conf"], "nothing") == []


def test_one_card_may_build_on_another(tree: Path, tmp_path: Path) -> None:
    own = write(tmp_path / "work", {"conf/particle/mine.yaml": "defaults: [micelle, _self_]\ncharge: -3\n"})
    assert composed(tree, "particle=mine", own=own)["particle"] == {"diameter": "65 nm", "charge": -3}


def test_experiments_are_listed_by_name(tree: Path, tmp_path: Path) -> None:
    assert experiments([tree / "experiments", tmp_path / "nowhere"]) == ["quick", "whole"]


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("x=65 nm", "65 nm"),
        ("x='65 nm'", "65 nm"),
        ('x="65 nm"', "65 nm"),
        ("x=65 µm", "65 um"),
        ("x=65μm", "65um"),
        ("x=5mg/kg", "5mg/kg"),
        ("x=5%", "5%"),
        ("x=5 %", "5 %"),
        ("x=5 um^2/s", "5 um^2/s"),
        ("x=5 um**2/s", "5 um**2/s"),
        ("x=1e-3 1/s", "1e-3 1/s"),
        ("x=37 °C", "37 °C"),
        ("x=-3 um", "-3 um"),
        ("x=1e12particles", "1e12particles"),
        ("x=a,b", ["a", "b"]),
        ("x=5 um^2/s,6 um^2/s", ["5 um^2/s", "6 um^2/s"]),
        ("x=[1 um,2 um]", ["1 um", "2 um"]),
        ("x={a: 1}", {"a": 1}),
        ("x='a,b'", "a,b"),
        ("x=yes", "yes"),
        ("x=true", True),
        ("x=1e3", 1000.0),
        ("x=null", None),
        ("x=", ""),
        ("x=${seed}", 1),
        ("x=${lattice}", {"size": "480 um", "site": "15 um"}),
        ("+x=1", 1),
        ("++x=1", 1),
    ],
)
def test_values_are_read_as_typed(tree: Path, override: str, value: object) -> None:
    read = composed(tree, override)["x"]
    assert read == value
    assert type(read) is type(value)


def test_list_groups_keep_the_order_of_the_command_line(tree: Path) -> None:
    for override in ("readouts=pet,confocal", "readouts=[pet,confocal]"):
        assert list(composed(tree, override)["readouts"]) == ["pet", "confocal"]
    assert list(composed(tree, "readouts=confocal")["readouts"]) == ["confocal"]
    assert "pet" not in (composed(tree, "readouts=[]").get("readouts") or {})
    assert list(composed(tree, "processes=uptake,gaps,flow")["processes"]) == ["uptake", "gaps", "flow"]


def test_a_process_is_switched_off_by_its_name(tree: Path) -> None:
    assert composed(tree, "processes.gaps.enabled=false")["processes"]["gaps"] == {"enabled": False, "pore_radius": "250 nm"}


BAD: list[tuple[list[str], str]] = [
    (["particle=gld"], "particle gld: is not a choice of particle; did you mean gold? one of gold, micelle"),
    (["particle=null"], "particle null: is not a choice of particle"),
    (["particle=3"], "particle 3: is not a choice of particle"),
    (["particle=gold,micelle"], "particle gold,micelle: takes a single choice; with -m, commas make a sweep"),
    (["processes=flow,gasp"], "processes gasp: is not a choice of processes; did you mean gaps? one of flow, gaps, uptake"),
    (["processes=gaps,gaps"], "processes gaps: appears twice"),
    (
        ["processes.uptake.enabled=false"],
        "processes.uptake.enabled False: uptake is not among the processes of this run; one of flow",
    ),
    (
        ["processes.gap.enabled=false"],
        "processes.gap.enabled False: gap is not among the processes of this run; did you mean gaps?",
    ),
    (["~drug"], "~drug: nothing can be deleted; switch it off, as in processes.NAME.enabled=false"),
    (["~processes.gaps=x"], "~processes.gaps=x: nothing can be deleted"),
    (["seed"], "seed: is not of the form key=value, such as lattice.size=480um"),
    (["=3"], "=3: is not of the form key=value"),
    (["--seed=3"], "--seed=3: is not of the form key=value"),
    (["lattice..size=3"], "lattice..size=3: is not of the form key=value"),
    (["particle@x=gold"], "particle@x=gold: is not of the form key=value"),
    (["a={"], "a {: cannot be read; a value with brackets, quotes or backslashes goes inside quotes"),
    (["a='b"], "a 'b: cannot be read"),
    (["a=[1,2"], "a [1,2: cannot be read"),
    (["a=range(1,3)"], "a range(1,3): is a sweep, and needs -m"),
    (["a=glob(*)"], "a glob(*): is a sweep, and needs -m"),
    (["a=${b.c}"], "a ${b.c}: refers to a key that is not there"),
    (["a='???'"], "a ???: must be set"),
    (["variant=tiny"], "variant tiny: is no variant; one of full, small"),
    (["hydra.run.dir=x"], "hydra.run.dir x: Hydra's own settings are not for users"),
]


@pytest.mark.parametrize(("overrides", "message"), BAD)
def test_every_wrong_override_has_its_sentence(tree: Path, overrides: list[str], message: str) -> None:
    assert messages(tree, *overrides).startswith(message)


def test_all_wrong_overrides_are_told_at_once(tree: Path) -> None:
    told = messages(tree, *(override for overrides, _ in BAD for override in overrides)).splitlines()
    unsaid = 3  # `a` is set twice to what cannot be resolved, and values below a list that was refused are not judged
    assert len(told) == len(BAD) - unsaid


def test_unknown_experiments_and_files_are_told_with_the_nearest_name(tree: Path, tmp_path: Path) -> None:
    assert messages(tree, experiment="quik") == "experiment quik: is not known; did you mean quick? one of quick, whole"
    assert messages(tree, experiment="../conf").startswith("experiment ../conf: is not known")
    assert messages(tree, experiment=tmp_path / "x.yaml") == f"experiment {tmp_path / 'x.yaml'}: there is no such file"
    assert messages(tree, experiment="whole", variant="small").endswith("small.yaml: there is no such file")


def test_mistakes_in_an_experiment_name_the_file(tree: Path, tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    for text, message in {
        "defaults:\n  - override /particle: gld\n": f"particle gld: is not a choice of particle ({own}); did you mean gold?",
        "defaults:\n  - override /processes: [gap]\n": f"processes gap: is not a choice of processes ({own}); did you mean gaps?",
        "defaults:\n  - override /partikel: gold\n": "override /partikel: gold: no group partikel; did you mean particle?",
        "defaults:\n  - particle: gold\n": f"defaults particle: gold: must be written `- override /particle: gold` ({own})",
        "defaults: [quick]\n": "defaults quick: no such file to start from; a group's choice is written",
        "particle: gold\n": f"particle gold: goes into defaults, as `- override /particle: gold` ({own})",
        "processes: [flow, gaps]\n": "processes [flow, gaps]: goes into defaults, as `- override /processes: [flow, gaps]`",
        "lattice.size: 1 mm\n": "lattice.size 1 mm: is written in sections, as `lattice: {size: 1 mm}`",
        "defaults: 5\n": "configuration: Invalid defaults list",
        "seed: ${oc.env:HOME}\n": f"{own}:1: only whole interpolations",
        "seed: 1\nseed: 2\n": f"{own}:2: the key seed appears twice",
        "other: ???\n": "other ???: must be set",
    }.items():
        own.write_text(text)
        assert message in messages(tree, experiment=own)


def test_every_unfit_file_is_told_at_once(tree: Path) -> None:
    (tree / "conf/tissue/sphere.yaml").write_text("a: !x 1\n")
    (tree / "conf/particle/micelle.yaml").write_text("a: ${env:x}\n")
    told = messages(tree, "a={")
    assert [f"{name}.yaml" in told for name in ("sphere", "micelle")] == [True, True]
    assert "a {: cannot be read" in told


@dataclass(frozen=True, kw_only=True)
class Mesh:
    size_um: float = parameter("edge", above=0)
    site_um: float = parameter("site", above=0)


def test_errors_of_composition_and_validation_are_one_list(tree: Path) -> None:
    errors: list[InputError] = []
    config = composed(
        tree, "lattice.size=480", "lattice.sit=3", "lattice.site=${nothing}", "particle=gld", "particle.x=1", errors=errors
    )
    with pytest.raises(InputErrors) as failure:
        validate(Mesh, config["lattice"], "lattice", earlier=errors)
    assert [error.field for error in failure.value.errors] == ["particle", "lattice.site", "lattice.size", "lattice.sit"]


def test_composing_writes_nothing_and_leaves_no_state(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    before, environment = sorted(tree.rglob("*")), dict(os.environ)
    first = composed(tree, experiment="quick")
    with pytest.raises(InputErrors):
        composed(tree, experiment="quick", variant="tiny")
    assert composed(tree, experiment="quick") == first
    assert not GlobalHydra.instance().is_initialized()
    assert (sorted(tree.rglob("*")), list((tmp_path / "empty").iterdir())) == (before, [])
    assert dict(os.environ) == environment
    assert Path.cwd() == tmp_path / "empty"


def test_composing_works_inside_a_job_of_hydra(tree: Path) -> None:
    import hydra

    with hydra.initialize_config_dir(str(tree / "conf"), version_base="1.3"):
        outer = GlobalHydra.instance().hydra
        assert composed(tree)["seed"] == 1
        assert GlobalHydra.instance().hydra is outer
        assert hydra.compose("config").seed == 1


def test_a_sweep_is_the_product_of_its_choices_with_the_last_key_fastest() -> None:
    jobs = expand(["a=1,2", "seed=range(1,4)", "b=65 nm"])
    assert len(jobs) == 6
    assert jobs[:4] == [
        ["a=1", "seed=1", "b=65 nm"],
        ["a=1", "seed=2", "b=65 nm"],
        ["a=1", "seed=3", "b=65 nm"],
        ["a=2", "seed=1", "b=65 nm"],
    ]
    assert expand([]) == [[]]


@pytest.mark.parametrize(
    ("sweep", "values"),
    [
        ("x=65 µm,5 um^2/s", ["65 um", "5 um^2/s"]),
        ("x='a,b',[1,2],1e-3,true,null", ["a,b", [1, 2], 1e-3, True, None]),
        ("x=choice(a,b)", ["a", "b"]),
        ("x=range(0,1,0.5)", [0.0, 0.5]),
    ],
)
def test_every_point_of_a_sweep_is_an_override_again(tree: Path, sweep: str, values: list[object]) -> None:
    assert [composed(tree, *job)["x"] for job in expand([sweep])] == values


def test_a_list_group_can_be_swept_one_by_one(tree: Path) -> None:
    assert [list(composed(tree, *job)["readouts"]) for job in expand(["readouts=pet,confocal"])] == [["pet"], ["confocal"]]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a=glob(*)", "a glob(*): is no sweep that can be listed"),
        ("a=interval(0,1)", "a interval(0,1): is no sweep that can be listed"),
        ("a=shuffle(1,2)", "a shuffle(1,2): is no sweep that can be listed"),
        ("a=range(0,1e9)", "a range(0,1e9): needs a step other than 0 and at most 100000 values"),
        ("a=range(0,5,0)", "a range(0,5,0): needs a step other than 0"),
        ("a={", "a {: cannot be read"),
        ("~a", "~a: nothing can be deleted"),
    ],
)
def test_what_cannot_be_swept_is_told_with_all_else(override: str, message: str) -> None:
    with pytest.raises(InputErrors) as failure:
        expand([override, "b=range(0,999)", "c=range(0,999)"])
    assert str(failure.value).startswith(message)
    assert "sweep of 998001 jobs: at most 100000" in str(failure.value)
