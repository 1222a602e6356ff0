"""FunctionConfig: all that one training of a user's function depends on."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from snn.settings.config import RunConfig

TRAIN = "train"  # the key by which a stored config is one of these


@dataclass(frozen=True, kw_only=True)
class FunctionConfig:
    """What RunConfig is for the engine: equal configs are the same training."""

    train: str  # module:function
    params: Mapping[str, Any]  # shared and searched, as the function gets them
    seed: int = 0
    code: str = ""  # 16 hex digits of the file of the function; "": unknown

    @property
    def total_epochs(self) -> int:
        """The epochs that the function says it reports (`epochs`); 0 where that is unknown."""
        epochs = self.params.get("epochs", 0)
        return epochs if isinstance(epochs, int) else 0

    @property
    def fingerprint(self) -> str:
        """16 hex digits of everything: the name of this run."""
        text = json.dumps(self.to_mapping(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def training_fingerprint(self) -> str:
        """The same: nothing of it is chosen after training."""
        return self.fingerprint

    def replace(self, *, seed: int) -> "FunctionConfig":
        """Return the config with another seed."""
        return dataclasses.replace(self, seed=seed)

    def to_mapping(self) -> dict[str, Any]:
        """Return the config as JSON has it."""
        return {
            TRAIN: self.train,
            "code": self.code,
            "seed": self.seed,
            "params": dict(self.params),
        }


Config = RunConfig | FunctionConfig


def config_of(values: Mapping[str, Any]) -> Config:
    """Return a stored config. Raises ConfigError."""
    if TRAIN not in values:
        return RunConfig.from_mapping(values)
    return FunctionConfig(**values)
