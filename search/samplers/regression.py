"""A Gaussian process of a few hundred points: mean and deviation of a number by its features.

Matern 5/2 kernel with a length scale for each feature, and noise. The logarithms of these have
normal priors and are fitted by L-BFGS to the largest posterior, always from the priors' means:
equal data give equal predictions.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEPS = 40  # of the fit, at most
LEAST_NOISE = 1e-4  # variance, of data with variance 1
_NOISE = -4.0  # mean of the prior of the logarithm of the noise variance
_JITTER = 1e-8


class Regression:
    """Predicts a number from features that lie between about 0 and 1."""

    def __init__(self, features: Floats, values: Floats) -> None:
        """`features` is (points, features), `values` (points,); at least one point."""
        self._features = features
        self._mean = float(values.mean())
        self._scale = float(values.std()) or 1.0
        self._values = (values - self._mean) / self._scale
        count = features.shape[1]
        # distances grow with the number of features, and so does the usual length (Hvarfner
        # et al. 2024, arXiv 2402.02229)
        self._prior = np.array([*[0.5 * math.log(max(count, 1))] * count, 0.0, _NOISE])
        self._squares = (features[:, None] - features[None]) ** 2  # (points, points, features)
        self._fit()

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation without noise, (points,) each."""
        squares = (features[:, None] - self._features[None]) ** 2
        kernel = self._signal * matern(squares @ self._weights)
        mean = kernel @ self._alpha
        left = np.linalg.solve(self._factor, kernel.T)
        variance = np.maximum(self._signal - (left**2).sum(axis=0), 1e-10)
        return self._mean + self._scale * mean, self._scale * np.sqrt(variance)

    def _fit(self) -> None:
        from scipy.optimize import minimize  # type: ignore[import-untyped]

        found = self._prior
        if len(self._values) > 2:
            bounds = [(value - 4.0, value + 4.0) for value in self._prior]
            found = minimize(
                self._loss,
                self._prior,
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"maxiter": STEPS},
            ).x
        self._weights, self._signal, noise = _parts(found)
        kernel = self._signal * matern(self._squares @ self._weights)
        self._factor = np.linalg.cholesky(kernel + (noise + _JITTER) * np.eye(len(kernel)))
        self._alpha = np.linalg.solve(self._factor.T, np.linalg.solve(self._factor, self._values))

    def _loss(self, given: Floats) -> tuple[float, Floats]:
        """Return the negative logarithm of the posterior and its gradient."""
        weights, signal, noise = _parts(given)
        squared = self._squares @ weights
        shape = matern(squared)
        kernel = signal * shape + (noise + _JITTER) * np.eye(len(shape))
        factor = np.linalg.cholesky(kernel)
        inverse = np.linalg.inv(kernel)
        alpha = inverse @ self._values
        loss = 0.5 * self._values @ alpha + np.log(np.diag(factor)).sum()
        outer = inverse - np.outer(alpha, alpha)  # twice the gradient by the kernel
        by_square = signal * matern_slope(squared)
        gradient = np.empty_like(given)
        pulled = outer * by_square
        # d weight / d log length = -2 weight
        gradient[:-2] = 0.5 * np.einsum("ij,ijk->k", pulled, self._squares) * (-2 * weights)
        gradient[-2] = 0.5 * (outer * signal * shape).sum()
        gradient[-1] = 0.5 * math.exp(given[-1]) * np.trace(outer)
        away = given - self._prior
        return float(loss + 0.5 * (away**2).sum()), gradient + away


def _parts(given: Floats) -> tuple[Floats, float, float]:
    """Return one over the squared lengths, the variance of the signal, and that of the noise."""
    return np.exp(-2 * given[:-2]), math.exp(given[-2]), LEAST_NOISE + math.exp(given[-1])


def matern(squared: Floats) -> Floats:
    """Return the Matern 5/2 correlation at squared distances."""
    root = np.sqrt(5 * squared)
    result: Floats = (1 + root + root**2 / 3) * np.exp(-root)
    return result


def matern_slope(squared: Floats) -> Floats:
    """Return the derivative of the correlation by the squared distance."""
    root = np.sqrt(5 * squared)
    result: Floats = -5 / 6 * (1 + root) * np.exp(-root)
    return result
