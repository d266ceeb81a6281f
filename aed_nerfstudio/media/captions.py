"""Puts words on frames: a caption in a band below, and a mark in a corner."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

BAND = 24
"""Height in pixels of the band with a caption."""
MARK = "AI-generated"


def labelled(face: UInt8[np.ndarray, "h w c"], text: str) -> UInt8[np.ndarray, "h_and_band w c"]:
    """Adds a label to a frame [H, W, 3] or [H, W, 4], in an opaque band below: [H + BAND, W, C]."""
    band = np.zeros((BAND, face.shape[1], 3), np.uint8)
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    scale = 0.45 * min(1.0, (face.shape[1] - 8) / max(width, 1))
    cv2.putText(band, text, (4, BAND - 8), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    if face.shape[2] == 4:
        band = np.dstack([band, np.full(band.shape[:2], 255, np.uint8)])
    return np.vstack([face, band])


class Mark:
    """Burns a few words into the lower right corner of frames, white on a dark plate.

    text: any words. size: (width, height) of the frames; the letters are a thirtieth of the height, at least 8 pixels,
    and smaller where the words would fill more than the width.
    """

    def __init__(self, text: str, size: tuple[int, int]) -> None:
        letters = max(size[1] / 30, 8.0)
        pad = max(2, round(letters / 3))
        plate = self._draw(text, letters, pad)
        if plate.shape[1] > size[0]:
            plate = self._draw(text, max(letters * size[0] / plate.shape[1], 1), pad)
        plate = plate[-size[1] :, -size[0] :]
        self._colour, self._alpha = plate[..., :3], plate[..., 3:]

    @staticmethod
    def _draw(text: str, letters: float, pad: int) -> np.ndarray:
        """Draws the plate, uint8 [h, w, 4] RGBA."""
        font = ImageFont.load_default(letters)
        left, top, right, bottom = font.getbbox(text)
        plate = Image.new("RGBA", (round(right - left) + 2 * pad, round(bottom - top) + 2 * pad), (0, 0, 0, 150))
        ImageDraw.Draw(plate).text((pad - left, pad - top), text, (255, 255, 255, 255), font)
        return np.array(plate)

    def __call__(self, frame: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
        """Returns a copy of a frame, uint8 [H, W, 3] or [H, W, 4] of straight alpha, with the mark."""
        height, width = self._alpha.shape[:2]
        frame = frame.copy()
        corner = frame[-height:, -width:]
        share = self._alpha / 255
        if frame.shape[2] == 4:
            below = corner[..., 3:] / 255
            alpha = share + (1 - share) * below
            mixed = (share * self._colour + (1 - share) * below * corner[..., :3]) / np.maximum(alpha, 1e-6)
            corner[:] = np.round(np.dstack([mixed, 255 * alpha])).astype(np.uint8)
        else:
            corner[:] = np.round(share * self._colour + (1 - share) * corner).astype(np.uint8)
        return frame
