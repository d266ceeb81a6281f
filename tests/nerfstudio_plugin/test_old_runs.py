"""Runs of version 0.1: one that it wrote on its last day is loaded, shown, driven, packed and trained on.

The archive holds a small dataset and its run, trained with --pipeline.model.emotion happy, appearance codes of 4
numbers and hash grids of 2^8 entries; cells of its occupancy grid were rounded to 0 or 1. The picture beside it was
rendered by version 0.1.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.utils.eval_utils import eval_setup

from aed_nerfstudio.avatar.avatar import Avatar, to_uint8
from aed_nerfstudio.commands.set_driving import SetDriving
from aed_nerfstudio.dataset.schema import read_image
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.nerfstudio_plugin.camera_driver import DrivingConfig
from aed_nerfstudio.nerfstudio_plugin.run_config import read_config

OLD = Path(__file__).parents[1] / "old_run"
RUN = Path("outputs/actor/aed-nerf-tiny/t")


def unpacked(folder: Path) -> Path:
    """The run's config.yml; its dataset is not where it was, not even on the machine that made it."""
    shutil.unpack_archive(OLD / "run_0.1.tar.xz", folder, filter="data")
    config = folder / RUN / "config.yml"
    config.write_text(config.read_text().replace("- golden\n", "- gone\n"))
    return config


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    return unpacked(tmp_path_factory.mktemp("old"))


def picture(avatar: Avatar) -> np.ndarray:
    """As version 0.1 rendered it: the fourth frame of silence, happy, with the head motion of the longest take.

    At its right with all cells occupied: the fog that the head is after 30 steps.
    """
    avatar.network.head.bfloat16 = False  # which not every processor has
    motion = avatar.portrait.motion
    take = motion.take(motion.longest_first[0])  # whose motion it played with every emotion
    track = avatar.track(np.zeros(8 * 640, np.float32), avatar.vocabulary.encode("happy"), take.poses)
    condition = replace(track[3], eye_openness=float(take.eye_openness[3]))
    pictures = [to_uint8(avatar.images(condition, 32)["rgb"])]
    avatar.network.occupancy.binaries.fill_(True)
    return np.hstack([*pictures, to_uint8(avatar.images(condition, 32)["rgb"])])


def assert_as_then(avatar: Avatar) -> None:
    golden = read_image(OLD / "golden.png").astype(int)
    assert np.abs(golden[:, 32:] - golden[:, :32]).mean() > 5 and np.abs(picture(avatar) - golden).max() <= 1


def test_it_shows_what_it_showed_then(config):
    avatar = Avatar.load(config, device="cpu")
    assert_as_then(avatar)
    assert avatar.step == 29 and avatar.network.codes.embedding_dim == 4 and avatar.consent


def test_it_needs_its_dataset_until_it_is_packed(tmp_path):
    config = unpacked(tmp_path)
    Avatar.load(config, device="cpu").save(tmp_path / "old.avatar")
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(InputError, match="the dataset of this run is no longer at"):
        Avatar.load(config)
    assert_as_then(Avatar.load(tmp_path / "old.avatar", device="cpu"))


def test_its_driving_options_arrive(config):
    """Ours and PyYAML, by which nerfstudio's own commands read it, find them where they are now."""
    ours, theirs = read_config(config), yaml.load(config.read_text(), Loader=yaml.Loader)
    assert ours == theirs
    for found in (ours, theirs):
        assert found.pipeline.model.driving == DrivingConfig(emotion="happy")
        assert not {"emotion", "audio", "clock"} & vars(found.pipeline.model).keys()


def test_nerfstudios_own_commands_show_it(config):
    _, pipeline, checkpoint, step = eval_setup(config)
    model = pipeline.model
    assert checkpoint.parent == config.parent / "nerfstudio_models" and step == 29
    pose = torch.from_numpy(model.portrait.motion.typical_pose)[None]
    camera = Cameras(pose, 90.0, 90.0, 16.0, 16.0, 32, 32, times=torch.zeros(1, 1))
    assert np.array_equal(model.camera_driver.condition(camera).emotion, model.portrait.vocabulary.encode("happy"))
    assert model.get_outputs_for_camera(camera)["rgb"].std() > 0


def test_it_can_be_driven_anew(config):
    SetDriving(load_config=config, name="neutral", emotion="neutral").main()
    driven = config.with_name("neutral.yml")
    assert read_config(driven).pipeline.model.driving == DrivingConfig(emotion="neutral", drive_frames=True)
    assert "driving: !!python/object" in driven.read_text()


def test_a_training_goes_on_from_it(config, trained, tmp_path):
    data, load = tmp_path / "data", config.parent / "nerfstudio_models"
    shutil.copytree(config.parents[4] / "data", data)
    printed = trained(
        *(data, tmp_path, "--load-dir", load, "--max-num-iterations", 32),
        *("--pipeline.model.appearance-dim", 4, "--pipeline.model.log2-size", 8),
    )
    assert "Training Finished" in printed
    shutil.rmtree(data)
    new, old = Avatar.load(tmp_path / "actor/aed-nerf-tiny/t/config.yml"), Avatar.load(config)
    assert new.step == 31 and new.consent == old.consent
    before, after = (avatar.network.state_dict() for avatar in (old, new))
    moved = [name for name, value in before.items() if torch.is_tensor(value) and not torch.equal(value, after[name])]
    later = {name.partition(".follow.")[0] for name in {*after} - {*before}}
    assert {*before} < {*after} and later == {"light", "torso_mean", "torso_scale", "torso"}
    assert new.portrait.motion.torso is not None and 0 < len(moved) < len(before)
    assert all((before[name] - after[name]).abs().mean() < 0.05 for name in moved if before[name].is_floating_point())
