"""What goes over the wire between the page and the engine: JSON texts, and sound and pictures with their stamps."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

HEADER = struct.Struct("<BxxxIq")
"""Kind, epoch and number of the first sample that belongs to what follows: 16 bytes, little-endian."""
SOUND, PICTURE = 1, 2
LONGEST_CHUNK = 1 << 20
"""Bytes of one message with sound: 32 s at 16 kHz."""


@dataclass(frozen=True)
class Stamped:
    """Sound or a picture, and when it belongs."""

    kind: int
    """SOUND: PCM16 mono, 16 kHz. PICTURE: a JPEG."""
    epoch: int
    """Which flow of speech it is of: a client drops what is of an older one."""
    stamp: int
    """Number of its first sample in the stream, 16 000 a second."""
    body: bytes

    def packed(self) -> bytes:
        """Returns the message."""
        return HEADER.pack(self.kind, self.epoch, self.stamp) + self.body

    @classmethod
    def unpacked(cls, message: bytes) -> Stamped:
        """Returns what a message holds; for clients in Python."""
        kind, epoch, stamp = HEADER.unpack_from(message)
        return cls(kind, epoch, stamp, message[HEADER.size :])


def pcm16(samples: Float[np.ndarray, " n"]) -> bytes:
    """Returns sound, float [n] in -1..1, as 16-bit little-endian samples."""
    return np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def from_pcm16(message: bytes) -> Float32[np.ndarray, " n"]:
    """Returns the sound of what `pcm16` gave, float32 [n]."""
    return np.frombuffer(message, "<i2").astype(np.float32) / 32767
