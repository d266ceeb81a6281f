"""The file of decoded frames: what it holds, when it is made anew, and what it costs."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aed_nerfstudio.dataset.frames import FrameStore, decode, over_background
from aed_nerfstudio.dataset.schema import HEAD, Camera, Clip, Dataset, Frame, write_image
from aed_nerfstudio.errors import InputError


def make(root: Path, size: int = 16, count: int = 4, link: bool = False) -> Dataset:
    """A dataset of random pictures; with link, all frames have those of the first."""
    frames = [Frame("a", i, np.eye(4).tolist(), [0, 0, size, size], [0, 0, size, size]) for i in range(count)]
    camera = Camera(float(size), float(size), size / 2, size / 2, size, size)
    dataset = Dataset(root, camera, [Clip("a", "a.mp4", 0, count)], frames, ["neutral"], ["medium"], "none", 1)
    write_image(dataset.background, np.full((size, size, 3), 100, np.uint8))
    random = np.random.default_rng(0)
    for frame in frames:
        for kind, shape in (("images", (size, size, 3)), ("torso", (size, size, 4)), ("parsing", (size, size))):
            if link and frame.index:
                os.link(dataset.path(kind, frames[0]), dataset.path(kind, frame))
            else:
                largest = HEAD + 1 if kind == "parsing" else 256
                write_image(dataset.path(kind, frame), random.integers(0, largest, shape, np.uint8))
    return dataset


def test_draws_what_the_pictures_show(tmp_path):
    dataset = make(tmp_path)
    store, frame, where = FrameStore(dataset), dataset.frames[2], np.array([0, 17, 255])
    for _ in range(2):  # decoded, then read
        drawn = store.draw(2, where)
        assert drawn.values.dtype == np.uint8
        np.testing.assert_array_equal(drawn.image, dataset.image(frame).reshape(-1, 3)[where])
        np.testing.assert_array_equal(drawn.torso, dataset.torso(frame).reshape(-1, 4)[where])
        np.testing.assert_array_equal(drawn.head, dataset.parsing(frame).reshape(-1)[where] == HEAD)
    np.testing.assert_array_equal(store.draw(2).values, decode(dataset, 2).values.reshape(-1, 8))


def test_all_frames_are_decoded_before_they_are_drawn(tmp_path):
    dataset = make(tmp_path, size=64, count=12)
    store, true = FrameStore(dataset), [decode(dataset, i).values.reshape(-1, 8) for i in range(12)]
    store.fill(range(1, 12), progress=False)
    for frame in dataset.frames:  # nothing is read from these any more
        for kind in ("images", "torso", "parsing"):
            dataset.path(kind, frame).unlink()
    for i in range(1, 12):
        np.testing.assert_array_equal(store.draw(i).values, true[i])
    with pytest.raises(InputError, match="00000"):
        store.fill(range(12), progress=False)


def test_a_torso_lies_over_its_background():
    torso = np.array([[255, 0, 0, 0], [0, 255, 0, 255], [200, 0, 0, 51]], np.uint8)
    background = np.full((3, 3), 100, np.uint8)
    seen = [[100, 100, 100], [0, 255, 0], [120, 80, 80]]
    np.testing.assert_allclose(over_background(torso, background), np.array(seen) / 255)


def test_a_later_run_decodes_only_what_has_changed(tmp_path):
    dataset = make(tmp_path)
    first = FrameStore(dataset)
    old = [first.draw(i).values for i in range(4)]
    path = dataset.path("images", dataset.frames[1])
    status, data = path.stat(), path.read_bytes()
    path.write_bytes(b"x" * len(data))  # of the same size, and as old: only decoding would find out
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = FrameStore(dataset)
    assert all(np.array_equal(again.draw(i).values, old[i]) for i in range(4))
    path.write_bytes(dataset.path("images", dataset.frames[2]).read_bytes())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    changed = FrameStore(dataset).draw(1)
    np.testing.assert_array_equal(changed.image, old[2][:, :3])
    np.testing.assert_array_equal(changed.torso, old[1][:, 3:7])


def test_pixels_that_are_not_whole_are_decoded_anew(tmp_path):
    dataset = make(tmp_path)
    store = FrameStore(dataset)
    true = store.draw(0).values
    with open(store.path, "r+b") as file:
        file.write(b"xyz")
    np.testing.assert_array_equal(FrameStore(dataset).draw(0).values, true)


def test_a_killed_program_leaves_no_wrong_pixels(tmp_path):
    dataset = make(tmp_path / "data", size=256, count=3)
    code = """
