"""Steps of a fixed size: those of packed samples, without waiting, and the same whatever room they began with."""

import copy
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from aed_nerfstudio.dataset.schema import read_dataset, write_image
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.evaluation.dispatched import CountedGraphs, Dispatched
from aed_nerfstudio.nerfstudio_plugin import recorded_steps
from aed_nerfstudio.nerfstudio_plugin.losses import head_losses, torso_losses
from aed_nerfstudio.nerfstudio_plugin.resident_frames import ResidentFrames
from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule
from aed_nerfstudio.rendering.cuda_graphs import RecordingFailed
from tests.conftest import SIZE
from tests.nerfstudio_plugin.small_trainer import set_up, small_config
from tests.nerfstudio_plugin.test_resuming import differences, last

HEAD, TONE, LIPS, LIPS_TONE, FACE, RAYS, TORSO = 1, 4, 102, 100, 103, 101, 115
"""Steps: of the head, with a look at the tone of skin; of a patch on the lips, with such a look, and elsewhere; of rays
in the lip stage; of the torso."""


def config_of(data, output, steps=200, **changes):
    config = small_config(data, output, steps, **{"recorded_steps": "on", **changes})
    model = config.pipeline.model
    model.lambda_depth = model.lambda_tone = 0.1
    model.swapped_labels, model.smooth_shading, model.bfloat16 = 0.5, True, False
    model.torso_motion = False  # takes seconds to measure
    config.pipeline.datamanager.face_depth, config.pipeline.datamanager.face_patches = True, 0.5
    return config


