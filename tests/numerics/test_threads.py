"""Bits do not depend on the number of threads."""

import os
import subprocess
import sys

import numba
import numpy as np
import pytest

from tme_sim.numerics.arrays import in_place, plain
from tme_sim.numerics.threads import set_threads, use_threads_for

DIGESTS = """
import hashlib
import numpy as np
from tme_sim.numerics.collect import collect
from tme_sim.numerics.hops import hop
from tme_sim.numerics.threads import set_threads, use_threads_for
from tme_sim.numerics.share import share
from tme_sim.numerics.transport import face_rates, leave_rate, step_continuum

shape = (65, 64, 65)
rates = face_rates(1.0, np.random.default_rng(0).uniform(0.05, 0.3, shape), 5.0)
dt_s = 0.9 / leave_rate(rates).max()
for threads in (4, 2, 1):
    assert set_threads(threads) == threads
    assert use_threads_for(np.prod(shape)) == threads
    counts = np.random.default_rng(1).poisson(3, shape).astype(np.int32)
    counts[6, 5, 4] = 5000
    amounts = counts.astype(float)
    step_continuum(amounts, rates, dt_s, 9)
    for tick in range(9):
        hop(counts, rates, dt_s, (3, tick))
    voxels = np.arange(counts.size)[:, None]
    agents = np.random.default_rng(2).integers(0, counts.size, 300_000)
    phi, each = np.full(counts.size, 0.2), np.full(300_000, 9.0)
    taken = collect(counts.reshape(1, -1), agents, each, phi, 100.0, voxels, 5.0, (1, 2))
    real = collect(amounts.reshape(1, -1), agents, each, phi, 100.0, voxels, 5.0, (1, 2))
    left = share(counts, 0.4, (5, 6))
    print(hashlib.sha256(b"".join(a.tobytes() for a in (counts, amounts, taken, real, left))).hexdigest())
"""


def test_one_two_and_four_threads_give_the_same_bits():
    four = os.environ | {"NUMBA_NUM_THREADS": "4"}
    done = subprocess.run([sys.executable, "-c", DIGESTS], capture_output=True, text=True, check=False, env=four)
    assert done.returncode == 0, done.stderr
    digests = done.stdout.split()
    assert len(digests) == 3
    assert len(set(digests)) == 1


def test_more_threads_than_were_launched_are_capped():
    assert set_threads(1) == 1
    assert use_threads_for(10**9) == 1
    assert set_threads(10_000) == numba.config.NUMBA_NUM_THREADS
    assert use_threads_for(10**9) == numba.config.NUMBA_NUM_THREADS


def test_small_kernels_run_on_one_thread():
    assert use_threads_for(100) == 1


def test_no_threads_are_refused():
    with pytest.raises(ValueError, match="threads 0"):
        set_threads(0)


def test_a_read_only_view_reaches_a_kernel_without_a_copy():
    owner = np.arange(6.0).reshape(2, 3)
    guarded = owner.view()
    guarded.flags.writeable = False
    handed = plain(guarded)
    assert handed.flags.writeable
    assert np.shares_memory(handed, owner)
    assert not guarded.flags.writeable


def test_memory_that_is_read_only_is_copied():
    frozen = np.frombuffer(b"12345678", np.uint8)
    assert not np.shares_memory(plain(frozen), frozen)
    assert np.array_equal(plain(frozen), frozen)


def test_writing_needs_the_callers_own_memory_and_type():
    array = np.zeros((2, 3))
    assert np.shares_memory(in_place("x", array, np.float64), array)
    for wrong in (array.T, array.astype(np.float32), plain(array)[:, ::2]):
        with pytest.raises(ValueError, match="x: changed in place"):
            in_place("x", wrong, np.float64)
