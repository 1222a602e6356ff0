"""What the inputs and the classes of a network are called."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from search.study.study import Study
from snn.settings.datasets import is_recorded, sample_of


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The words for one input, and for its classes."""

    sample: str = "image"  # or recording
    classes: tuple[str, ...] = ()  # names; empty where classes have numbers only

    def name(self, label: int) -> str:
        """Return the name of a class, or its number."""
        return self.classes[label] if label < len(self.classes) else str(label)

    def worded(self, text: str) -> str:
        """Return a text on images in the words of these inputs."""
        return text.replace("image", self.sample).replace("Image", self.sample.title())


IMAGES = Inputs()


def inputs_of(dataset: str, data_dir: Path) -> Inputs:
    """Return the words of a data set; class names are those of its files, where they are there."""
    return Inputs(sample=sample_of(dataset), classes=_classes(dataset, data_dir))


@functools.lru_cache(maxsize=64)
def _classes(dataset: str, data_dir: Path) -> tuple[str, ...]:
    if not is_recorded(dataset):
        return ()
    from snn.data.events.own import SOURCES
    from snn.data.image_files import DataError

    try:
        return SOURCES[dataset].layout(data_dir).classes
    except (DataError, OSError):
        return ()


def inputs_of_study(study: Study | None) -> Inputs:
    """Return the words for the inputs of a study, without class names."""
    return IMAGES if study is None else Inputs(sample=_sample(_datasets(study)))


def _datasets(study: Study) -> Iterable[str]:
    axis = study.space.axes.get("dataset")
    values = getattr(axis, "values", ()) or (study.run.get("dataset", ""),)
    return [str(value) for value in values]


def _sample(datasets: Iterable[str]) -> str:
    """Return the word for inputs of all these data sets; images if they are of both kinds."""
    found = {sample_of(name) for name in datasets}
    return found.pop() if len(found) == 1 else IMAGES.sample
