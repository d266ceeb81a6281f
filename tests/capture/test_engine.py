"""What found the faces is part of what a folder is made from."""

from aed_nerfstudio.capture.processing import FIRST_ENGINE, VERSION, track_key
from aed_nerfstudio.capture.sources import stamp
from aed_nerfstudio.capture.stages import digest


def test_another_engine_tracks_anew_and_the_first_goes_on_with_older_folders(tmp_path):
    video = tmp_path / "a.mp4"
    video.write_bytes(b"x")
    assert track_key(video, FIRST_ENGINE) == digest(VERSION, stamp(video))  # as before there was a choice
    keys = {track_key(video, name) for name in (FIRST_ENGINE, "mediapipe 1.2.3 x", "mediapipe 1.3.0 x")}
    assert len(keys) == 3
