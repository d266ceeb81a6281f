"""`aed bench` on the tiny actor: every operation on every backend of this machine."""

import json
import time

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.backends import resolve
from aed_nerfstudio.commands.bench import Bench
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.evaluation import speed
from aed_nerfstudio.fields.head_field import EncodedCondition, spherical_harmonics


@pytest.mark.slow
def test_a_row_an_operation_and_backend(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(speed, "BUDGET", 0.0)
    monkeypatch.setattr(speed, "POINTS", 4096)
    output = tmp_path / "bench.json"
    Bench(
        load_config=run / "config.yml",
        output=output,
        backend=("torch", "numba"),
        repeats=2,
        size=(16,),
        rays=(64,),
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
    known = {row["operation"].split(" ")[0] for row in rows if row["roof"] is not None}
    assert known == {"encode", "field,", "composite", "picture"}
    assert result["machine"]["threads"] == torch.get_num_threads()
    assert "| torch |" in capsys.readouterr().out


def test_a_summary_is_against_the_first_backend_and_the_machines_peaks():
    limits = speed.Peaks(gflops=2.0, gflops_half=4.0, gbytes=8.0)
    work = speed.Operation("field", lambda: None, flops=1e9, bytes=4e9)  # 0.5 s of products, 0.5 s of copies
    seconds, first = [2.0, 9.0, 2.5], [5.0, 18.0, 10.0]
    slow, fast = (speed.summary(work, times, first, limits, half=False) for times in (first, seconds))
    assert slow == {"operation": "field", "ms": 10_000, "repeats": 3, "ratio": 1, "roof": pytest.approx(0.1)}
    assert fast == {"operation": "field", "ms": 2500, "repeats": 3, "ratio": 2.5, "roof": pytest.approx(0.4)}
    assert speed.summary(work, seconds, first, limits, half=True)["roof"] == pytest.approx(0.3)
    assert speed.summary(speed.Operation("march", lambda: None), seconds, first, limits, half=False)["roof"] is None


def test_peaks_are_what_numpy_reaches_too():
    """Within a factor of 30, for another library and a busy machine: a wrong unit would be one of 1000."""
    a = np.ones((1024, 1024), np.float32)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    assert 1 / 30 < speed.peaks(torch.device("cpu")).gflops / (2 * 1024**3 / min(times) / 1e9) < 30


def test_the_networks_operations_are_those_that_torch_counts(run, track):
    network = Avatar.load(run / "config.yml", device="cpu").network
    network.use_backend("torch")
    encoded = EncodedCondition(*(value.detach() for value in network.encode([track[0]])))
    counted = []
    for points in (1024, 2048):
        x, d = torch.rand(points, 3) * 2 - 1, torch.nn.functional.normalize(torch.randn(points, 3), dim=-1)
        with FlopCounterMode(display=False) as counter:  # with gradients, for it does not know oneDNN's fused layers
            network.head(x, spherical_harmonics(d), encoded, [points])
        counted.append(counter.get_total_flops())
    assert speed._field_flops(network) == (counted[1] - counted[0]) / 1024


def test_the_weights_stay(run, track):
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
    assert Avatar(model.network).images(track[0], 32)["rgb"].std() > 0.01


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
