"""Front ends `moonshine` and `moonshine-live`: states of Moonshine tiny's speech encoder, from moonshine-voice."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np

from aed_nerfstudio.audio.front_end import (
    LIVE_BEFORE,
    LOOKAHEAD,
    SAMPLE_RATE,
    STEP,
    AudioFrontEnd,
    count_steps,
)
from aed_nerfstudio.errors import InputError

# Moonshine's encoder convolves with kernels 127, 7, 3 at strides 64, 3, 2: one output step per 384 samples (41.67 Hz),
# whose receptive field of 895 samples is centred 447 samples after its first one.
MOONSHINE_DIM = 288
MOONSHINE_HOP = 384
MOONSHINE_FIELD = 895
# The encoder's states drift with the position inside what it is given: the same sound 1.2 s further on differs by as
# much as different sounds do. So sound of any length goes through in windows of one length (4.03 s), zeros beyond its
# ends, and only the middle of each window is used, cross-faded linearly with its neighbours': memory is bounded, a
# step depends on the sound within 2.6 s of it and on nothing else, and there are no jumps where windows meet.
CHUNK_STEPS = 168
CHUNK_HOP = 24
CHUNK_MARGIN = CHUNK_STEPS // 2 - CHUNK_HOP  # output steps discarded on each side
BLOCK = 3000  # steps resampled at a time
# On 20 s of two_cities.wav the states have an RMS of 0.54 (0.21 to 0.44 deviation in nine of ten dimensions, around
# means that deviate by 0.43): one factor brings the RMS to about 1.
MOONSHINE_SCALE = 2.0


def _moonshine_assets() -> Path:
    """Finds the assets of the moonshine-voice package without importing it, which would load a native library."""
    spec = importlib.util.find_spec("moonshine_voice")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("moonshine-voice: not installed; run `pip install moonshine-voice==0.0.73`")
    return Path(next(iter(spec.submodule_search_locations))) / "assets"


def speech_wavs() -> dict[str, Path]:
    """Finds the speech recordings that come with moonshine-voice, by file name: two_cities.wav and beckett.wav.

    Raises InputError when the package or one of the files is missing.
    """
    wavs = {name: _moonshine_assets() / name for name in ("two_cities.wav", "beckett.wav")}
    for path in wavs.values():
        if not path.is_file():
            raise InputError(f"{path}: missing; reinstall moonshine-voice==0.0.73")
    return wavs


def _model_file() -> Path:
    """Finds the encoder's file; InputError where it is missing."""
    model = _moonshine_assets() / "tiny-en" / "encoder_model.ort"
    if not model.is_file():
        raise InputError(f"{model}: missing; install moonshine-voice==0.0.73 (later ones dropped it)")
    return model


