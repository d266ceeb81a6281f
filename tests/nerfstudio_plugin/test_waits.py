"""What the host does for a training step: how many operations it starts, and what of them waits for the device."""

import pytest
import torch

from aed_nerfstudio.evaluation.dispatched import Dispatched
from aed_nerfstudio.nerfstudio_plugin.loss_watch import READ_EVERY
from aed_nerfstudio.nerfstudio_plugin.tone import EVERY
from tests.nerfstudio_plugin.small_trainer import set_up, small_config


@pytest.fixture(scope="module")
def trainer(data, tmp_path_factory):
    config = small_config(data, tmp_path_factory.mktemp("waits"), 200)
    config.pipeline.model.lambda_depth = 0.1  # the loss; the shell about the face is not carved
    config.pipeline.model.swapped_labels = 0.5
    config.pipeline.datamanager.face_depth = True
    trainer = set_up(config)
    trainer.pipeline.train()
    trainer.pipeline.model.perceptual()  # built once
    return trainer


def counted(trainer, step: int) -> Dispatched:
    """What a step does, with its rays, losses, gradients and optimizers, but for an update of the occupancy grid."""
    pipeline = trainer.pipeline
    pipeline.model.set_stage(step)
    data, found = pipeline.datamanager, Dispatched()
    draw = data.next_train

    def drawing(step: int):
        bundle, batch = draw(step)
        found.on_host(*(bundle.metadata[name] for name in ("frame", "beyond_face") if name in bundle.metadata))
        return bundle, batch

    data.next_train = drawing
    try:
        with found:
            trainer.train_iteration(step)
    finally:
        del data.next_train
    return found


@pytest.mark.parametrize(("step", "most"), [(EVERY + 1, 900), (100, 900), (115, 700)], ids=["head", "lips", "torso"])
def test_a_step_waits_for_the_numbers_of_samples_only(trainer, step, most):
    trainer.pipeline.watch.read()
    found = counted(trainer, step)
    # The marcher's packing reads how many samples there are, inside of a kernel; this is how many of them each frame
    # has. A torso's rays have one sample each.
    assert found.waits == ({} if step == 115 else {"tolist": 1})
    assert 50 < found.operations.total() <= most  # 750, 748, 375 in docs/speed.md; a CUDA graph has one


def test_losses_are_waited_for_every_tenth_step(trainer):
    trainer.pipeline.watch.read()
    waits = [counted(trainer, 115).waits for _ in range(READ_EVERY)]
    assert waits == [{}] * (READ_EVERY - 1) + [{"tolist": 1}]


def test_what_waits_is_seen():
    with Dispatched() as found:
        x = torch.arange(4.0, device="cpu")
        x[x > 1], torch.nonzero(x), x.sum().item(), bool(x[0] > 3), x[:2].tolist()
        assert int(torch.randint(5, ())) < 5 and all(int(i) < 5 for i in torch.randint(5, (2,)))  # the host's own
        torch.rand(3).to("cpu").sum().item()  # sent, and read back
    assert found.waits == {"index by a mask": 1, "nonzero": 1, "item": 2, "__bool__": 1, "tolist": 1}
    assert found.operations["arange"] == 1 and found.operations["nonzero"] == 1
