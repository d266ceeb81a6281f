"""The store of finished stages."""

from aed_nerfstudio.capture.stages import FILE, Stages, digest


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
    (stages.work / "x").mkdir(parents=True)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.jpg.part").write_text("half")
    stages.run("a", "k", lambda _: None)
    stages.run("whole", "k", lambda _: None)
    stages.close("whole")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [FILE, "images"]
    assert Stages(tmp_path).key("whole") == "k" and Stages(tmp_path).key("a") is None


def test_digest_tells_values_apart():
    assert digest({"a": 1, "b": [1.5, None]}) == digest({"b": [1.5, None], "a": 1})
    assert len({digest(1), digest("1"), digest([1]), digest(1, 1)}) == 4
