"""Isotopes: what decays, with a positron or a photon, and how far the positron goes."""

from __future__ import annotations

from dataclasses import dataclass

from tme_sim.state.errors import InputError


@dataclass(frozen=True)
class PositronRange:
    """One branch of positrons: its share of all, mean and largest distance from decay to annihilation in water."""

    share: float
    mean_um: float
    most_um: float


@dataclass(frozen=True)
class Isotope:
    """half_life_s; positron_fraction: positrons per decay; ranges: their branches, none where it emits no positrons."""

    name: str
    half_life_s: float
    positron_fraction: float
    ranges: tuple[PositronRange, ...] = ()


def _one(mean_mm: float, most_mm: float) -> tuple[PositronRange, ...]:
    return (PositronRange(1.0, 1e3 * mean_mm, 1e3 * most_mm),)


_HOUR_S = 3600.0
ISOTOPES = {
    isotope.name: isotope
    for isotope in (
        Isotope("18F", 109.8 * 60, 0.969, _one(0.6, 2.4)),
        Isotope("64Cu", 12.7 * _HOUR_S, 0.175, _one(0.7, 2.5)),
        Isotope("89Zr", 78.4 * _HOUR_S, 0.227, _one(1.3, 3.8)),
        Isotope("68Ga", 67.7 * 60, 0.877, _one(3.5, 9.2)),
        Isotope("124I", 100.2 * _HOUR_S, 0.227, (PositronRange(0.52, 2800.0, 6300.0), PositronRange(0.48, 4400.0, 9500.0))),
        Isotope("99mTc", 6.01 * _HOUR_S, 0.0),
        Isotope("111In", 67.3 * _HOUR_S, 0.0),
    )
}
"""Half-lives, β⁺ fractions and mean ranges: J Nucl Med 2022;63:649, table 3 (doi:10.2967/jnumed.121.263506; literature rows
I01-I06; the branches of ¹²⁴I share 11.7 : 10.7). Largest ranges: Conti & Eriksson 2016 (doi:10.1186/s40658-016-0144-5; row I07),
that of ⁶⁸Ga from memory. ¹¹¹In, a photon emitter, from memory."""


def positron_emitter(name: str) -> Isotope:
    """The isotope of a label. Raises InputError where PET cannot see it."""
    seen = [known for known, isotope in ISOTOPES.items() if isotope.positron_fraction > 0]
    if name not in seen:
        raise InputError("nanoparticle.label.name", name, f"emits no positrons that PET could see; it sees {', '.join(seen)}")
    return ISOTOPES[name]
