"""The curves of a replay as a file of references, which the dashboard draws beside studies."""

from collections.abc import Iterator, Sequence

import numpy as np
import tomli_w

from benchmarks.search.comparison import Result

MOST_POINTS = 100  # of a curve
DIGITS = 5  # of a hypervolume


def reference_curves(results: Sequence[Result], made_by: str) -> str:
    """Return TOML with a `[[curve]]` for each strategy and problem: the mean over seeds."""
    return tomli_w.dumps(
        {"curve": [each for result in results for each in _curves(result, made_by)]}
    )


def _curves(result: Result, made_by: str) -> Iterator[dict[str, object]]:
    for name, bundle in result.bundles.items():
        mean = np.round(bundle.mean, DIGITS)
        rises = np.flatnonzero(np.diff(mean, prepend=-1.0))  # the first epoch is one
        kept = np.unique(np.linspace(0, len(rises) - 1, MOST_POINTS).astype(np.int64))
        places = np.union1d(rises[kept], [len(mean) - 1])
        yield {
            "name": f"{name}, mean of {len(bundle.values)} seeds",
            "dataset": str(result.record.study.run["dataset"]),
            "source": made_by,
            "note": f"replayed on {result.name}",
            "epochs": (places + 1).tolist(),
            "hypervolume": mean[places].tolist(),
            "reference": dict(result.reference),
        }
