"""Sealed files: a line with a SHA-256 of the rest, a line of JSON, and tensors in safetensors.

Nothing in such a file can be executed, and no damage to it goes unnoticed.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import safetensors.torch
from torch import Tensor


class DamagedError(ValueError):
    """Bytes that are not a complete sealed file of the expected format."""


def seal(magic: bytes, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """Return the bytes of a file; `magic` names its format, `values` are JSON values."""
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    body = json.dumps(values, sort_keys=True).encode() + b"\n" + safetensors.torch.save(plain)
    return magic + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def unseal(magic: bytes, data: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return values and tensors of a file's bytes. Raises DamagedError."""
    first, _, body = data.partition(b"\n")
    if not first.startswith(magic):
        raise DamagedError("is not a file of this format")
    if first[len(magic) :] != hashlib.sha256(body).hexdigest().encode():
        raise DamagedError("is damaged (its checksum differs)")
    header, _, tensors = body.partition(b"\n")
    return json.loads(header), safetensors.torch.load(tensors)
