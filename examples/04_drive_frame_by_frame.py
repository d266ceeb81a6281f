"""Drive an avatar frame by frame, as a game or a live stream would: each frame's condition is made when it is needed.

Here the louder the voice, the stronger the emotion.

    python examples/04_drive_frame_by_frame.py
    python examples/04_drive_frame_by_frame.py --avatar CONFIG.yml --audio hello.wav --emotion angry
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro

from aed_nerfstudio.audio.features import FRAME_RATE, SAMPLE_RATE
from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.driving.track import FrameCondition
from aed_nerfstudio.media.audio_io import read_audio
from aed_nerfstudio.media.video_writer import VideoWriter
from aed_nerfstudio.synthetic.record import unseen_speech


def conditions(speaker: Avatar, samples: np.ndarray, emotion: str) -> Iterator[FrameCondition]:
    """Yields what drives each frame of a stretch of sound, float [n] mono at 16 kHz."""
    calm = speaker.vocabulary.encode("neutral")
    excited = speaker.vocabulary.encode(emotion)
    loudest, level = np.abs(samples).max() + 1e-6, 0.0
    for number, condition in enumerate(speaker.track(samples, calm, poses="still")):
        start = number * SAMPLE_RATE // FRAME_RATE
        loudness = np.abs(samples[start : start + SAMPLE_RATE // FRAME_RATE]).max(initial=0) / loudest
        level += 0.2 * (loudness - level)  # a face follows slowly
        yield replace(condition, emotion=((1 - level) * calm + level * excited).astype(np.float32))


def main(
    avatar: Path = Path("outputs/examples/actor/aed-nerf-tiny/example/config.yml"),
    audio: Path | None = None,
    emotion: str = "happy",
    output: Path = Path("outputs/examples/loudness.mp4"),
) -> None:
    """Render a video whose emotion follows the loudness.

    Args:
        avatar: an avatar file or the config.yml of a run; that of the first example when left out.
        audio: what is said, any audio or video file; two seconds that come with the package when left out.
        emotion: what loud speech looks like; silence is neutral.
        output: the video to write.
    """
    speaker = Avatar.load(avatar)
    samples = unseen_speech(2.0) if audio is None else read_audio(audio)
    height, width = speaker.frame_size()
    with VideoWriter(output, FRAME_RATE, (width, height), samples, SAMPLE_RATE) as video:  # it notes: synthetic
        for picture in speaker.render(conditions(speaker, samples, emotion)):  # uint8 [H, W, 3], one at a time
            video.write(picture)
    print(f"{output}: {video.frames_written} frames, with sound")


if __name__ == "__main__":
    tyro.cli(main)
