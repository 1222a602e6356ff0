"""Time rules: how the error of a batch becomes gradients.

One file per rule, registered with `@time_rule(name)`; all files of this folder are imported
here. A new rule is one file, and its name among the choices of `RunConfig.time_rule`.
Block-local training is the schedule around the rules (`snn.training.train`): a rule trains
the last blocks of a network whose first blocks are frozen.
"""

import importlib
import pkgutil

from snn.rules.micro_batches import learn
from snn.rules.operations import LearningOps, count_operations
from snn.rules.rule import (
    ONLINE_RULES,
    TIME_RULES,
    TIMELESS,
    Batch,
    BatchResult,
    TimeRule,
    time_rule,
)

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "ONLINE_RULES",
    "TIMELESS",
    "TIME_RULES",
    "Batch",
    "BatchResult",
    "LearningOps",
    "TimeRule",
    "count_operations",
    "learn",
    "time_rule",
]