import os, sys
from pathlib import Path
from test_frames import FrameStore, make
dataset = make(Path(sys.argv[1]), size=256, count=3)
while True:
    store = FrameStore(dataset)
    for i in range(3):
        store.draw(i)
        os.utime(dataset.path("images", dataset.frames[i]))  # so that the next round writes it again
    print("round", flush=True)
"""
    command, here = [sys.executable, "-c", code, tmp_path / "data"], Path(__file__).parent
    with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "round\n"
        time.sleep(0.2)
        writer.send_signal(signal.SIGKILL)
    store = FrameStore(dataset)
    for i in range(3):
        np.testing.assert_array_equal(store.draw(i).values, decode(dataset, i).values.reshape(-1, 8))


def test_a_folder_that_cannot_be_written_has_its_frames_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dataset = make(tmp_path / "data")
    (dataset.root / ".frames").touch()  # for a test that runs as root, who may write everywhere
    store = FrameStore(dataset)
    assert (tmp_path / "cache" / "aed-nerfstudio" / "frames") in store.path.parents
    np.testing.assert_array_equal(store.draw(0).image, dataset.image(dataset.frames[0]).reshape(-1, 3))
    assert FrameStore(make(tmp_path / "other"), tmp_path / "cache").path.parent.parent == tmp_path / "cache"
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match="taken.*--pipeline.datamanager.frame-cache"):
        FrameStore(dataset, tmp_path / "taken")


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(tmp_path):
    dataset = make(tmp_path, size=1024, count=1)
    frame_bytes = 8 * 1024 * 1024
    dataset.frames = dataset.frames * (shutil.disk_usage(tmp_path).free // frame_bytes + 100)
    with pytest.raises(InputError, match=r"\.frames/1024x1024.pixels: .* GiB more.*--pipeline.datamanager.frame-cache"):
        FrameStore(dataset)
    assert (tmp_path / ".frames" / "1024x1024.pixels").stat().st_size == 0


def test_a_full_disk_is_one_error(tmp_path):
    store = FrameStore(make(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 10, hard))
    try:
        with pytest.raises(InputError, match=r"16x16.pixels: .*--pipeline.datamanager.frame-cache"):
            store.draw(3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    np.testing.assert_array_equal(store.draw(3).values, decode(store.dataset, 3).values.reshape(-1, 8))


def resident() -> int:
    """Memory of this process, bytes, mapped files included."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_dataset(tmp_path):
    store = FrameStore(make(tmp_path, size=512, count=60, link=True))
    store.draw(0)
    before = resident()
    for _ in range(2):
        for i in range(60):
            store.draw(i, np.arange(0, 512 * 512, 100))
    assert resident() - before < 40 << 20  # of 120 MiB
    assert os.stat(store.path).st_size > 120 << 20


@pytest.mark.hostile
@pytest.mark.parametrize("link", ["folder", "symbolic", "hard"])
def test_frames_are_not_kept_through_a_link_in_a_strangers_folder(tmp_path, link):
    dataset = make(tmp_path / "data")
    mine = tmp_path / "16x16.pixels"
    mine.write_text("precious")
    if link == "folder":
        (dataset.root / ".frames").symlink_to(tmp_path)
    else:
        (dataset.root / ".frames").mkdir()
        place = dataset.root / ".frames" / mine.name
        place.symlink_to(mine) if link == "symbolic" else place.hardlink_to(mine)
    with pytest.raises(InputError, match="links"):
        FrameStore(dataset)
    assert mine.read_text() == "precious"
