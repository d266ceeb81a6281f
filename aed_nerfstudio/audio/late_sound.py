"""Whether the lips follow the sound, and by how much the sound is late: measured without a pretrained network.

The lips' shape is predicted from the sound's spectrum by a ridge regression that is judged on frames it was not fitted
to, once for every shift of the sound. Where the sound belongs to the picture one shift predicts much better than all
others; shifts far outside the searched range tell how well a wrong one does by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter1d

from aed_nerfstudio.audio.elimination_kernel import eliminate
from aed_nerfstudio.audio.features import SAMPLE_RATE, STEP
from aed_nerfstudio.dataset.schema import FPS
from aed_nerfstudio.face.face_mesh import lip_shape
from aed_nerfstudio.media.audio_io import is_silent

STEPS = SAMPLE_RATE // STEP  # a second
STEPS_PER_FRAME = STEPS // FPS
LONGEST_SHIFT = 0.6  # seconds, searched to both sides
MINIMUM_SECONDS = 6.0  # of frames with a face: in 5 s of a real clip the best shift was wrong one time of ten
MOST_SECONDS = 60.0  # listened to: more does not make the answer surer
SHORTEST_TAKE = 2.4  # seconds: a take must hold shifts outside the searched range as well
# What makes an answer sure: of 293 pieces of 10 and 20 s with the sound of another moment two pass, of 354 of 6 s nine;
# of pieces with their own sound nearly all of 10 s and more pass (docs/inspect.md).
CERTAIN_DEVIATIONS = 3.5
CERTAIN_LEAD = 0.1
BANDS = 12
WINDOW = 512  # samples
RANGE_DB = 60.0  # below the loud parts: what is quieter is silence
TAPS = (-2, 0, 2)  # steps around the frame that the regression hears: more of them blur the shift
CALM_STEPS, SLOW_FRAMES = 1.0, 25.0  # smoothing of the spectrum; slower changes are those of pose and loudness
RIDGE = 0.03  # of the features' mean power
FOLDS = 5
CHANCES = 120  # shifts far away
STILL = 0.002  # of the face's height: lips that deviate by less do not speak


@dataclass(frozen=True)
class SpokenTake:
    """Lips and sound of one take: lips [F, 3], NaN in frames that do not count; samples float [n] at 16 kHz."""

    lips: Float[np.ndarray, "f 3"]
    samples: Float[np.ndarray, " n"]

    @classmethod
    def of(
        cls, landmarks: Float[np.ndarray, "f 478 3"], usable: Bool[np.ndarray, " f"], samples: Float[np.ndarray, " n"]
    ) -> SpokenTake:
        """Takes the lips out of landmarks [F, 478, 3], in pixels; frames that are not usable do not count."""
        lips = lip_shape(landmarks)[:, :3].astype(np.float64)
        lips[~usable] = np.nan
        return cls(lips, samples)

    def part(self, first: int, count: int) -> SpokenTake:
        """Cuts out `count` frames from the frame `first` on."""
        frame = SAMPLE_RATE // FPS
        return SpokenTake(self.lips[first : first + count], self.samples[first * frame : (first + count) * frame])

    @property
    def seconds(self) -> float:
        """Returns how many seconds the frames that count last."""
        return float(np.isfinite(self.lips).all(axis=1).sum()) / FPS


@dataclass(frozen=True)
class AudioSync:
    """How the lips follow the sound.

    shift: seconds by which the sound comes later than the picture (negative: earlier), None where that is not sure.
    correlation: of the lips with what the sound predicts at the best shift, None where nothing could be measured.
    reason: why the shift is not known, else empty. shifts [S] seconds and curve [S]: the correlation at every shift,
    empty where nothing could be measured. seconds: that were listened to.
    """

    shift: float | None
    correlation: float | None
    reason: str
    shifts: Float[np.ndarray, " s"]
    curve: Float[np.ndarray, " s"]
    seconds: float


def _unknown(reason: str, seconds: float) -> AudioSync:
    return AudioSync(None, None, reason, np.zeros(0), np.zeros(0), seconds)


def estimate_shift(takes: Sequence[SpokenTake]) -> AudioSync:
    """Estimates the one shift of the sound that all takes share.

    Of long takes only as much is listened to as is needed.
    """
    kept, seconds = [], 0.0
    for take in takes:
        part = take.part(0, int(max(0.0, MOST_SECONDS - seconds) * FPS))
        if len(part.lips) >= SHORTEST_TAKE * FPS and part.seconds > 0.5 * SHORTEST_TAKE:
            kept.append(part)
            seconds += part.seconds
    if not kept or seconds < MINIMUM_SECONDS:
        return _unknown(f"only {seconds:.1f} s with a face, {MINIMUM_SECONDS:.0f} s are needed", seconds)
    if all(is_silent(take.samples) for take in kept):
        return _unknown("there is no sound", seconds)
    if np.nanstd(np.concatenate([take.lips[:, 0] - np.nanmean(take.lips[:, 0]) for take in kept])) < STILL:
        return _unknown("the lips do not move", seconds)
    lips, known = _lips(kept)
    heard = [_spectrum(take.samples, len(take.lips)) for take in kept]
    reach = round(LONGEST_SHIFT * STEPS)
    near = np.arange(-reach, reach + 1)
    curve = np.array([_agreement([s] * len(kept), heard, known, lips) for s in near.tolist()])
    chance = np.array([_agreement(far, heard, known, lips) for far in _far_shifts(heard, reach).tolist()])
    best = int(curve.argmax())
    deviations = (curve[best] - chance.mean()) / max(float(chance.std()), 1e-6)
    sure = deviations >= CERTAIN_DEVIATIONS and curve[best] - chance.max() >= CERTAIN_LEAD
    inside = 0 < best < len(curve) - 1
    reason = "" if sure and inside else "no shift stands out"
    shift = _vertex(near, curve, best) / STEPS if sure and inside else None
    return AudioSync(shift, float(curve[best]), reason, near / STEPS, curve, seconds)


def _vertex(near: np.ndarray, curve: np.ndarray, best: int) -> float:
    """Returns where the parabola through the best shift and its neighbours is highest, steps."""
    before, top, after = curve[best - 1 : best + 2]
    bend = before - 2 * top + after
    return float(near[best] + (0.5 * (before - after) / bend if bend < -1e-9 else 0.0))


def _far_shifts(heard: list[np.ndarray], reach: int) -> np.ndarray:
    """Returns shifts outside the searched range, around the end of each take: steps, [CHANCES, takes]."""
    lengths = np.array([len(x) for x in heard])
    first = reach + reach // 2
    golden = (np.arange(CHANCES)[:, None] * 0.6180339887 + np.arange(len(heard)) * 0.37) % 1
    return first + (golden * np.maximum(lengths - 2 * first, 1)).astype(int)


def _lips(takes: list[SpokenTake]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Returns the lips' opening inside and outside with their speeds, of unit scale, [N, 4]; and each take's frames."""
    parts, known = [], []
    for take in takes:
        there = np.asarray(np.isfinite(take.lips).all(axis=1))
        frames = np.arange(len(there))
        filled = np.stack([np.interp(frames, frames[there], take.lips[there, k]) for k in range(2)], 1)
        quick = filled - gaussian_filter1d(filled, SLOW_FRAMES, axis=0, mode="nearest")
        calm = gaussian_filter1d(quick, 0.7, axis=0, mode="nearest")
        parts.append(np.hstack([calm, np.gradient(calm, axis=0)])[there])
        known.append(np.flatnonzero(there))
    lips = np.concatenate(parts)
    return (lips - lips.mean(axis=0)) / np.maximum(lips.std(axis=0), 1e-9), known


