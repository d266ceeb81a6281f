"""The tone of skin is the same with every label: what light makes of a take's posture is no part of its emotion.

A label's take is held in one way, so label and directions tell its tones alike, and either may be learned for the
other: the face would be too dark or too bright in the poses of other takes. Lips, eyes and brows do change.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from aed_nerfstudio.fields.head_field import EncodedCondition, HeadField
from aed_nerfstudio.rendering.ray_marching import PackedSamples
from aed_nerfstudio.rendering.room_marching import RoomySamples

EVERY = 4
"""Steps from one look at another label to the next: it takes a quarter of a step's time."""
RAYS = 256
"""Of a frame, that are looked at."""
CELL = 0.15
"""Side of the cells, units, whose mean tones are compared: 4 cm."""


def tone_error(
    head: HeadField,
    samples: PackedSamples,
    weights: Float[Tensor, " m"],
    skin: Bool[Tensor, " r"],
    encoded: EncodedCondition,
    counts: list[int],
    labels: Float[Tensor, "l e"],
) -> Float[Tensor, ""]:
    """Returns how much another label changes the tone of one frame's skin: the mean over the weights of the squared
    difference of a cell's mean tones.

    Args:
        head: a field with a smooth shading.
        samples: of R rays of C frames.
        weights: of the samples, without gradient.
        skin: whether a ray ends on skin that expressions move little.
        encoded: of the C frames.
        counts: rays of each frame, in order.
        labels: all that there are, as the field takes them; two at least.
    """
    parts = skin.split(counts)
    shown = [k for k, part in enumerate(parts) if part.any()]
    if not shown:
        return weights.new_zeros(())
    k = shown[int(torch.randint(len(shown), ()))]
    chosen = torch.zeros_like(skin)
    chosen[sum(counts[:k]) + torch.nonzero(parts[k])[:RAYS, 0]] = True
    of_skin = chosen[samples.ray_indices]
    positions, n = samples.positions[of_skin], int(of_skin.sum())
    if not n:
        return weights.new_zeros(())
    own = encoded.emotion[k]
    others = labels[(labels != own).any(dim=1)]
    pair = EncodedCondition(*(part[k].expand(2, -1) for part in encoded))
    pair = pair._replace(emotion=torch.stack([own, others[int(torch.randint(len(others), ()))]]))
    one, other = head.tones(positions.repeat(2, 1), pair, [n, n]).split(n)
    _, cells = torch.unique(torch.floor(positions[:, :2] / CELL), dim=0, return_inverse=True)
    return mean_difference(one, other, weights[of_skin], cells, int(cells.max()) + 1)


def tone_error_in_rooms(
    head: HeadField,
    marched: RoomySamples,
    weights: Float[Tensor, " m"],
    skin: Bool[Tensor, " r"],
    groups: Int64[Tensor, " r"],
    encoded: EncodedCondition,
    labels: Float[Tensor, "l e"],
    looks: Float[Tensor, " g_and_l"],
    most: int,
) -> Float[Tensor, ""]:
    """Returns what `tone_error` does, by the same work whatever is seen, and without waiting for the device.

    Args:
        groups: of the R rays: which of the G conditions is theirs.
        looks: in 0..1, [G + L]: of the groups that show skin, and of the other labels, those with the largest are used.
        most: samples of a ray, at most.
    """
    n_groups = len(encoded.emotion)
    shows = (skin[:, None] & (groups[:, None] == torch.arange(n_groups, device=skin.device))).any(0)
    k = torch.where(shows, looks[:n_groups], -1.0).argmax()[None]
    chosen = skin & (groups == k)
    number = torch.where(chosen, chosen.cumsum(0) - 1, RAYS).clamp(max=RAYS)
    rays = torch.full((RAYS + 1,), -1, device=skin.device)
    rays = rays.scatter(0, number, torch.arange(len(skin), device=skin.device))[:RAYS]
    place = marched.places[rays.clamp_min(0)]
    starts, ends = marched.samples.ray_starts[place], marched.samples.ray_starts[place + 1]
    slots = starts[:, None] + torch.arange(most, device=skin.device)
    there = ((slots < ends[:, None]) & (rays >= 0)[:, None]).flatten()
    slots = slots.flatten().clamp(max=len(weights) - 1)
    positions, weights = marched.samples.positions[slots], torch.where(there, weights[slots], 0.0)
    own = encoded.emotion[k]
    other = torch.where((labels != own).any(dim=1), looks[n_groups:], -1.0).argmax()[None]
    pair = EncodedCondition(*(part[k].expand(2, -1) for part in encoded))
    pair = pair._replace(emotion=torch.cat([own, labels[other]]))
    one, other = head.tones(positions.repeat(2, 1), pair, [len(slots)] * 2).split(len(slots))
    side = 2 * math.ceil(1 / CELL)  # cells of [-1, 1] along an axis
    row, column = (torch.floor(positions[:, :2] / CELL).long() + side // 2).clamp(0, side - 1).unbind(-1)
    return mean_difference(one, other, weights, row * side + column, side * side)


def mean_difference(
    one: Float[Tensor, "m 3"],
    other: Float[Tensor, "m 3"],
    weights: Float[Tensor, " m"],
    cells: Int64[Tensor, " m"],
    count: int,
) -> Float[Tensor, ""]:
    """Returns the weighted mean of the squared differences between two tones' weighted means in their cells, of which
    there are so many."""
    total = weights.new_zeros(count).index_add(0, cells, weights)
    sums = weights.new_zeros(count, 3).index_add(0, cells, weights[:, None] * (one - other))
    squares = (sums / total.clamp_min(1e-6)[:, None]).square().mean(dim=1)
    return (total * squares).sum() / total.sum().clamp_min(1e-6)
