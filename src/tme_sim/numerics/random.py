"""Random numbers computed, not stored: a value is a function of (key, entity, draw), so no order of evaluation can change it.

The generator is SplitMix64 (Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195): each entity gets a state by one pass of its
mixer over the key's first word, the second word is folded in, and draw d of the entity is the d-th output from that state.
All arithmetic stays in uint64: numba turns mixed int64 and uint64 into float64.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import ArrayLike

from tme_sim.numerics.arrays import Integers, Reals, plain
from tme_sim.numerics.jit import kernel

Key = tuple[int, int]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
SECOND_FACTOR = np.uint64(0x94D049BB133111EB)
ONE, ELEVEN, TWENTY_SEVEN, THIRTY, THIRTY_ONE = (np.uint64(n) for n in (1, 11, 27, 30, 31))


def stream_key(seed: int, *names: str | int) -> Key:
    """The key of a stream, two 64-bit words, from the run's seed and names such as process, purpose and tick.

    It depends on nothing else, so adding or removing another stream leaves this one unchanged.
    """
    words = [str(name) if isinstance(name, str) else int(name) for name in names]
    digest = blake2b(repr((int(seed), words)).encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def key_words(key: Key) -> tuple[np.uint64, np.uint64]:
    """The key as numba must see it: a Python int would be int64 or uint64 by its size."""
    return np.uint64(key[0]), np.uint64(key[1])


@kernel
def mix(z: np.uint64) -> np.uint64:
    """SplitMix64's mixer: every bit of z reaches every bit of the result."""
    z = (z ^ (z >> THIRTY)) * FIRST_FACTOR
    z = (z ^ (z >> TWENTY_SEVEN)) * SECOND_FACTOR
    return z ^ (z >> THIRTY_ONE)


@kernel
def stream_of(k0: np.uint64, k1: np.uint64, entity: int) -> np.uint64:
    """The state from which an entity's draws follow."""
    return mix(k0 + (np.uint64(entity) + ONE) * GOLDEN) ^ k1


@kernel
def bits(stream: np.uint64, draw: int) -> np.uint64:
    """64 random bits. A word drawn for nothing else may serve as a stream of its own."""
    return mix(stream + (np.uint64(draw) + ONE) * GOLDEN)


@kernel
def uniform(stream: np.uint64, draw: int) -> float:
    """A multiple of 2^-53 in (0, 1); the multiple 0 is replaced by half a step."""
    return float(max(np.float64(bits(stream, draw) >> ELEVEN), 0.5) * 2.0**-53)


@kernel
def normal(stream: np.uint64, draw: int) -> float:
    """A standard normal from draws `draw` and `draw` + 1 (Box & Muller 1958)."""
    return float(np.sqrt(-2.0 * np.log(uniform(stream, draw))) * np.cos(2.0 * np.pi * uniform(stream, draw + 1)))


@kernel
def _fill_uniform(k0: np.uint64, k1: np.uint64, entity: Integers, draw: int, out: Reals) -> None:
    for i in range(entity.size):
        out[i] = uniform(stream_of(k0, k1, entity[i]), draw)


@kernel
def _fill_normal(k0: np.uint64, k1: np.uint64, entity: Integers, draw: int, out: Reals) -> None:
    for i in range(entity.size):
        out[i] = normal(stream_of(k0, k1, entity[i]), draw)


def uniforms(key: Key, entities: ArrayLike, draw: int = 0) -> Reals:
    """Draw number `draw` of each entity (int64, any shape), uniform in (0, 1), in the shape of `entities`."""
    entity = plain(entities, np.int64)
    out = np.empty(entity.shape)
    _fill_uniform(*key_words(key), entity.reshape(-1), draw, out.reshape(-1))
    return out


def normals(key: Key, entities: ArrayLike, draw: int = 0) -> Reals:
    """Standard normals as `uniforms`; each spends the draws `draw` and `draw` + 1."""
    entity = plain(entities, np.int64)
    out = np.empty(entity.shape)
    _fill_normal(*key_words(key), entity.reshape(-1), draw, out.reshape(-1))
    return out
