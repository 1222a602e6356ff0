"""Scores of random networks: what they are by hand, and in which order they put networks."""

import math

import pytest
import torch

from snn.settings.config import RunConfig
from snn.training.screening import Screening, _similarity, screen
from tests.snn.training.test_train import split_of


def test_equal_codes_have_similarity_1_and_independent_ones_a_half() -> None:
    code = torch.tensor([[1.0, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1]]).double()
    similar = _similarity(code)
    assert similar[0].tolist() == pytest.approx([1.0, 1.0, 0.5, 0.0])


def test_sparse_codes_count_like_dense_ones() -> None:
    """Random codes are as similar at a rate of 5 % as at 50 %."""
    draws = torch.Generator().manual_seed(0)
    for rate in (0.05, 0.5):
        code = (torch.rand(40, 4_000, generator=draws) < rate).double()
        off = _similarity(code)[~torch.eye(40, dtype=torch.bool)]
        assert off.mean().item() == pytest.approx(0.5, abs=0.01)


def scores(threshold: float) -> Screening:
    config = RunConfig(dataset="digits", architecture="c4 c4", threshold=threshold, timesteps=4)
    return screen(config, split_of(config))


def test_a_high_threshold_silences_and_a_low_one_does_not() -> None:
    silent, usual = scores(1e6), scores(1.0)
    assert silent.silent == 1
    assert silent.imbalance == math.inf
    assert usual.silent < 0.9
    assert usual.distance > silent.distance
    assert 0 < usual.spike_rate < 1
