"""Sound to features: front ends at 50 steps a second, and the windows that the model's audio network reads.

Step k stands for the sound from k / 50 to (k + 1) / 50 seconds; frame f of a 25-fps video starts with step 2 f.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aed_nerfstudio.errors import InputError

SAMPLE_RATE = 16000
STEP = 320  # samples per 50-Hz step
STEPS_PER_FRAME = 2
WINDOW = 16  # steps in one frame's window
ATTENTION = 8  # windows that the smoothing network looks at

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
# On 20 s of two_cities.wav the states have an RMS of 0.54 (0.21 to 0.44 deviation in nine of ten dimensions, around
# means that deviate by 0.43): one factor brings the RMS to about 1.
MOONSHINE_SCALE = 2.0


@dataclass(frozen=True)
class AudioFrontEnd:
    """A way from sound to features.

    extract: float32 [n] mono at 16 kHz -> float32 [steps, dim] at 50 Hz (about n / 320 steps), of about unit scale.
    """

    name: str
    dim: int
    extract: Callable[[np.ndarray], np.ndarray]


FRONT_ENDS: dict[str, AudioFrontEnd] = {}


def register_front_end(front_end: AudioFrontEnd) -> AudioFrontEnd:
    """Make a front end known by its name; a later one of the same name replaces the earlier."""
    FRONT_ENDS[front_end.name] = front_end
    return front_end


def extract_features(samples: np.ndarray, n_frames: int, front_end: str = "moonshine") -> np.ndarray:
    """Features for a 25-fps clip: float32 [2 * n_frames, dim], two 50-Hz steps per frame.

    samples: float [n] mono at 16 kHz; if they end before the frames do, the last step is repeated, and if after, cut.
    Raises InputError for an unknown front end, ValueError for samples that are not [n] or a negative n_frames.
    """
    if front_end not in FRONT_ENDS:
        raise InputError(f"{front_end}: no such audio front end; choose one of {', '.join(sorted(FRONT_ENDS))}")
    samples = np.ascontiguousarray(samples, np.float32)
    if samples.ndim != 1 or n_frames < 0:
        raise ValueError(f"samples must be [n] and n_frames >= 0, not {list(samples.shape)} and {n_frames}")
    chosen = FRONT_ENDS[front_end]
    steps = STEPS_PER_FRAME * n_frames
    if steps == 0:
        return np.zeros((0, chosen.dim), np.float32)
    if samples.size == 0:
        samples = np.zeros(STEP, np.float32)
    features = np.asarray(chosen.extract(np.nan_to_num(samples)), np.float32)[:steps]
    if features.shape[0] < steps:
        features = np.pad(features, ((0, steps - features.shape[0]), (0, 0)), mode="edge")
    return np.ascontiguousarray(features)


def cut_windows(features: np.ndarray) -> np.ndarray:
    """Each frame's window of features.

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


def attention_windows(windows: np.ndarray, frame: int) -> np.ndarray:
    """The windows around one frame, as RAD-NeRF's smoothing network reads them.

    windows: [F, 16, dim] -> [8, 16, dim]: frames frame - 4 .. frame + 3, zeros outside the clip.
    Raises IndexError when frame is not in 0 .. F - 1.
    """
    count = windows.shape[0]
    if not 0 <= frame < count:
        raise IndexError(f"frame {frame} is not in 0..{count - 1}")
    first = frame - ATTENTION // 2
    low, high = max(first, 0), min(first + ATTENTION, count)
    out = np.zeros((ATTENTION, *windows.shape[1:]), windows.dtype)
    out[low - first : high - first] = windows[low:high]
    return out


def _moonshine_assets() -> Path:
    """The assets folder of the moonshine-voice package, found without importing it (that loads a native library)."""
    spec = importlib.util.find_spec("moonshine_voice")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("moonshine-voice: not installed; run `pip install moonshine-voice==0.0.73`")
    return Path(next(iter(spec.submodule_search_locations))) / "assets"


