"""Ridge regression of lip shapes: against the normal equations, and on what it cannot know."""

import numpy as np
import torch

from aed_nerfstudio.fields.linear_lips import PENALTIES, LinearLips


def recording(noise: float, frames: int = 400):
    """Windows [F, 16, 3] and shapes [F, 4] that are linear in them but for noise."""
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(frames, 16, 3)).astype(np.float32)
    shapes = windows.reshape(frames, -1) @ rng.normal(size=(48, 4)) + 2 + noise * rng.normal(size=(frames, 4))
    return windows, shapes.astype(np.float32)


def test_it_is_the_ridge_solution():
    windows, shapes = recording(0.5)
    lips = LinearLips(3, 4)
    assert not lips.fitted
    penalty = lips.fit(windows, shapes)
    assert lips.fitted
    x = windows.reshape(len(windows), -1).astype(np.float64)
    x, y = x - x.mean(0), shapes - shapes.mean(0)
    weight = np.linalg.solve(x.T @ x + penalty * np.eye(48), x.T @ y)
    np.testing.assert_allclose(lips.weight.numpy(), weight.T, atol=1e-4)
    np.testing.assert_allclose(lips(torch.from_numpy(windows)).numpy() - shapes.mean(0), x @ weight, atol=1e-3)


def test_the_penalty_grows_with_the_noise():
    assert LinearLips(3, 4).fit(*recording(0.01)) == PENALTIES[0]
    windows, shapes = recording(0.01)
    assert LinearLips(3, 4).fit(windows, np.random.default_rng(1).permutation(shapes)) == PENALTIES[-1]


def test_a_fit_travels_with_the_weights():
    lips, other = LinearLips(3, 4), LinearLips(3, 4)
    windows, shapes = recording(0.1)
    lips.fit(windows, shapes)
    other.load_state_dict(lips.state_dict())
    assert other.fitted
    torch.testing.assert_close(other(torch.from_numpy(windows)), lips(torch.from_numpy(windows)))
