"""Weights of a face between diffusion and flow."""

from __future__ import annotations

import numpy as np

from tme_sim.numerics.convection import SMALL, flux_weights


def test_the_series_for_weak_flow_joins_the_exponential():
    """a = g P/(1 - e^(-P)) and b = g P/(e^P - 1), to rounding on either side of where one takes over from the other."""
    peclet = SMALL * np.array([1e-6, 0.1, 0.99, 0.999999, 1.000001, 1.01, 10.0, -0.99, -1.01, -1e-6])
    g = np.full(peclet.shape, 0.7)
    a, b = flux_weights(g, g * peclet)
    np.testing.assert_allclose(a, g * peclet / -np.expm1(-peclet), rtol=1e-14)
    np.testing.assert_allclose(b, g * peclet / np.expm1(peclet), rtol=1e-14)
    np.testing.assert_allclose(a - b, g * peclet, rtol=0, atol=3e-16)
