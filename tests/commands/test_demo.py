"""`aed demo`, from the recording to the video, by its command line."""

import numpy as np
import pytest
from PIL import Image

from aed_nerfstudio.commands.main import main
from aed_nerfstudio.dataset.schema import FPS, read_dataset
from aed_nerfstudio.media.captions import BAND
from aed_nerfstudio.media.video_reader import probe, read_frames

SIZE, FRAMES = 32, 3
SHORT = ["--size", str(SIZE), "--clip-seconds", "0.4", "--steps", "10", "--speech-seconds", str(FRAMES / FPS)]


def test_from_the_actor_to_the_video(tmp_path, capfd):
    root = tmp_path / "demo"
    main(["demo", "--output", str(root), *SHORT])
    dataset = read_dataset(root / "data")
    assert len(dataset.clips) == 15 and {clip.count for clip in dataset.clips} == {10}
    held = {round(float(np.degrees(np.arcsin(f.camera_to_world[2][1])))) for f in dataset.frames}
    assert min(held) < -12 and max(held) > 17  # every take has its posture
    assert (root / "outputs" / "demo" / "aed-nerf-tiny" / "demo" / "config.yml").exists()
    assert probe(root / "demo.mp4").has_audio
    frames = list(read_frames(root / "demo.mp4"))
    assert len(frames) == 2 * FRAMES  # all emotions at once, then one that grows
    assert all(frame.shape == (SIZE + BAND, 5 * SIZE, 3) for frame in frames)
    left, right = (frames[0][:SIZE, place : place + SIZE].astype(int) for place in (0, SIZE))
    assert np.abs(left - right).max() > 0  # not the same face again
    assert Image.open(root / "demo.png").size > (5 * SIZE, 3 * SIZE)
    assert "aed render --load-config" in capfd.readouterr().out

    # The recording is used again, unless it is another one than is asked for.
    with pytest.raises(SystemExit):
        main(["demo", "--output", str(root), *SHORT, "--clip-seconds", "0.8"])
    assert "another --size or --clip-seconds" in capfd.readouterr().err