@pytest.fixture(scope="module")
def trainer(data, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aed_nerfstudio.nerfstudio_plugin.pipeline.carve_face", lambda *_: None)  # takes seconds
        trainer = set_up(config_of(data, tmp_path_factory.mktemp("recorded")))
    trainer.pipeline.train()
    network = trainer.pipeline.model.network
    torch.manual_seed(1)
    with torch.no_grad():  # something to see
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return trainer


@pytest.fixture(autouse=True)
def as_it_was(trainer):
    """Leaves weights, optimizers, grid and rooms as they were."""
    model, recorded = trainer.pipeline.model, trainer._recorded
    weights = copy.deepcopy(model.state_dict())
    optimizers = {name: copy.deepcopy(part.state_dict()) for name, part in trainer.optimizers.optimizers.items()}
    grid = model.network.occupancy.binaries
    yield
    model.load_state_dict(weights)
    for name, part in trainer.optimizers.optimizers.items():
        part.load_state_dict(optimizers[name])
    model.network.occupancy.binaries = grid
    recorded._made.clear()
    recorded._stopped.zero_()
    recorded._rooms.clear()
    recorded._begun.clear()


def gradients(model, losses) -> list[torch.Tensor | None]:
    weights = [weight for weight in model.network.parameters() if weight.requires_grad]
    found = torch.autograd.grad(torch.stack([*losses.values()]).sum(), weights, allow_unused=True)
    return [None if grad is None else grad.clone() for grad in found]


def packed(trainer, drawn, step: int) -> dict[str, torch.Tensor]:
    """The losses of the same rays by `AedNerfModel`'s own way."""
    model, data, frames = trainer.pipeline.model, trainer.pipeline.datamanager, trainer._recorded.fixed.frames
    numbers = frames.numbers[drawn.frames].tolist()
    n = drawn.x.shape[1]
    x, y = drawn.x.numpy(), drawn.y.numpy()
    if drawn.shown == "torso":
        bundles = [data._rays(i, y[k] * data.dataset.camera.w + x[k]) for k, i in enumerate(numbers)]
        conditions = [model.track[i] for i in numbers]
        moved_by = [model.network.torso_input(condition.head_pose, condition.torso) for condition in conditions]
        pixels = torch.cat([bundle.metadata["pixel"] for bundle, _ in bundles])
        alpha, colour = model.network.torso_field()(pixels, torch.stack(moved_by), [n] * len(numbers))
        outputs = {"torso_alpha": alpha, "torso_rgb": model._lit(colour, conditions, [n] * len(numbers))}
        batch = {key: torch.cat([batch[key] for _, batch in bundles]) for key in bundles[0][1]}
        return torso_losses(model.config, outputs, batch)
    order = torch.argsort(drawn.groups, stable=True)
    each = trainer._recorded.drawing.groups_of_frame(drawn.shown)
    shown, counts = torch.unique_consecutive(drawn.groups[order], return_counts=True)
    counts = counts.tolist()
    conditions = [replace(model.track[numbers[g // each]], emotion=drawn.emotions[g].numpy()) for g in shown.tolist()]
    encoded = model.network.encode(conditions)
    true = model.lips.lip_shapes[[numbers[g // each] for g in shown.tolist()]]
    encoded = encoded._replace(articulation=torch.where(drawn.lips_are_true[shown], true, encoded.articulation))
    rays, parts, surfaces = [], [], []
    for k, i in enumerate(numbers):
        bundle, batch = data._rays(i, y[k] * data.dataset.camera.w + x[k])
        rays.append(bundle)
        parts.append(batch)
        surfaces.append(torch.from_numpy(data.face_depth.surface(i, x[k], y[k])))
    origins, directions = (torch.cat([getattr(b, name) for b in rays])[order] for name in ("origins", "directions"))
    out = model._march_head(origins, directions, encoded, counts, torch.cat(surfaces)[order], drawn.jitter[order])
    out["rgb"] = model._lit(out["rgb"], conditions, counts)
    picks = frames.numbers[drawn.listened].tolist()
    _, heard, _ = model.network.encode_audio([model.track[i].audio for i in picks])
    out["articulation_error"] = torch.nn.functional.mse_loss(heard, model.lips.lip_shapes[picks])
    batch = {key: torch.cat([part[key] for part in parts])[order] for key in parts[0]}
    if "patch" in drawn.batch:
        batch["patch"] = drawn.batch["patch"]
    return head_losses(model.config, out, batch, True, model.progress(step), model.perceptual)


def test_some_speech_is_not_learned_from(trainer, monkeypatch):
    model, recorded = trainer.pipeline.model, trainer._recorded
    frames, heard = recorded.fixed.frames, torch.ones_like(recorded.fixed.frames.heard)
    heard[4:] = False
    monkeypatch.setattr(frames, "heard", heard)
    monkeypatch.setattr(frames, "heard_frames", torch.arange(4))
    assert recorded.drawing.draw("head").listened.max() < 4
    picks, told = torch.tensor([3, 4]), torch.zeros(2, 1, dtype=torch.bool)
    encoded = frames.encode(picks, frames.emotions[picks], told)
    true = frames.lip_shapes[picks]
    assert torch.equal(encoded.articulation[1], true[1]) and not torch.equal(encoded.articulation[0], true[0])
    weight = model.network.audio_encoder.project[0].weight
    (of_heard,) = torch.autograd.grad(encoded.audio[0].square().sum(), weight, retain_graph=True)
    (of_unheard,) = torch.autograd.grad(encoded.audio[1].square().sum(), weight)
    assert of_heard.any() and not of_unheard.any()


@pytest.mark.parametrize("step", [HEAD, LIPS_TONE, FACE, RAYS, TORSO])
def test_losses_and_gradients_are_those_of_packed_samples(trainer, step):
    model, recorded = trainer.pipeline.model, trainer._recorded
    model.set_stage(step)
    kind = recorded.fixed.kind(step)
    recorded.drawing.generator.manual_seed(step)
    drawn = recorded.drawing.draw(kind.shown)
    rooms = (20_000, 5000)[: recorded.drawing.groups_of_frame(kind.shown)] if step != TORSO else ()
    occupied, progress = model.network.occupancy.binaries, torch.tensor(model.progress(step))
    mine, metrics, wanted = recorded.fixed.losses(kind, drawn, rooms, progress, occupied)
    assert (wanted <= torch.tensor(rooms)).all() and ("tone" in mine) == (step == LIPS_TONE)
    want = packed(trainer, drawn, step)
    assert mine.keys() == want.keys() and len(mine) == {TORSO: 3, HEAD: 8, RAYS: 8, FACE: 9, LIPS_TONE: 10}[step]
    for name, loss in want.items():
        torch.testing.assert_close(
            mine[name], loss, rtol=2e-4, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert ("psnr" in metrics) == (step != TORSO)
    compared = 0
    for one, other in zip(gradients(model, mine), gradients(model, want), strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            scale = other.abs().max().item()
            apart = (one - other).abs()
            off = apart > 1e-3 * other.abs() + 2e-3 * scale + 1e-9
            # By rounding, a sample at the border of a cell may be in the next one: with it, its entries of a table.
            assert off.sum() <= 1e-4 * off.numel() and apart.norm() <= 5e-3 * other.norm() + 1e-9
            compared += scale > 0
    assert compared >= (5 if step == TORSO else 25)


@pytest.mark.parametrize("step", [HEAD, TONE + 4, LIPS, LIPS_TONE, FACE, TORSO])
def test_a_step_waits_for_nothing(trainer, step, monkeypatch):
    recorded = trainer._recorded
    trainer.pipeline.model.set_stage(step)
    trainer.train_iteration(step)  # finds out how much room it needs
    found = Dispatched()
    counting = CountedGraphs(found)
    monkeypatch.setattr(recorded, "_graphs", counting)
    with found:
        trainer.train_iteration(step)
    assert found.waits == {} and len(recorded._made) == 1
    assert counting.inside > 150  # can fail
    assert counting.outside <= 5  # 3 in docs/speed.md; asked: 60
    for _ in range(recorded_steps.READ_EVERY - 2):
        trainer.train_iteration(step)
    with Dispatched() as found:
        trainer.train_iteration(step)
    assert found.waits == {"tolist": 1} and not recorded._made


def weights(trainer) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in trainer.pipeline.model.network.parameters()]


def test_a_step_without_room_is_made_again(trainer, monkeypatch, capsys):
    """All cells come to be occupied: steps after that change no weight, until they are made again with more room."""
    monkeypatch.setattr(recorded_steps, "GRAIN", 16)
    model, recorded = trainer.pipeline.model, trainer._recorded
    model.set_stage(HEAD)
    everything = model.network.occupancy.binaries
    few = torch.zeros_like(everything)
    few[:, 40:80, 50:70, 60:80] = True
    begin = copy.deepcopy(model.state_dict())
    optimizers = {name: copy.deepcopy(part.state_dict()) for name, part in trainer.optimizers.optimizers.items()}

    def made(before: tuple[int, ...], after: tuple[int, ...] | None) -> list[torch.Tensor]:
        """What five steps make of the weights, with rooms for the first three, and others or none for the last two."""
        model.load_state_dict(begin)
        for name, part in trainer.optimizers.optimizers.items():
            part.load_state_dict(copy.deepcopy(optimizers[name]))
        model.network.occupancy.binaries, place = few, ("head", 16)
        recorded._rooms[place] = before
        for step in (1, 2, 3):
            trainer.train_iteration(step)
        recorded.settle()
        seen.append(recorded._rooms[place])
        model.network.occupancy.binaries = everything
        if after is not None:
            recorded._rooms[place] = after
        still = weights(trainer)
        for step in (5, 6):
            recorded._begun.add((recorded.fixed.kind(step), recorded._rooms[place]))
            trainer.train_iteration(step)
            assert after is not None or all(map(torch.equal, weights(trainer), still))
        recorded.settle()
        seen.append(recorded._rooms[place])
        return weights(trainer)

    seen: list[tuple[int, ...]] = []
    first = made((400, 32), None)
    small, large = seen
    assert recorded.overflowed == 1 and small == (400, 32) and all(a < b for a, b in zip(small, large, strict=True))
    printed = capsys.readouterr().out
    assert "step 5: " in printed and f"made again with room for {large[0]} + {large[1]}" in printed
    again = made(small, large)
    assert recorded.overflowed == 1 and seen[2:] == [small, large]
    assert all(map(torch.equal, first, again)) and not all(map(torch.equal, first, [*begin.values()][: len(first)]))
    recorded.overflowed = 0


def test_far_too_much_room_is_given_back(trainer, monkeypatch):
    monkeypatch.setattr(recorded_steps, "GRAIN", 16)
    recorded = trainer._recorded
    kind = recorded.fixed.kind(HEAD)
    recorded._make_room(kind, (100_000, 10))
    high, low = recorded._rooms_of(kind)
    assert high <= 256 * 16 and low == 16  # no more than all rays can have
    recorded._make_room(kind, (1, 13))
    assert recorded._rooms_of(kind) == (16, 16)


def test_what_cannot_be_recorded_is_made_without(trainer, monkeypatch, capsys):
    class Failing(CountedGraphs):
        def run(self, key, work, inputs):
            raise RecordingFailed("no such thing")

    recorded = trainer._recorded
    trainer.pipeline.model.set_stage(HEAD)
    monkeypatch.setattr(recorded, "_graphs", Failing(Dispatched()))
    before = weights(trainer)
    loss, losses, metrics = trainer.train_iteration(HEAD)
    trainer.train_iteration(HEAD + 1)
    assert capsys.readouterr().out.count("could not be recorded (no such thing)") == 1
    assert torch.isfinite(loss) and {"rgb", "depth"} <= losses.keys() and {*metrics} == {"psnr"}
    assert not all(map(torch.equal, weights(trainer), before))


def test_the_same_frames_and_places_are_drawn_as_by_the_data_manager(trainer):
    """By their means: frames by their chances, pixels by their boxes, patches about lips and anywhere on faces."""
    data, drawing, frames = trainer.pipeline.datamanager, trainer._recorded.drawing, trainer._recorded.fixed.frames
    drawing.generator.manual_seed(0)
    drawn = [drawing.draw("head") for _ in range(300)]
    assert all(len(set(one.frames.tolist())) == 4 for one in drawn)
    count = torch.bincount(torch.cat([one.frames for one in drawn]), minlength=len(frames)) / 1200
    chosen = [data.generator.choice(len(frames), 4, replace=False, p=data.chances) for _ in range(3000)]
    want = np.bincount(np.concatenate(chosen), minlength=len(frames)) / 12_000
    assert np.abs(count.numpy() - want).max() < 5 * np.sqrt(want.max() / 1200)
    n, lips = 64, int(64 * 0.2)
    for one in drawn[:20]:
        box = frames.boxes[one.frames, 0]
        assert (one.x[:, :lips] >= box[:, :1]).all() and (one.y[:, :lips] < box[:, 3:]).all()
        assert one.x.shape == (4, n) and one.batch["image"].shape == (256, 3)
        assert torch.equal(one.groups.view(4, n) % 2 == 0, one.batch["face"].view(4, n))
    swapped = torch.cat([(one.emotions[::2] != one.emotions[1::2]).any(1) for one in drawn]).float().mean()
    assert 0.15 < swapped < 0.35  # half of them, half of which draw their own label
    patch = drawing.draw("lips")
    left, top, right, bottom = frames.boxes[patch.frames[0], 0].tolist()
    assert patch.x.float().mean() == pytest.approx((left + right) / 2, abs=1.5)
    assert patch.y.float().mean() == pytest.approx((top + bottom) / 2, abs=1.5)
    assert patch.batch["patch"] == drawing.frames.side and patch.x.numel() == drawing.frames.side**2


def test_behind_each_frame_is_the_background_of_its_take(trainer, data, tmp_path, monkeypatch):
    shutil.copytree(data, tmp_path / "data")
    dataset = read_dataset(tmp_path / "data")
    for k, clip in enumerate(dataset.clips[1:], 1):
        write_image(dataset.own_background(clip.name), np.roll(dataset.static_background(), 5 * k, axis=0))
    data = trainer.pipeline.datamanager
    monkeypatch.setitem(data.train_dataparser_outputs.metadata, "dataset", dataset)
    for name, value in zip(("backgrounds", "background_of"), data._backgrounds(), strict=True):
        monkeypatch.setattr(data, name, value)
    frames = ResidentFrames(data, trainer.pipeline.model)
    clips, x = dataset.clips, torch.arange(SIZE)[None]
    shown = []
    for clip in clips:
        row = next(k for k, i in enumerate(frames.numbers.tolist()) if data.dataset.frames[i].clip == clip.name)
        want = torch.from_numpy(data.dataset.static_background(clip.name)[7])
        _, behind = frames.stored(torch.tensor([[row]]), x, torch.full_like(x, 7))
        _, batch = data._rays(int(frames.numbers[row]), 7 * SIZE + x[0].numpy())
        assert torch.equal(behind, want) and torch.equal(batch["background"], want / 255)
        shown.append(behind)
    assert len(clips) > 1 and not torch.equal(*shown[:2])


def test_a_seed_makes_one_training_however_often_it_stops(data, tmp_path, monkeypatch):
    """Through all stages; the checkpoint is one that a training without recorded steps goes on from."""
    monkeypatch.setattr("aed_nerfstudio.nerfstudio_plugin.pipeline.carve_face", lambda *_: None)

    def trained(steps: int, load=None, **changes):
        config = config_of(data, tmp_path / str(len([*tmp_path.iterdir()])), steps, load_dir=load, **changes)
        config.pipeline.model.schedule, config.pipeline.model.occupancy_every = StageSchedule(6, 4, 3), 3
        trainer = set_up(config)
        trainer.train()
        return trainer

    whole = trained(13)
    part = trained(8)
    found = differences(last(trained(13, part.checkpoint_dir)), last(whole))
    # From Python's generator the tests' checks of types draw, in steps that are made again as well.
    assert {*found} <= {"/training/random/python"}
    other = trained(13, part.checkpoint_dir, recorded_steps="off")
    assert last(other)["step"] == 12 and differences(last(other)["pipeline"], last(whole)["pipeline"])
    groups = [group for part in last(whole)["optimizers"].values() for group in part["param_groups"]]
    assert all(type(group["lr"]) is float and not group["capturable"] for group in groups)


def test_what_looks_at_every_step_is_not_recorded(trainer, monkeypatch):
    parts = trainer.config, trainer.pipeline, trainer.optimizers
    assert recorded_steps.unfit(*parts) is None
    for owner, name, value, reason in (
        (trainer.config, "gradient_accumulation_steps", {"mlps": 2}, "accumulated"),
        (trainer.config, "log_gradients", True, "look at every step"),
        (trainer.pipeline.config, "ema_decay", 0.9, "look at every step"),
        (trainer.optimizers.config["mlps"]["optimizer"], "max_norm", 1.0, "clipped"),
        (trainer.pipeline.model.config, "backend", "torch", "waits for the device"),
        (trainer.pipeline, "world_size", 2, "several processes"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            assert reason in recorded_steps.unfit(*parts)
            with pytest.raises(InputError, match=f"--recorded-steps on: not possible here.*{reason}"):
                trainer._recorder()
            patch.setattr(trainer.config, "recorded_steps", "auto")
            assert trainer._recorder() is None


@pytest.mark.gpu
def test_recorded_on_cuda(data, tmp_path, monkeypatch):
    """The first step of a kind is not recorded, later ones are: they make of the weights what unrecorded steps make."""
    monkeypatch.setattr("aed_nerfstudio.nerfstudio_plugin.pipeline.carve_face", lambda *_: None)
    moved = {}
    for graphs in (True, False):
        config = config_of(data, tmp_path / str(graphs), 15)
        config.machine.device_type, config.pipeline.model.schedule = "cuda", StageSchedule(6, 5, 4)
        trainer = set_up(config)
        assert trainer._recorded._graphs is not None
        if not graphs:
            trainer._recorded._graphs = None
        trainer.train()
        assert (trainer._recorded._graphs is not None) == graphs  # all could be recorded
        moved[graphs] = weights(trainer)
    for one, other in zip(moved[True], moved[False], strict=True):
        assert (one - other).abs().mean() < 1e-3  # additions to tables come in any order
