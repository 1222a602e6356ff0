"""What the engine's tests share."""

import pytest
import torch


@pytest.fixture
def draws(seed: int) -> torch.Generator:
    """A generator of the test's own, seeded."""
    return torch.Generator().manual_seed(seed)
