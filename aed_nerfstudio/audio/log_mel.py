"""Front end `log-mel`: log energies in 80 mel bands."""

from __future__ import annotations

import functools

import numpy as np

from aed_nerfstudio.audio.front_end import SAMPLE_RATE, STEP, AudioFrontEnd, count_steps

LOG_MEL_DIM = 80
# Mean and deviation of the log energies on the speech recording two_cities.wav; fixed, so that loudness stays visible.
LOG_MEL_MEAN = -6.2
LOG_MEL_DEVIATION = 3.3
SPECTRUM = 1024  # samples of one
BLOCK = 3000  # steps at a time


@functools.lru_cache(maxsize=1)
def _mel_transform():
    """Returns the mel filter bank, built once; torchaudio is imported here because only this front end needs it."""
    import torchaudio

    return torchaudio.transforms.MelSpectrogram(
        sample_rate=SAMPLE_RATE, n_fft=SPECTRUM, win_length=640, hop_length=STEP, n_mels=LOG_MEL_DIM, center=False
    )


def _log_mel(samples: np.ndarray) -> np.ndarray:
    """Computes log mel energies: float32 [n] at 16 kHz -> float32 [ceil(n / 320), 80] at 50 Hz."""
    import torch

    steps = count_steps(samples)
    # The transform's window k is samples 320 k .. 320 k + 1023; this padding centres it on the middle of step k.
    before = (SPECTRUM - STEP) // 2
    padded = np.zeros((steps - 1) * STEP + SPECTRUM, np.float32)
    padded[before : before + samples.size] = samples
    features = np.empty((steps, LOG_MEL_DIM), np.float32)
    for first in range(0, steps, BLOCK):  # the spectra of all would take ten times the memory of the features
        last = min(first + BLOCK, steps)
        block = torch.from_numpy(padded[first * STEP : (last - 1) * STEP + SPECTRUM])
        with torch.no_grad():
            log = torch.log(_mel_transform()(block) + 1e-6)
        features[first:last] = (log.numpy().T - LOG_MEL_MEAN) / LOG_MEL_DEVIATION
    return features


LOG_MEL = AudioFrontEnd("log-mel", LOG_MEL_DIM, _log_mel)
