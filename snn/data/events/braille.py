"""Braille letters under a robot's fingertip: 12 taxels, sampled at 40 Hz.

After Mueller-Cinciripini et al. 2022 (CC BY 4.0). The file is that of Zenke's SpyTorch, a pickle
of which only plain values and tables of numbers are read, or braille.npz with the arrays `taxels`
(recordings, samples, 12), `length`, `label`, `letters` and `repetition`.
"""

import functools
import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snn.data.events.events import Form
from snn.data.events.plain import DAMAGE, damaged
from snn.data.events.store import Item, Layout
from snn.data.image_files import DataError, MissingDataError
from snn.data.pickles import PICKLE_ERRORS, ArrayUnpickler
from snn.settings.datasets import DATASETS

FILES = ("tutorial5_braille_spiking_data.pkl.gz", "braille.npz")
FOLDERS = ("braille", ".")
INTERVAL_US = 25_000.0
TESTS = 10  # the last repetitions of each letter, of 50
REPETITIONS = 50

Float32 = npt.NDArray[np.float32]
Letter = tuple[str, int, Float32]  # name, repetition, values (samples, taxels)


@dataclass(frozen=True, kw_only=True)
class Braille:
    """The letters A to Z and the space; repetitions 40 to 49 of each are the test part."""

    name: str = "braille"

    def layout(self, root: Path) -> Layout:
        places = [root / folder / file for folder in FOLDERS for file in FILES]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise MissingDataError(
                f"{places[0]} (or {FILES[1]}): not found; put the Braille letters there "
                "(github.com/fzenke/spytorch, notebooks/data), or point --data or SPIKEFRONT_DATA "
                "at the folder that contains braille/"
            )
        found = path

        def parts() -> tuple[list[Item], list[Item]]:
            letters = _packed(found) if found.suffix == ".npz" else _pickled(found)
            return _items(found, letters, is_test=False), _items(found, letters, is_test=True)

        (_, taxels, _), _ = DATASETS[self.name]
        return Layout(
            name=self.name,
            form=Form(shape=(2, taxels, 1)),
            classes=CLASSES,
            files=(path,),
            parts=parts,
            interval_us=INTERVAL_US,
        )


CLASSES = tuple(sorted([*(chr(ord("A") + place) for place in range(26)), "Space"]))


def _items(path: Path, letters: list[Letter], *, is_test: bool) -> list[Item]:
    items = []
    (_, taxels, _), _ = DATASETS["braille"]
    for number, (name, repetition, values) in enumerate(letters):
        where = f"{path}: recording {number}"
        if name not in CLASSES or not 0 <= repetition < REPETITIONS:
            raise DataError(f"{where}: must be a letter A to Z or Space, got {name!r}")
        if values.ndim != 2 or values.shape[1] != taxels or not np.isfinite(values).all():
            raise DataError(
                f"{where}: must be finite numbers (samples, {taxels}), got {values.shape}"
            )
        if is_test == (repetition >= REPETITIONS - TESTS):
            items.append(Item(where, CLASSES.index(name), functools.partial(np.asarray, values)))
    return items


def _packed(path: Path) -> list[Letter]:
    try:
        with np.load(path, allow_pickle=False) as pack:
            taxels, names = pack["taxels"], [str(name) for name in pack["letters"]]
            rows = zip(pack["label"], pack["repetition"], pack["length"], strict=True)
            return [
                (names[label], int(repetition), taxels[number, :length].astype(np.float32))
                for number, (label, repetition, length) in enumerate(rows)
            ]
    except DAMAGE as error:
        raise DataError(f"{path}: {damaged(error)}") from None


def _pickled(path: Path) -> list[Letter]:
    try:
        content = gzip.decompress(path.read_bytes())
        return [
            (
                str(row["letter"]),
                int(row["repetition"]),
                row["taxel_data"].array("f8", "a table of {}").astype(np.float32),
            )
            for row in ArrayUnpickler(io.BytesIO(content)).load()
        ]
    except (*DAMAGE, *PICKLE_ERRORS, zlib.error) as error:
        raise DataError(
            f"{path}: is damaged or not the file of Braille letters ({error}); get it again"
        ) from None
