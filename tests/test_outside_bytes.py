"""Every reader of outside bytes, given any: it reads them or says in one `InputError` why not; bounded time and memory.

A few hundred cases are part of the usual run. Ten thousand for each reader, for a night:

    HYPOTHESIS_PROFILE=night pytest tests/test_outside_bytes.py
"""

import json
import os
import re
import resource
import shutil
import time
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from aed_nerfstudio import outside
from aed_nerfstudio.audio.feature_files import read_feature_file
from aed_nerfstudio.capture.bisenet import BisenetParser
from aed_nerfstudio.capture.rad_export import export_rad
from aed_nerfstudio.capture.stages import FILE, Stages
from aed_nerfstudio.commands.batch import read_jobs
from aed_nerfstudio.corpora.corpus import _read_memory
from aed_nerfstudio.corpora.corpus_tables import plan_table
from aed_nerfstudio.dataset.consent import read_consent
from aed_nerfstudio.dataset.rad_folder import read_rad_folder
from aed_nerfstudio.dataset.schema import read_dataset, read_image
from aed_nerfstudio.driving.camera_path import CameraPath
from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.driving.emotion_track import EmotionTrack
from aed_nerfstudio.driving.pose_file import read_poses
from aed_nerfstudio.errors import InputError, one_line
from aed_nerfstudio.evaluation.syncnet import SyncNet
from aed_nerfstudio.jobs.record import Job, Record, summary
from aed_nerfstudio.media import settings_file
from aed_nerfstudio.media.audio_io import read_audio, write_wav
from aed_nerfstudio.media.backgrounds import open_background
from aed_nerfstudio.media.content_credentials import Credentials
from aed_nerfstudio.media.video_reader import probe, read_frames
from aed_nerfstudio.media.video_writer import VideoWriter

pytestmark = pytest.mark.hostile
settings.register_profile("usual", max_examples=8)
settings.register_profile("night", max_examples=10_000)
NIGHT = os.environ.get("HYPOTHESIS_PROFILE") == "night"
CASES = settings(
    settings.get_profile("night" if NIGHT else "usual"),
    deadline=None,
    database=None,
    derandomize=not NIGHT,
    suppress_health_check=list(HealthCheck),
)
SECONDS = 10
"""For one file; all of them are small."""
MEMORY = 3 << 30
"""Address space that may be asked for beyond what there is."""
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
NUMBERS = (
    b"-1", b"0", b"1e38", b"1e308", b"1e400", b"-1e400", b"NaN", b"-Infinity", b"9" * 30, b"9" * 400, b"9" * 6000,
    b"249999", b"2147483648", b"9223372036854775808", b"0.5", b"true", b"null", b'"1"', b"[]", b"{}", b"",
)  # fmt: skip
TOKENS = (
    b"\0", b"'", b'"', b'""', b",", b"\n", b"\r", b"[" * 3000, b'{"a":' * 300, b"\xff\xfe", b"\\u0000", b"\\ud800",
    b"#", b"a" * 150_000, b";", b":", b"PK\x03\x04", b"\xff\xd9", b"-" * 3000, b"(" * 300, "\u2028".encode(),
    b"../" * 2000,
)  # fmt: skip


