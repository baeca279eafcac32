"""Tables that users give: a measured plasma curve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tme_sim.state.errors import InputError

FIELD = "nanoparticle.clearance.curve"


def read_plasma_curve(path: Path, data: Path | None) -> NDArray[np.float64]:
    """(2, points): seconds and share of the first point, from a CSV with columns time_h and percent_id.

    Times must increase from 0 and values must be positive and never rise (a bolus). InputError names what is wrong.
    """
    found = path if path.is_absolute() or data is None or path.exists() else data / path
    try:
        table = pd.read_csv(found, comment="#", nrows=100_000)
        time_h, percent = (table[name].to_numpy(np.float64) for name in ("time_h", "percent_id"))
    except FileNotFoundError:
        raise InputError(FIELD, path, "the file does not exist; paths are taken from the working directory or --data") from None
    except KeyError as error:
        raise InputError(FIELD, path, f"must have columns time_h and percent_id; {error} is missing") from None
    except (OSError, ValueError):
        raise InputError(FIELD, path, "must be a CSV file with numbers in columns time_h and percent_id") from None
    if len(time_h) < 2 or not (np.isfinite(time_h).all() and np.isfinite(percent).all()):
        raise InputError(FIELD, path, "must have at least two rows of finite numbers")
    if time_h[0] != 0 or (np.diff(time_h) <= 0).any():
        raise InputError(FIELD, path, "times must start at 0 and increase")
    if (percent <= 0).any() or (np.diff(percent) > 0).any():
        raise InputError(FIELD, path, "percent_id must be positive and must not rise: it is the curve of one bolus")
    return np.stack([time_h * 3600, percent / percent[0]])
