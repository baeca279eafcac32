"""What users get wrong, through the real configuration and command line: exit code 2, one clear line each, nothing written."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tme_sim.cli import main
from tme_sim.config.load import load, request
from tme_sim.provenance import config_hash

Files = Mapping[str, str | bytes]

PARTICLE_KEYS = (
    "hydrodynamic_diameter, corona_shift, polydispersity_index, core_diameter, density, molar_mass, mass_error, drug_fraction, "
    "iron_fraction, gadolinium_fraction, polymer_fraction, label, contrast, diffusivity, accessible_share, "
    "transcytosis_permeability, transcytosis_receptors, clearance, binding, uptake, release"
)
UNREAD = "nothing reads this key in the configuration as composed; leave it out or enable what reads it"
DOSE = "a number of particles, a mass, a mass per kg of body, or an activity: 1e12particles, 2mg, 5mg/kg, 5MBq"
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))


def volume(
    shape: tuple[int, ...] = (8, 16, 16), voxel_um: float | None = 15.0, fill: int | None = None, keep: float = 1
) -> bytes:
    """An OME-TIFF with one straight vessel, or with a single value; `keep` cuts the file off."""
    data = np.full(shape, fill or 0, np.uint8)
    if fill is None:
        data[..., 4:6, :] = 1
    sizes = {f"PhysicalSize{axis}": voxel_um for axis in "ZYX"} if voxel_um else {}
    file = io.BytesIO()
    tifffile.imwrite(file, data, ome=True, metadata={"axes": "CZYX"[-len(shape) :], **sizes})
    return file.getvalue()[: int(len(file.getvalue()) * keep)]


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, Files], list[str]]:
    """The lines that the command line answers with, after checking what holds for every refusal."""

    def run(words: str, files: Files) -> list[str]:
        monkeypatch.chdir(tmp_path)
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        before = sorted(tmp_path.rglob("*"))
        assert main(words.split("|")) == 2
        assert sorted(tmp_path.rglob("*")) == before
        told = capsys.readouterr()
        assert told.out == ""
        assert "Traceback" not in told.err
        lines = told.err.splitlines()
        assert lines
        assert all(line.startswith("tme-sim: error: ") for line in lines)
        return [line.removeprefix("tme-sim: error: ") for line in lines]

    return run


def matches(line: str, expected: str) -> bool:
    """Equal; or the beginning, where the expected line ends in an ellipsis."""
    return line.startswith(expected[:-1]) if expected.endswith("…") else line == expected


VALUES = [
    (
        "nanoparticle.hydrodynamic_diameter=65",
        "nanoparticle.hydrodynamic_diameter 65: needs a unit: a quantity in um, such as `65 um`, or in nm, mm",
    ),
    (
        "nanoparticle.hydrodynamic_diameter=65kg",
        "nanoparticle.hydrodynamic_diameter 65kg: needs a quantity in um; kg measures something else",
    ),
    (
        "nanoparticle.hydrodynamic_diameter=65nn",
        "nanoparticle.hydrodynamic_diameter 65nn: nn is no unit; needs a quantity in um",
    ),
    (
        "nanoparticle.hydrodynamic_diameter=",
        "nanoparticle.hydrodynamic_diameter : needs a quantity in um, written as a number and a unit",
    ),
    (
        "nanoparticle.hydrodynamic_diameter=3um",
        "nanoparticle.hydrodynamic_diameter 3um: must be above 0.0005 um and at most 2 um",
    ),
    (
        "nanoparticle.hydrodynamic_diamter=65nm",
        f"nanoparticle.hydrodynamic_diamter 65nm: is not a key here; did you mean hydrodynamic_diameter? one of {PARTICLE_KEYS}",
    ),
    (
        "nanoparticle.clearance=curve",
        (
            "nanoparticle.clearance curve: needs a section with keys model, kupffer, kupffer_maximum, kupffer_half_saturation, "
            "kupffer_capacity, sinks, size_exponent, renal_sieving, opsonised_affinity, opsonisation_time, repeat_acceleration, "
            "repeat_delay, fast_fraction, fast_half_life, slow_half_life, curve"
        ),
    ),
    ("processes.gaps.pore_radius=-250nm", "processes.gaps.pore_radius -250nm: must be above 0 um and at most 5 um"),
    ("processes.gaps.enabled=no", "processes.gaps.enabled no: needs true or false"),
    (
        "processes.gap.enabled=false",
        (
            "processes.gap.enabled False: gap is not among the processes of this run; did you mean gaps? one of circulation, "
            "gaps, transcytosis, phagocytes, migration, transport, binding, uptake, release; processes=a,b chooses"
        ),
    ),
    ("lattice.size=0um", "lattice.size 0um: must be above 0 um and at most 20000 um"),
    ("lattice.size=-1mm", "lattice.size -1mm: must be above 0 um and at most 20000 um"),
    ("lattice.size=nan", "lattice.size nan: needs a quantity in um, written as a number and a unit"),
    ("lattice.size=inf um", "lattice.size inf um: needs a quantity in um, written as a number and a unit"),
    ("lattice=5", "lattice 5: needs a section with keys size, site, refinement, boundaries"),
    ("lattice.boundaries.x=wrap", "lattice.boundaries.x wrap: one of no_flux, periodic"),
    ("lattice.boundaries=periodic", "lattice.boundaries periodic: needs a section with keys z, y, x"),
    ("lattice.boundaries.w=periodic", "lattice.boundaries.w periodic: is not a key here; one of z, y, x"),
    ("lattice.refinement=4", "lattice.refinement 4: must be at least 1 and at most 3"),
    ("lattice.refinement=1.5", "lattice.refinement 1.5: needs a whole number"),
    ("protocol.duration=24", "protocol.duration 24: needs a unit: a quantity in s, such as `24 s`, or in ms, min, h, d"),
    ("protocol.duration=0h", "protocol.duration 0h: must be above 0 s"),
    ("protocol.times=-1h", "protocol.times[0] -1h: must be at least 0 s"),
    ("protocol.dose=5", f"protocol.dose 5: {DOSE}"),
    ("protocol.dose=5mg/ml", f"protocol.dose 5mg/ml: {DOSE}"),
    ("protocol.dose=-5mg/kg", f"protocol.dose -5mg/kg: must not be negative; {DOSE}"),
    ("protocol.dose_of=gold", "protocol.dose_of gold: one of particle, drug, iron, gadolinium, polymer, activity"),
    ("cells.macrophage_fraction=2", "cells.macrophage_fraction 2: must be at least 0 and at most 1"),
    ("checkpoint.wall_interval=0.1s", "checkpoint.wall_interval 0.1s: must be at least 1 s"),
    ("record.level=all", "record.level all: one of summary, series, full"),
    ("number=integer", "number integer: one of auto, stochastic, continuum"),
    ("seed=abc", "seed abc: needs a plain number"),
    ("seed=1,2", "seed [1, 2]: needs a single value (commas make a sweep with -m, else a list)"),
    ("seed=range(1,5)", "seed range(1,5): is a sweep, and needs -m"),
    ("seed==5", "seed =5: needs a plain number"),
    ("variant=tiny", "variant tiny: is no variant; one of full, small"),
    ("report=yes", "report yes: needs true or false"),
    ("name=../elsewhere", "name ../elsewhere: up to 64 letters, digits, _ and -, the first a letter or digit"),
    ("name=12:30", "name 12:30: up to 64 letters, digits, _ and -, the first a letter or digit"),
    ("a b=5", "a b=5: is not of the form key=value, such as lattice.size=480um"),
    ("~drug=x", "~drug=x: nothing can be deleted; switch it off, as in processes.NAME.enabled=false"),
]
CHOICES = [
    (
        "nanoparticle=micele_65nm",
        "nanoparticle micele_65nm: is not a choice of nanoparticle; did you mean micelle_65nm? one of …",
    ),
    ("tissue=vasculartree", "tissue vasculartree: is not a choice of tissue; did you mean vascular_tree? one of …"),
    ("tissue.kind=from_image", "tissue.kind from_image: a tissue is chosen with tissue=from_image"),
    ("drug=cisplatin", "drug cisplatin: is not a choice of drug; one of …"),
    ("body=rat", "body rat: is not a choice of body; one of human, mouse"),
    ("body=mouse,human", "body mouse,human: takes a single choice; with -m, commas make a sweep"),
    ("processes=circulation,gap", "processes gap: is not a choice of processes; did you mean gaps? one of …"),
    ("processes=gaps,gaps", "processes gaps: appears twice"),
    ("readouts=no_such_instrument", "readouts no_such_instrument: …"),
]
RUNS = [  # found while State(0) is built: the configuration is valid, the run is not
    ("lattice.size=485um", "lattice.size 485 um: must be a whole multiple of lattice.site, 15 um, and at least 4 of them"),
    ("lattice.size=20mm|lattice.refinement=3", "lattice.size 20 mm: needs 3.2e+04 GB of memory at least, and this machine has …"),
    ("lattice.site=10um", "lattice.site 10 um: a cell of 2494 um^3 must fill at most 95 % of a site"),
    ("protocol.duration=90s", "protocol.duration 90 s: must be a whole multiple of the step, 60 s"),
    ("record.interval=90s", "record.interval 90 s: must be a whole multiple of the step, 60 s"),
    ("protocol.times=0h,30h", "protocol.times 0 h,30 h: at least one dose, and every dose before protocol.duration"),
    ("protocol.times=[]", "protocol.times []: at least one dose, and every dose before protocol.duration"),
    ("protocol.dose=0particles", "protocol.dose 0 particles: is 0 particles; must be between 1 and 1e+16"),
    ("protocol.dose=5g", "protocol.dose 5 g: is 3.31e+16 particles; must be between 1 and 1e+16"),
    (
        "protocol.dose=5MBq",
        "protocol.dose 5000000 Bq: this nanoparticle has no radioactive label; give particles or a mass",
    ),
    (
        "protocol.dose_of=drug|protocol.dose=5mg/kg|drug=none",
        "protocol.dose_of drug: this run has no drug; choose one with drug=NAME, or dose_of=particle",
    ),
    (
        "protocol.dose_of=drug|protocol.dose=5mg/kg|nanoparticle.drug_fraction=0",
        "protocol.dose_of drug: needs nanoparticle.drug_fraction above 0; or dose_of particle",
    ),
    (
        "nanoparticle.uptake=null|cells.macrophage_fraction=1|processes=circulation,gaps,transport,uptake",
        "nanoparticle.uptake.macrophages: is missing; the tissue holds macrophages and the card must say how they take it up",
    ),
    ("tissue.tumor_mass=0.1ug", "tissue.tumor_mass 0.1 ug: must be at least 1.73e-06 g, which the patch tumor on the lattice…"),
    ("tissue.vessel_surface=90mm^2/mm^3", "tissue.vessel_surface 0.09 1/um: above 0 and at most 0.0807 1/um at this radius"),
    (
        "number=stochastic|protocol.dose=1e16particles|nanoparticle.transcytosis_permeability=1e-4 cm/s",
        "number stochastic: about …",
    ),
    (
        "processes=gaps,transport",
        "processes.gaps: needs body.plasma, which nothing in this run provides; add circulation to the processes",
    ),
    (
        "processes=circulation,transport",
        (
            "processes.transport: needs fields.nanoparticle, which nothing in this run provides; "
            "add gaps or transcytosis to the processes"
        ),
    ),
    (
        "nanoparticle.clearance.model=biexponential",
        "nanoparticle.clearance biexponential: needs slow_half_life, and fast_half_life where fast_fraction > 0",
    ),
    ("processes.gaps.enabled=false|processes.gaps.pore_radius=1um", f"processes.gaps.pore_radius: {UNREAD}"),
    ("processes.binding.enabled=false|nanoparticle.binding.on_rate=1e-6 1/s", f"nanoparticle.binding.on_rate: {UNREAD}"),
    ("nanoparticle.clearance.fast_fraction=0.3", f"nanoparticle.clearance.fast_fraction: {UNREAD}"),
    ("body.mass=30g", f"body.mass: {UNREAD} (only a dose per kg of body depends on it)"),
    (
        "protocol.dose_of=drug",
        f"protocol.dose_of: {UNREAD} (a dose in particles or Bq counts whole particles; only a mass is of something in them)",
    ),
    ("drug.molar_mass=800g/mol", f"drug.molar_mass: {UNREAD}"),
    ("integrator=explicit", f"integrator: {UNREAD} (counts move by hops, only number=continuum integrates)"),
]
CODE = [
    (
        "tissue._target_=os.system",
        "tissue._target_ os.system: `_target_` would execute code and is refused; `kind` names what is…",
    ),
    ("+hydra.callbacks.x._target_=os.system", "hydra.callbacks.x._target_ os.system: Hydra's own settings are not for users; …"),
    ("hydra.run.dir=/tmp", "hydra.run.dir /tmp: Hydra's own settings are not for users; allowed: hydra.launcher.account, …"),
    (
        "seed=${oc.env:HOME}",
        (
            "seed ${oc.env:HOME}: only whole interpolations of keys, such as ${lattice.size}, are allowed: no resolvers, "
            "no environment"
        ),
    ),
    (
        "lattice.boundaries.x=periodic",
        (
            "lattice.boundaries.x periodic: not with phagocytes, migration, for which nothing passes the faces; no_flux, or "
            "processes.NAME.enabled=false"
        ),
    ),
    (
        "processes=circulation,interstitial_flow,gaps,transport|lattice.boundaries.y=periodic",
        "lattice.boundaries.y periodic: not with interstitial_flow, whose pressure holds at the faces; no_flux",
    ),
    ("seed=${no.such.key}", "seed ${no.such.key}: refers to a key that is not there"),
]


@pytest.mark.parametrize(("words", "line"), [*VALUES, *CHOICES, *CODE])
def test_a_wrong_value_is_told_in_its_line(refused: Callable[..., list[str]], words: str, line: str) -> None:
    (told,) = refused(f"run|quick|{words}", {})
    assert matches(told, line), told


@pytest.mark.parametrize(("words", "line"), RUNS)
def test_a_run_that_cannot_be_is_told_in_its_line(refused: Callable[..., list[str]], words: str, line: str) -> None:
    small = "" if "lattice.size" in words else "|lattice.size=120um"
    (told,) = refused(f"run|quick{small}|{words}", {})
    assert matches(told, line), told


FLAGS = [
    ("run|quik", {}, "experiment quik: is not known; did you mean quick? one of …"),
    ("run|quick|lightsheet_tumor", {}, "experiment quick lightsheet_tumor: one experiment at a time; overrides are written …"),
    ("run|quick|seed=1|seed=2", {}, "seed: is set more than once; which of its values is meant?"),
    ("run|quick|replicates=3", {}, "replicates 3: is for sweeps; add -m, or leave it at 1"),
    ("run|quick|--workers|2", {}, "--workers 2: is for sweeps; add -m"),
    ("run|quick|--threads|0", {}, "--threads: must be a whole number, 1 or more, not 0"),
    ("run|quick|--treads|2", {}, "--treads: is unknown here; tme-sim COMMAND --help lists what there is"),
    ("run|quick|--extension|no_such_module", {}, "--extension no_such_module: must be an importable Python module (No module…"),
    ("runn|quick", {}, "command runn: did you mean run? one of …"),
    ("list|nanoparticle", {}, "kind nanoparticle: did you mean nanoparticles? one of …"),
    ("explain", {}, "tme-sim explain: needs KEY; tme-sim explain --help"),
    (
        "explain|nanoparticle.hydrodynamic_diamter",
        {},
        "key nanoparticle.hydrodynamic_diamter: no such key; did you mean nanoparticle.hydrodynamic_diameter, …",
    ),
    (
        "run|quick|lattice.size=120um|--out|full",
        {"full/run.json": "{}"},
        "--out full: must be a new or empty folder; this one holds something already",
    ),
    (
        "run|quick|lattice.size=120um|--out|file/run",
        {"file": ""},
        "--out file/run: must be a folder that can be made; Not a directory",
    ),
    ("run|--resume|nowhere", {}, "run nowhere: no such run; a run folder, `last`, or the start of a run's hash under runs"),
    ("run|--resume|last", {}, "run last: no such run; a run folder, `last`, or the start of a run's hash under runs"),
    ("run|--resume|", {}, "run : no such run; a run folder, `last`, or the start of a run's hash under runs"),
    ("run|--resume|x", {"x/run.json": "{"}, "run x: must be a run folder, one that holds run.json"),
    ("run|--resume|x", {"x/run.json": '{"format": 9, "status": "done"}'}, "run x: has format 9; this version reads up to 1"),
    (
        "run|--resume|x",
        {"x/run.json": '{"format": 1, "status": "interrupted"}'},
        "run x: has no config.yaml that can be read; start it again",
    ),
    ("run|quick|--resume|last", {}, "--resume last quick: goes on with the run as it was; give no experiment, overrides, …"),
    ("run|--from|nowhere", {}, "run nowhere: no such run; a run folder, `last`, or the start of a run's hash under runs"),
    ("run|quick|--from|last", {}, "experiment quick: --from RUN takes the place of an experiment; give one of them"),
    ("run|-m|quick|lattice.size=120um,121", {}, "lattice.size 121: needs a unit: a quantity in um, such as `121 um`, or in …"),
    ("run|-m|quick|lattice.size=120um|--out|x", {"x/run.json": "{}"}, "--out x: holds a single run; a sweep needs a folder …"),
    ("run|-m|quick|lattice.size=120um|--out|x", {"x": ""}, "--out x: must be a folder that can be made; File exists"),
]


@pytest.mark.parametrize(("words", "files", "line"), FLAGS)
def test_a_wrong_command_is_told_in_its_line(refused: Callable[..., list[str]], words: str, files: Files, line: str) -> None:
    (told,) = refused(words, files)
    assert matches(told, line), told


YAML = [
    ("a:\tb: 1\n", "mine.yaml:1: is not valid YAML: mapping values are not allowed in this context"),
    ("\tseed: 1\n", "mine.yaml:1: is not valid YAML: found character that cannot start any token"),
    ("seed: 1\nseed: 2\n", "mine.yaml:2: the key seed appears twice"),
    ("- seed\n", "mine.yaml: must hold keys and values"),
    ("# a comment\n" * 100_000, "mine.yaml of 1.1 MiB: a configuration file holds at most 1 MiB"),
    (BOMB, "mine.yaml:5: holds more than 20000 values (aliases expanded) or 50 levels"),
    ("seed: ${oc.env:HOME}\n", "mine.yaml:1: only whole interpolations of keys, such as ${lattice.size}, are allowed: no …"),
    ("tissue: {_target_: os.system}\n", "mine.yaml:1: `_target_` would execute code and is refused; `kind` names what is built"),
    ("hydra: {run: {dir: x}}\n", "mine.yaml:1: hydra: Hydra's own settings are refused in files"),
    (
        "protocol:\n  duraton: 4 h\n",
        "protocol.duraton 4 h: is not a key here; did you mean duration? one of route, dose, dose_of, times, infusion, duration",
    ),
    ("protocol:\n  times: 0 h\n", "protocol.times 0 h: needs a list, such as [a,b]"),
    ("protocol.duration: 4 h\n", "protocol.duration 4 h: is written in sections, as `protocol: {duration: 4 h}` (mine.yaml)"),
    (
        "nanoparticle: micelle_65nm\n",
        "nanoparticle micelle_65nm: goes into defaults, as `- override /nanoparticle: micelle_65nm` (mine.yaml)",
    ),
    (
        "processes: [circulation, gaps]\n",
        "processes [circulation, gaps]: goes into defaults, as `- override /processes: [circulation, gaps]` (mine.yaml)",
    ),
    (
        "defaults:\n  - nanoparticle: micelle_65nm\n",
        "defaults nanoparticle: micelle_65nm: must be written `- override /nanoparticle: micelle_65nm` (mine.yaml)",
    ),
    (
        "defaults:\n  - override /nanoparticle: micele_65nm\n",
        "nanoparticle micele_65nm: is not a choice of nanoparticle (mine.yaml); did you mean micelle_65nm? one of …",
    ),
    ("defaults: [quick]\n", "defaults quick: no such file to start from; a group's choice is written …"),
    (
        "processes:\n  leaks: {kind: gaps, pore_radius: 1 um, wall_length: 500 nm, area_fraction: 0.001}\n",
        "processes.leaks.kind gaps: is there already; one process of a kind",
    ),
]


@pytest.mark.parametrize(("text", "line"), YAML)
def test_a_wrong_file_is_told_in_its_line(refused: Callable[..., list[str]], text: str, line: str) -> None:
    (told,) = refused("run|mine.yaml", {"mine.yaml": text})
    assert matches(told, line), told


def test_a_file_that_is_not_there_is_told(refused: Callable[..., list[str]]) -> None:
    assert refused("run|mine.yaml", {}) == ["experiment mine.yaml: there is no such file"]


IMAGES = [
    ("", {}, "tissue.vessels v.ome.tif: the file does not exist; paths are taken from the working directory or from --data …"),
    ("", {"v.ome.tif": volume(voxel_um=None)}, "tissue.voxel: must be set, v.ome.tif does not say its voxel size along z"),
    (
        "tissue.voxel=4um",
        {"v.ome.tif": volume()},
        "tissue.voxel 4 um: must agree with v.ome.tif, whose header says 15 um along z",
    ),
    (
        "",
        {"v.ome.tif": volume(fill=0)},
        "tissue.vessels v.ome.tif: must mark some voxels as vessel and leave some; 0% of it lies above 0; …",
    ),
    ("", {"v.ome.tif": volume(fill=1)}, "tissue.vessels v.ome.tif: must mark some voxels as vessel and leave some; …"),
    ("", {"v.ome.tif": volume(keep=0.5)}, "tissue.vessels v.ome.tif: must be complete: its list of pages breaks off"),
    ("", {"v.ome.tif": "not a picture"}, "tissue.vessels v.ome.tif: must be a readable volume …"),
    ("", {"v.ome.tif": ""}, "tissue.vessels v.ome.tif: must not be empty"),
    (
        "",
        {"v.ome.tif": volume(shape=(16, 16), voxel_um=None)},
        "tissue.vessels v.ome.tif: must be a volume with axes ZYX (one channel, one time), not YX of shape (16, 16)",
    ),
    (
        "",
        {"v.ome.tif": volume(shape=(3, 8, 16, 16))},
        "tissue.vessels v.ome.tif: must hold one channel and one time, its OME-XML says 3 and 1",
    ),
    (
        "tissue.tumor=t.ome.tif",
        {"v.ome.tif": volume(), "t.ome.tif": volume((8, 16, 17))},
        "tissue.tumor t.ome.tif: has shape (8, 16, 17); must be that of tissue.vessels, (8, 16, 16)",
    ),
    (
        "tissue.tumor=t.ome.tif",
        {"v.ome.tif": volume(), "t.ome.tif": volume(fill=0)},
        "tissue.tumor t.ome.tif: must overlap the vessels; no vessel wall lies inside this mask",
    ),
    (
        "tissue.nuclei=t.ome.tif",
        {"v.ome.tif": volume(), "t.ome.tif": volume(fill=0)},
        "tissue.nuclei t.ome.tif: must have signal inside the tumour; there is none",
    ),
    (
        "tissue.tumor=t.png",
        {"v.ome.tif": volume(), "t.png": "x"},
        "tissue.tumor t.png: must end in one of .tif, .tiff, .nii, .nii.gz, .npy, .zarr",
    ),
    ("lattice.size=480um", {"v.ome.tif": volume()}, f"lattice.size: {UNREAD} (the size of the box comes from the images)"),
]


@pytest.mark.parametrize(("words", "files", "line"), IMAGES)
def test_a_wrong_image_is_told_in_its_line(refused: Callable[..., list[str]], words: str, files: Files, line: str) -> None:
    extra = f"|{words}" if words else ""
    (told,) = refused(f"run|tissue=from_image|tissue.vessels=v.ome.tif{extra}", files)
    assert matches(told, line), told


CURVES = [
    ("time,percent\n0,100\n", "must have columns time_h and percent_id; 'time_h' is missing"),
    ("time_h;percent_id\n0;100\n1;50\n", "must have columns time_h and percent_id; 'time_h' is missing"),
    ("time_h,percent_id\n1,100\n2,50\n", "times must start at 0 and increase"),
    ("time_h,percent_id\n0,100\n2,50\n1,20\n", "times must start at 0 and increase"),
    ("time_h,percent_id\n0,100\n24,-5\n", "percent_id must be positive and must not rise: it is the curve of one bolus"),
    ("time_h,percent_id\n0,100\n24,120\n", "percent_id must be positive and must not rise: it is the curve of one bolus"),
    ("time_h,percent_id\n0,100\n24,none left\n", "must be a CSV file with numbers in columns time_h and percent_id"),
    ("time_h,percent_id\n0,100\n24,\n", "must have at least two rows of finite numbers"),
    ("time_h,percent_id\n0,100\n", "must have at least two rows of finite numbers"),
    ("", "must be a CSV file with numbers in columns time_h and percent_id"),
    ("time_h,percent_id\n0,100\n6,50\n", "ends at 6 h, before protocol.duration"),
]


@pytest.mark.parametrize(("text", "line"), CURVES)
def test_a_wrong_plasma_curve_is_told_in_its_line(refused: Callable[..., list[str]], text: str, line: str) -> None:
    words = "run|quick|nanoparticle.clearance.model=curve|nanoparticle.clearance.curve=plasma.csv"
    assert refused(words, {"plasma.csv": text}) == [f"nanoparticle.clearance.curve plasma.csv: {line}"]


def test_a_plasma_curve_is_of_one_bolus(refused: Callable[..., list[str]]) -> None:
    words = "run|quick|nanoparticle.clearance.model=curve|nanoparticle.clearance.curve=plasma.csv|protocol.infusion=1h"
    told = refused(words, {"plasma.csv": "time_h,percent_id\n0,100\n24,10\n"})
    assert told == ["nanoparticle.clearance.model curve: a given plasma curve is that of one bolus; use compartments"]


def test_everything_wrong_with_the_values_is_told_at_once(refused: Callable[..., list[str]]) -> None:
    told = refused("run|quick|seed=x|lattice.size=480|nanoparticle.colour=red|protocol.dose=5|drug=none such|number=3", {})
    fields = {line.split(" ")[0].rstrip(":") for line in told}
    assert fields == {"seed", "lattice.size", "nanoparticle.colour", "protocol.dose", "drug", "number"}
    assert len(told) == 6


def test_everything_wrong_with_the_run_is_told_at_once(refused: Callable[..., list[str]]) -> None:
    words = "lattice.size=485um|protocol.dose=0particles|protocol.times=0h,48h|record.interval=90s|nanoparticle.uptake=null"
    told = refused(f"run|quick|{words}|nanoparticle.clearance.model=curve", {})
    fields = {line.split(" ")[0].rstrip(":") for line in told}
    uptake = {f"nanoparticle.uptake.{kind}" for kind in ("macrophages", "tumor_cells", "neutrophils", "monocytes")}
    times = {"protocol.times", "record.interval"}
    assert fields == {"lattice.size", "protocol.dose", "nanoparticle.clearance.curve", *uptake, *times}
    assert len(told) == len(fields)


def test_plan_refuses_what_run_refuses(refused: Callable[..., list[str]]) -> None:
    assert refused("plan|quick|lattice.size=485um", {}) == refused("run|quick|lattice.size=485um", {})


@pytest.mark.parametrize(
    "spellings",
    [
        [f"nanoparticle.hydrodynamic_diameter={text}" for text in ("64 nm", "64nm", "0.064um", "6.4e-8 m", "'64 nm'", "64.0nm")],
        [f"nanoparticle.diffusivity={text}" for text in ("0.5um^2/s", "0.5 um**2/s", "0.5µm^2/s", "5e-9 cm^2/s")],
        [f"protocol.duration={text}" for text in ("48h", "48 hours", "2d", "2880 min", "172800s")],
        [f"protocol.dose={text}" for text in ("5mg/kg", "0.005 g/kg", "5000ug/kg")],
        [f"cells.macrophage_fraction={text}" for text in ("0.3", "30%", "30 %", "3e-1")],
        [f"protocol.times={text}" for text in ("0h,6h", "[0h,6h]", "0 s,360 min")],
        [f"protocol.times={text}" for text in ("2h", "[2h]", "120min")],
        [f"body.plasma_volume={text}" for text in ("2mL", "2000uL", "2 cm^3")],
    ],
    ids=lambda spellings: str(spellings[0]),
)
def test_equal_quantities_are_one_configuration_however_they_are_spelt(spellings: list[str]) -> None:
    hashes = {config_hash(load(request(["quick", words])).config) for words in spellings}
    assert len(hashes) == 1
    assert hashes != {config_hash(load(request(["quick"])).config)}
