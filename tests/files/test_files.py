"""Files are whole or not there, nothing is written through links, and only what is ours is removed."""

import os

import pytest

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import MARK, inside, is_own, make_own, remove_own, remove_parts, replacing, temporary_beside


def test_a_file_takes_its_place_only_when_it_is_whole(tmp_path):
    path = tmp_path / "a" / "x.txt"
    with replacing(path) as temporary:
        temporary.write_text("one")
    with pytest.raises(InputError, match="x.txt: cannot be written .full."), replacing(path, lasting=True) as temporary:
        temporary.write_text("tw")
        raise OSError("full")
    assert path.read_text() == "one" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("steps", [("x.txt",), ("a", "x.txt"), ("a", "b", "x.txt")])
def test_no_part_of_a_path_may_be_a_link(tmp_path, steps):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir(), outside.mkdir()
    (outside / "x.txt").write_text("precious")
    path = root.joinpath(*steps)
    for step in range(len(steps)):
        link = root.joinpath(*steps[: step + 1])
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(outside / "x.txt" if step == len(steps) - 1 else outside)
        with pytest.raises(InputError, match="is a link"), replacing(path, root) as temporary:
            temporary.write_text("gone")
        link.unlink()
        if step < len(steps) - 1:
            link.mkdir()
    assert (outside / "x.txt").read_text() == "precious" and os.listdir(outside) == ["x.txt"]


def test_a_root_may_itself_be_reached_through_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "mine").symlink_to(tmp_path / "disk")
    with replacing(tmp_path / "mine" / "x.txt", tmp_path / "mine") as temporary:
        temporary.write_text("one")
    assert (tmp_path / "disk" / "x.txt").read_text() == "one"


@pytest.mark.parametrize("path", ["../x.txt", "a/../../x.txt", "/etc/x.txt"])
def test_a_path_may_not_leave_its_root(tmp_path, path):
    with pytest.raises(InputError, match="outside"):
        inside(tmp_path / "root" / path, tmp_path / "root")


def test_parts_that_a_kill_left_are_removed_and_nothing_else(tmp_path):
    temporary_beside(tmp_path / "x[1].mp4")
    for name in ("x[1].mp4.part", ".x[1].part.mp4", "x1.mp4"):
        (tmp_path / name).write_text("mine")
    remove_parts(tmp_path / "x[1].mp4")
    assert sorted(os.listdir(tmp_path)) == sorted(["x[1].mp4.part", ".x[1].part.mp4", "x1.mp4"])


def test_only_folders_of_ours_are_removed(tmp_path):
    mine, ours = tmp_path / "mine", tmp_path / "ours"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years")
    for act in (make_own, remove_own):
        with pytest.raises(InputError, match="left as it is"):
            act(mine, "demo dataset")
    make_own(ours, "demo dataset")
    (ours / "x").mkdir()
    (ours / "x" / "link").symlink_to(mine)
    with pytest.raises(InputError, match="left as it is"):
        remove_own(ours, "another kind")
    assert is_own(make_own(ours, "demo dataset"), "demo dataset")
    remove_own(ours, "demo dataset")
    assert not ours.exists() and (mine / "thesis.txt").read_text() == "years"
    remove_own(ours, "demo dataset")  # nothing is there


def test_a_link_to_a_folder_of_ours_is_not_ours(tmp_path):
    make_own(tmp_path / "ours", "demo dataset")
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    with pytest.raises(InputError, match="left as it is"):
        remove_own(tmp_path / "link", "demo dataset")
    assert (tmp_path / "ours" / MARK).is_file()