@st.composite
def mutated(draw, valid):
    """Bytes of one of the valid files, changed in a few places; or anything."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(TOKENS), max_size=4).map(b"".join)))
    content = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.integers(1, 40))
        kind = draw(st.sampled_from(("number", "token", "bytes", "bytes", "cut", "drop", "twice")))
        if kind == "number":
            places = [m.span() for m in islice(NUMBER.finditer(content), 2000)]
            if places:
                start, end = draw(st.sampled_from(places))
                content[start:end] = draw(st.sampled_from(NUMBERS))
        elif kind == "token":
            content[at:at] = draw(st.sampled_from(TOKENS))
        elif kind == "bytes":
            found = draw(st.binary(min_size=1, max_size=8))
            content[at : at + len(found)] = found
        elif kind == "cut":
            del content[at:]
        elif kind == "drop":
            del content[at : at + length]
        else:
            content[at:at] = content[at : at + length] * draw(st.sampled_from((1, 2, 500)))
    return bytes(content)


def array(*shape, dtype=np.float32) -> bytes:
    header = f"{{'descr': '{np.dtype(dtype).str}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    values = np.linspace(0, 1, int(np.prod(shape))).astype(dtype)
    return b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header + values.tobytes()


def pictures(folder, *suffixes) -> list[bytes]:
    noise = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    found = []
    for suffix in suffixes:
        Image.fromarray(noise).save(folder / f"valid{suffix}")
        found.append((folder / f"valid{suffix}").read_bytes())
    return found


POSE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]
VIEW = {"camera_to_world": sum(POSE, []), "fov": 20, "aspect": 1}
PATH = {"camera_type": "perspective", "render_height": 40, "render_width": 60, "fps": 24, "camera_path": [VIEW, VIEW]}
TRACK = [{"time": 0, "emotion": "neutral"}, {"time": 1.5, "emotion": {"happy": 0.7, "sad": 0.3}, "intensity": "strong"}]
POSE_FILES = [POSE, sum(POSE, [])], {"frames": [{"clip": "a", "transform_matrix": POSE}]}
STAGES = {"done": {"a": {"key": "k", "found": {"x": 1}, "seconds": 1.5}}, "begun": {"b": "k"}, "made": ["t"]}
TABLE = "load_config,audio,output,label,size,fps\nc.yml,a.wav,{}.mp4,it's me,48,25\n"
ROW = {"load_config": "c.yml", "audio": "a.wav", "output": "o.mp4", "label": ["a", "b"], "fps": 25.0, "resume": True}
OUTCOME = {"name": "a", "state": "done", "frames": 3, "seconds": 1.5, "attempts": 1, "error": "", "key": "k"}
WORDS = EmotionVocabulary()


def dumped(*values) -> list[bytes]:
    return [json.dumps(value).encode() for value in values]


def track(path):
    found = EmotionTrack.read(path, WORDS)
    assert all(np.isfinite(found(t)).all() for t in (0, 0.7, 1e9))
    json.dumps(found.to_json(), allow_nan=False)


def camera_path(path):
    found = CameraPath.read(path)
    assert np.isfinite(found.poses).all() and np.isfinite(found.camera(0.3).camera_to_worlds.numpy()).all()


def poses(path):
    found = read_poses(path)
    assert found.shape[1:] == (3, 4) and np.isfinite(found).all()


def features(path):
    found = read_feature_file(path, 4)
    assert found.shape[0] == 8 and np.isfinite(found).all()


def record(path):
    jobs = [Job("a", "k", path, ()), Job("c", "k", path, ())]
    found = Record(path, "form", "renders", jobs, progress=False)
    found.finish("c", 1.0, state="done")
    summary(list(found.outcomes.values()))


def stages(path):
    found = Stages(path.parent)
    found.seconds()
    found.remember(["new"])


def continued(path):
    settings_file.begin(path, {"a": 1, "b": [1.5, None]}, path)


def consent(path):
    assert 0 < len(read_consent(str(path))) <= 10_000


def signing(path):
    Credentials(path, path, path.with_name("o.mp4"))


def background(path):
    found = open_background(str(path)).frames((8, 6), 25, 0)
    assert next(found).shape == (6, 8, 3)


def bisenet(path):
    with BisenetParser(path):
        pass


def moving(path):
    info = probe(path)
    shapes = {frame.shape for frame in islice(read_frames(path, 25), 500)}
    assert shapes == {(info.height, info.width, 3)}


def sound(path):
    assert np.abs(read_audio(path)).max(initial=0) < np.inf


TEXTS = {
    "checked JSON": (".json", dumped(*POSE_FILES, PATH), outside.read_json),
    "array": (".npy", [array(2, 3, 4), array(5, dtype=np.int16)], lambda path: np.array(outside.read_array(path))),
    "track.csv": (".csv", [b"time,emotion,intensity\n0,neutral,\n1.5,happy:0.7+sad:0.3,strong\n4,sad,0.25\n"], track),
    "track.json": (".json", dumped(TRACK), track),
    "camera path": (".json", dumped(PATH), camera_path),
    "poses.json": (".json", dumped(*POSE_FILES), poses),
    "poses.npy": (".npy", [array(2, 3, 4)], poses),
    "features": (".npy", [array(4, 2, 3), array(8, 3), array(4, 16, 3, dtype=np.float16)], features),
    "batch.csv": (".csv", [TABLE.format("o").encode(), TABLE.replace(",", ";").encode()], read_jobs),
    "batch.jsonl": (".jsonl", dumped(ROW), read_jobs),
    "takes": (".csv", [b"path,emotion,intensity,audio\na.mp4,happy,strong,\nb.mp4,sad,weak,b.wav"], plan_table),
    "state": (".json", dumped({"format": "form", "renders": [OUTCOME, {**OUTCOME, "name": "b"}]}), record),
    "left out": (".json", dumped({"a.mp4": [["a.mp4", 1, 2], "no face"]}), _read_memory),
    "settings": (".json", dumped({"a": 1, "b": [1.5, None]}), continued),
    "consent": (".txt", ["Anna Müller agreed.".encode(), b"x" * 10_001], consent),
}
"""Suffix, valid files and reader, where no picture, sound or network is needed."""


@pytest.fixture(scope="module")
def bound():
    """This process may take no more than `MEMORY` beyond what it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def check(read, path, valid, named=None) -> None:
    """Whatever a file holds: read, or refused in one line that names it, or what else is wrong."""

    @CASES
    @given(mutated(valid))
    def one(content):
        path.write_bytes(content)
        start = time.monotonic()
        try:
            read(path)
        except InputError as error:
            assert len(one_line(error)) < 2000 and (named or str(path)) in str(error)
        assert time.monotonic() - start < SECONDS

    one()


