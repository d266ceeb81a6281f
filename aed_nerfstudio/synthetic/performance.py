"""What the synthetic actor does: speech to face units, blinks, emotions and head motion, 25 frames a second.

Speech mapping, frame f (from the 60 ms of sound centred on (f + 0.5) / 25 s; fixed scales, so loudness stays visible):

- level = RMS in dB mapped from -46..-27 to 0..1; shape = spectral centroid (150-4000 Hz, by power) from 420..900 Hz
  to 0..1.
- jawOpen = 0.75 level.
- mouthFunnel = 0.7 level (1 - shape) and mouthPucker = 0.25 level (1 - shape): dark sounds round the lips.
- mouthStretchLeft/Right = 0.55 level shape, mouthUpperUpLeft/Right and mouthLowerDownLeft/Right = 0.35 level shape:
  bright ones spread them.
- mouthPressLeft/Right = 0.35 (1 - level / 0.12) where level < 0.12: closed lips between words, the jaw at 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.dataset.schema import FPS
from aed_nerfstudio.driving.emotion import INTENSITIES
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.synthetic.scene import HeadPose

INTENSITY_WEIGHTS = dict(zip(INTENSITIES, (0.4, 0.7, 1.0), strict=True))


def _both(**units: float) -> dict[str, float]:
    """Returns units for left and right, with the weight of the name without a side."""
    return {f"{name}{side}": weight for name, weight in units.items() for side in ("Left", "Right")}


EMOTION_UNITS: dict[str, dict[str, float]] = {
    "neutral": {},
    "angry": {**_both(browDown=1.0, noseSneer=0.8, eyeSquint=0.5, mouthFrown=0.4, mouthUpperUp=0.3), "jawForward": 0.4},
    "fearful": {
        **_both(browOuterUp=0.5, eyeWide=1.0, mouthStretch=0.8, mouthLowerDown=0.4),
        "browInnerUp": 1.0,
        "jawOpen": 0.18,
    },
    "happy": {
        **_both(mouthSmile=0.9, cheekSquint=0.3, eyeSquint=0.1, mouthDimple=0.3, mouthUpperUp=0.25),
        "browInnerUp": 0.2,
    },
    "sad": {**_both(mouthFrown=0.9, eyeBlink=0.2, eyeLookDown=0.25), "browInnerUp": 1.0, "mouthShrugLower": 0.5},
}
_LIMIT = 1.0
_BLINK_SHAPE = (0.45, 1.0, 0.75, 0.3)


@dataclass
class Performance:
    """A take: per frame, weights of face units, the head's pose, and the eyes' openness: 0 closed, 1 as open as they
    are in this emotion, which is how it is measured of people too."""

    units: list[dict[str, float]]
    poses: list[HeadPose]
    eye_openness: np.ndarray

    def __len__(self) -> int:
        return len(self.units)


def speech_level(samples: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns loudness and brightness of speech, each float64 [frames] in 0..1; samples: float [n] mono at 16 kHz."""
    step, window = SAMPLE_RATE // FPS, 960
    before = (window - step) // 2
    padded = np.zeros(before + max(len(samples), frames * step) + window)
    padded[before : before + len(samples)] = samples
    pieces = padded[np.arange(frames)[:, None] * step + np.arange(window)]
    decibels = 20 * np.log10(np.sqrt((pieces**2).mean(1)) + 1e-7)
    power = np.abs(np.fft.rfft(pieces * np.hanning(window))) ** 2
    frequency = np.fft.rfftfreq(window, 1 / SAMPLE_RATE)
    band = (frequency > 150) & (frequency < 4000)
    centroid = (power[:, band] @ frequency[band]) / (power[:, band].sum(1) + 1e-12)
    return np.clip((decibels + 46) / 19, 0, 1), np.clip((centroid - 420) / 480, 0, 1)


def speech_units(samples: np.ndarray, frames: int) -> list[dict[str, float]]:
    """Returns face units of speech, one dict per frame (see the module's description)."""
    out = []
    for level, shape in zip(*speech_level(samples, frames), strict=True):
        dark, bright = level * (1 - shape), level * shape
        press = 0.35 * max(0.0, 1 - level / 0.12)
        out.append(
            {
                "jawOpen": 0.75 * level,
                "mouthFunnel": 0.7 * dark,
                "mouthPucker": 0.25 * dark,
                **_both(
                    mouthStretch=0.55 * bright,
                    mouthUpperUp=0.35 * bright,
                    mouthLowerDown=0.35 * bright,
                    mouthPress=press,
                ),
            }
        )
    return out