def _mel_bands() -> np.ndarray:
    """Returns triangular bands of equal width on the mel scale, 80 to 7600 Hz: [WINDOW // 2 + 1, BANDS]."""

    def mel(hertz: np.ndarray | float) -> np.ndarray:
        return np.asarray(2595 * np.log10(1 + np.asarray(hertz) / 700))

    edges = np.linspace(mel(80), mel(7600), BANDS + 2)
    at = mel(np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE))[:, None]
    rising = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


def _spectrum(samples: np.ndarray, frames: int) -> np.ndarray:
    """Computes log-mel energies at 50 Hz less their slow changes, [2 F, BANDS]: each step's mean with the next."""
    steps = frames * STEPS_PER_FRAME
    before = (WINDOW - STEP) // 2
    padded = np.zeros((steps - 1) * STEP + WINDOW)
    count = min(len(samples), len(padded) - before)
    padded[before : before + count] = samples[:count]
    pieces = padded[np.arange(steps)[:, None] * STEP + np.arange(WINDOW)] * np.hanning(WINDOW)
    level = 10 * np.log10(np.abs(np.fft.rfft(pieces)) ** 2 @ _mel_bands() + 1e-10)
    level = np.maximum(level, np.percentile(level, 95) - RANGE_DB)
    calm = gaussian_filter1d(level, CALM_STEPS, axis=0, mode="nearest")
    quick = calm - gaussian_filter1d(calm, SLOW_FRAMES * STEPS_PER_FRAME, axis=0, mode="nearest")
    quick /= max(float(quick.std()), 1e-6)
    return (quick + np.roll(quick, -1, axis=0)) / 2


def _agreement(shifts: Sequence[int], heard: list[np.ndarray], known: list[np.ndarray], lips: np.ndarray) -> float:
    """Returns the mean correlation of the lips [N, 4] with their prediction from sound that is late by `shifts`."""
    rows = []
    for shift, sound, frames in zip(shifts, heard, known, strict=True):
        at = STEPS_PER_FRAME * frames[:, None] + shift + np.array(TAPS)
        rows.append(sound[at % len(sound)].reshape(len(frames), -1))
    features = np.concatenate(rows)
    borders = np.linspace(0, len(features), FOLDS + 1).astype(int)
    parts = [slice(a, b) for a, b in zip(borders[:-1], borders[1:], strict=True)]
    squares = np.stack([np.einsum("ni,nj->ij", features[part], features[part]) for part in parts])
    products = np.stack([np.einsum("ni,nj->ij", features[part], lips[part]) for part in parts])
    square, product = squares.sum(axis=0), products.sum(axis=0)
    damping = RIDGE * np.trace(square) / len(square) * np.eye(len(square))
    weights = _solved(square - squares + damping, product - products)
    predicted = np.concatenate([np.einsum("ni,ij->nj", features[part], weights[k]) for k, part in enumerate(parts)])
    predicted -= predicted.mean(axis=0)
    scale = np.maximum(np.linalg.norm(predicted, axis=0) * np.linalg.norm(lips, axis=0), 1e-9)
    return float(((predicted * lips).sum(axis=0) / scale).mean())


def _solved(squares: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Solves positive definite systems, [K, n, n] and [K, n, m] -> [K, n, m], by elimination.

    Not by LAPACK (and no BLAS above): on matrices as small as these its threads mostly wait for each other, which made
    the whole estimate 30 times slower on a busy machine.
    """
    rows = np.concatenate([squares, products], axis=2)
    eliminate(rows)
    return rows[:, :, squares.shape[1] :]
