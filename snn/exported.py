"""Exported folders as torch modules.

They need torch, numpy and safetensors only: neither a store nor the packages of a search.
"""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snn.evaluation.evaluate import infer_batch, sampled_setting
from snn.network.trained import Images, Trained
from snn.settings.config import ConfigError, RunConfig
from snn.settings.datasets import is_recorded
from snn.training import checkpoint

CONFIG, WEIGHTS, METRICS = "config.toml", "weights.safetensors", "metrics.json"


class FolderError(ValueError):
    """A folder that is no exported network; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answers of a network to images, a row for each."""

    labels: Tensor  # (images,) int64, the predicted class
    logits: Tensor  # (images, classes), logarithms of the class probabilities at the image's exit
    exits: Tensor  # (images,) int64, the exit that answered, from 1
    timesteps: Tensor  # (images,) int64, timesteps that were run

    @property
    def probabilities(self) -> Tensor:
        """Class probabilities, (images, classes)."""
        return self.logits.exp()


class ExportedNetwork(nn.Module):
    """A trained network at its operating point, for inference.

    Call it with uint8 images (images, channels, height, width), a tensor or an array; or with
    the frames of recordings, (recordings, time, channels, height, width). An image
    runs until the first exit that is confident enough; gradients are not computed. `to` moves
    it to another device, and images follow.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, trained: Trained, *, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = trained.network
        self.config = trained.config
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.eval()

    @torch.no_grad()
    def forward(self, images: Tensor | np.ndarray[Any, Any]) -> Answer:
        """Return the answers to `images`. Raises ValueError for another shape or type."""
        pixels = torch.as_tensor(images).to(self.mean.device)
        shape: tuple[int, ...] = self.network.task.image_shape
        if is_recorded(self.config.dataset):
            shape = (self.config.timesteps, *shape)
        kind = torch.int8 if self.config.polarity == "signed" else torch.uint8
        if pixels.dtype is not kind or tuple(pixels.shape[1:]) != shape:
            wanted = " x ".join(map(str, shape))
            raise ValueError(
                f"images must be {str(kind).removeprefix('torch.')} (images x {wanted}), "
                f"got {pixels.dtype} ({' x '.join(map(str, pixels.shape))})"
            )
        setting = sampled_setting(self.config, len(self.network.blocks))
        batches = Images(
            images=pixels,
            labels=torch.zeros(len(pixels), dtype=torch.int64, device=pixels.device),
            mean=self.mean,
            std=self.std,
        ).batches(self.config)
        parts = [infer_batch(self.network, drive, setting) for drive, _ in batches]
        labels = torch.cat([part.labels for part in parts])
        return Answer(
            labels=labels,
            logits=torch.cat([part.probabilities for part in parts]).log(),
            exits=torch.cat([part.exits for part in parts]),
            timesteps=torch.cat([part.timesteps for part in parts]),
        )


def load(folder: Path | str, *, device: str = "cpu", data: Path | str = "data") -> ExportedNetwork:
    """Return the network of an exported folder, in eval mode, on `device`.

    The folder has the mean and deviation of the training images; folders of earlier versions,
    and those exported without the data set, have not: then the data set is read from `data`.
    Raises FolderError, ConfigError, CheckpointError or DataError in one line.
    """
    folder = Path(folder)
    document = _document(folder)
    try:
        config = RunConfig.from_mapping(
            tomllib.loads((folder / CONFIG).read_text(encoding="utf-8-sig"))
        )
    except ConfigError as error:
        raise FolderError(f"{folder / CONFIG}: {error.faults[0]}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise FolderError(f"{folder / CONFIG}: must be the settings of a run: {error}") from error
    trained = checkpoint.load(folder / WEIGHTS, config=config, device=device)
    mean, std = _moments(document, config, folder) or _moments_of_data(config, Path(data))
    return ExportedNetwork(
        trained, mean=mean[:, None, None].to(device), std=std[:, None, None].to(device)
    )


def _document(folder: Path) -> dict[str, Any]:
    missing = [name for name in (CONFIG, METRICS) if not (folder / name).is_file()]
    if missing:
        raise FolderError(
            f"{folder}: must be an exported folder, but has no {' and no '.join(missing)}; make "
            "one with `spikefront export`"
        )
    try:
        document = json.loads((folder / METRICS).read_text(encoding="utf-8-sig"))
        assert isinstance(document, dict)
    except (OSError, ValueError, RecursionError, AssertionError) as error:
        raise FolderError(f"{folder / METRICS}: must be the JSON of an export") from error
    if document.get("train"):
        raise FolderError(
            f"{folder}: has the files of an own training ({document['train']}), not a network of "
            "the engine; load them as that training wrote them"
        )
    return document


def _moments(
    document: dict[str, Any], config: RunConfig, folder: Path
) -> tuple[Tensor, Tensor] | None:
    found = document.get("input")
    if found is None:
        return None
    try:
        mean, std = (torch.tensor(found[name], dtype=torch.float32) for name in ("mean", "std"))
        assert mean.shape == std.shape
        assert mean.ndim == 1
    except (AssertionError, LookupError, TypeError, ValueError) as error:
        raise FolderError(
            f"{folder / METRICS}: input must have mean and std, a number per channel"
        ) from error
    return mean, std


def _moments_of_data(config: RunConfig, data: Path) -> tuple[Tensor, Tensor]:
    from snn.data import dataset

    whole = dataset.named(config.dataset, data)
    return torch.tensor(whole.mean), torch.tensor(whole.std)