@functools.lru_cache(maxsize=1)
def _moonshine_session():
    """Loads the encoder, once. onnxruntime is imported here because it is slow to load and not always needed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.inter_op_num_threads = 1
    # Threads that wait in a loop would take the cores from whatever comes next; live, that is the picture.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(_model_file()), options, providers=["CPUExecutionProvider"])


def _moonshine_encode(samples: np.ndarray) -> np.ndarray:
    """Encodes one chunk, float32 [n] -> float32 [(n - 895) // 384 + 1, 288] at 41.67 Hz."""
    inputs = {"input_values": samples[None], "attention_mask": np.ones((1, samples.size), np.int64)}
    return np.asarray(_moonshine_session().run(None, inputs)[0])[0]


def _moonshine(samples: np.ndarray) -> np.ndarray:
    """Computes Moonshine tiny's encoder states: float32 [n] at 16 kHz -> float32 [ceil(n / 320), 288] at 50 Hz."""
    steps = count_steps(samples)
    # Native step j is centred on sample 384 (j - 1) + 447: one step starts before the sound, for the first centre.
    chunks = -(-(samples.size // MOONSHINE_HOP + 3) // CHUNK_HOP)
    native = chunks * CHUNK_HOP
    lead = (CHUNK_MARGIN + CHUNK_HOP + 1) * MOONSHINE_HOP
    total = (chunks * CHUNK_HOP + CHUNK_STEPS - 1) * MOONSHINE_HOP + MOONSHINE_FIELD
    padded = np.zeros(total, np.float32)
    padded[lead : lead + samples.size] = samples
    weights = 1.0 - np.abs(np.arange(2 * CHUNK_HOP) + 0.5 - CHUNK_HOP)[:, None].astype(np.float32) / CHUNK_HOP
    faded = np.zeros((native + 2 * CHUNK_HOP, MOONSHINE_DIM), np.float32)
    span = (CHUNK_STEPS - 1) * MOONSHINE_HOP + MOONSHINE_FIELD
    for first in range(0, native + 1, CHUNK_HOP):
        chunk = _moonshine_encode(padded[first * MOONSHINE_HOP : first * MOONSHINE_HOP + span])
        faded[first : first + 2 * CHUNK_HOP] += weights * chunk[CHUNK_MARGIN:-CHUNK_MARGIN]
    # The first and last CHUNK_HOP steps have one window only and lie outside the sound.
    states = faded[CHUNK_HOP : CHUNK_HOP + native]
    states *= MOONSHINE_SCALE
    return _resampled(states, steps, 1)


def _moonshine_window(samples: np.ndarray) -> np.ndarray:
    """Computes the states of one stretch of a stream in one go, float32 [n] -> float32 [ceil(n / 320), 288] at 50 Hz.

    The first and last 28 ms have no state of their own: what is nearest is repeated there.
    """
    samples = np.pad(samples, (0, max(0, MOONSHINE_FIELD + MOONSHINE_HOP - samples.size)))
    return _resampled(_moonshine_encode(samples) * np.float32(MOONSHINE_SCALE), count_steps(samples), 0)


def _moonshine_live(samples: np.ndarray) -> np.ndarray:
    """Computes what a live stream hears at each frame: of the frame's two steps, in the stretch of sound that is there
    when the frame is made. float32 [n] -> float32 [ceil(n / 320), 288] at 50 Hz."""
    steps = count_steps(samples)
    before, ahead = round(LIVE_BEFORE * SAMPLE_RATE), round(LOOKAHEAD * SAMPLE_RATE)
    padded = np.pad(np.asarray(samples, np.float32), (before, ahead + 2 * STEP))
    own = slice(before // STEP - 2, before // STEP)
    found = np.empty((steps + steps % 2, MOONSHINE_DIM), np.float32)
    for step in range(0, steps, 2):
        first = (step + 2) * STEP
        found[step : step + 2] = _moonshine_window(padded[first : first + before + ahead])[own]
    return found[:steps]


def _resampled(states: np.ndarray, steps: int, before: int) -> np.ndarray:
    """Resamples states [native, 288] linearly from 41.67 Hz to the centres of `steps` steps at 50 Hz.

    before: states that come before the one whose field begins with the sound.
    """
    native = len(states)
    centres = (np.arange(steps) + 0.5) * STEP
    position = np.clip((centres - (MOONSHINE_FIELD - 1) / 2) / MOONSHINE_HOP + before, 0, native - 1)
    left = np.minimum(position.astype(np.int64), native - 2)
    share = (position - left).astype(np.float32)[:, None]
    resampled = np.empty((steps, MOONSHINE_DIM), np.float32)
    for first in range(0, steps, BLOCK):  # all at once would take five times the memory of the result
        part = slice(first, first + BLOCK)
        resampled[part] = states[left[part]] * (1 - share[part]) + states[left[part] + 1] * share[part]
    return resampled


MOONSHINE = AudioFrontEnd("moonshine", MOONSHINE_DIM, _moonshine, _model_file, _moonshine_window)
MOONSHINE_LIVE = AudioFrontEnd("moonshine-live", MOONSHINE_DIM, _moonshine_live, _model_file, _moonshine_window)
"""For avatars that are to be live: they learn from what a live stream hears."""
