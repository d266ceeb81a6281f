"""Finding faces and their landmarks in pictures, with whichever MediaPipe is installed.

Landmarks are float32 [478, 3]: x and y in pixels, z in pixels too (smaller is closer to the camera).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from aed_nerfstudio.face.engine import has_solutions, load_mediapipe, open_task, task_image
from aed_nerfstudio.face.face_mesh import COUNT
from aed_nerfstudio.face.models import FACE_LANDMARKER

LANDMARK = np.dtype(
    [("record", "<u2"), ("x_tag", "u1"), ("x", "<f4"), ("y_tag", "u1"), ("y", "<f4"), ("z_tag", "u1"), ("z", "<f4")]
)
"""A landmark in 0.10.9's messages, in protobuf's wire format: field 1, of 15 bytes; in it fields 1 to 3, floats."""
TAGS = {"record": 0x0F0A, "x_tag": 0x0D, "y_tag": 0x15, "z_tag": 0x1D}
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
        self._look: Callable[[np.ndarray], list[np.ndarray]] = list

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
        return [face * scale for face in faces]

    def landmarks(self, image: np.ndarray) -> np.ndarray:
        """Returns the first face of a picture, uint8 [H, W, 3] RGB -> float32 [478, 3] pixels, NaN where none is."""
        faces = self.find(image)
        return faces[0] if faces else np.full((COUNT, 3), np.nan, np.float32)

    def _open_solution(self) -> tuple[Any, Callable[[np.ndarray], list[np.ndarray]]]:
        mesh = load_mediapipe().solutions.face_mesh.FaceMesh(
            static_image_mode=self.still,
            refine_landmarks=True,
            max_num_faces=self.max_faces,
            min_detection_confidence=SURE,
            min_tracking_confidence=SURE,
        )
        # The messages as they are: on Python 3.11 the old protobuf that it needs takes as long to read them as it takes
        # to find a face.
        mesh._get_packet_content = lambda kind, packet: packet
        return mesh, lambda image: _read_faces(mesh.process(image).multi_face_landmarks)

    def _open_task(self) -> tuple[Any, Callable[[np.ndarray], list[np.ndarray]]]:
        landmarker = open_task(
            "FaceLandmarker",
            FACE_LANDMARKER,
            num_faces=self.max_faces,
            min_face_detection_confidence=SURE,
            min_face_presence_confidence=SURE,
        )
        return landmarker, lambda image: [
            np.array([[p.x, p.y, p.z] for p in face], np.float32)
            for face in landmarker.detect(task_image(image)).face_landmarks
        ]


def _read_faces(packet: Any) -> list[np.ndarray]:
    """Returns the landmarks of the faces in a packet of 0.10.9's, float32 [478, 3] each, in shares of the picture."""
    if packet is None or packet.is_empty():
        return []
    bindings = import_module("mediapipe.python._framework_bindings")  # a compiled module
    return [_read_landmarks(message) for message in bindings._packet_getter._get_serialized_proto_list(packet)]


def _read_landmarks(message: bytes) -> np.ndarray:
    """Returns the landmarks of a list of them in protobuf's wire format, float32 [478, 3].

    Raises:
        ValueError: it is none as 0.10.9 writes it.
    """
    found = np.frombuffer(message, LANDMARK)
    if len(found) != COUNT or any((found[name] != tag).any() for name, tag in TAGS.items()):
        raise ValueError("MediaPipe's landmarks are not written as version 0.10.9 writes them")
    return np.stack([found["x"], found["y"], found["z"]], axis=1)
