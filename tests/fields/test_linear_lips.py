"""Ridge regression of lip shapes: against the normal equations, and on what it cannot know."""

import numpy as np
import pytest
import torch

from aed_nerfstudio.fields.linear_lips import COSTS, LATER, MOST_GAIN, PENALTIES, RARE, LinearLips, gains, pooled


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


def test_a_reading_is_widened_to_the_spread_of_the_truth():
    """Unless it follows the truth so badly that the error would grow by more than its share of `COSTS`."""
    rng = np.random.default_rng(0)
    true, chance = rng.normal(size=(2, 50_000, 4))
    r = np.array([0.9, 0.5, 0.6, 0.0])
    read = 3 * (r**2 * true + r * np.sqrt(1 - r**2) * chance) + 5  # as ridge regression has it: its spread is r
    found = gains(read, 3 * true - 1)
    widened = (read - read.mean(0)) * found / 3
    spread, error = widened.std(0), np.square(widened - true).mean(0)
    assert spread[0] == pytest.approx(1, abs=0.02) and error[0] < (1 + COSTS[0]) * (1 - r[0] ** 2)
    np.testing.assert_allclose(spread[1:3], [0.887, 0.6], atol=0.02)
    np.testing.assert_allclose(error[1:3], (1 + np.array(COSTS[1:3])) * (1 - r[1:3] ** 2), atol=0.02)
    assert found[3] == 1 and spread[3] < 0.01  # nothing is read, and that stays so
    np.testing.assert_array_equal(gains(2 * true, true), 1)  # never narrower


def test_what_nearness_takes_back_is_made_up_for():
    windows, shapes = recording(30.0)
    lips = LinearLips(3, 4)
    lips.fit(windows, shapes - shapes.mean(0))
    lips.reach.mul_(0.3)
    read = lips(torch.from_numpy(windows))
    lips.gain.copy_(torch.tensor([1.3, 1.2, 1.2, 1.1]))
    spread, left = lips.gain * read.std(0), lips.widened(read).std(0)
    assert left[2] < 0.95 * spread[2] and left[0] > 1.2 * spread[0]
    lips.widen_to(spread, read)
    possible = lips.gain > 1  # no reading is made narrower
    assert possible.tolist() == [False, True, True, False]
    torch.testing.assert_close(lips.widened(read).std(0)[possible], spread[possible], rtol=0.05, atol=0)
    lips.widen_to(10 * spread, read)
    assert (lips.gain == MOST_GAIN).all()


def test_lips_stay_near_what_was_seen():
    windows, shapes = recording(30.0)
    shapes = shapes - shapes.mean(0)
    shapes[:, 1] = 0.9 * shapes[:, 0] + 0.1 * shapes[:, 1]  # two that go together
    lips = LinearLips(3, 4)
    read = torch.from_numpy(np.random.default_rng(1).normal(0, 100, (500, 4)).astype(np.float32))
    torch.testing.assert_close(lips.widened(read), read)  # before anything is known
    lips.fit(windows, shapes)
    assert (lips.gain[:3] > 1.05).all() and lips.gain[3] == 1
    whiten = np.linalg.inv(np.linalg.cholesky(np.cov(shapes.T)))
    apart = lambda x: np.linalg.norm((x[:, None] - shapes[None]) @ whiten.T, axis=-1).min(1)  # noqa: E731
    assert apart(lips.widened(read).numpy()).max() < 1.1 * lips.reach < 0.5 * apart(read.numpy()).max()
    unseen = torch.tensor([[30.0, -30.0, 0.0, 0.0]])  # each was seen, but never so
    assert (lips.widened(unseen)[0, 0] - lips.widened(unseen)[0, 1]).abs() < 25
    example = lips.examples[lips.examples.norm(dim=1).argmin()][None]
    torch.testing.assert_close(lips.widened(example / lips.gain), example)
    lips.response.copy_(torch.tensor([1.5, 1, 1, 1.2]))  # of a field that does less than it is told to
    torch.testing.assert_close(lips.widened(example / lips.gain), example * lips.response)


def test_a_field_is_told_nothing_that_it_has_hardly_seen():
    """However little it does of what it is told: beyond that its jaws are torn."""
    windows, shapes = recording(30.0)
    lips = LinearLips(3, 4)
    lips.fit(windows, shapes - shapes.mean(0))
    lips.response.fill_(1.5)
    read = torch.from_numpy(np.random.default_rng(1).normal(0, 100, (500, 4)).astype(np.float32))
    ranked = lips.examples.sort(dim=0).values
    low, high = ranked[RARE], ranked[-1 - RARE]
    told = lips.widened(read)
    assert (told > low - 1e-3).all() and (told < high + 1e-3).all()
    assert (1.5 * lips._within_reach(read * lips.gain) > high + 1e-3).any(0).all()  # else they would be
    rare = lips.examples[lips.examples[:, 0].argmax()][None]
    assert lips.widened(rare / lips.gain)[0, 0] < rare[0, 0]


def test_a_fit_of_before_there_was_a_gain_reads_as_it_did():
    lips, other = LinearLips(3, 4), LinearLips(3, 4)
    windows, shapes = recording(30.0)
    lips.fit(windows, shapes)
    other.load_state_dict({name: value for name, value in lips.state_dict().items() if name not in LATER})
    read = torch.linspace(-9, 9, 20)[:, None].repeat(1, 4)
    torch.testing.assert_close(other.widened(read), read)


def test_a_prior_helps_where_there_is_little_and_is_dropped_where_it_misleads():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(48, 4))
    windows = rng.normal(size=(60, 16, 3)).astype(np.float32)
    shapes = (windows.reshape(60, -1) @ true + rng.normal(size=(60, 4))).astype(np.float32)
    unseen = torch.from_numpy(rng.normal(size=(500, 16, 3)).astype(np.float32))
    plain, helped, misled = LinearLips(3, 4), LinearLips(3, 4), LinearLips(3, 4)
    plain.fit(windows, shapes)
    prior = (2 * true + 0.5 * rng.normal(size=true.shape)).T  # of people who open their mouths twice as far
    helped.fit(windows, shapes, prior)
    misled.fit(windows, shapes, -prior)
    error = [
        (lips(unseen).numpy() - lips.bias.numpy() - unseen.flatten(1).numpy() @ true).std() for lips in (plain, helped)
    ]
    assert error[1] < 0.7 * error[0]
    torch.testing.assert_close(misled.weight, plain.weight)


def test_what_is_pooled_reads_whom_it_has_not_seen():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(48, 4))
    people = []
    for person in range(4):
        own = true + 0.3 * rng.normal(size=true.shape)
        windows = rng.normal(size=(300, 16, 3)).astype(np.float32)
        people.append((windows, (windows.reshape(300, -1) @ own + person).astype(np.float32)))
    weight = pooled(people[:3])
    windows, shapes = people[3]
    read = windows.reshape(300, -1) @ weight.T
    assert all(np.corrcoef(read[:, k], shapes[:, k])[0, 1] > 0.9 for k in range(4))
    assert pooled(people[:1]).shape == (4, 48)
