"""Random generators that depend only on their purpose: the same on every rank, and after every restart."""

import hashlib

import torch


def generator_for(device: torch.device | str, *purpose: str | int) -> torch.Generator:
    """Return a generator on `device`, seeded by a hash of `purpose`: the run's seed, then what the numbers are for."""
    name = "/".join(map(str, purpose)).encode()
    number = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")
    return torch.Generator(device).manual_seed(number >> 1)
