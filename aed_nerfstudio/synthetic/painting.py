"""What the actor's surface is made of, as functions of a point's canonical position (decimetres, see `actor`)."""

from __future__ import annotations

import math

import numba

from aed_nerfstudio.dataset.schema import HEAD, NECK, TORSO

BODY, LEFT_EYE, RIGHT_EYE, TEETH, TONGUE, PLUG, MOUTH = 0, 1, 2, 3, 4, 5, 6
"""Materials of triangles; PLUG is the neck's continuation inside the head, drawn in torso pictures only,
and MOUTH the skin behind the lips."""
EYE_X, EYE_Y = 0.2938, 8.2207  # canonical eye centre, dm


@numba.njit(cache=True)
def hair_depth(x, y, z):
    """Returns how far (dm, roughly) a canonical skin point lies inside the hair; negative outside."""
    ax = abs(x)
    if z > 1.0:
        line = 8.86 - 0.25 * ax
    elif z > 0.72:
        line = 8.05 + (z - 0.72) / 0.28 * 0.62
    elif z > 0.1:
        line = 7.75 + (z - 0.1) / 0.62 * 0.30
    else:
        line = 7.35
    ear = ax > 0.655 and 7.6 < y < 8.29 and 0.1 < z < 0.75
    return -1.0 if ear else y - line


@numba.njit(cache=True)
def _jaw_line(z):
    """Returns the canonical height (dm) of the border between head and neck at depth z."""
    if z > 1.2:
        return 7.0
    if z > 0.9:
        return 7.0 + (1.2 - z) / 0.3 * 0.1
    if z > 0.4:
        return 7.1 + (0.9 - z) / 0.5 * 0.35
    if z > -0.2:
        return 7.3 + (z + 0.2) / 0.6 * 0.15
    return 7.3


@numba.njit(cache=True)
def shirt_depth(x, y, z):
    """Returns how far (dm) a canonical point lies inside the shirt; negative outside."""
    return 6.50 - 0.30 * (z - 0.3) - y


@numba.njit(cache=True)
def lip_depth(x, y, z):
    """Returns how far (dm) a canonical point lies inside the lips; negative outside."""
    ax = abs(x)
    t = min(ax / 0.262, 1.0)
    seam = 7.502 - 0.02 * t
    upper = seam + 0.108 * (1.0 - t**1.7) + 0.012 * math.exp(-(((ax - 0.06) / 0.04) ** 2))
    lower = seam - 0.125 * (1.0 - t**2.6)
    if z < 1.0 or ax > 0.262:
        return -1.0
    return min(upper - y, y - lower)


@numba.njit(cache=True)
def label(material, x, y, z):
    """Returns the parsing label of a canonical point of a material."""
    if material == PLUG:
        return NECK
    if material != BODY:
        return HEAD
    if shirt_depth(x, y, z) > 0:
        return TORSO
    if y > _jaw_line(z):
        return HEAD
    return NECK
