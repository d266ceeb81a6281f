"""Files are whole or not there, nothing is written through links, and only what is ours is removed."""

import os
from pathlib import Path

import pytest

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import (
    MARK,
    disown,
    inside,
    is_own,
    keep_apart,
    make_own,
    open_to_update,
    remove_own,
    remove_parts,
    replacing,
    temporary_beside,
    write,
)

pytestmark = pytest.mark.hostile


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
    temporary_beside(tmp_path / "x[1].b.mp4").rename(tmp_path / ".x[1].b.12345678.aed-part.mp4")
    for name in ("x[1].mp4.part", ".x[1].part.mp4", "x1.mp4"):
        (tmp_path / name).write_text("mine")
    remove_parts(tmp_path / "x[1].mp4")
    assert sorted(os.listdir(tmp_path)) == sorted(
        ["x[1].mp4.part", ".x[1].part.mp4", "x1.mp4", ".x[1].b.12345678.aed-part.mp4"]
    )


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


def test_a_folder_that_was_given_away_is_no_longer_removed(tmp_path):
    disown(make_own(tmp_path / "ours", "demo dataset"))
    (tmp_path / "ours" / "thesis.txt").write_text("years")
    with pytest.raises(InputError, match="left as it is"):
        remove_own(tmp_path / "ours", "demo dataset")


def test_killed_at_any_step_a_file_is_whole_and_a_folder_of_ours_stays_ours(tmp_path, killed):
    def work():
        make_own(folder, "demo dataset")
        write(folder / "a" / "x.txt", "one")
        write(tmp_path / "y.txt", "two")
        remove_own(folder, "demo dataset")

    folder = tmp_path / "ours"
    for number in range(99):
        (tmp_path / "y.txt").write_text("before")
        ended = killed(work, number)
        assert (tmp_path / "y.txt").read_text() in ("before", "two")
        remove_parts(tmp_path / "y.txt")
        work()  # again, whatever is left
        assert os.listdir(tmp_path) == ["y.txt"]
        if ended:
            break
    assert number > 10


@pytest.mark.parametrize("kind", ["symbolic", "hard", "pipe", "folder link"])
def test_a_file_is_updated_in_place_only_by_its_one_name(tmp_path, kind):
    root, thesis = tmp_path / "root", tmp_path / "thesis.txt"
    root.mkdir()
    thesis.write_text("years")
    path = root / "x"
    if kind == "symbolic":
        path.symlink_to(thesis)
    elif kind == "hard":
        path.hardlink_to(thesis)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path)
        path = path / "thesis.txt"
    with pytest.raises(InputError, match="link"):
        open_to_update(path, root)
    assert thesis.read_text() == "years"


SPELLINGS = {
    "the same": lambda folder: folder / "in" / "a.wav",
    "relative": lambda folder: Path(os.path.relpath(folder / "in" / "a.wav")),
    "dots": lambda folder: folder / "in" / ".." / "in" / "a.wav",
    "symbolic link": lambda folder: folder / "symbolic.wav",
    "hard link": lambda folder: folder / "hard.wav",
    "through a linked folder": lambda folder: folder / "linked" / "a.wav",
    "a folder that holds it": lambda folder: folder / "in",
    "a linked folder that holds it": lambda folder: folder / "linked",
    "a folder above": lambda folder: folder,
}


@pytest.fixture
def given(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").touch()
    (tmp_path / "symbolic.wav").symlink_to(tmp_path / "in" / "a.wav")
    (tmp_path / "hard.wav").hardlink_to(tmp_path / "in" / "a.wav")
    (tmp_path / "linked").symlink_to(tmp_path / "in")
    return tmp_path


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_output_keeps_off_the_inputs(given, spelling):
    output = SPELLINGS[spelling](given)
    with pytest.raises(InputError, match="which the same command reads"):
        keep_apart([given / "x.mp4", output], [None, given / "b.wav", given / "in" / "a.wav"])
    with pytest.raises(InputError, match="which the same command reads"):
        keep_apart([given / "in" / "a.wav"], [output])  # an input folder in which nothing may be written


def test_other_outputs_are_let_through(given):
    keep_apart([given / "a.wav", given / "in" / "b.wav", given / "new" / "x.mp4"], [given / "in" / "a.wav", None])
    with pytest.raises(InputError, match="is .*new/a.wav"):  # also where neither is there yet
        keep_apart([given / "new" / "a.wav"], [given / "linked" / ".." / "new" / "a.wav"])


@pytest.mark.parametrize("content", [bytes(99999), "x" * 99999], ids=["bytes", "text"])
def test_on_a_full_disk_the_earlier_file_stays(small_disk, content):
    disk = small_disk(16)
    write(disk / "bench.json", "before")
    with pytest.raises(InputError, match=r"bench.json: cannot be written \(No space left on device\); make room"):
        write(disk / "bench.json", content)
    assert os.listdir(disk) == ["bench.json"] and (disk / "bench.json").read_text() == "before"
