"""A Gaussian process of chains: each unit adds something, which depends on what all units share.

The covariance of two chains is that of what they share, times a constant plus the sum over all
pairs of their units. So a chain and its first half, or one and the same units cut in another way,
are alike as far as they agree, and chains of any length are compared. Matern 5/2 kernels with a
length scale for each feature, and noise. The logarithms of all these have normal priors and are
fitted by L-BFGS to the largest posterior, always from the priors' means.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.front.front import Floats
from search.samplers.chains import Row
from search.samplers.regression import LEAST_NOISE, matern, matern_slope

STEPS = 25  # of a fit, at most
_NOISE, _CONSTANT = -4.0, -1.0  # means of the priors of their logarithms
_JITTER = 1e-7


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Chains as arrays; equal units stand once."""

    shared: Floats  # (chains, features)
    units: Floats  # (units, features)
    weights: Floats  # (chains, units): how much of a unit a chain has

    @classmethod
    def of(cls, chains: Sequence[tuple[Row, Sequence[Row], Sequence[float]]]) -> "Rows":
        """Return chains of what they share, their units, and the weights of these."""
        places: dict[Row, int] = {}
        for _, units, _ in chains:
            for unit in units:
                places.setdefault(unit, len(places))
        weights = np.zeros((len(chains), len(places)))
        for k, (_, units, parts) in enumerate(chains):
            for unit, part in zip(units, parts, strict=True):
                weights[k, places[unit]] += part
        return cls(
            shared=np.array([shared for shared, _, _ in chains]).reshape(len(chains), -1),
            units=np.array(list(places)).reshape(len(places), -1),
            weights=weights,
        )

    def part(self, places: Sequence[int]) -> "Rows":
        """Return some of the chains."""
        weights = self.weights[places]
        used = weights.any(axis=0)
        return Rows(shared=self.shared[places], units=self.units[used], weights=weights[:, used])


class ChainRegression:
    """Predicts a number from chains."""

    def __init__(self, rows: Rows, values: Floats, scales: Floats) -> None:
        """`values` is (chains,); `scales` are those of `fitted`. At least one chain."""
        self._rows, self._scales = rows, scales
        self._mean, self._scale = float(values.mean()), float(values.std()) or 1.0
        kernel = self._kernel(rows)
        kernel[np.diag_indices_from(kernel)] += LEAST_NOISE + math.exp(scales[-1]) + _JITTER
        self._factor = np.linalg.cholesky(kernel)
        scaled = (values - self._mean) / self._scale
        self._alpha = np.linalg.solve(self._factor.T, np.linalg.solve(self._factor, scaled))

    def predict(self, rows: Rows) -> tuple[Floats, Floats]:
        """Return mean and standard deviation without noise, (chains,) each."""
        kernel = self._kernel(rows)
        left = np.linalg.solve(self._factor, kernel.T)
        variance = np.maximum(self._variance(rows) - (left**2).sum(axis=0), 1e-10)
        return self._mean + self._scale * (kernel @ self._alpha), self._scale * np.sqrt(variance)

    def _kernel(self, rows: Rows) -> Floats:
        """Return the covariance of `rows` with the known chains."""
        of_shared, of_units, signal, constant = _parts(self._scales, rows)
        shared = matern(_squares(rows.shared, self._rows.shared, of_shared))
        units = matern(_squares(rows.units, self._rows.units, of_units))
        sums = rows.weights @ units @ self._rows.weights.T
        found: Floats = signal * shared * (constant + sums)
        return found

    def _variance(self, rows: Rows) -> Floats:
        _, of_units, signal, constant = _parts(self._scales, rows)
        units = matern(_squares(rows.units, rows.units, of_units))
        found: Floats = signal * (constant + ((rows.weights @ units) * rows.weights).sum(axis=1))
        return found


def fitted(rows: Rows, values: Floats) -> Floats:
    """Return the logarithms of length scales, signal, constant and noise for these values."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    prior = _prior(rows)
    if len(values) < 3:
        return prior
    scaled = (values - values.mean()) / (float(values.std()) or 1.0)
    shared = (rows.shared[:, None] - rows.shared[None]) ** 2
    units = (rows.units[:, None] - rows.units[None]) ** 2
    found: Floats = minimize(
        lambda given: _loss(given, prior, rows, (shared, units), scaled),
        prior,
        jac=True,
        method="L-BFGS-B",
        bounds=[(value - 4.0, value + 4.0) for value in prior],
        options={"maxiter": STEPS},
    ).x
    return found


def _prior(rows: Rows) -> Floats:
    # distances grow with the number of features, and so does the usual length, see Regression
    lengths = [
        0.5 * math.log(max(features.shape[1], 1))
        for features in (rows.shared, rows.units)
        for _ in range(features.shape[1])
    ]
    return np.array([*lengths, 0.0, _CONSTANT, _NOISE])


def _loss(
    given: Floats, prior: Floats, rows: Rows, squares: tuple[Floats, Floats], values: Floats
) -> tuple[float, Floats]:
    """Return the negative logarithm of the posterior and its gradient."""
    of_shared, of_units, signal, constant = _parts(given, rows)
    square, unit_square = squares[0] @ of_shared, squares[1] @ of_units
    shared = matern(square)
    sums = constant + rows.weights @ matern(unit_square) @ rows.weights.T
    kernel = signal * shared * sums
    noise = LEAST_NOISE + math.exp(given[-1]) + _JITTER
    noisy = kernel + noise * np.eye(len(values))
    factor, inverse = np.linalg.cholesky(noisy), np.linalg.inv(noisy)
    alpha = inverse @ values
    loss = 0.5 * values @ alpha + np.log(np.diag(factor)).sum()
    outer = signal * (inverse - np.outer(alpha, alpha))  # twice the gradient, times the signal
    count = rows.shared.shape[1]
    gradient = np.empty_like(given)
    # d weight / d log length = -2 weight
    pulled = outer * sums * matern_slope(square)
    gradient[:count] = -of_shared * np.tensordot(pulled, squares[0])
    pulled = rows.weights.T @ (outer * shared) @ rows.weights * matern_slope(unit_square)
    gradient[count:-3] = -of_units * np.tensordot(pulled, squares[1])
    gradient[-3] = 0.5 * (outer * shared * sums).sum()
    gradient[-2] = 0.5 * constant * (outer * shared).sum()
    gradient[-1] = 0.5 * math.exp(given[-1]) * np.trace(outer) / signal
    away = given - prior
    return float(loss + 0.5 * (away**2).sum()), gradient + away


def _parts(given: Floats, rows: Rows) -> tuple[Floats, Floats, float, float]:
    """Return one over the squared lengths of both kinds of features, signal and constant."""
    inverse, count = np.exp(-2 * given[:-3]), rows.shared.shape[1]
    return inverse[:count], inverse[count:], math.exp(given[-3]), math.exp(given[-2])


def _squares(first: Floats, second: Floats, inverse: Floats) -> Floats:
    """Return squared distances in units of the lengths."""
    one, other = first * np.sqrt(inverse), second * np.sqrt(inverse)
    found: Floats = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.maximum(found, 0.0)
