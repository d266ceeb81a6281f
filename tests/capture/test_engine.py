"""What found the faces is part of what a folder is made from."""

from aed_nerfstudio.capture.context import VERSION
from aed_nerfstudio.capture.take_stages import FIRST_ENGINE, track_key
from aed_nerfstudio.files import digest, stamp


def test_another_engine_tracks_anew_and_the_first_goes_on_with_older_folders(tmp_path):
    video = tmp_path / "a.mp4"
    video.write_bytes(b"x")
    assert track_key(video, FIRST_ENGINE) == digest(VERSION, stamp(video))  # as before there was a choice
    keys = {track_key(video, name) for name in (FIRST_ENGINE, "mediapipe 1.2.3 x", "mediapipe 1.3.0 x")}
    assert len(keys) == 3
