"""A take's light is read off the person's skin, and leaves the background and the expression alone."""

import numpy as np
import pytest
import torch

from aed_nerfstudio.avatar.renderers.layers import layers, relit
from aed_nerfstudio.dataset.schema import Dataset, read_dataset
from aed_nerfstudio.dataset.take_light import MOST, take_light

WARM = np.array([1.15, 1.0, 0.8])


class Lit(Dataset):
    """A dataset whose happy take was recorded in another light."""

    light = WARM

    def image(self, frame):
        picture = super().image(frame)
        if not frame.clip.startswith("happy"):
            return picture
        return np.clip(picture * self.light, 0, 255).astype(np.uint8)


def lit(data, light):
    found = Lit(**vars(read_dataset(data)))
    found.light = np.array(light)
    return found


def test_takes_of_one_light_have_ones(data):
    assert np.array_equal(take_light(read_dataset(data), 0), np.ones((2, 3)))


@pytest.mark.parametrize("light", [WARM, WARM * 0.7, np.full(3, 0.5)], ids=["warm", "warm and dark", "dark"])
def test_the_light_of_a_take_is_measured(data, light):
    found = take_light(lit(data, light), 0)
    assert np.array_equal(found[0], np.ones(3))
    assert found[1] == pytest.approx(light, rel=0.04)
    # Seen from the other take, it is the first that is lit otherwise.
    assert take_light(lit(data, light), 1)[0] == pytest.approx(1 / light, rel=0.04)


def test_a_light_has_bounds(data):
    assert take_light(lit(data, (0.02, 0.02, 0.02)), 0)[1] == pytest.approx(1 / MOST)


def test_pictures_in_another_light_are_those_of_other_colours():
    rng = torch.Generator().manual_seed(0)
    colour, torso, behind = (torch.rand(12, 3, generator=rng) * 0.5 for _ in range(3))
    alpha, torso_alpha, depth = (torch.rand(12, 1, generator=rng) * 0.9 for _ in range(3))
    light = torch.from_numpy(WARM).float()

    def pictures(gain):
        head = (alpha * colour * gain, alpha, depth, depth)
        return layers((3, 4), head, (torso_alpha, torso_alpha * torso * gain), behind)

    found, expected = relit(pictures(torch.ones(3)), light), pictures(light)
    for name, image in expected.items():
        assert torch.allclose(found[name], image, atol=1e-5), name
