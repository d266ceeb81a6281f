"""Pictures of the GPU's renderer: those of the CPU's, without waiting for the device before the end.

Its kernels are Triton's: without a GPU these tests run in Triton's interpreter, in a process of its own.
"""

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from nerfstudio.cameras.cameras import Cameras
from torch.utils._python_dispatch import TorchDispatchMode

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.avatar.renderers import culled as culled_renderer
from aed_nerfstudio.avatar.renderers import recorded as recorded_renderer
from aed_nerfstudio.avatar.renderers.culled import OPAQUE
from aed_nerfstudio.avatar.renderers.recorded import RecordedRenderer
from aed_nerfstudio.backends import interpreted
from tests.interpreter import quick

SIDE = 24
SMALL, TAKEN = 16, 2
"""Side and number of pictures one after the other."""
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "bincount", "repeat_interleave", "is_nonzero")

here = pytest.mark.skipif(
    not (interpreted() or torch.cuda.is_available()), reason="needs a CUDA device, or Triton's interpreter"
)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")
@pytest.mark.skipif(interpreted(), reason="Triton's interpreter is on")
def test_pictures_in_the_interpreter(run, data):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not cuda and not interpreter"]
    job = subprocess.run(
        [*command, str(Path(__file__))],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **os.environ,
            "TRITON_INTERPRET": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "AED_TEST_RUN": str(run),
            "AED_TEST_DATA": str(data),
        },
        cwd=Path(__file__).parents[2],
        timeout=300,
        check=False,
    )
    assert job.returncode == 0 and " passed" in job.stdout and "skipped" not in job.stdout, job.stdout[-4000:]


@pytest.fixture(scope="module", autouse=True)
def quick_interpreter():
    with quick():
        yield


@pytest.fixture(scope="module")
def avatar(run):
    avatar = Avatar.load(run / "config.yml")
    avatar.network.head.bfloat16 = False
    return avatar


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The interpreter is slow: few samples at first, and few points to find out where the torso is."""
    monkeypatch.setattr(culled_renderer, "REGION", 16)
    monkeypatch.setattr(culled_renderer, "REGION_POSES", 1)
    monkeypatch.setattr(recorded_renderer, "FIRST", 1 << 9)
    monkeypatch.setattr(recorded_renderer, "GRAIN", 1 << 8)


def from_the_left(camera: Cameras) -> Cameras:
    """A camera elsewhere, with another opening."""
    pose = camera.camera_to_worlds.clone()
    pose[..., 0, 3] += 0.3
    return Cameras(pose, camera.fx * 0.9, camera.fy * 0.9, camera.cx, camera.cy, camera.width, camera.height)


class NeverWaiting(TorchDispatchMode):
    """Refuses what has to wait for the device: values that the host wants to know, sizes that depend on values."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        assert not any(name.startswith(word) for word in WAITING), name
        if name in ("index", "index_put", "index_put_"):
            assert all(i is None or i.dtype != torch.bool for i in args[1]), f"{name} by a mask"
        result = function(*args, **(kwargs or {}))
        if name in ("_to_copy", "copy_"):
            assert result.device == args[1 if name == "copy_" else 0].device, f"{name} to another device"
        return result


def anew(avatar) -> RecordedRenderer:
    """One that has not rendered yet."""
    return RecordedRenderer(avatar.network, avatar.portrait, avatar.renderer.culled.torso_region)


def pictures(avatar, condition, backend: str) -> list[dict[str, torch.Tensor]]:
    """As recorded, and from elsewhere before another background."""
    avatar.network.use_backend(backend)
    camera = avatar.recorded_view(condition, SIDE)
    green = torch.zeros(1, 1, 3, device=avatar.device)
    green[..., 1] = 1
    return [
        avatar.renderer.render(camera, condition),
        avatar.renderer.render(from_the_left(camera), condition, background=green),
    ]