def emotion_units(emotion: str, intensity: str | float) -> dict[str, float]:
    """Returns face units of an emotion at an intensity (label, or weight 0..1); neutral has none.

    Raises InputError for an unknown emotion or intensity.
    """
    if emotion not in EMOTION_UNITS:
        raise InputError(f"unknown emotion {emotion}; choose from {', '.join(EMOTION_UNITS)}")
    if isinstance(intensity, str):
        if intensity not in INTENSITY_WEIGHTS:
            raise InputError(f"unknown intensity {intensity}; choose from {', '.join(INTENSITY_WEIGHTS)}")
        intensity = INTENSITY_WEIGHTS[intensity]
    return {name: weight * intensity for name, weight in EMOTION_UNITS[emotion].items()}


def blinks(frames: int, seed: int) -> np.ndarray:
    """Returns lid closure, float64 [frames] in 0..1: a blink of 0.16 s every 1.2 to 4 s."""
    rng = np.random.default_rng([seed, 1])
    out = np.zeros(frames)
    start = int(rng.uniform(0.2, 1.6) * FPS)
    while start < frames:
        part = out[start : start + len(_BLINK_SHAPE)]
        part[:] = _BLINK_SHAPE[: len(part)]
        start += int(rng.uniform(1.2, 4.0) * FPS)
    return out


def head_motion(frames: int, seed: int, posture: HeadPose | None = None) -> list[HeadPose]:
    """Returns smooth random poses: yaw within 12, pitch within 6, roll within 4 degrees, shifts within 0.12 dm.

    posture: the head is held in it instead, and moves by a degree and 0.02 dm at most.
    """
    rng = np.random.default_rng([seed, 2])
    time = np.arange(frames) / FPS
    limits = np.array([12.0, 6.0, 4.0, 0.12, 0.08, 0.12] if posture is None else [1.0, 1.0, 1.0, 0.02, 0.02, 0.02])
    held = HeadPose() if posture is None else posture
    middle = np.array([held.yaw, held.pitch, held.roll, *held.shift])
    tracks = np.zeros((frames, 6))
    for k in range(6):
        share = rng.dirichlet([2.0, 2.0, 2.0])
        rate = rng.uniform([0.08, 0.2, 0.4], [0.2, 0.4, 0.6])
        phase = rng.uniform(0, 2 * np.pi, 3)
        tracks[:, k] = middle[k] + limits[k] * (share * np.sin(2 * np.pi * rate * time[:, None] + phase)).sum(1)
    return [HeadPose(float(t[0]), float(t[1]), float(t[2]), (float(t[3]), float(t[4]), float(t[5]))) for t in tracks]


def express(emotion: dict[str, float], speech: dict[str, float], blink: float) -> dict[str, float]:
    """Returns the face units of a moment.

    emotion, speech: their face units, which add up. blink: 0..1, of what the emotion leaves open; wide or squinting
    eyes shut all the same.
    """
    units = {name: min(_LIMIT, emotion.get(name, 0.0) + speech.get(name, 0.0)) for name in emotion | speech}
    for name in units:
        if name.startswith(("eyeWide", "eyeSquint", "eyeLookDown")):
            units[name] *= 1 - blink
    droop = emotion.get("eyeBlinkLeft", 0.0)
    units.update(_both(eyeBlink=droop + (1 - droop) * blink))
    return units


def perform(
    samples: np.ndarray,
    frames: int,
    emotion: str = "neutral",
    intensity: str | float = "medium",
    seed: int = 0,
    posture: HeadPose | None = None,
) -> Performance:
    """Returns a take of `frames` frames: samples float [n] mono at 16 kHz (silence past their end).

    posture: as for `head_motion`.

    Raises InputError for an unknown emotion or intensity.
    """
    base = emotion_units(emotion, intensity)
    lids = blinks(frames, seed)
    units = [express(base, *moment) for moment in zip(speech_units(samples, frames), lids.tolist(), strict=True)]
    return Performance(units, head_motion(frames, seed, posture), 1 - lids)