def speech_wavs() -> dict[str, Path]:
    """The speech recordings that come with moonshine-voice, by file name: two_cities.wav and beckett.wav.

    Raises InputError when the package or one of the files is missing.
    """
    wavs = {name: _moonshine_assets() / name for name in ("two_cities.wav", "beckett.wav")}
    for path in wavs.values():
        if not path.is_file():
            raise InputError(f"{path}: missing; reinstall moonshine-voice==0.0.73")
    return wavs


@functools.lru_cache(maxsize=1)
def _moonshine_session():
    """The encoder, loaded once. onnxruntime is imported here because it is slow to load and not always needed."""
    import onnxruntime

    model = _moonshine_assets() / "tiny-en" / "encoder_model.ort"
    if not model.is_file():
        raise InputError(f"{model}: missing; install moonshine-voice==0.0.73 (later ones dropped it)")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _moonshine_encode(samples: np.ndarray) -> np.ndarray:
    """One chunk, float32 [n] -> float32 [(n - 895) // 384 + 1, 288] at 41.67 Hz."""
    inputs = {"input_values": samples[None], "attention_mask": np.ones((1, samples.size), np.int64)}
    return _moonshine_session().run(None, inputs)[0][0]


def _moonshine(samples: np.ndarray) -> np.ndarray:
    """Moonshine tiny's encoder states: float32 [n] at 16 kHz -> float32 [ceil(n / 320), 288] at 50 Hz."""
    steps = -(-samples.size // STEP)
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
    states = MOONSHINE_SCALE * faded[CHUNK_HOP : CHUNK_HOP + native]
    # Linear resampling from 41.67 Hz to the centres of the 50-Hz steps.
    centres = (np.arange(steps) + 0.5) * STEP
    position = np.clip((centres - (MOONSHINE_FIELD - 1) / 2) / MOONSHINE_HOP + 1, 0, native - 1)
    left = np.minimum(position.astype(np.int64), native - 2)
    share = (position - left).astype(np.float32)[:, None]
    return states[left] * (1 - share) + states[left + 1] * share


LOG_MEL_DIM = 80
# Mean and deviation of the log energies on the speech recording two_cities.wav; fixed, so that loudness stays visible.
LOG_MEL_MEAN = -6.2
LOG_MEL_DEVIATION = 3.3


@functools.lru_cache(maxsize=1)
def _mel_transform():
    """The mel filter bank, built once; torchaudio is imported here because only this front end needs it."""
    import torchaudio

    return torchaudio.transforms.MelSpectrogram(
        sample_rate=SAMPLE_RATE, n_fft=1024, win_length=640, hop_length=STEP, n_mels=LOG_MEL_DIM, center=False
    )


def _log_mel(samples: np.ndarray) -> np.ndarray:
    """Log mel energies: float32 [n] at 16 kHz -> float32 [ceil(n / 320), 80] at 50 Hz."""
    import torch

    steps = -(-samples.size // STEP)
    # The transform's window k is samples 320 k .. 320 k + 1023; this padding centres it on the middle of step k.
    before = (1024 - STEP) // 2
    padded = np.zeros((steps - 1) * STEP + 1024, np.float32)
    padded[before : before + samples.size] = samples
    with torch.no_grad():
        mel = _mel_transform()(torch.from_numpy(padded))
    log = torch.log(mel + 1e-6).numpy().T
    return ((log - LOG_MEL_MEAN) / LOG_MEL_DEVIATION).astype(np.float32)


register_front_end(AudioFrontEnd("moonshine", MOONSHINE_DIM, _moonshine))
register_front_end(AudioFrontEnd("log-mel", LOG_MEL_DIM, _log_mel))
register_front_end(AudioFrontEnd("none", 1, lambda samples: np.zeros((-(-samples.size // STEP), 1), np.float32)))
