"""The store of finished stages."""

import pytest

from aed_nerfstudio.capture.stages import FILE, WORK, Stages
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import MARK, digest, temporary_beside


def test_done_stages_are_not_made_again(tmp_path):
    calls = []

    def make(going_on):
        calls.append(going_on)
        return {"n": len(calls)}

    assert Stages(tmp_path).run("a", "k", make) == {"n": 1}
    assert Stages(tmp_path).run("a", "k", make) == {"n": 1}
    assert Stages(tmp_path).run("a", "other", make) == {"n": 2}
    assert calls == [False, False]


def test_a_stopped_stage_goes_on_only_with_the_same_key(tmp_path):
    seen = []

    def stopped(going_on):
        seen.append(going_on)
        raise KeyboardInterrupt

    for key in ("k", "k", "other"):
        try:
            Stages(tmp_path).run("a", key, stopped)
        except KeyboardInterrupt:
            pass
    assert seen == [False, True, False]


def test_damaged_store_means_nothing_is_done(tmp_path):
    for text in ("", "[1]", '{"done": {"a": 3}, "begun": {}}', '{"done": {"a": {}}, "begun": 7}'):
        (tmp_path / FILE).write_text(text)
        assert Stages(tmp_path).done == {}


def test_close_leaves_no_halves(tmp_path):
    stages = Stages(tmp_path)
    stages.begin()
    (stages.work / "x").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "archive.part1.rar").write_text("the user's")
    temporary_beside(tmp_path / "images" / "1.jpg").write_text("half")
    stages.run("a", "k", lambda _: None)
    stages.run("whole", "k", lambda _: None)
    stages.close("whole")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [FILE, "archive.part1.rar", "images"]
    assert Stages(tmp_path).key("whole") == "k" and Stages(tmp_path).key("a") is None


@pytest.mark.hostile
def test_only_our_own_work_is_removed(tmp_path):
    (tmp_path / WORK).mkdir()
    (tmp_path / WORK / "thesis.txt").write_text("years")
    stages = Stages(tmp_path)
    for act in (stages.begin, stages.remove_work):
        with pytest.raises(InputError, match="left as it is"):
            act()
    assert (tmp_path / WORK / "thesis.txt").read_text() == "years"


def test_work_of_a_version_without_marks_is_known_by_the_file_beside_it(tmp_path):
    (tmp_path / WORK / "track").mkdir(parents=True)
    (tmp_path / FILE).write_text('{"done": {"a": {"key": "k", "found": {}, "seconds": 1}}, "begun": {}}')
    stages = Stages(tmp_path)
    assert stages.key("a") == "k" and (stages.work / MARK).is_file()
    stages.begin()
    stages.close("a")
    assert not stages.work.exists()


def test_a_stage_that_is_made_anew_is_no_longer_done_as_before(tmp_path):
    """Killed in between, its files are of neither."""
    stages = Stages(tmp_path)
    stages.run("a", "small", lambda _: None)

    def killed(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.run("a", "large", killed)
    assert Stages(tmp_path).key("a") is None


def test_digest_tells_values_apart():
    assert digest({"a": 1, "b": [1.5, None]}) == digest({"b": [1.5, None], "a": 1})
    assert len({digest(1), digest("1"), digest([1]), digest(1, 1)}) == 4


def test_what_is_handed_out_may_be_changed(tmp_path):
    """The record keeps what was found; else a run that fails later saves what is left of it."""
    stages = Stages(tmp_path)
    for found in (stages.run("a", "k", lambda _: {"n": [1]}), stages.run("a", "k", lambda _: {}), stages.found("a")):
        found.pop("n").append(2)
    stages.run("b", "k", lambda _: None)
    assert Stages(tmp_path).found("a") == {"n": [1]}