@pytest.mark.parametrize("name", TEXTS)
def test_texts_and_arrays(bound, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    suffix, valid, read = TEXTS[name]
    check(read, tmp_path / f"a{suffix}", valid, named=str(tmp_path) if name == "takes" else None)


def test_stages(bound, tmp_path):
    check(stages, tmp_path / FILE, dumped(STAGES))


def test_pictures(bound, tmp_path):
    check(read_image, tmp_path / "a.png", pictures(tmp_path, ".png", ".jpg"))


def test_backgrounds(bound, tmp_path):
    check(background, tmp_path / "a.png", pictures(tmp_path, ".png", ".jpg", ".bmp", ".webp", ".tiff", ".gif"))


def test_credentials(bound, tmp_path):
    pytest.importorskip("c2pa")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    check(signing, tmp_path / "a.pem", [ec.generate_private_key(ec.SECP256R1()).private_bytes(*form)])


@pytest.mark.parametrize("read", [SyncNet.load, bisenet])
def test_weights(bound, tmp_path, read):
    valid = []
    for new in (True, False):
        stored = {"netcnnaud.0.weight": torch.zeros(3), "other": {"a": torch.ones(2, dtype=torch.int64)}}
        torch.save(stored, tmp_path / "valid", _use_new_zipfile_serialization=new)
        valid.append((tmp_path / "valid").read_bytes())
    check(read, tmp_path / "a.pth", valid)


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    found = SimpleNamespace(videos=[], sounds=[])
    for suffix in (".mp4", ".mkv", ".webm"):
        with VideoWriter(folder / f"a{suffix}", 25, (32, 24)) as out:
            for number in range(6):
                out.write(np.full((24, 32, 3), 40 * number, np.uint8))
        found.videos.append((folder / f"a{suffix}").read_bytes())
    write_wav(folder / "a.wav", 0.3 * np.sin(np.arange(4000) / 9))
    found.sounds.append((folder / "a.wav").read_bytes())
    return found


def test_videos(bound, tmp_path, media):
    check(moving, tmp_path / "a.mp4", media.videos)


def test_sounds(bound, tmp_path, media):
    check(sound, tmp_path / "a.wav", media.sounds)


@pytest.fixture(scope="module")
def folders(data, tmp_path_factory):
    """A dataset of the actor, and the same as RAD-NeRF lays it out."""
    root = tmp_path_factory.mktemp("folders")
    shutil.copytree(data, root / "ours", ignore=shutil.ignore_patterns(".frames"))
    export_rad(read_dataset(data), root / "theirs", progress=False)
    (root / "theirs" / "au.csv").write_text(" AU45_r, AU01_r\n" + "0.5, 1\n" * 80)
    return root


def ours(root):
    dataset = read_dataset(root)
    for clip in dataset.clips:
        marks = dataset.landmarks(clip.name)
        assert all((np.abs(marks[f.index]) < 1e7).all() for f in dataset.frames if f.clip == clip.name and f.usable)
    dataset.static_background()
    dataset.image(dataset.frames[0])


def theirs(root):
    dataset = read_rad_folder(root)
    assert len(dataset.frames) < 10_000
    dataset.image(dataset.frames[0])


OURS = ("dataset.json", "transforms.json", "report.json", "background.png", "landmarks/neutral_strong.npy",
        "audio_features/neutral_strong.npy", "images/neutral_strong/00000.jpg")  # fmt: skip
THEIRS = ("transforms_train.json", "transforms_val.json", "ori_imgs/3.lms", "au.csv", "bc.jpg", "gt_imgs/0.jpg")


@pytest.mark.parametrize(("kind", "name"), [*(("ours", name) for name in OURS), *(("theirs", n) for n in THEIRS)])
def test_folders(bound, folders, kind, name):
    root, read = folders / kind, {"ours": ours, "theirs": theirs}[kind]
    path = root / name
    if not path.exists():
        path.write_text("{}")
    whole = path.read_bytes()
    try:
        check(lambda _: read(root), path, [whole], named=str(root))
    finally:
        path.write_bytes(whole)
