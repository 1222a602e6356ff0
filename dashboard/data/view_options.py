"""How a front is looked at: axes, scales, colour, shape."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """What a figure of a front shows; names are those of `PointTable.axis_names`."""

    x: str
    y: str
    z: str | None = None  # a third axis makes the figure three-dimensional
    colour: str
    shape: str | None = None
    log_x: bool = False
    log_y: bool = False
    log_z: bool = False
    hides_dominated: bool = False

    @property
    def view(self) -> str:
        """Changes when zoom and rotation of before mean nothing any more."""
        return f"{self.x}|{self.y}|{self.z}|{self.log_x}|{self.log_y}|{self.log_z}"
