"""Random generators that are pure functions of what they are for: the same on any rank, and after any restart."""

import hashlib

import torch


def generator_for(device: torch.device | str, *purpose: str | int) -> torch.Generator:
    """Return a generator of `device` seeded by `purpose`: a run's seed, and what the numbers are for."""
    name = "/".join(map(str, purpose)).encode()
    number = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")
    return torch.Generator(device).manual_seed(number >> 1)
