"""Where the pixels of a camera lie in the recording's picture, which torso and background belong to."""

from __future__ import annotations

import torch
from jaxtyping import Float, Real
from torch import Tensor
from torch.nn import functional

from aed_nerfstudio.dataset.schema import Camera


def at_distance_one(
    row: Real[Tensor, " rows"], column: Real[Tensor, " columns"], intrinsics: Float[Tensor, " 4"]
) -> tuple[Float[Tensor, " columns"], Float[Tensor, " rows"]]:
    """Returns the middles of pixels at distance 1 before a camera, x and y (down); intrinsics [4]: fx, fy, cx, cy."""
    fx, fy, cx, cy = intrinsics.unbind()
    return (column + 0.5 - cx) / fx, (row + 0.5 - cy) / fy


def plane(
    height: int, width: int, intrinsics: Float[Tensor, " 4"]
) -> tuple[Float[Tensor, " pixels"], Float[Tensor, " pixels"]]:
    """Returns `at_distance_one` of a whole picture, [h*w] each."""
    rows, columns = (torch.arange(side, device=intrinsics.device) for side in (height, width))
    across, down = at_distance_one(rows, columns, intrinsics)
    y, x = torch.meshgrid(down, across, indexing="ij")
    return x.reshape(-1), y.reshape(-1)


def directions_at(x: Float[Tensor, " n"], y: Float[Tensor, " n"], pose: Float[Tensor, "3 4"]) -> Float[Tensor, "n 3"]:
    """Returns unit directions in the world, [N, 3], of places [N] each at distance 1 before a camera of a pose [3,
    4]."""
    ahead = torch.stack([x, -y, -torch.ones_like(x)], -1)
    return functional.normalize(ahead, dim=-1) @ pose[:, :3].T


def in_recording(x: Float[Tensor, " n"], y: Float[Tensor, " n"], recorded: Camera) -> Float[Tensor, "n 2"]:
    """Returns places x, y (down) at distance 1 in the recording's picture, [N, 2] in [-1, 1]; beyond: outside of it."""
    x = (x * recorded.fl_x + recorded.cx) * (2 / recorded.w) - 1
    y = (y * recorded.fl_y + recorded.cy) * (2 / recorded.h) - 1
    return torch.stack([x, y], -1)


def on_torso(
    x: Float[Tensor, " n"],
    y: Float[Tensor, " n"],
    pose: Float[Tensor, "3 4"],
    head_pose: Float[Tensor, "3 4"],
    recorded: Camera,
) -> Float[Tensor, "n 2"]:
    """Returns `in_recording` for the torso of a head pose seen from another pose, [3, 4] camera-to-world each.

    The torso is a picture that stands in the plane through the head's centre, as the head pose sees it, so that it
    stays with a head which the camera sees from elsewhere.
    """
    turn = head_pose[:, :3].T @ pose[:, :3]
    place = head_pose[:, :3].T @ (pose[:, 3] - head_pose[:, 3])
    rays = torch.stack([x, -y, -torch.ones_like(x)], -1) @ turn.T
    depth = head_pose[:, 2] @ head_pose[:, 3]  # of the plane, for the head pose
    reach = (depth + place[2]).clamp_min(0) / (-rays[:, 2]).clamp_min(1e-6)
    points = place + reach[:, None] * rays
    return in_recording(points[:, 0] / depth, -points[:, 1] / depth, recorded).clamp(-1, 1)
