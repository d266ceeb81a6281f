"""A speech as the panel shows it, as a video file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from nerfstudio.cameras.cameras import Cameras

from aed_nerfstudio.avatar.avatar import to_uint8
from aed_nerfstudio.dataset.schema import FPS
from aed_nerfstudio.files import make_folder
from aed_nerfstudio.viewer.performance import Performance


def write_film(
    path: Path,
    performance: Performance,
    width: int,
    browser: Cameras | None,
    lock: AbstractContextManager,
    report: Callable[[int, int], bool],
) -> bool:
    """Renders a whole speech into a video with its sound.

    Args:
        path: the .mp4 to write; its folder is made.
        width: of the picture in pixels.
        browser: one camera, which places the free camera.
        lock: held while a frame is rendered, so that training and the viewer get their turn in between.
        report: is given the number of frames that are done and of all; False stops.

    Returns:
        Whether the video was finished; a stopped one leaves no file.

    Raises:
        InputError: the file cannot be written.
    """
    from aed_nerfstudio.media.video_writer import VideoWriter  # PyAV, which a training is without

    recorded, speech = performance.renderer.portrait.camera, performance.speech
    height = max(1, round(recorded.h * width / recorded.w))
    make_folder(path.parent)
    try:
        with VideoWriter(path, FPS, (width, height), speech.samples) as video:
            for frame in range(len(speech.track)):
                with lock:
                    rgb = performance.picture(frame, width, height, browser)["rgb"]
                video.write(to_uint8(rgb))
                if not report(frame + 1, len(speech.track)):
                    raise _Stopped
    except _Stopped:
        return False
    return True


class _Stopped(Exception):
    """Leaves the writer's block without a file."""
