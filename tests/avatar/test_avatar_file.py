"""An avatar as one file: it stands by itself, and may come from a stranger."""

import dataclasses
import json
import random
import re
import shutil
import struct
import tracemalloc

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.avatar.avatar_file import ZEROS, _checksum, read_avatar, write_avatar
from aed_nerfstudio.avatar.network import Network
from aed_nerfstudio.commands.main import main
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.loading import dataset_of, read_run
from aed_nerfstudio.media.audio_io import write_wav
from aed_nerfstudio.media.backgrounds import open_background

SOUND = (0.1 * np.random.default_rng(0).normal(size=16000)).astype(np.float32)


@pytest.fixture(scope="module")
def of_run(run):
    return Avatar.load(run / "config.yml", device="cpu")


@pytest.fixture(scope="module")
def packed(of_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "actor.avatar"
    of_run.save(path, half=False)
    return path


def pictures(avatar: Avatar) -> np.ndarray:
    """With every emotion, every way to pose the head and every background."""
    shown = []
    for category in ("neutral", "happy"):
        track = avatar.track(SOUND, avatar.vocabulary.encode(category))
        shown += avatar.render(track, frames=range(0, len(track), 12))
        shown += avatar.render(track, frames=range(1), background=open_background("green"))
        shown += [p[..., :3] for p in avatar.render(track, frames=range(1), background=open_background("transparent"))]
    turned = np.repeat(avatar.portrait.motion.poses[:1], 30, axis=0)
    for poses in ("still", turned):
        shown += avatar.render(avatar.track(SOUND, avatar.vocabulary.encode(), poses), frames=range(0, 25, 12))
    return np.array(shown)


def test_it_shows_the_same_pictures(of_run, packed):
    assert np.array_equal(pictures(of_run), pictures(Avatar.load(packed, device="cpu")))


def test_half_tables_make_it_smaller_and_hardly_change_it(of_run, packed, tmp_path):
    half = tmp_path / "half.avatar"
    of_run.save(half)
    assert half.stat().st_size < 0.62 * packed.stat().st_size
    condition = of_run.track(SOUND, of_run.vocabulary.encode("happy"))[5]
    exact, rounded = (avatar.images(condition)["rgb"] for avatar in (of_run, Avatar.load(half, device="cpu")))
    error = (exact - rounded.to(exact.device)).square().mean()
    assert 0 < error < 1e-6  # 60 dB


def test_what_it_knows_of_its_person(of_run, packed):
    there, here = Avatar.load(packed).portrait, of_run.portrait
    assert there.facts() == here.facts()
    for name, array in here.arrays().items():
        assert np.array_equal(array, there.arrays()[name]), name
    assert there.provenance.consent == "Nobody is shown: a computer-made actor." and there.provenance.tool


def test_it_speaks_when_recording_and_run_are_gone(run, data, tmp_path, monkeypatch, capsys):
    work = tmp_path / "work"
    shutil.copytree(run, work / "outputs" / "actor" / "aed-nerf-tiny" / "t")
    config = work / "outputs" / "actor" / "aed-nerf-tiny" / "t" / "config.yml"
    write_wav(tmp_path / "hello.wav", SOUND)
    words = ["--consent", "Anna agreed.", "--licence", "CC0-1.0"]
    main(["pack", "--load-config", str(config), "--output", str(tmp_path / "anna.avatar"), *words])
    shutil.rmtree(work)
    monkeypatch.chdir(tmp_path)
    main(["render", "--avatar", "anna.avatar", "--audio", "hello.wav", "--output", "hello.mp4", "--emotion", "happy"])
    assert (tmp_path / "hello.mp4").stat().st_size > 1000
    provenance = Avatar.load(tmp_path / "anna.avatar").portrait.provenance
    assert (provenance.consent, provenance.licence) == ("Anna agreed.", "CC0-1.0")


def test_a_run_speaks_without_its_recording(run, tmp_path):
    shutil.copytree(run, tmp_path / "t")
    text = (run / "config.yml").read_text()
    (tmp_path / "t" / "config.yml").write_text(re.sub(r"(?m)^(\s*- )actor\d*$", r"\1nowhere", text))
    with pytest.raises(InputError, match="dataset"):
        dataset_of(read_run(tmp_path / "t" / "config.yml"))
    avatar = Avatar.load(tmp_path / "t" / "config.yml", device="cpu")
    assert len(pictures(avatar)) == 16


def test_other_audio_is_measured_without_a_recording(packed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "hello.wav", SOUND)
    main(["eval", "--avatar", str(packed), "--audio", "hello.wav", "--output", "found"])
    metrics = json.loads((tmp_path / "found" / "metrics.json").read_text())
    assert metrics["cross_driven"]["frames"] == 25 and metrics["self_driven"]["full"]["psnr"] is None
    assert "--data" in metrics["self_driven"]["full"]["not_measured"]["psnr"]
    with pytest.raises(SystemExit):
        main(["eval", "--avatar", str(packed), "--output", "none"])


def test_it_is_measured_against_a_recording_that_is_named(packed, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["eval", "--avatar", str(packed), "--data", str(data), "--output", "found", "--frames", "3"])
    metrics = json.loads((tmp_path / "found" / "metrics.json").read_text())
    assert metrics["self_driven"]["full"]["psnr"] > 5


# ---- from a stranger


@pytest.fixture(scope="module")
def small(packed, tmp_path_factory):
    """A file with all that the actor's has, but grids of few entries: it is read a thousand times."""
    full = read_avatar(packed)[0]
    path = tmp_path_factory.mktemp("small") / "actor.avatar"
    write_avatar(path, Network(dataclasses.replace(full.settings, log2_size=6), full.portrait), "small", 1)
    assert read_avatar(path)[1:] == ("small", 1)
    return path


def test_one_way_to_name_an_avatar(packed, run, tmp_path, capsys):
    write_wav(tmp_path / "a.wav", SOUND)
    for named in ([], ["--avatar", str(packed), "--load-config", str(run / "config.yml")]):
        with pytest.raises(SystemExit):
            main(["render", *named, "--audio", str(tmp_path / "a.wav"), "--output", str(tmp_path / "a.mp4")])
        assert "--avatar" in capsys.readouterr().err


def test_it_does_not_write_over_itself(packed):
    with pytest.raises(InputError, match="reads"):
        Avatar.load(packed).save(packed)


def rewritten(small, tmp_path, change):
    """The file with other contents, and a checksum that is right."""
    tensors = load_file(small)
    size = struct.unpack("<Q", small.read_bytes()[:8])[0]
    told = json.loads(small.read_bytes()[8 : 8 + size])["__metadata__"]
    facts = json.loads(told["avatar"])
    change(facts, tensors, told)
    path = tmp_path / "odd.avatar"
    save_file(tensors, path, {**told, "avatar": json.dumps(facts), "sha256": ZEROS})
    import hashlib

    content = path.read_bytes()
    path.write_bytes(content.replace(_checksum(ZEROS), _checksum(hashlib.sha256(content).hexdigest()), 1))
    return path


ODD = {
    "version": lambda facts, tensors, told: told.update(version="2"),
    "format": lambda facts, tensors, told: told.update(format="nerf"),
    "portrait of a later version": lambda facts, tensors, told: facts["portrait"].update(version=99),
    "no portrait": lambda facts, tensors, told: facts.pop("portrait"),
    "no settings": lambda facts, tensors, told: facts.pop("settings"),
    "settings of another kind": lambda facts, tensors, told: facts["settings"].update(use_eye="yes"),
    "huge tables": lambda facts, tensors, told: facts["settings"].update(log2_size=26, top_resolution=65536),
    "larger tables than it has": lambda facts, tensors, told: facts["settings"].update(log2_size=20),
    "endless samples": lambda facts, tensors, told: facts["settings"].update(max_samples=10**9),
    "many frames": lambda facts, tensors, told: facts["portrait"].update(frame_count=10**12),
    "wide features": lambda facts, tensors, told: facts["portrait"].update(feature_dim=10**9),
    "another size": lambda facts, tensors, told: facts["portrait"]["camera"].update(w=16000, h=16000),
    "text as camera": lambda facts, tensors, told: facts["portrait"]["camera"].update(fl_x="wide"),
    "unknown label": lambda facts, tensors, told: facts["portrait"]["vocabulary"].update(recorded=[["x", "y"]]),
    "no torso": lambda facts, tensors, told: facts.update(has_torso=False),
    "poses that are none": lambda facts, tensors, told: tensors["portrait.poses"].zero_(),
    "poses elsewhere": lambda facts, tensors, told: tensors["portrait.poses"].fill_(float("nan")),
    "takes beyond the labels": lambda facts, tensors, told: tensors["portrait.takes"].fill_(7),
    "no picture": lambda facts, tensors, told: tensors["portrait.background"].zero_(),
    "a weight less": lambda facts, tensors, told: tensors.pop("head.density.0.weight"),
    "a weight more": lambda facts, tensors, told: tensors.update(more=torch.zeros(3)),
    "a weight of another size": lambda facts, tensors, told: tensors.update({"head.density.0.weight": torch.zeros(3)}),
    "weights that are no numbers": lambda facts, tensors, told: tensors["head.density.0.weight"].fill_(float("nan")),
    "another kind of weight": lambda facts, tensors, told: tensors.update(feature_mean=tensors["feature_mean"].long()),
    "no occupancy": lambda facts, tensors, told: tensors.update(occupied=torch.zeros(3, dtype=torch.uint8)),
}


@pytest.mark.hostile
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_file_gets_one_line(small, tmp_path, odd):
    path = rewritten(small, tmp_path, ODD[odd])
    with pytest.raises(InputError, match="odd.avatar") as error:
        read_avatar(path)
    assert len(str(error.value)) < 500


@pytest.mark.hostile
def test_damaged_files_get_one_line_and_little_memory(small, tmp_path):
    """1 000 of them: cut off, with bits turned, stretches lost, doubled or filled with noise."""
    content, draw = small.read_bytes(), random.Random(0)
    header = 8 + struct.unpack("<Q", content[:8])[0]
    path = tmp_path / "damaged.avatar"
    tracemalloc.start()
    for number in range(1000):
        # Half of all damages hit the header, which is a small part of the file.
        place = draw.randrange(header if number % 2 else len(content))
        length = draw.choice((1, 2, 8, 100, 5000))
        damaged = bytearray(content)
        kind = number % 5
        if kind == 0:
            del damaged[place:]
        elif kind == 1:
            damaged[place] ^= 1 << draw.randrange(8)
        elif kind == 2:
            del damaged[place : place + length]
        elif kind == 3:
            damaged[place:place] = damaged[place : place + length] or b"x"
        else:
            damaged[place : place + length] = draw.randbytes(length)
        if bytes(damaged) == content:
            continue
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged.avatar"):
            read_avatar(path)
    assert tracemalloc.get_traced_memory()[1] < 12 * len(content)
    tracemalloc.stop()


@pytest.mark.hostile
@pytest.mark.parametrize("content", [b"", b"\0", b"{}", b"\xff" * 100, struct.pack("<Q", 2) + b"{}", b"PK\3\4" * 99])
def test_other_files_are_no_avatars(tmp_path, content):
    path = tmp_path / "other.avatar"
    path.write_bytes(content)
    with pytest.raises(InputError, match="other.avatar"):
        Avatar.load(path)
