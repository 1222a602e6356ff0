"""What all tests share: one seed for everything random."""

import os
import random
import sys

import numpy as np
import pytest

# read when triton is first imported, by whichever test: kernels run without a GPU
os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True)
def seed() -> int:
    """The seed that every test starts from, set before it; for what wants one of its own.

    torch is seeded where the test file has loaded it, so that the others stay quick.
    """
    value = 20_260
    random.seed(value)
    np.random.seed(value)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(value)
    return value
