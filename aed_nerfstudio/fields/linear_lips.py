"""Lip shapes read from a window of audio features by ridge regression (Hoerl and Kennard, 1970)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

PENALTIES = (3e2, 1e3, 3e3, 1e4, 3e4)
FOLDS = 5
MOST_FRAMES = 3000
MOST_POOLED = 9000
"""Frames of all people together."""
COSTS = (0.2, 0.2, 0.0, 0.0)
"""By how much the mean squared errors of lip distances may grow so that they move as far as the person's: a fifth for
inner and outer opening, which show that somebody speaks; nothing for width and chin, which sound tells less of."""
MOST_GAIN = 2.0
ROUNDS = 5
"""In which a gain comes to make up for what nearness to the examples takes back."""
EXAMPLES = 256
"""Recorded lip shapes that are kept, evenly spread over the recording."""
USUAL = 0.75
"""Share of the recorded frames whose lips lie no further from the examples of the others than a widened reading may."""
RARE = 3
"""Examples at either end of a distance's range that a field has hardly seen: told of such, it shows a torn jaw."""
LATER = ("gain", "examples", "whitening", "reach", "response")
"""Buffers that are not in what was saved before they were there."""


class LinearLips(nn.Module):
    """A linear map from a window [16, feature_dim] to a lip shape, and how far such a reading is to be widened.

    It is fitted once, in closed form, and not trained further.

    A minute of speech has some thousand frames, of which neighbours say the same: a network learns those by heart. On
    a real clip of 71 s ridge regression reads the held-out mouth opening with r = 0.69 where the convolutional encoder
    reaches 0.52 to 0.58, depending on its seed, and the mean of both 0.63 to 0.67.

    What is read of speech that was not learned from keeps to the middle: at r = 0.7 its spread is 0.6 of the person's.
    """

    def __init__(self, feature_dim: int, outputs: int, window: int = 16) -> None:
        super().__init__()
        self.weight: Tensor
        self.bias: Tensor
        self.fitted: Tensor
        self.gain: Tensor
        """[outputs]: by what a reading is multiplied, so that it moves as far as the person's lips do."""
        self.examples: Tensor
        """[EXAMPLES, outputs]: lip shapes of the person."""
        self.whitening: Tensor
        """[outputs, outputs]: the length of a difference of lip shapes times this is their Mahalanobis distance."""
        self.reach: Tensor
        """Such a distance, within which the person's lips are usually found from an example."""
        self.response: Tensor
        """[outputs]: by what a lip shape is multiplied in the end, because a field moves its lips less than it is told
        to."""
        self.register_buffer("weight", torch.zeros(outputs, window * feature_dim))
        self.register_buffer("bias", torch.zeros(outputs))
        self.register_buffer("fitted", torch.tensor(False))
        self.register_buffer("gain", torch.ones(outputs))
        self.register_buffer("examples", torch.zeros(EXAMPLES, outputs))
        self.register_buffer("whitening", torch.zeros(outputs, outputs))
        self.register_buffer("reach", torch.tensor(1.0))
        self.register_buffer("response", torch.ones(outputs))

    def _load_from_state_dict(self, state_dict, prefix, *rest) -> None:
        for name in LATER:
            state_dict.setdefault(f"{prefix}{name}", getattr(self, name).clone())
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def fit(
        self,
        windows: Float[np.ndarray, "f 16 feature_dim"],
        shapes: Float[np.ndarray, "f outputs"],
        prior: Float[np.ndarray, "outputs window"] | None = None,
    ) -> float:
        """Fits windows [F, 16, feature_dim] to shapes [F, outputs], frames in the order in which they were recorded.

        Args:
            prior: a map of windows to shapes, [outputs, 16 * feature_dim], from other people. What it reads, scaled
                to these lips, is taken from the shapes, and the rest is fitted.

        Returns the penalty, the one of `PENALTIES` with the smallest error on left-out stretches of the recording. Of
        long recordings `MOST_FRAMES` evenly spaced frames are taken.
        """
        x, y = _evenly(windows, shapes, MOST_FRAMES)
        mean_x, mean_y = x.mean(0), y.mean(0)
        x, y = x - mean_x, y - mean_y
        known, before = _scaled(prior, x, y)
        # Stretches, not single frames: a left-out frame's neighbours would give its answer away.
        parts = np.array_split(np.arange(len(x)), FOLDS)
        rest, best, read = ridge(x, y - known, parts)
        weight, read = before + rest, known + read
        self.weight.copy_(torch.from_numpy(weight.T))
        self.bias.copy_(torch.from_numpy(mean_y - mean_x @ weight))
        self.gain.copy_(torch.from_numpy(gains(read, y)))
        spread = y.T @ y / len(y)
        least = 1e-3 * np.trace(spread) / len(spread) + 1e-12  # lips that never move have no directions
        whitening = np.linalg.inv(np.linalg.cholesky(spread + least * np.eye(len(spread))))
        known = y @ whitening.T
        apart = [_from_nearest(known[part], _spread_out(np.delete(known, part, axis=0))) for part in parts]
        self.examples.copy_(torch.from_numpy(_spread_out(y + mean_y)))
        self.whitening.copy_(torch.from_numpy(whitening))
        self.reach.copy_(torch.tensor(np.quantile(np.concatenate(apart), USUAL)))
        self.fitted.fill_(True)
        return best

    def forward(self, windows: Float[Tensor, "b 16 feature_dim"]) -> Float[Tensor, "b outputs"]:
        """Returns the lip shapes of windows: [B, 16, feature_dim] -> [B, outputs]."""
        return nn.functional.linear(windows.flatten(1), self.weight, self.bias)

    def widened(self, read: Float[Tensor, "b outputs"]) -> Float[Tensor, "b outputs"]:
        """Returns lip shapes [B, outputs], read from speech that was not learned from, as far from the middle as the
        person's, but no further from one of these than they usually are from each other: four distances that were each
        seen can together be a grimace. In the units of what the field is to be told for them, and within what it has
        been told while it learned, but for what is `RARE`."""
        told = self._within_reach(read * self.gain) * self.response
        ranked = self.examples.sort(dim=0).values
        low, high = ranked[RARE], ranked[-1 - RARE]
        rare = ((self.examples < low) | (self.examples > high)).any(1)
        return self._within_reach(torch.where(low < high, told.clamp(low, high), told), rare)

    def _within_reach(
        self, wide: Float[Tensor, "b outputs"], but: Bool[Tensor, " examples"] | None = None
    ) -> Float[Tensor, "b outputs"]:
        """Returns lip shapes [B, outputs] as near to an example as the person's usually are; `but`: to none of these
        examples."""
        apart = torch.cdist(wide @ self.whitening.T, self.examples @ self.whitening.T)
        apart, nearest = (apart if but is None else apart.masked_fill(but, torch.inf)).min(dim=-1)
        example = self.examples[nearest]
        return example + (wide - example) * (self.reach / apart.clamp_min(1e-6)).clamp(max=1)[:, None]

    @torch.no_grad()
    def widen_to(self, spread: Float[Tensor, " outputs"], read: Float[Tensor, "f outputs"]) -> None:
        """Sets the gain so that readings [F, outputs] which are `widened` have such deviations [outputs], before the
        response; from 1 to `MOST_GAIN`."""
        for _ in range(ROUNDS):
            left = self._within_reach(read * self.gain).std(0).clamp_min(1e-6)
            self.gain.copy_((self.gain * spread / left).clamp(1, MOST_GAIN))


