"""Random changes of the inputs of a batch, for training."""

import torch
from torch import Tensor


def augment(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Return the batch with a random change of each image; `generator` is on its device.

    `shift` moves an image by up to an eighth of its side, of a row of channels along the row;
    `crop-flip` moves it by up to 4 pixels and mirrors half of the images; new pixels are 0.
    `none` returns the batch itself and draws no random number. All frames of a recording change
    in the same way; its events are changed before (`snn.data.events.changes`).
    """
    height, width = images.shape[-2:]
    if images.dim() == 5 and kind != "none":
        frames = images.shape[1:3]
        moved: Tensor = augment(images.flatten(1, 2), kind, generator).unflatten(1, frames)
        return moved
    if kind in ("none", "drop-events", "jitter"):
        return images
    if kind in ("shift", "shift-drop-jitter"):
        return _moved(images, (height // 8, width // 8), False, generator)
    if kind == "crop-flip":
        return _moved(images, (4, 4), True, generator)
    raise ValueError(f"augmentation: must be none, shift or crop-flip, got {kind!r}")


def _moved(
    images: Tensor, reach: tuple[int, int], may_mirror: bool, generator: torch.Generator
) -> Tensor:
    """Return random crops of the zero-padded images; half mirrored if `may_mirror`."""
    batch, _, height, width = images.shape
    down, across = reach
    device = images.device

    def draw(above: int) -> Tensor:
        return torch.randint(above, (batch, 1), generator=generator, device=device)

    rows = draw(2 * down + 1) + torch.arange(height, device=device)
    columns = draw(2 * across + 1) + torch.arange(width, device=device)
    if may_mirror:
        columns = torch.where(draw(2) == 1, columns.flip(1), columns)
    padded = torch.nn.functional.pad(images, (across, across, down, down))
    image = torch.arange(batch, device=device)[:, None, None]
    # channels last, so that one index moves a whole pixel
    moved = padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2).contiguous()
