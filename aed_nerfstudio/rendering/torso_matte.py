"""The avatar cut out for another background than the one that it was recorded before."""

from __future__ import annotations

from torch import Tensor

SEE_THROUGH, SOLID = 0.35, 0.65
"""Torso's alpha below which a pixel is taken for background, and above which for torso."""


def cut_out(layers: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Colour, premultiplied, and alpha of head and torso, [H, W, 3] and [H, W, 1].

    The torso is learnt before one background alone, which leaves open how much of it shines through: a trained torso is
    often at 0.8 where it is solid, and another background would show through the shoulders. So its alpha is stretched,
    and what shines through of the recorded background counts as its own colour: before that, nothing changes.

    layers: from the model's `render_condition` before the recorded background: head, accumulation, torso, foreground,
    alpha.
    """
    free = 1 - layers["accumulation"]
    safe = free.clamp_min(1e-4)
    alpha = ((layers["alpha"] - layers["accumulation"]) / safe).clamp(0, 1)
    colour = (layers["foreground"] - layers["head"]) / safe  # premultiplied by alpha
    solid = ((alpha - SEE_THROUGH) / (SOLID - SEE_THROUGH)).clamp(0, 1)
    background = (layers["torso"] - colour) / (1 - alpha).clamp_min(1e-4)
    torso = (layers["torso"] - (1 - solid) * background).clamp_min(0).minimum(solid)
    return (layers["head"] + free * torso).clamp(0, 1), layers["accumulation"] + free * solid
