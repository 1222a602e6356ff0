"""An all-to-all layer."""

from dataclasses import dataclass
from typing import ClassVar

from snn.settings.units.unit import LayerPlan, Links, Shape, Unit, size


@dataclass(frozen=True, kw_only=True)
class DenseUnit(Unit):
    """A fully connected layer, norm and spiking neurons."""

    letter: ClassVar[str] = "d"
    neurons: int = size("neurons")

    def layers(self, source: Shape, count: int) -> tuple[LayerPlan, ...]:
        """See Unit."""
        return (LayerPlan(name="layer", label="", size=count, links=(Links(kernel=0),)),)
