"""What numbers may be: bounds that options, configs and the Python API share."""

from __future__ import annotations

from dataclasses import dataclass

from aed_nerfstudio.errors import InputError

SHORT = 1000
"""A range that is shorter is said whole; of others the end that was passed."""


@dataclass(frozen=True)
class Between:
    """A range from `low` to `high`, both included; `unit`: for people, such as pixels."""

    low: float
    high: float
    unit: str = ""

    def check(self, name: str, value: float) -> None:
        """Raises InputError, with the name, for what lies outside and for what is no number (NaN)."""
        if not self.low <= value <= self.high:
            if self.high - self.low < SHORT or value != value:
                wanted = f"from {self.low} to {self.high}"
            else:
                wanted = f"at least {self.low}" if value < self.low else f"at most {self.high}"
            raise InputError(f"{name} must be {wanted}{self.unit and ' '}{self.unit}, not {_short(value)}")


def _short(value: float) -> str:
    try:
        shown = str(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "a number of thousands of digits"
    return shown if len(shown) <= 40 else f"{shown[:20]}... ({len(shown)} digits)"


DATASET_SIDE = Between(64, 2048, "pixels")
"""The sides of a dataset's pictures."""
RENDERED_SIDE = Between(16, 4096, "pixels")
"""The larger side of what is rendered, and its width."""
FRAME_RATE = Between(1, 240, "frames a second")
"""The frame rate of what is rendered."""
LIP_GAIN = Between(0, 2)
"""How far lips move over how far they would."""
SHIFT = Between(-2.0, 2.0, "s")
"""How late sound may be."""
SEED = Between(0, 2**32 - 1)
"""The seeds that NumPy takes."""
WORKERS = Between(1, 10_000)
RETRIES = Between(0, 1000)
SECONDS = Between(0.1, 1e6, "s")
"""The length of takes to use."""
