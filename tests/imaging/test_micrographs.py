"""The preset microscopes, looking at a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tme_sim.acquiring import acquire, with_readouts
from tme_sim.config.load import load, request
from tme_sim.files.run_folder import RunFolder
from tme_sim.runner import execute

PRESETS = ("confocal", "intravital", "lightsheet", "histology")
WORDS = (
    "nanoparticle=ccpm_cy7",
    "drug=none",
    "protocol.dose=1e14particles",
    "number=continuum",
    "report=false",
    "lattice.size=120um",
)


@pytest.mark.slow
def test_the_presets_see_a_run_and_again_the_same(tmp_path: Path) -> None:
    words = (*WORDS, "protocol.duration=4h", "step=5min", "record.interval=4h", "lattice.refinement=2")
    execute(load(request(list(words))).config, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    config = with_readouts(run, PRESETS).config
    seen, refused = acquire(run, config)
    again, _ = acquire(run, config)
    assert refused == {}
    assert set(seen) == set(PRESETS)
    for name, (image,) in seen.items():
        assert np.array_equal(image.data, again[name][0].data)
        assert np.isfinite(image.data).all()
        assert image.data[0].max() > 1.2 * np.median(image.data[0])
        told = {(q.region, q.quantity): q.value for q in image.quantities}
        true = [value for (region, quantity), value in told.items() if region != "tumor" and quantity.endswith("percent_true")]
        assert sum(true) == pytest.approx(100)
        assert told.get(("field", "particles_saturated"), 0.0) < 1.0
