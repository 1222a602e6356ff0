"""The contract of a unit: a small graph of layers, declared as data, and its word in a text.

A unit says which layers it has and what drives each of them: convolutions, all-to-all
connections, a skip without weights. Networks, rewiring, counted operations, plans and NIR
graphs are made from that declaration; a kind of unit has no code of its own there.

A word is a letter for the kind, a size, and options in any order: `c16k5p`. The size is a
number of channels or neurons, or with `w` a multiple of the width: `c2w`.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

Shape = tuple[int, ...]
"""Of a signal, without time and batch: (channels, height, width), or (neurons,)."""

INPUT = "input"
"""The source of connections that come from the unit before."""


@dataclass(frozen=True, kw_only=True)
class Links:
    """One set of connections into a layer: a convolution, or all-to-all if `kernel` is 0.

    A convolution is padded with zeros, half of its kernel on each side. With `groups` each group of
    output channels sees only its group of input channels.
    """

    source: str = INPUT  # or the name of an earlier layer of the unit
    kernel: int = 3  # side, pixels
    stride: int = 1
    groups: int = 1


@dataclass(frozen=True, kw_only=True)
class Skip:
    """A skip without weights: every `stride`-th pixel, added to the current."""

    source: str = INPUT
    stride: int = 1


@dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """A population of neurons, and what drives it: the sum of its links and its skip."""

    name: str  # of the attribute that holds the layer, and so in weights files
    label: str  # in reports, behind the unit; empty: the unit alone
    size: int  # channels, or neurons
    links: tuple[Links, ...]
    skip: Skip | None = None


def size(meaning: str) -> Any:
    """Declare the size of a unit: its first field, in widths if `in_widths`."""
    return dataclasses.field(metadata={"meaning": meaning})


def number(letter: str, default: int, meaning: str) -> Any:
    """Declare an option that is a number: `k5`."""
    return dataclasses.field(default=default, metadata={"letter": letter, "meaning": meaning})


def flag(letter: str, meaning: str) -> Any:
    """Declare an option that is there or not: `p`."""
    return dataclasses.field(default=False, metadata={"letter": letter, "meaning": meaning})


def variant(signs: Mapping[str, str], meaning: str) -> Any:
    """Declare a choice: `signs` are the letters by value; the first has none and is the default."""
    metadata = {"signs": dict(signs), "meaning": meaning}
    return dataclasses.field(default=next(iter(signs)), metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit of an architecture; a kind is a subclass with a size and options as fields."""

    letter: ClassVar[str]
    in_widths: bool = True  # the size is a multiple of the width

    def layers(self, source: Shape, count: int) -> tuple[LayerPlan, ...]:
        """Return the layers after a signal of shape `source`; the last one's spikes leave.

        `count` is the size in channels or neurons.
        """
        raise NotImplementedError

    @property
    def window(self) -> int:
        """Side of the pool after the last layer, pixels; 1: no pool."""
        return 2 if getattr(self, "pool", False) else 1

    @property
    def size(self) -> int:
        """Channels or neurons, in widths or not."""
        value: int = getattr(self, self.size_name())
        return value

    @classmethod
    @functools.cache
    def size_name(cls) -> str:
        """Return the name of the field with the size."""
        return cls.fields()[0].name

    @classmethod
    @functools.cache
    def fields(cls) -> tuple["dataclasses.Field[Any]", ...]:
        """Return the fields of the kind, the size first."""
        return tuple(f for f in dataclasses.fields(cls) if f.name != "in_widths")

    @classmethod
    @functools.cache
    def options(cls) -> dict[str, "dataclasses.Field[Any]"]:
        """Return the options by letter, in the order of the canonical form."""
        found = {}
        for option in cls.fields()[1:]:
            signs = option.metadata.get("signs")
            letters = filter(None, signs.values()) if signs else [option.metadata["letter"]]
            found.update(dict.fromkeys(letters, option))
        return found

    def count(self, width: int) -> int:
        """Return the channels or neurons at a width."""
        return self.size * width if self.in_widths else self.size

    def fault(self, source: Shape, count: int) -> str | None:
        """Return why the unit cannot follow a signal of that shape, or None."""
        shapes = {INPUT: source}
        for layer in self.layers(source, count):
            parts: list[Links | Skip] = [*layer.links, *([layer.skip] if layer.skip else [])]
            for part in parts:
                shape = shapes[part.source]
                is_map = not (isinstance(part, Links) and part.kernel == 0)
                if is_map and len(shape) != 3:
                    return (
                        "needs maps, but all-to-all neurons come before; use d, or put it earlier"
                    )
                side = min(shape[1:], default=0)
                if is_map and 1 < side < part.stride:
                    sides = "x".join(map(str, shape[1:]))
                    return f"a stride of {part.stride} leaves no map of {sides} pixels"
            if layer.skip and shapes[layer.skip.source][0] != layer.size:
                return (
                    f"a skip without weights needs {layer.size} channels before it, got "
                    f"{shapes[layer.skip.source][0]}"
                )
            shapes[layer.name] = shape_of(layer, shapes)
        return None

    def shapes(self, source: Shape, count: int) -> dict[str, Shape]:
        """Return the shape of the input and of each layer's spikes, by name, without the pool."""
        shapes = {INPUT: source}
        for layer in self.layers(source, count):
            shapes[layer.name] = shape_of(layer, shapes)
        return shapes

    def output(self, source: Shape, count: int) -> Shape:
        """Return the shape of the signal that leaves."""
        last = list(self.shapes(source, count).values())[-1]
        if self.window == 1 or len(last) == 1:
            return last
        return (last[0], *(pooled(side, self.window) for side in last[1:]))


def shape_of(layer: LayerPlan, shapes: Mapping[str, Shape]) -> Shape:
    """Return the shape of a layer's spikes from the shapes of its sources."""
    links = layer.links[0]
    if links.kernel == 0:
        return (layer.size,)
    sides = shapes[links.source][1:]
    return (layer.size, *(convolved(side, links.kernel, links.stride) for side in sides))


def weight_shape(layer: LayerPlan, links: Links, source: Shape) -> Shape:
    """Return the shape of the weights of one set of connections."""
    if links.kernel == 0:
        return (layer.size, math.prod(source))
    return (layer.size, source[0] // links.groups, links.kernel, links.kernel)


def convolved(side: int, kernel: int, stride: int) -> int:
    """Return the side of a map after a convolution."""
    return (side + 2 * (kernel // 2) - kernel) // stride + 1


def pooled(side: int, window: int) -> int:
    """Return the side of a map after a pool, padded so that each pixel lies in one window."""
    return math.ceil(side / window)
