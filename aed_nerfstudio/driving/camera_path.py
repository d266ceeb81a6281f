"""Camera paths saved by nerfstudio's viewer: where the camera is at any time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from aed_nerfstudio.dataset.checked_json import Field, check_poses, read_json
from aed_nerfstudio.dataset.picture_files import MOST_PIXELS
from aed_nerfstudio.dataset.schema import FARTHEST, LARGEST_SIDE
from aed_nerfstudio.driving.head_pose import pose_at
from aed_nerfstudio.files import array_digest

if TYPE_CHECKING:
    from nerfstudio.cameras.cameras import Cameras

MEND = "save a camera path in the viewer's Render tab (Generate Command)"


@dataclass(frozen=True)
class CameraPath:
    """A camera that moves around the head, as set up in the viewer."""

    poses: Float[np.ndarray, "n 3 4"]
    """Camera-to-world, float32 [N, 3, 4]."""
    focal_lengths: Float[np.ndarray, " n"]
    """[N] pixels, at `height`."""
    width: int
    """Pixels."""
    height: int
    fps: float
    """Poses a second."""
    cycle: bool
    """Whether it starts again after its end; else its last pose is held."""

    @classmethod
    def read(cls, path: Path) -> CameraPath:
        """Reads a path's JSON file; nerfstudio's own reader turns it into cameras, so that both show the same.

        Raises:
            InputError: the file is missing, damaged, empty or of another kind of camera than a perspective one.
        """
        from nerfstudio.cameras.camera_paths import get_path_from_json

        found = read_json(Path(path), MEND, MEND)
        width, height = (found[side].integer(1, LARGEST_SIDE) for side in ("render_width", "render_height"))
        if width * height > MOST_PIXELS:
            raise found["render_width"].wrong(f"such that a picture has at most {MOST_PIXELS} pixels")
        fps = found.get("fps", 24).number(0.1, 1000)
        if found.get("camera_type", "perspective").text().lower() != "perspective":
            raise found["camera_type"].wrong("perspective: an avatar has no surroundings")
        views = list(found["camera_path"].list())
        if not views:
            raise found["camera_path"].wrong("a list of at least one camera")
        # As floats: nerfstudio's reader takes whole numbers for integers, and fails of them.
        cameras = [
            {
                "fov": view["fov"].number(0.1, 179),
                "camera_to_world": [number.number() for number in _sixteen(view["camera_to_world"]).list()],
            }
            for view in views
        ]
        matrices = np.array([camera["camera_to_world"] for camera in cameras]).reshape(-1, 4, 4)
        check_poses([view["camera_to_world"] for view in views], matrices, FARTHEST)
        cameras = get_path_from_json({"render_width": width, "render_height": height, "camera_path": cameras})
        return cls(
            poses=cameras.camera_to_worlds.numpy(),
            focal_lengths=cameras.fy.flatten().numpy(),
            width=width,
            height=height,
            fps=fps,
            cycle=found.get("is_cycle", False).boolean(),
        )

    def frame_size(self, width: int | None = None) -> tuple[int, int]:
        """Returns the height and width in pixels of the pictures at a width; the file's when None."""
        width = width or self.width
        return max(1, round(self.height * width / self.width)), width

    def digest(self) -> str:
        """Tells paths apart."""
        return array_digest(self.poses, self.focal_lengths, np.array([self.width, self.height, self.fps, self.cycle]))

    def camera(self, seconds: float, width: int | None = None) -> Cameras:
        """Returns the camera [1] at a time, for pictures of `frame_size(width)`; between two poses, interpolated."""
        import torch
        from nerfstudio.cameras.cameras import Cameras

        count, place = len(self.poses), seconds * self.fps
        poses, lengths = self.poses, self.focal_lengths
        if self.cycle:
            place %= count
            poses, lengths = (np.concatenate([x, x[:1]]) for x in (poses, lengths))
        height, width = self.frame_size(width)
        focal_length = float(np.interp(place, np.arange(len(lengths)), lengths)) * height / self.height
        return Cameras(
            camera_to_worlds=torch.from_numpy(pose_at(poses, place))[None],
            fx=focal_length,
            fy=focal_length,
            cx=width / 2,
            cy=height / 2,
            width=width,
            height=height,
        )


def _sixteen(field: Field) -> Field:
    """Returns a field that is a list of 16."""
    if not isinstance(field.value, list) or len(field.value) != 16:
        raise field.wrong("a list of 16 numbers")
    return field
