"""Finding faces and their landmarks in pictures, with whichever MediaPipe is installed.

Landmarks are float32 [478, 3]: x and y in pixels, z in pixels too (smaller is closer to the camera).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aed_nerfstudio.face.engine import has_solutions, load_mediapipe, open_task, task_image
from aed_nerfstudio.face.face_mesh import COUNT
from aed_nerfstudio.face.models import FACE_LANDMARKER

SURE = 0.5  # confidence from which on a face is one, and is the face of the frame before


class FaceFinder:
    """Finds faces in pictures; to be used in a `with` statement, by one thread.

    still: whether the pictures have nothing to do with each other. If not they are a video's frames in their order, and
    0.10.9 looks where the faces were. 1.2 looks at every picture by itself in either case: its video mode smooths the
    lips (on 71 s of a newsreader the mouth's opening varied by 0.0169 of the face against 0.0199).
    max_faces: more are not looked for.

    Entering raises InputError when a model file is missing and cannot be fetched.
    """

    def __init__(self, still: bool = True, max_faces: int = 1) -> None:
        self.still, self.max_faces = still, max_faces
        self._engine: Any = None
        self._look: Callable[[np.ndarray], list] = list

    @property
    def uses_last_frame(self) -> bool:
        """Returns whether faces are looked for where they were in the frame before."""
        return has_solutions() and not self.still

    def __enter__(self) -> FaceFinder:
        self._engine, self._look = self._open_solution() if has_solutions() else self._open_task()
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()

    def find(self, image: np.ndarray) -> list[np.ndarray]:
        """Returns all faces of a picture, uint8 [H, W, 3] RGB -> float32 [478, 3] pixels each."""
        height, width = image.shape[:2]
        # z has the scale of x, so it is multiplied by the width.
        scale = np.array([width, height, width], np.float32)
        faces = self._look(np.ascontiguousarray(image))
        return [np.array([[p.x, p.y, p.z] for p in face], np.float32) * scale for face in faces]

    def landmarks(self, image: np.ndarray) -> np.ndarray:
        """Returns the first face of a picture, uint8 [H, W, 3] RGB -> float32 [478, 3] pixels, NaN where none is."""
        faces = self.find(image)
        return faces[0] if faces else np.full((COUNT, 3), np.nan, np.float32)

    def _open_solution(self) -> tuple[Any, Callable[[np.ndarray], list]]:
        mesh = load_mediapipe().solutions.face_mesh.FaceMesh(
            static_image_mode=self.still,
            refine_landmarks=True,
            max_num_faces=self.max_faces,
            min_detection_confidence=SURE,
            min_tracking_confidence=SURE,
        )
        return mesh, lambda image: [face.landmark for face in mesh.process(image).multi_face_landmarks or []]

    def _open_task(self) -> tuple[Any, Callable[[np.ndarray], list]]:
        landmarker = open_task(
            "FaceLandmarker",
            FACE_LANDMARKER,
            num_faces=self.max_faces,
            min_face_detection_confidence=SURE,
            min_face_presence_confidence=SURE,
        )
        return landmarker, lambda image: landmarker.detect(task_image(image)).face_landmarks
