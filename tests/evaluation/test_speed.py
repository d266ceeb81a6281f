"""`aed bench` on the tiny actor: every operation on every backend of this machine."""

import json

import pytest
import torch

from aed_nerfstudio.backends import resolve
from aed_nerfstudio.commands.bench import Bench
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.evaluation import speed


def test_a_row_an_operation_and_backend(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(speed, "BUDGET", 0.0)
    monkeypatch.setattr(speed, "POINTS", 4096)
    output = tmp_path / "bench.json"
    Bench(
        load_config=run / "config.yml",
        output=output,
        backend=("torch", "numba"),
        repeats=2,
        size=(32,),
        rays=(256,),
    ).main()
    result = json.loads(output.read_text())
    rows = result["rows"]
    operations = {row["operation"].split(" ")[0] for row in rows}
    assert operations == {"encode", "march", "field,", "composite", "picture", "training"}
    assert {stage for row in rows for stage in ("head", "lips", "torso") if f", {stage}," in row["operation"]} == {
        "head", "lips", "torso",
    }  # fmt: skip
    for name in {row["operation"] for row in rows}:
        first, second = (row for row in rows if row["operation"] == name)
        assert (first["backend"], second["backend"]) == ("torch", "numba")
        assert first["ratio"] == 1 and second["ratio"] > 0 and second["ms"] > 0
    assert all(0 < row["roof"] for row in rows if row["operation"].startswith(("encode", "field", "picture")))
    assert min(result["peaks"].values()) > 0 and result["machine"]["threads"] == torch.get_num_threads()
    assert "| torch |" in capsys.readouterr().out


def test_the_weights_stay(run, track):
    from aed_nerfstudio.avatar.avatar import Avatar
    from aed_nerfstudio.loading import load_pipeline

    pipeline, _ = load_pipeline(run / "config.yml")
    pipeline.eval()
    model = pipeline.model
    before = {name: value.clone() for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    for stage in ("head", "lips", "torso"):
        speed._training_step(pipeline, stage, 256).run()
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value), name
    assert not model.training and all(p.requires_grad for p in model.parameters())
    assert Avatar(model.network).images(track[0], 32)["rgb"].std() > 0


def test_what_it_refuses(run, tmp_path):
    for options, words in (
        ({"repeats": 1}, "at least 2"),
        ({"rays": (1,)}, "at least 64"),
        ({"backend": ("tcnn",)}, "backend tcnn"),
        ({"backend": ("abacus",)}, "backend abacus"),
    ):
        with pytest.raises(InputError, match=words):
            Bench(load_config=run / "config.yml", output=tmp_path / "b.json", **options).main()
    assert str(resolve("auto", "cpu")) == "grids numba, marching numba, compositing numba"
