"""The Gaussian process: its gradient, and what it predicts."""

import numpy as np
import pytest

from search.samplers.regression import Regression


def points(count: int) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(0)
    features = draws.random((count, 6))
    return features, np.sin(5 * features[:, 0]) + features[:, 1] ** 2


def test_the_gradient_of_the_fit_is_that_of_finite_differences() -> None:
    features, values = points(30)
    model = Regression(features, values)
    at = np.random.default_rng(1).normal(size=8) * 0.5
    _, gradient = model._loss(at)
    step = 1e-5
    for place, slope in enumerate(gradient):
        move = step * np.eye(8)[place]
        difference = (model._loss(at + move)[0] - model._loss(at - move)[0]) / (2 * step)
        assert slope == pytest.approx(difference, rel=1e-4, abs=1e-4)


def test_it_predicts_what_it_has_not_seen_and_knows_how_well() -> None:
    features, values = points(160)
    model = Regression(features[:60], values[:60])
    mean, deviation = model.predict(features[60:])
    error = mean - values[60:]
    assert np.sqrt((error**2).mean()) < 0.2 * values.std()
    assert 0.1 < np.sqrt(((error / deviation) ** 2).mean()) < 3
    _, far = model.predict(features[:1] + 3)
    assert far > 3 * deviation.mean()  # nothing is known there


def test_values_that_are_all_equal_are_predicted() -> None:
    features, values = points(5)
    mean, deviation = Regression(features, 0 * values + 2.5).predict(features)
    assert mean == pytest.approx(2.5)
    assert np.isfinite(deviation).all()


def test_noise_is_smoothed() -> None:
    features, values = points(60)
    noise = 0.3 * np.random.default_rng(1).normal(size=60)
    mean, deviation = Regression(features, values + noise).predict(features)
    assert np.sqrt(((mean - values) ** 2).mean()) < 0.7 * 0.3
    assert deviation.min() > 0.03
