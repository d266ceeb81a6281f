"""From sound to features: front ends at 50 steps a second, and the windows that the model's audio network reads.

Step k stands for the sound from k / 50 to (k + 1) / 50 seconds; frame f of a 25-fps video starts with step 2 f.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32

from aed_nerfstudio.audio.feature_files import is_file_front_end
from aed_nerfstudio.audio.front_end import SAMPLE_RATE, STEP, AudioFrontEnd, count_steps
from aed_nerfstudio.audio.log_mel import LOG_MEL
from aed_nerfstudio.audio.moonshine import MOONSHINE, MOONSHINE_LIVE, speech_wavs
from aed_nerfstudio.audio.torchaudio_pipelines import HUBERT, WAV2VEC2, XLS_R
from aed_nerfstudio.audio.whisper import WHISPER
from aed_nerfstudio.errors import InputError

__all__ = [
    "FRAME_RATE", "FRONT_ENDS", "NONE", "SAMPLE_RATE", "STEP", "STEPS_PER_FRAME", "AudioFrontEnd", "check_front_end",
    "cut_windows", "extract_features", "front_end_named", "register_front_end", "speech_wavs", "windows_at",
]  # fmt: skip

FRAME_RATE = 25  # of the videos that avatars learn from
STEPS_PER_FRAME = 2
WINDOW = 16  # steps in one frame's window
ATTENTION = 8  # windows that the smoothing network looks at

NONE = AudioFrontEnd("none", 1, lambda samples: np.zeros((count_steps(samples), 1), np.float32))

FRONT_ENDS = {f.name: f for f in (MOONSHINE, MOONSHINE_LIVE, LOG_MEL, WHISPER, WAV2VEC2, HUBERT, XLS_R, NONE)}
"""Every way from sound to features, by name. Features can also come ready, as files: `feature_files`."""


def register_front_end(front_end: AudioFrontEnd) -> AudioFrontEnd:
    """Makes a front end known by its name, and returns it; a later one of the same name replaces the earlier."""
    FRONT_ENDS[front_end.name] = front_end
    return front_end


def check_front_end(name: str) -> None:
    """Makes sure that a front end is known and has all it needs, which may be downloaded now, before work begins.

    Raises InputError when it is not, or has not. Files' front ends (`file`, `file/deepspeech`) need nothing.
    """
    if not is_file_front_end(name):
        front_end_named(name).prepare()


def front_end_named(name: str) -> AudioFrontEnd:
    """Returns a front end by its name, or several as one: `moonshine+whisper` has the numbers of both, in that order.

    Raises InputError where there is none of that name.
    """
    parts = name.split("+")
    for part in parts:
        if part not in FRONT_ENDS:
            known = ", ".join([*sorted(FRONT_ENDS), "file"])
            raise InputError(f"{part}: no such audio front end; choose one, or several with + between, of {known}")
    if len(parts) == 1:
        return FRONT_ENDS[name]
    if len(set(parts)) < len(parts) or NONE.name in parts:
        raise InputError(f"{name}: front ends that are joined must differ, and none is not one of them")
    return _joined(name, [FRONT_ENDS[part] for part in parts])


def _joined(name: str, parts: list[AudioFrontEnd]) -> AudioFrontEnd:
    """Returns several front ends as one."""

    def side_by_side(functions: list[Callable[[np.ndarray], np.ndarray]], samples: np.ndarray) -> np.ndarray:
        return np.concatenate([function(samples)[: count_steps(samples)] for function in functions], 1)

    def prepare() -> None:
        for part in parts:
            part.prepare()

    whole = functools.partial(side_by_side, [part.extract for part in parts])
    window = functools.partial(side_by_side, [part.window or part.extract for part in parts])
    return AudioFrontEnd(name, sum(part.dim for part in parts), whole, prepare, window)


def extract_features(
    samples: Float[np.ndarray, " n"], n_frames: int, front_end: str = "moonshine"
) -> Float32[np.ndarray, "steps dim"]:
    """Extracts the features for a 25-fps clip: float32 [2 * n_frames, dim], two 50-Hz steps per frame.

    samples: float [n] mono at 16 kHz; if they end before the frames do, the last step is repeated, and if after, cut.
    Raises InputError for a front end that is unknown, that is of files or whose weights are missing; ValueError for
    samples that are not [n] or a negative n_frames.
    """
    if is_file_front_end(front_end):
        raise InputError(f"{front_end}: these features come ready, in files; sound alone does not give them")
    chosen = front_end_named(front_end)
    samples = np.ascontiguousarray(samples, np.float32)
    if samples.ndim != 1 or n_frames < 0:
        raise ValueError(f"samples must be [n] and n_frames >= 0, not {list(samples.shape)} and {n_frames}")
    steps = STEPS_PER_FRAME * n_frames
    if steps == 0:
        return np.zeros((0, chosen.dim), np.float32)
    if samples.size == 0:
        samples = np.zeros(STEP, np.float32)
    features = np.asarray(chosen.extract(np.nan_to_num(samples)), np.float32)[:steps]
    if features.shape[0] < steps:
        features = np.pad(features, ((0, steps - features.shape[0]), (0, 0)), mode="edge")
    return np.ascontiguousarray(features)


def cut_windows(features: Float[np.ndarray, "steps dim"]) -> Float32[np.ndarray, "f 16 dim"]:
    """Cuts out each frame's window of features.

    features: [2 F, dim] at 50 Hz -> float32 [F, 16, dim]: frame f has steps 2 f - 8 .. 2 f + 7, zeros outside the clip.
    Raises ValueError when features is not [2 F, dim].
    """
    features = np.asarray(features, np.float32)
    if features.ndim != 2 or features.shape[0] % STEPS_PER_FRAME:
        raise ValueError(f"features must be [2 F, dim], not {list(features.shape)}")
    frames = features.shape[0] // STEPS_PER_FRAME
    half = WINDOW // 2
    padded = np.pad(features, ((half, half), (0, 0)))
    index = STEPS_PER_FRAME * np.arange(frames)[:, None] + np.arange(WINDOW)
    return padded[index]


def windows_at(features: Float[np.ndarray, "steps dim"], frame: float) -> Float32[np.ndarray, "8 16 dim"]:
    """Cuts out the windows around one moment, as RAD-NeRF's smoothing network reads them.

    features: [2 F, dim] at 50 Hz -> float32 [8, 16, dim]: those that `cut_windows` gives frames frame - 4 .. frame + 3,
    zeros outside the clip. Between two frames, which videos of other than 25 fps have, steps are interpolated linearly.
    Raises IndexError when not 0 <= frame < F.
    """
    steps = len(features)
    count = steps // STEPS_PER_FRAME
    if not 0 <= frame < count:
        raise IndexError(f"frame {frame} is not in 0..{count - 1}")
    first = frame - ATTENTION // 2
    # Neighbouring windows share steps: all lie in one short stretch.
    places = STEPS_PER_FRAME * first - WINDOW // 2 + np.arange(STEPS_PER_FRAME * (ATTENTION - 1) + WINDOW)
    low = np.floor(places).astype(np.int64)
    share = (places - low).astype(np.float32)[:, None]
    ends = features[np.clip(low, 0, steps - 1)], features[np.clip(low + 1, 0, steps - 1)]
    # Not interpolated towards the zeros outside, which mean "no sound here" and are no loudness.
    inside = ((places >= 0) & (places < steps))[:, None]
    stretch = np.where(inside, ends[0] * (1 - share) + ends[1] * share, np.float32(0))
    windows = stretch[STEPS_PER_FRAME * np.arange(ATTENTION)[:, None] + np.arange(WINDOW)]
    frames = first + np.arange(ATTENTION)
    windows[(frames < 0) | (frames >= count)] = 0
    return windows