@here
def test_the_same_pictures_without_waiting(avatar, track, monkeypatch):
    network, renderer, watched = avatar.network, avatar.renderer, []
    if not interpreted():  # at their first run Triton tunes its kernels, and waits for what it finds
        pictures(avatar, track[3], "triton")
        renderer.recorded = anew(avatar)
    picture = RecordedRenderer._picture

    def watching(self, size, capacity, *arguments):
        watched.append(capacity)
        with NeverWaiting():
            return picture(self, size, capacity, *arguments)

    monkeypatch.setattr(RecordedRenderer, "_picture", watching)
    fixed = pictures(avatar, track[3], "triton")
    # Once with too little room, then with enough.
    assert watched[0] == recorded_renderer.FIRST < renderer.evaluated <= watched[-1] < 2 * renderer.evaluated
    for got, want in zip(fixed, pictures(avatar, track[3], "torch"), strict=True):
        assert got.keys() == want.keys() and want["accumulation"].max() > 0.1
        for name, image in want.items():
            if name == "ambient":  # a plain sum over samples, of which the other renderer leaves out hidden ones
                continue
            difference = (got[name] - image).abs().max().item()
            assert difference < (OPAQUE + 1e-4) * max(1.0, image.max().item()), f"{name}: {difference}"
    with NeverWaiting(), pytest.raises(AssertionError):  # the way of the other renderer
        network.occupancy.march(torch.zeros(1, 3), torch.ones(1, 3), network.box, 0.1, 4)


def taken(avatar, track, ahead: int) -> tuple[list, list[np.ndarray]]:
    """What became of conditions, as (what, number), and their pictures."""
    found, pictures = [], []

    def conditions():
        for number in range(TAKEN):
            found.append(("condition", number))
            yield track[3 + 10 * number]

    for number, picture in enumerate(avatar.render(conditions(), SMALL, ahead=ahead)):
        found.append(("picture", number))
        pictures.append(picture)
    return found, pictures


ONE_BY_ONE = [(what, number) for number in range(TAKEN) for what in ("condition", "picture")]


@here
def test_the_next_picture_is_begun_before_one_is_waited_for(avatar, track, monkeypatch):
    avatar.network.use_backend("triton")
    recorded = avatar.renderer.recorded
    recorded._capacity.clear()
    monkeypatch.setattr(recorded_renderer, "FIRST", 1 << 6)  # too little room: both are made again
    monkeypatch.setattr(recorded_renderer, "GRAIN", 1 << 5)
    waits, fetch = [], recorded_renderer.fetch

    def counted(tensor: torch.Tensor):
        wait = fetch(tensor)
        return lambda: waits.append(len(waits)) or wait()

    monkeypatch.setattr(recorded_renderer, "fetch", counted)
    found, late = taken(avatar, track, ahead=1)
    assert found == sorted(ONE_BY_ONE, key=lambda one: 2 * one[1] + 3 * (one[0] == "picture"))
    assert recorded._capacity[SMALL, SMALL] > recorded_renderer.FIRST
    waits.clear()
    found, at_once = taken(avatar, track, ahead=0)
    assert found == ONE_BY_ONE and len(waits) == TAKEN, "one wait a picture"
    for a, b in zip(late, at_once, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(*late[:2])


def test_a_cpu_begins_no_picture_before_it_is_asked_for(avatar, track):
    avatar.network.use_backend("numba")
    assert taken(avatar, track, ahead=1)[0] == ONE_BY_ONE


@here
def test_an_empty_head_gives_its_room_back(avatar, track):
    network, renderer, condition = avatar.network, avatar.renderer, track[3]
    network.use_backend("triton")
    everything, size = network.occupancy.binaries, (SIDE, SIDE)
    renderer.recorded._capacity[size] = 8 * recorded_renderer.GRAIN
    network.occupancy.binaries = torch.zeros_like(everything)
    try:
        images = renderer.render(avatar.recorded_view(condition, SIDE), condition, show_torso=False)
    finally:
        network.occupancy.binaries = everything
    assert images["accumulation"].max() == 0 and images["alpha"].max() == 0
    assert renderer.recorded._capacity[size] == recorded_renderer.GRAIN


@pytest.mark.gpu
def test_recorded_pictures_on_cuda(avatar, track):
    """The first picture of a size is not recorded, later ones are; what changes between them shows."""
    network = avatar.network
    network.use_backend("triton")
    everything, recorded = network.occupancy.binaries, anew(avatar)
    afresh = lambda frame: dataclasses.replace(track[frame], emotion=avatar.vocabulary.encode("happy"))  # noqa: E731

    def both(frame: int) -> None:
        camera, condition = avatar.recorded_view(track[frame], SIDE).reshape((1,)), afresh(frame)
        arguments = (camera, condition, network.background, None, True)
        got, want = recorded.begin(*arguments).whole(), anew(avatar).begin(*arguments).whole()
        for name, image in want.items():
            torch.testing.assert_close(got[name], image, msg=name)

    try:
        for frame in (3, 4, 5, 3):
            both(frame)
        with torch.no_grad():
            network.head.grid.params.mul_(3)
        both(3)
        network.occupancy.binaries = everything.roll(3, 1)
        both(3)
    finally:
        network.occupancy.binaries = everything
        with torch.no_grad():
            network.head.grid.params.div_(3)
