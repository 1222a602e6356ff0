"""What a spiking encoder claims: a decoder of times beats one of rates, and bits have a price."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.claims.claim import Claim, Results, Row, Run, Scale, sizes
from benchmarks.claims.tested import train_and_test
from snn.settings.config import RunConfig

PRICES: Mapping[str, Sequence[float]] = {
    "class": (0.001, 0.01, 0.1),
    "image": (0.03, 0.3),
    "letter": (0.001, 0.01, 0.1),
}
LETTER: Mapping[str, Any] = {
    "dataset": "braille",
    "timesteps": 19,
    "leak_ms": 300.0,
    "delta_threshold": 0.144,
    "event_value": "counts",
    "epochs": 30,
    "train_images": 0,
}
"""Settings of the answer `letter`: recordings of Braille letters, as in `benchmarks.ablations`."""
SHOWN = {
    "code_bits": ("bits of the code", "count", "lower"),
    "distortion": ("bits of distortion", "count", "lower"),
    "accuracy": ("test accuracy", "fraction", "higher"),
}


def _name(target: str, decoder: str, price: float) -> str:
    return f"{target} by {decoder}, price {price:g}"


def forms() -> dict[str, dict[str, Any]]:
    """What is trained, by name."""
    return {
        _name(target, decoder, price): {
            **(LETTER if target == "letter" else {"decoder_target": target}),
            "decoder": decoder,
            "code_price": price,
        }
        for target, prices in PRICES.items()
        for price in prices
        for decoder in ("time", "rate")
    }


def gain_at_equal_bits(
    timed: Sequence[tuple[float, float]], rated: Sequence[tuple[float, float]]
) -> float:
    """Return the bits of distortion that a decoder of rates has more than one of times, on average.

    A point is (bits of the code, distortion). Between two prices the front of times is taken as
    straight over the logarithm of the bits, and with more bits than at any price as flat. Points
    of rates with fewer bits than any of times are left out; NaN if none is left.
    """
    bits, left = zip(*sorted(timed), strict=True)
    gains = [
        lost - float(np.interp(np.log(spent), np.log(bits), left))
        for spent, lost in rated
        if spent >= bits[0]
    ]
    return statistics.mean(gains) if gains else math.nan


def encoder(scale: Scale) -> Claim:
    """Skatchkovsky, Simeone & Jang 2021."""
    small = {"epochs": 1, "train_images": 200} if scale.quick else {}
    config = RunConfig(
        dataset=scale.dataset,
        time_rule="encoder",
        architecture="d100",
        head_hidden=32,
        timesteps=12,
        leak=0.9,
        epochs=6,
        train_images=4_000,
        learning_rate=3e-3,
    )
    runs = tuple(
        Run(
            name=name,
            config=scale.sized(config.replace(**{**changes, **small, "seed": seed})),
            measure=train_and_test,
        )
        for seed in range(scale.seeds)
        for name, changes in forms().items()
        if scale.dataset == "mnist" or "dataset" not in changes  # letters stand on one page
    )
    network = f"{config.architecture}, {config.head_hidden} code neurons"

    def rows(results: Results) -> list[Row]:
        made = [
            Row(
                name=f"{key}_{name.replace(', ', '_').replace(' ', '_')}",
                what=f"{network}, {_shown(name, scale)}: {what}",
                kind=kind,  # type: ignore[arg-type]
                values=results.over_seeds(name, key),
                better=better,  # type: ignore[arg-type]
            )
            for name in forms()
            for key, (what, kind, better) in SHOWN.items()
            if results.has(name, key)
        ]
        for target in PRICES:
            made += _gains(results, f"{network}, {_shown(target, scale)}", target)
        return made

    return Claim(
        name="encoder",
        title="A spiking encoder with a decoder of times",
        about="One hidden layer and code neurons that fire at random, trained by scores; a linear "
        "decoder reads each spike at its timestep or only counts them. It finds the class or the "
        "pixels of an image, or the letter of a recording of Braille (270 test recordings). A "
        "higher price of a bit gives fewer bits and more distortion.",
        source="Skatchkovsky, Simeone, Jang, NeurIPS 2021 (arXiv 2106.01177)",
        runs=runs,
        rows=rows,
        deviations=(
            f"{sizes(scale.sized(config))}, T = {config.timesteps}; of letters {LETTER['epochs']} "
            f"epochs of all, T = {LETTER['timesteps']}; published are 200,000 images, T = 30, 600 "
            "hidden and 256 code neurons, and a decoder with hidden units",
            "no figure of the paper could be read: its claim is the order of the two decoders",
            "the error of hidden neurons returns through the weights, not through random numbers",
        ),
    )


def _points(results: Results, name: str) -> list[tuple[float, float]]:
    bits, left = (results.over_seeds(name, key) for key in ("code_bits", "distortion"))
    return list(zip(bits, left, strict=True))


def _shown(name: str, scale: Scale) -> str:
    return f"{'braille' if name.startswith('letter') else scale.dataset}, {name}"


def _gains(results: Results, what: str, target: str) -> list[Row]:
    names = {
        decoder: [_name(target, decoder, price) for price in PRICES[target]]
        for decoder in ("time", "rate")
    }
    every = [name for own in names.values() for name in own]
    seeds = {len(results.over_seeds(name, "distortion")) for name in every}
    if len(seeds) > 1 or seeds == {0}:  # a run that diverged has no pair
        return []
    # of each decoder and seed the points of all prices
    timed, rated = (
        list(zip(*(_points(results, name) for name in own), strict=True)) for own in names.values()
    )
    gains = [gain_at_equal_bits(*pair) for pair in zip(timed, rated, strict=True)]
    return [
        Row(
            name=f"gain_of_times_{target}",
            what=f"{what}: distortion by rate less that by time at equal bits of the code, mean "
            "over prices",
            kind="count",
            values=tuple(gains),
        )
    ]
