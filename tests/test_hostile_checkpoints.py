"""Checkpoints from strangers: nothing in them is run, and what is no checkpoint is one clear error."""

import os
import pickle
import resource
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.nerfstudio_plugin.checkpoints import read_checkpoint

pytestmark = pytest.mark.hostile


class Code:
    """What a pickle of this does when it is read."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.fixture
def checkpoint(run, tmp_path):
    """A copy of the run's, to be broken."""
    (found,) = run.glob("nerfstudio_models/step-*.ckpt")
    return Path(shutil.copy(found, tmp_path))


def archive(path, change) -> None:
    """Writes the checkpoint's archive anew, deflated; `change` gives each record's content."""
    with zipfile.ZipFile(path) as old:
        records = [(name, old.read(name)) for name in old.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in records:
            with new.open(name, "w", force_zip64=True) as file:
                for piece in change(name, content):
                    file.write(piece)


def zeros(name, content):
    """A record of 512 MiB, which is half a MB in the file."""
    if name.endswith("/data/0"):
        yield from (b"\0" * (1 << 24) for _ in range(32))
    else:
        yield content


CHANGES = {
    "code": lambda path, mark: path.write_bytes(pickle.dumps({"pipeline": Code(mark), "step": 29})),
    "code in an archive": lambda path, mark: torch.save({"pipeline": Code(mark), "step": 29}, path),
    "code among weights": lambda path, mark: torch.save(torch.load(path, weights_only=True) | {"x": Code(mark)}, path),
    "text": lambda path, mark: path.write_text("no checkpoint"),
    "other things": lambda path, mark: torch.save([1, 2], path),
    "another's": lambda path, mark: torch.save({"state_dict": {}}, path),
    "no weights": lambda path, mark: torch.save({"pipeline": [1], "step": 29}, path),
    "a step of text": lambda path, mark: torch.save(torch.load(path, weights_only=True) | {"step": "x"}, path),
    "records of others": lambda path, mark: archive(path, lambda name, content: [content[: len(content) // 2]]),
    "a bomb": lambda path, mark: archive(path, zeros),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_no_checkpoint(checkpoint, change):
    mark = checkpoint.with_name("mark")
    change(checkpoint, mark)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError):
        read_checkpoint(checkpoint)
    assert not mark.exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 18  # KiB


def test_a_run_with_one(run, tmp_path, checkpoint):
    folder = tmp_path.joinpath(*run.parts[-3:])
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("*.ckpt"))
    place, mark = folder / "nerfstudio_models" / checkpoint.name, tmp_path / "mark"
    place.write_bytes(pickle.dumps({"pipeline": Code(mark), "step": 29}))
    with pytest.raises(InputError, match="nerfstudio_models.* checkpoint .*; train again"):
        Avatar.load(folder / "config.yml")
    assert not mark.exists()
    # A tensor of 40 TB in 4 bytes.
    huge = {"_model.head.grid.params": torch.zeros(1).expand(10**9, 10**4)}
    torch.save({"pipeline": torch.load(checkpoint, weights_only=True)["pipeline"] | huge, "step": 29}, place)
    with pytest.raises(InputError, match="checkpoint .*size mismatch for head.grid.params.*; train again"):
        Avatar.load(folder / "config.yml")
