"""Runs that cannot be loaded: one clear error each."""

import re
import shutil

import pytest
import torch

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.errors import InputError


@pytest.fixture
def copy(run, tmp_path):
    """A copy of the run's folder, to be broken."""
    folder = tmp_path.joinpath(*run.parts[-3:])
    shutil.copytree(run, folder)
    return folder


def checkpoint(folder):
    (path,) = folder.glob("nerfstudio_models/step-*.ckpt")
    return path


def test_a_class_that_has_moved(copy):
    config = copy / "config.yml"
    text = config.read_text()
    moved = re.sub(r"aed_nerfstudio\.nerfstudio_plugin\.model\.", "aed_nerfstudio.nerfstudio_plugin.elsewhere.", text)
    assert moved != text
    config.write_text(moved)
    with pytest.raises(InputError, match=r"config\.yml: does not fit this version .*nerfstudio_plugin\.elsewhere"):
        Avatar.load(config)
    config.write_text(text.replace("AedNerfModelConfig", "OtherModelConfig"))
    with pytest.raises(InputError, match=r"config\.yml: does not fit this version .*OtherModelConfig"):
        Avatar.load(config)


@pytest.mark.parametrize("text", ["", "[", "key: value", "!!python/name:os.path.join"])
def test_a_config_that_is_none(copy, text):
    (copy / "config.yml").write_text(text)
    with pytest.raises(InputError, match=r"config\.yml: does not fit this version"):
        Avatar.load(copy / "config.yml")


CHANGES = {
    "missing": (lambda state: state.pop("_model.head.grid.params"), "step 29 .*head.grid.params"),
    "left over": (lambda state: state.update({"_model.head.bend": torch.zeros(3)}), "step 29 .*head.bend"),
    "of another size": (
        lambda state: state.update({"_model.head.grid.params": torch.zeros(5)}),
        "step 29 .*size mismatch for head.grid.params",
    ),
}


def refusal(copy, change, fault) -> str:
    """What is said of a run whose checkpoint is changed so."""
    path = checkpoint(copy)
    saved = torch.load(path, weights_only=True)
    change(saved["pipeline"])
    torch.save(saved, path)
    with pytest.raises(InputError, match=fault) as error:
        Avatar.load(copy / "config.yml")
    return str(error.value)


@pytest.mark.parametrize("change, fault", CHANGES.values(), ids=CHANGES)
def test_a_checkpoint_of_another_version(copy, change, fault):
    error = refusal(copy, change, fault)
    assert "train again" in error and len(error) < 500


def portrait(**change):
    """Changes what a checkpoint's portrait says."""
    return lambda state: state["_model._extra_state"]["portrait"]["facts"].update(change)


PORTRAITS = {
    "none": (lambda state: state["_model._extra_state"].update(portrait=3), "does not fit this version"),
    "no state": (lambda state: state.update({"_model._extra_state": 3}), "does not fit this version"),
    "newer": (portrait(version=9), "version 9, and this program knows 1"),
    "no camera": (portrait(camera=None), "lacks something"),
    "labels of numbers": (portrait(labels=[1, 2]), "lacks something"),
    "no take": (portrait(labels=[]), "the takes of its portrait cannot be"),
    "cut": (lambda state: state["_model._extra_state"]["portrait"]["arrays"].pop("poses"), "lacks something"),
    "no pose": (
        lambda state: state["_model._extra_state"]["portrait"]["arrays"]["poses"].zero_(),
        "the poses of its portrait",
    ),
}


@pytest.mark.parametrize("change, fault", PORTRAITS.values(), ids=PORTRAITS)
def test_a_damaged_portrait(copy, change, fault):
    assert "train again" in refusal(copy, change, fault)


@pytest.mark.parametrize("cut", [0, 1000, -1000])
def test_a_damaged_checkpoint(copy, cut):
    path = checkpoint(copy)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match="nerfstudio_models: its newest checkpoint is damaged"):
        Avatar.load(copy / "config.yml")
