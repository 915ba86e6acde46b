"""Seeds for the parts of a model, independent of each other and from one model's seed to the next.

`seed + 1` for a second part is the seed of the first part of the next model: models of adjacent
seeds would share weights.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

PARTS = ("second stack", "two-stack head", "low-rank changes", "task head")
Part = Literal["second stack", "two-stack head", "low-rank changes", "task head"]


def part_seed(seed: int, part: Part) -> int:
    """Derive the seed of one part of a model by hashing the model's seed with the part."""
    sequence = np.random.SeedSequence(seed, spawn_key=(PARTS.index(part),))
    return int(sequence.generate_state(1)[0])


def part_generator(seed: int, part: Part) -> torch.Generator:
    """Return a generator that draws the initial weights of one part."""
    return torch.Generator().manual_seed(part_seed(seed, part))
