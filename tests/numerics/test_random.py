"""The generator against published vectors and the simplest ways to fail; level 10⁻³ for every chi-square, 4 sigma for every z."""

import numpy as np
import pytest
from scipy import stats

from tme_sim.numerics.random import bits, normals, stream_key, uniforms

N = 200_000


def chi_square_p(counts):
    return stats.chisquare(counts.reshape(-1)).pvalue


@pytest.mark.parametrize(
    ("seed", "published"),
    [
        (0, [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]),
        (1234567, [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]),
    ],
)
def test_draws_are_the_published_splitmix64_sequence(seed, published):
    assert [bits(np.uint64(seed), draw) for draw in range(len(published))] == published


def test_uniforms_fill_their_interval_evenly():
    u = uniforms(stream_key(1, "even"), np.arange(N))
    assert u.min() > 0.0
    assert u.max() < 1.0
    assert chi_square_p(np.histogram(u, 256, (0.0, 1.0))[0]) > 1e-3


def test_normals_follow_the_normal_distribution():
    assert stats.kstest(normals(stream_key(1, "normal"), np.arange(N)), "norm").pvalue > 1e-3


@pytest.mark.parametrize("neighbour", ["entity", "draw", "tick", "word"])
def test_neighbours_are_independent(neighbour):
    entity, key = np.arange(N), stream_key(3, "walk", 0)
    here = uniforms(key, entity)
    there = {
        "entity": uniforms(key, entity + 1),
        "draw": uniforms(key, entity, 1),
        "word": uniforms((key[0], key[1] ^ 1), entity),
        "tick": uniforms(stream_key(3, "walk", 1), entity),
    }[neighbour]
    assert abs(np.corrcoef(here, there)[0, 1]) * np.sqrt(N) < 4.0
    assert chi_square_p(np.histogram2d(here, there, 16, [(0, 1), (0, 1)])[0]) > 1e-3


def test_draws_of_one_entity_fill_their_interval_evenly():
    key = stream_key(5, "draws")
    u = np.array([uniforms(key, 7, draw) for draw in range(5000)])
    assert chi_square_p(np.histogram(u, 50, (0.0, 1.0))[0]) > 1e-3


def test_a_draw_depends_on_its_key_and_entity_only():
    key = stream_key(2, "x")
    assert np.array_equal(uniforms(key, np.arange(100))[[5, 80]], uniforms(key, [5, 80]))


def test_keys_differ_by_seed_name_order_type_and_boundary():
    streams = [(1, "ab", "c"), (2, "ab", "c"), (1, "a", "bc"), (1, "c", "ab"), (1, "ab", "c", 0), (1, 1), (1, "1"), (1,)]
    keys = [stream_key(*stream) for stream in streams]
    assert len(set(keys)) == len(streams)
    assert stream_key(1, "ab", "c") == keys[0]
    assert stream_key(np.int64(1), np.int64(1)) == stream_key(1, 1)
    assert all(0 <= word < 2**64 for key in keys for word in key)
