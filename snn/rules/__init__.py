"""Learning rules in time: how the error of a batch becomes gradients.

One file per rule, listed in `TIME_RULES`. Block-local training is the schedule
around them (`snn.train`); a rule sees the blocks that are trained now behind
the ones that are frozen.
"""

from snn.rules.bptt import bptt
from snn.rules.rule import Batch, BatchResult, TimeRule

TIME_RULES: dict[str, TimeRule] = {"bptt": bptt}

__all__ = ["TIME_RULES", "Batch", "BatchResult", "TimeRule"]
