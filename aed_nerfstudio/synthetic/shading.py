"""Colours and labels of the pixels of a z-buffer."""

from __future__ import annotations

import math

import numba
import numpy as np

from aed_nerfstudio.dataset.schema import BACKGROUND, NECK
from aed_nerfstudio.synthetic.painting import (
    BODY,
    EYE_X,
    EYE_Y,
    LEFT_EYE,
    MOUTH,
    RIGHT_EYE,
    TEETH,
    TONGUE,
    hair_depth,
    label,
    lip_depth,
    shirt_depth,
)


@numba.njit(cache=True)
def _blend(edge, width):
    t = min(max(edge / width + 0.5, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@numba.njit(cache=True)
def _mix(colour, other, share):
    for k in range(3):
        colour[k] += (other[k] - colour[k]) * share


@numba.njit(cache=True, parallel=True)
def shade(ids, bary, triangles, materials, canonical, normals, palette, out, labels):
    """Fills in colours [S, S, 3] (0..255, only where ids >= 0) and labels [S, S] of a z-buffer."""
    size = ids.shape[0]
    white = np.array([238.0, 236.0, 232.0])
    dark = np.array([58.0, 22.0, 22.0])
    black = np.array([14.0, 11.0, 10.0])
    tongue = np.array([176.0, 84.0, 84.0])
    rose = np.array([205.0, 110.0, 96.0])
    light = np.array([0.30, 0.50, 0.81])
    for py in numba.prange(size):
        colour = np.zeros(3)
        for px in range(size):
            t = ids[py, px]
            if t < 0:
                labels[py, px] = BACKGROUND
                continue
            u, v = bary[py, px, 0], bary[py, px, 1]
            w = 1.0 - u - v
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            x = u * canonical[i, 0] + v * canonical[j, 0] + w * canonical[k, 0]
            y = u * canonical[i, 1] + v * canonical[j, 1] + w * canonical[k, 1]
            z = u * canonical[i, 2] + v * canonical[j, 2] + w * canonical[k, 2]
            nx = u * normals[i, 0] + v * normals[j, 0] + w * normals[k, 0]
            ny = u * normals[i, 1] + v * normals[j, 1] + w * normals[k, 1]
            nz = u * normals[i, 2] + v * normals[j, 2] + w * normals[k, 2]
            norm = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
            nx, ny, nz = nx / norm, ny / norm, nz / norm
            material = materials[t]
            labels[py, px] = label(material, x, y, z)
            diffuse = 0.5 + 0.5 * (nx * light[0] + ny * light[1] + nz * light[2])
            shine = max(0.0, 0.15 * nx + 0.27 * ny + 0.95 * nz) ** 24
            gain = 0.40 + 0.62 * diffuse**1.6
            gloss = 7.0
            ax = abs(x)
            if material == LEFT_EYE or material == RIGHT_EYE:
                colour[:] = white
                r = math.sqrt((ax - EYE_X) ** 2 + (y - EYE_Y) ** 2)
                if z > 1.3:
                    _mix(colour, palette[4] * 0.55, _blend(0.078 - r, 0.010))
                    _mix(colour, palette[4], _blend(0.068 - r, 0.012))
                    _mix(colour, black, _blend(0.034 - r, 0.008))
                    gx = ax - EYE_X if x > 0 else EYE_X - ax
                    glint = math.sqrt((gx - 0.025) ** 2 + (y - EYE_Y - 0.03) ** 2)
                    _mix(colour, white * 1.05, _blend(0.014 - glint, 0.008))
                gain = (0.62 + 0.38 * diffuse) * (1.0 - 0.35 * _blend(y - 8.27, 0.08))
                gloss = 0.0
            elif material == TEETH:
                colour[:] = white
                gain = (0.45 + 0.35 * diffuse) * min(1.0, max(0.25, (z - 0.9) / 0.5))
                gloss = 0.0
            elif material == TONGUE:
                colour[:] = tongue
                gain = (0.35 + 0.3 * diffuse) * min(1.0, max(0.3, (z - 0.6) / 0.7))
                gloss = 2.0
            elif material == MOUTH:
                colour[:] = dark
                _mix(colour, palette[1] * 0.8, 0.8 * _blend(z - 1.40, 0.2))
                gain = (0.5 + 0.5 * diffuse) * min(1.0, max(0.3, (z - 0.6) / 0.7))
                gloss = 2.0
            else:
                colour[:] = palette[0]
                mottle = 1.0 + 0.018 * math.sin(9.1 * x + 3.0 * y) * math.sin(7.3 * y - 5.1 * z)
                shirt = shirt_depth(x, y, z) if material == BODY else -1.0
                # Cheeks and nose tip are rosier, eye sockets and the sides of the nose darker.
                cheek = math.exp(-(((ax - 0.42) / 0.17) ** 2) - ((y - 7.85) / 0.16) ** 2) if z > 0.9 else 0.0
                tip = math.exp(-((ax / 0.14) ** 2) - ((y - 7.86) / 0.12) ** 2) if z > 1.5 else 0.0
                _mix(colour, rose, 0.30 * cheek + 0.25 * tip)
                if z > 0.95 and 7.9 < y < 8.7:
                    socket = math.exp(-(((ax - EYE_X) / 0.20) ** 2) - ((y - EYE_Y) / 0.12) ** 2)
                    mottle *= 1.0 - 0.16 * socket
                    # Lid margins and lashes: skin that lies against the eyeball.
                    near = math.sqrt((ax - EYE_X) ** 2 + (y - EYE_Y) ** 2 + (z - 1.31) ** 2)
                    _mix(colour, black, (0.15 + 0.65 * _blend(y - 8.215, 0.03)) * _blend(0.163 - near, 0.012))
                    # Brows: an arc that is thick inside and thin outside.
                    s = (ax - 0.10) / 0.43
                    if 0.0 < s < 1.0:
                        arc = 8.43 + 0.085 * math.sin(min(1.0, s * 1.15) * 2.3) - 0.045 * s
                        half = 0.042 * (1.0 - 0.65 * s)
                        strand = 0.5 + 0.5 * math.sin(210.0 * ax + 120.0 * y)
                        side = min(_blend(ax - 0.11, 0.03), _blend(0.52 - ax, 0.04))
                        _mix(colour, palette[5], side * (0.72 + 0.2 * strand) * _blend(half - abs(y - arc), 0.022))
                if material == BODY and 7.3 < y < 7.7 and z > 0.5:
                    depth = lip_depth(x, y, z)
                    lips = _blend(depth, 0.012)
                    _mix(colour, palette[1], 0.85 * lips)
                    gloss = 7.0 + 12.0 * lips
                if material == BODY:
                    hair = hair_depth(x, y, z)
                    streak = math.sin(38.0 * math.atan2(x, z - 0.4) + 5.0 * math.sin(6.0 * y))
                    streak *= math.sin(11.0 * y + 9.0 * x)
                    hair += 0.025 * math.sin(40.0 * x) * math.sin(27.0 * z)
                    share = _blend(hair, 0.03)
                    if share > 0:
                        _mix(colour, palette[2] * (1.0 + 0.16 * streak), share)
                        gloss = gloss * (1.0 - share) + 5.0 * share
                    if shirt > 0:
                        colour[:] = palette[3]
                        weave = 1.0 + 0.03 * math.sin(26.0 * x) * math.sin(26.0 * y)
                        mottle = weave * (1.18 if shirt < 0.10 else 1.0)
                        gloss = 0.0
                    elif shirt > -0.08:
                        mottle *= 1.0 - 0.25 * (1.0 + shirt / 0.08)  # the collar's shadow
                if labels[py, px] == NECK:
                    mottle *= 1.0 - 0.28 * _blend(y - 6.85, 0.5)  # the chin's shadow
                for n in range(3):
                    colour[n] *= mottle
            for n in range(3):
                out[py, px, n] = min(255.0, max(0.0, colour[n] * gain + gloss * shine))


@numba.njit(cache=True)
def averages(colour, covered, behind, covered_behind, head, k, whole, torso):
    """Fills in means over k by k samples, [S, S, 4]: colour, premultiplied, and coverage.

    whole: of samples [k S, k S, 3] where they are covered. torso: of the same, with what is behind them at the head's.
    """
    for y in range(whole.shape[0]):
        for x in range(whole.shape[1]):
            for n in range(4):
                whole[y, x, n] = torso[y, x, n] = 0.0
            for row in range(k * y, k * y + k):
                for column in range(k * x, k * x + k):
                    if covered[row, column]:
                        for n in range(3):
                            whole[y, x, n] += colour[row, column, n]
                        whole[y, x, 3] += 1.0
                    if head[row, column]:
                        if covered_behind[row, column]:
                            for n in range(3):
                                torso[y, x, n] += behind[row, column, n]
                            torso[y, x, 3] += 1.0
                    elif covered[row, column]:
                        for n in range(3):
                            torso[y, x, n] += colour[row, column, n]
                        torso[y, x, 3] += 1.0
            for n in range(4):
                whole[y, x, n] /= k * k
                torso[y, x, n] /= k * k


@numba.njit(cache=True)
def majorities(labels, k, out):
    """Fills in which label most of k by k samples have, [S, S]; the first of those that equally many have."""
    votes = np.zeros(256, np.int64)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            best = labels[k * y, k * x]
            for row in range(k * y, k * y + k):
                for column in range(k * x, k * x + k):
                    votes[labels[row, column]] += 1
            for row in range(k * y, k * y + k):
                for column in range(k * x, k * x + k):
                    other = labels[row, column]
                    if votes[other] > votes[best] or (votes[other] == votes[best] and other < best):
                        best = other
            for row in range(k * y, k * y + k):
                for column in range(k * x, k * x + k):
                    votes[labels[row, column]] = 0
            out[y, x] = best
