"""Random generators: one for each purpose, so that no draw depends on another."""

import torch


def generator(seed: int, purpose: str, index: int = 0, device: str = "cpu") -> torch.Generator:
    """Return a generator on `device` whose state follows from seed, purpose and index alone."""
    words = [seed, index, *purpose.encode()]
    state = 0xCBF29CE484222325
    for word in words:  # FNV-1a over 64 bits
        state = ((state ^ (word & 0xFFFFFFFFFFFFFFFF)) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return torch.Generator(device=device).manual_seed(state >> 1)
