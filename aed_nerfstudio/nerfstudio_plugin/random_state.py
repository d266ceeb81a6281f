"""The state of everything that draws numbers in a training, in the plain values that checkpoints may hold."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def random_state(generator: np.random.Generator) -> dict[str, str | torch.Tensor]:
    """Returns the states of Python's, NumPy's and PyTorch's own generators, and of one more of NumPy's."""
    numpy = np.random.get_state(legacy=False)
    numpy["state"]["key"] = numpy["state"]["key"].tolist()
    # As text, because NumPy's numbers are larger than a checkpoint's may be.
    state = {
        "python": json.dumps(random.getstate()),
        "numpy": json.dumps(numpy),
        "generator": json.dumps(generator.bit_generator.state),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: Mapping[str, Any], generator: np.random.Generator) -> None:
    """Has them all go on as they would have after `random_state`."""
    version, numbers, gauss = json.loads(state["python"])
    random.setstate((version, tuple(numbers), gauss))
    numpy = json.loads(state["numpy"])
    numpy["state"]["key"] = np.array(numpy["state"]["key"], np.uint32)
    np.random.set_state(numpy)
    generator.bit_generator.state = json.loads(state["generator"])
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def seed_anew(generator: np.random.Generator, *words: int) -> None:
    """Has them all draw what no other words make them draw."""
    seeds = [int(seed) for seed in np.random.SeedSequence(words).generate_state(4)]
    random.seed(seeds[0])
    np.random.seed(seeds[1])
    torch.manual_seed(seeds[2])
    generator.bit_generator.state = type(generator.bit_generator)(seeds[3]).state