def _evenly(windows: np.ndarray, shapes: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns evenly spaced windows, flat, and shapes of so many frames at most, float64 [N, D] and [N, K]."""
    picks = np.unique(np.linspace(0, len(windows) - 1, min(len(windows), most)).astype(int))
    return windows[picks].reshape(len(picks), -1).astype(np.float64), shapes[picks].astype(np.float64)


def ridge(x: np.ndarray, y: np.ndarray, parts: list[np.ndarray]) -> tuple[np.ndarray, float, np.ndarray]:
    """Fits y [N, K] by x [N, D], both around their means, with the penalty that reads left-out rows best.

    parts: numbers of rows that are left out together; together all.

    Returns the weight [D, K], the penalty, and what was read of the rows while they were left out [N, K].
    """
    gram, every = x @ x.T, np.arange(len(x))

    def dual(members: np.ndarray, penalty: float) -> np.ndarray:
        return np.linalg.solve(gram[np.ix_(members, members)] + penalty * np.eye(len(members)), y[members])

    read = {penalty: np.empty_like(y) for penalty in PENALTIES}
    for penalty, guesses in read.items():
        for part in parts:
            rest = np.setdiff1d(every, part)
            guesses[part] = gram[np.ix_(part, rest)] @ dual(rest, penalty)
    best = min(PENALTIES, key=lambda penalty: np.square(read[penalty] - y).mean())
    return x.T @ dual(every, best), best, read[best]


def _scaled(prior: np.ndarray | None, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray | float, np.ndarray | float]:
    """Returns what a prior reads of x [N, D], each output scaled to y [N, K] and dropped where it runs against it, and
    the prior's weight scaled so, [D, K]."""
    if prior is None:
        return 0.0, 0.0
    known = x @ prior.T
    scale = np.clip((known * y).sum(0) / (np.square(known).sum(0) + 1e-9), 0, None)
    return known * scale, prior.T * scale


def pooled(
    people: Sequence[tuple[Float[np.ndarray, "_ 16 feature_dim"], Float[np.ndarray, "_ outputs"]]],
) -> Float[np.ndarray, "outputs window"]:
    """Returns one map [outputs, 16 * feature_dim] from the windows of people to their lip shapes, [F, 16, feature_dim]
    and [F, outputs] each; its penalty reads best whom it was not fitted to, or stretches of the only one."""
    most = min(MOST_FRAMES, MOST_POOLED // len(people))
    xs, ys = [], []
    for windows, shapes in people:
        x, y = _evenly(windows, shapes, most)
        xs.append(x - x.mean(0))
        ys.append(y - y.mean(0))
    every = np.arange(sum(map(len, xs)))
    parts = np.split(every, np.cumsum([len(x) for x in xs])[:-1]) if len(people) > 1 else np.array_split(every, FOLDS)
    weight, _, _ = ridge(np.concatenate(xs), np.concatenate(ys), parts)
    return weight.T


def _spread_out(shapes: np.ndarray) -> np.ndarray:
    """Returns `EXAMPLES` of lip shapes [F, outputs], evenly spread; some of them more than once where F is less."""
    return shapes[np.linspace(0, len(shapes) - 1, EXAMPLES).astype(int)]


def _from_nearest(shapes: np.ndarray, examples: np.ndarray) -> np.ndarray:
    """Returns how far each of F lip shapes is from its nearest example, [F]."""
    return np.linalg.norm(shapes[:, None] - examples[None], axis=-1).min(axis=1)


def gains(read: Float[np.ndarray, "f outputs"], true: Float[np.ndarray, "f outputs"]) -> Float[np.ndarray, " outputs"]:
    """Returns by what each of a reading's outputs is to be multiplied, 1 to `MOST_GAIN`.

    One that follows the truth well gets the truth's spread. One that does not gets less: a guess of relative spread a
    and correlation r has the mean squared error 1 + a^2 - 2 a r, least at a = r, and that may grow by its share of
    `COSTS`.

    Args:
        read: of stretches that were left out, [F, outputs]. true: what was to be read, [F, outputs].
    """
    spread, whole = read.std(0) + 1e-9, true.std(0) + 1e-9
    r = ((read - read.mean(0)) * (true - true.mean(0))).mean(0) / (spread * whole)
    r = np.clip(r, 0, 1)
    wanted = np.minimum(1, r + np.sqrt(np.array(COSTS[: len(r)]) * (1 - r**2)))
    return np.clip(wanted * whole / spread, 1, MOST_GAIN)
