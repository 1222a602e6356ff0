"""A training of a user's own that takes 10 ms, for `benchmarks.overhead`."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

SECONDS = 0.01


def train(params: Mapping[str, Any], context: Any) -> Iterator[dict[str, float]]:
    """Report one epoch after SECONDS."""
    time.sleep(SECONDS)
    yield {"accuracy": 0.5 + params["rate"] / 3, "cost": params["width"] * (1 + params["rate"])}
