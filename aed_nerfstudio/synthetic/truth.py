"""The truth of a recording of the synthetic actor: any of its frames with another emotion, in any pose."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from aed_nerfstudio.dataset.schema import Dataset, Frame
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import read_audio
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import emotion_units, express, speech_units
from aed_nerfstudio.synthetic.record import RECORDER, SOURCE
from aed_nerfstudio.synthetic.scene import HeadPose, Rendering, Scene


def is_actor(dataset: Dataset) -> bool:
    """Returns whether a dataset was recorded of the actor, so that there is a `Truth` of it."""
    return dataset.tools.get("recorder") == RECORDER


class Truth:
    """The actor of a recording, who acts its frames anew.

    dataset: of `record_dataset`; its sound, its background and what it says of frames are all that is needed.

    Raises InputError for any other.
    """

    def __init__(self, dataset: Dataset) -> None:
        acted_by = {clip.source for clip in dataset.clips}
        known = re.fullmatch(SOURCE.format(r"(\d+)"), next(iter(acted_by)))
        if not is_actor(dataset) or len(acted_by) > 1 or known is None:
            raise InputError(f"{dataset.root}: was not recorded of the synthetic actor, so nobody can act it anew")
        self.dataset = dataset
        self.scene = Scene(Actor(int(known[1])), dataset.camera.w)
        self.scene.background = dataset.static_background()
        self._speech = lru_cache(maxsize=None)(self._read_speech)

    def _read_speech(self, clip: str) -> list[dict[str, float]]:
        """Returns the face units of a clip's speech."""
        return speech_units(read_audio(self.dataset.sound(clip)), self.dataset.clip(clip).count)

    def pose(self, frame: Frame) -> HeadPose:
        """Returns how the head was held in a frame."""
        return self.scene.pose_of(np.array(frame.camera_to_world))

    def render(
        self, frame: Frame, emotion: str, intensity: str | float = "strong", pose: HeadPose | None = None
    ) -> Rendering:
        """Draws a frame with another emotion: its lips speak what they spoke, and it blinks where it did.

        frame: of the dataset. intensity: a label or a weight 0..1. pose: of the head; the frame's own when None.

        Returns the picture, its landmarks and its camera; `face_box` and `face` say where the face is in it.

        Raises InputError for an unknown emotion or intensity.
        """
        speech = self._speech(frame.clip)[frame.index]
        units = express(emotion_units(emotion, intensity), speech, 1 - frame.eye_openness)
        return self.scene.render(units, self.pose(frame) if pose is None else pose)
