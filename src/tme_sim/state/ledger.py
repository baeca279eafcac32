"""The ledger: what was injected, what crossed the vessel wall by which route, and whether everything is still there.

Moves between body and lattice go through `enter` and `leave`, which weigh the lattice side by its patch's copies.
`audit` adds up every array that holds carriers and compares with what was injected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.state.drug import audit_drug
from tme_sim.state.errors import ModelError
from tme_sim.state.variables import FORMS, ROUTES

if TYPE_CHECKING:
    from tme_sim.state.state import State

RELATIVE_TOLERANCE = 1e-12
"""Of real amounts (float64 fields); integers balance exactly."""

GONE = ("degraded", "washed_out")
"""Tallies of what is neither on the lattice nor in the body any more."""

Amount = NDArray[Any]


@dataclass
class Ledger:
    """Tallies that no array of the state holds. Shapes: injected (form,); the others (patch, route, form), per patch instance.

    washed_out: what the interstitial fluid carried out of the tumour, to the tissue around it or into lymph.
    """

    injected: Amount
    entered: Amount
    returned: Amount
    degraded: Amount
    washed_out: Amount
    _arrays: tuple[str, ...] = field(default=("injected", "entered", "returned", *GONE), repr=False)

    @classmethod
    def empty(cls, patches: int, dtype: type) -> Ledger:
        """Nothing has happened yet."""
        by_route: Amount = np.zeros((4, patches, len(ROUTES), len(FORMS)), dtype)
        return cls(np.zeros(len(FORMS), dtype), *by_route)

    @property
    def arrays(self) -> dict[str, Amount]:
        """Its arrays by name, for checkpoints."""
        return {name: getattr(self, name) for name in self._arrays}

    def inject(self, plasma: Amount, form: int, amount: Any) -> None:
        """A dose goes into plasma."""
        self.injected[form] += amount
        plasma[form] += amount

    def enter(self, plasma: Amount, patch: int, copies: int, route: int, amount: Amount) -> None:
        """`amount` (form,) per patch instance leaves plasma and is now on the lattice by this route."""
        plasma -= copies * amount
        self.entered[patch, route] += amount

    def leave(self, plasma: Amount, patch: int, copies: int, amount: Amount) -> None:
        """`amount` (route, form) per patch instance goes back from the lattice to plasma."""
        plasma += copies * amount.sum(axis=0)
        self.returned[patch] += amount


def lattice_amounts(state: State) -> dict[str, Amount]:
    """Compartment (interstitium, bound, endothelium, each kind of cell) → (patch, route, form) on one instance of each patch."""
    lattice = state.lattice
    shape = (len(lattice.patches), len(ROUTES), len(FORMS))
    found: dict[str, Amount] = {}
    for name, compartment in (("nanoparticle", "interstitium"), ("bound", "bound")):
        if name in state.fields:
            data = state.fields[name]
            found[compartment] = np.stack(
                [data[:, :, planes].sum(axis=(2, 3, 4), dtype=_total(data)) for planes in lattice.planes]
            )
    if state.vessels is not None and "endothelium" in state.vessels.arrays:
        stages = state.vessels.arrays["endothelium"]
        amounts: Amount = np.zeros(shape, _total(stages))
        patch_of_wall = lattice.patch_of_voxel(state.vessels.voxel)
        for patch in range(shape[0]):
            amounts[patch, ROUTES.index("transcytosis")] = stages[:, :, patch_of_wall == patch].sum(axis=(0, 2))
        found["endothelium"] = amounts
    for name, population in state.populations.items():
        if "cargo" in population:
            patch_of_agent = lattice.patch_of_site(population["site"])
            cargo = population["cargo"] + population["lysosome"]
            found[name] = np.stack([cargo[patch_of_agent == patch].sum(axis=0) for patch in range(shape[0])])
    return found


def wall_bound(state: State) -> Amount:
    """(patch, form) what phagocytes on the wall hold, on one instance of each patch: out of blood, and not in the tissue yet."""
    cells = state.populations["arrested"]
    load, patch_of_agent = cells["load"], state.lattice.patch_of_voxel(cells["voxel"])
    return np.stack([load[patch_of_agent == patch].sum(axis=0) for patch in range(len(state.lattice.patches))])


def whole_body(state: State) -> dict[str, float | int]:
    """Every term that adds up to `injected`, lattice terms weighted by copies. Python numbers: integers do not overflow."""
    copies = state.lattice.copies
    terms: dict[str, float | int] = {name: _sum(pool) for name, pool in state.body.pools.items()}
    for name, amounts in lattice_amounts(state).items():
        terms[name] = _weighted(amounts, copies)
    if "arrested" in state.populations:
        terms["wall_bound"] = _weighted(wall_bound(state), copies)
    return terms | {name: _weighted(state.ledger.arrays[name], copies) for name in GONE}


def still_loaded(state: State) -> float:
    """Carriers of the whole body that still hold their payload; those that were degraded have lost it."""
    loaded, copies = FORMS.index("loaded"), state.lattice.copies
    tissue = [*lattice_amounts(state).values(), *(a for name, a in state.ledger.arrays.items() if name == "washed_out")]
    if "arrested" in state.populations:
        tissue.append(wall_bound(state))
    held = sum(_weighted(amounts[..., loaded], copies) for amounts in tissue)
    return float(held + sum(pool[loaded].item() for pool in state.body.pools.values()))


def audit(state: State, finite: Callable[[Any], Any] = np.isfinite) -> float:
    """Balance every route, then the whole body; returns the largest relative residual. Raises ModelError naming the term.

    The routes come first: what is lost on the lattice breaks both, and the route says more. Released drug, where it is followed,
    is held to a tolerance of its own.
    """
    if state.drug:
        audit_drug(state, still_loaded(state))
    ledger, terms = state.ledger, whole_body(state)
    for name, value in terms.items():
        if not finite(value) or value < 0:
            raise ModelError(f"ledger: {name} holds {value} carriers at tick {state.tick}{_first_bad(state)}")
    residual = 0.0
    held = sum(lattice_amounts(state).values(), np.zeros_like(ledger.entered)).sum(axis=2)
    entered, gone = ledger.entered.sum(axis=2), (ledger.returned + ledger.degraded + ledger.washed_out).sum(axis=2)
    for patch, route in np.ndindex(*entered.shape):
        where = f"route {ROUTES[route]} of patch {state.lattice.patches[patch].name}"
        total = (held[patch, route] + gone[patch, route]).item()
        residual = max(residual, _check(where, entered[patch, route].item(), total, state))
    return max(residual, _check("whole body", _sum(ledger.injected), sum(terms.values()), state))


def _first_bad(state: State) -> str:
    """The field and voxel (z, y, x) that hold what no number of carriers can be; nothing where it is not on the lattice."""
    for name in ("nanoparticle", "bound"):
        if name in state.fields:
            bad = np.argwhere(~np.isfinite(state.fields[name]) | (state.fields[name] < 0))
            if len(bad):
                return f": fields.{name} at voxel {tuple(bad[0, 2:].tolist())} (z, y, x)"
    return ""


def _check(where: str, expected: float, found: float, state: State) -> float:
    difference = found - expected
    if difference == 0:
        return 0.0
    relative = abs(difference) / max(abs(expected), np.finfo(float).tiny)
    if isinstance(expected, int) or relative > RELATIVE_TOLERANCE:
        raise ModelError(
            f"ledger: {where} does not balance at tick {state.tick}: {found} found, {expected} expected ({difference:+})"
        )
    return relative


def _total(array: Amount) -> type:
    return np.int64 if array.dtype.kind == "i" else np.float64


def _sum(array: Amount) -> float | int:
    total: float | int = sum(array.ravel().tolist())
    return total


def _weighted(amounts: Amount, copies: NDArray[np.int64]) -> float | int:
    per_patch = [_sum(patch) for patch in amounts]
    return sum(n * int(c) for n, c in zip(per_patch, copies, strict=True))
