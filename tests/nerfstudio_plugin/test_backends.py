"""The config's `backend` reaches every part of the model, and does not change its pictures."""

import dataclasses
import re
import shutil

import pytest
import torch
from nerfstudio.cameras.cameras import Cameras

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.backends import unavailable
from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.errors import InputError


@pytest.fixture(scope="module")
def avatar(run):
    return Avatar.load(run / "config.yml")


@pytest.fixture(scope="module")
def rebuilt(avatar, data):
    """Makes the same avatar on another backend, by way of config and checkpoint: nerfstudio's model."""

    def model(backend: str):
        network = avatar.network
        other = dataclasses.replace(network.settings, backend=backend).setup(
            scene_box=None,
            num_train_data=0,
            metadata={"dataset": read_dataset(data)},
        )
        other.network.load_state_dict(network.state_dict())
        return other.to(network.device).eval()

    return model


def test_same_picture_on_torch_and_numba(rebuilt):
    picture = {}
    for backend in ("torch", "numba"):
        model = rebuilt(backend)
        parts = [m.backend for m in model.modules() if hasattr(m, "backend")]
        assert len(parts) == 5 and set(parts) == {backend}  # spatial, audio, expression and torso grid, occupancy
        recorded = model.portrait.camera
        focal = recorded.fl_x * 48 / recorded.w
        pose = torch.from_numpy(model.track.poses[:1])
        camera = Cameras(pose, fx=focal, fy=focal, cx=24.0, cy=24.0, width=48, height=48)
        picture[backend] = model.renderer.render(camera, model.track[3])
    assert picture["torch"]["accumulation"].max() > 0.1
    for name, image in picture["torch"].items():
        # An eighth of a step of an 8-bit picture; it is some 1e-6, but the MLPs' bfloat16 may enlarge a last digit.
        difference = (picture["numba"][name] - image).abs().max().item()
        assert difference < 5e-4 * max(1.0, image.max().item()), f"{name}: {difference}"


def test_gradients_on_torch_and_numba(rebuilt):
    gradients = {}
    for backend in ("torch", "numba"):
        model = rebuilt(backend)
        model.requires_grad_(True)
        generator = torch.Generator().manual_seed(0)
        origin = torch.from_numpy(model.track.poses[3])[:, 3].expand(64, 3)
        target = torch.rand(64, 3, generator=generator) - 0.5
        directions = torch.nn.functional.normalize(target - origin, dim=-1)
        out = model._march_head(origin, directions, model.network.encode([model.track[3]]), [64])
        (out["rgb"].sum() + out["ambient"].sum()).backward()
        gradients[backend] = {n: p.grad for n, p in model.network.head.named_parameters()}
    for name, want in gradients["torch"].items():
        error = (gradients["numba"][name] - want).norm() / want.norm()
        assert want.norm() > 0 and error < 2e-3, f"{name}: {error}"


def test_printed_once_a_device(rebuilt, capsys):
    model = rebuilt("torch").to("cpu")
    model.cpu()
    assert capsys.readouterr().out.count("backend: grids torch, marching torch, compositing torch\n") == 1


def test_one_that_cannot_be_had_is_an_error(avatar, rebuilt):
    with pytest.raises(InputError, match="^backend tcnn: "):
        avatar.network.cpu()
        rebuilt("tcnn")


def test_forced_on_the_command_line(data, trained, tmp_path):
    printed = trained(data, tmp_path, "--pipeline.model.backend", "tcnn", "--machine.device-type", "cpu", fails=True)
    assert "error: backend tcnn: tiny-cuda-nn needs a CUDA device, not cpu; use auto" in printed


def test_avatars_move_between_machines(run, tmp_path, capsys):
    """Of a machine with another backend, and of a version that knew of none."""
    folder = tmp_path.joinpath(*run.parts[-3:])
    shutil.copytree(run, folder)
    config = folder / "config.yml"
    text = config.read_text()
    assert text.count("backend: auto\n") == 1
    config.write_text(text.replace("backend: auto\n", "backend: tcnn\n"))
    if unavailable("tcnn", "cuda" if torch.cuda.is_available() else "cpu") is not None:
        assert Avatar.load(config).network.settings.backend == "auto"
        assert "backend tcnn, with which this avatar was trained, cannot be had here" in capsys.readouterr().out
    config.write_text(re.sub(r" *backend: auto\n", "", text))
    assert Avatar.load(config).network.settings.backend == "auto"
