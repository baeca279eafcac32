"""What a run's folder says of where it came from: configuration, input files, program, machine."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tme_sim
from tme_sim.config.build import Built
from tme_sim.config.schema import dump
from tme_sim.config.settings import NOT_HASHED, Config
from tme_sim.files.run_store import FORMAT

LIBRARIES = ("numpy", "scipy", "numba", "zarr", "hydra-core", "pydantic", "mesa")


def config_hash(config: Config, inputs: Mapping[str, str] | None = None) -> str:
    """Hash of what decides the science: equal for equal quantities however they were spelt; `inputs` are the files' digests."""
    content = {key: value for key, value in dump(config).items() if key not in NOT_HASHED} | dict(inputs or {})
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=8).hexdigest()


def input_digests(config: Config, data: Path | None) -> dict[str, str]:
    """Key → digest of the file that it names, for the files that a run reads; a missing one is told when the run is built."""
    named = {f"tissue.{key}": config.tissue.values[key] for key in getattr(config.tissue.cls, "files", ())}
    named["nanoparticle.clearance.curve"] = config.nanoparticle.clearance.curve
    found = {}
    for key, name in named.items():
        places = [folder / name for folder in (Path(), data) if name and folder is not None]
        if file := next((place for place in places if place.is_file()), None):
            with file.open("rb") as content:
                found[key] = hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
    return found


def facts_of(config: Config, built: Built, threads: int, data: Path | None) -> dict[str, Any]:
    """The part of `run.json` that is known before the first step."""
    patches = [asdict(patch) for patch in built.state.lattice.patches]
    return {
        "format": FORMAT,
        "name": config.name,
        "hash": config_hash(config),
        "seed": config.seed,
        "number": built.state.number,
        "number_why": built.number_why,
        "dose_particles": built.dose,
        "tumor_mass_g": built.tumor_mass_g,
        "patches": patches,
        "sites": built.state.lattice.sites,
        "voxel_um": built.state.lattice.voxel_um,
        "morphometry": built.geometry.morphometry,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "resumed_from": None,
        "commit": commit(),
        "threads": threads,
        "data": str(data.resolve()) if data else None,
        "inputs": input_digests(config, data),
        "versions": {"tme_sim": tme_sim.__version__, "python": platform.python_version()}
        | {name: version(name) for name in LIBRARIES},
        "machine": f"{platform.system()} {platform.machine()}",
    }


def commit() -> str | None:
    """The commit that runs, with a + where files differ from it; None where the package is installed without its repository."""
    place = ["git", "-C", str(Path(__file__).parents[2])]
    try:
        head = subprocess.run(
            [*place, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        ours = subprocess.run([*place, "ls-files", "--error-unmatch", __file__], capture_output=True, check=False, timeout=10)
        changed = subprocess.run([*place, "diff", "--quiet", "HEAD"], capture_output=True, check=False, timeout=10).returncode
    except (OSError, subprocess.SubprocessError):
        return None
    return head + "+" * bool(changed) if ours.returncode == 0 else None


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1024**2
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)
