"""SyncNet's confidence and distance (Sync-C, Sync-D), with weights that the user names.

SyncNet (J. S. Chung and A. Zisserman, "Out of time: automated lip sync in the wild", 2016) maps 0.2 s of video and of
sound to points that lie close together where the two belong together. Layer sizes and parameter names are those of its
authors' published PyTorch weights, `syncnet_v2.model` (github.com/joonson/syncnet_python), so that file loads; none are
shipped here. The scores follow its evaluation, which Wav2Lip's LSE-C and LSE-D follow too: 25 frames a second, clips of
5 frames, 20 steps of 13 MFCCs at 100 Hz, both sequences compared at shifts of up to 15 frames.

What differs from the published numbers: faces are cropped around MediaPipe's landmarks instead of S3FD's boxes (same
crop in units of the box, same smoothing over time), and there is no round trip through compressed video.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float64, Shaped, UInt8
from scipy.fft import dct
from scipy.signal import medfilt
from torch import Tensor, nn

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.dataset.schema import FPS
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.outside import regular_file

EMBEDDING = 1024
CLIP_FRAMES = 5
CLIP_STEPS = 20
STEPS_PER_FRAME = 4  # MFCCs come at 100 Hz
MAXIMUM_SHIFT = 15  # frames
CROP = 224  # pixels
CROP_MARGIN = 0.4  # the face box is widened by that share of its size, and the chin gets twice as much
BORDER = 110  # grey beyond the picture
SMOOTHING = 13  # frames of the median filter over boxes
BATCH = 16  # clips at a time

MFCCS = 13
FILTERS = 26
FFT = 512
WINDOW = SAMPLE_RATE // 40  # samples: 25 ms
HOP = SAMPLE_RATE // 100
LIFTER = 22
PREEMPHASIS = 0.97


def _tower(dimensions: int, widths: list[int], kernels: list, strides: list, paddings: list, pools: dict) -> nn.Module:
    """Returns convolution, batch norm and ReLU, six times; after some of them (counted from 0) what `pools` says."""
    convolution, norm = ((nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))[dimensions - 2]
    layers: list[nn.Module] = []
    shapes = zip(widths, widths[1:], kernels, strides, paddings, strict=False)
    for i, (inputs, outputs, kernel, stride, padding) in enumerate(shapes):
        layers += [convolution(inputs, outputs, kernel, stride, padding), norm(outputs), nn.ReLU()]
        if i in pools:
            layers.append(pools[i])
    return nn.Sequential(*layers)


def _projection() -> nn.Module:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, EMBEDDING))


class SyncNet(nn.Module):
    """The two towers; modules are named as in the published weights."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = _tower(
            2,
            [1, 64, 192, 384, 256, 256, 512],
            kernels=[3, 3, 3, 3, 3, (5, 4)],
            strides=[1] * 6,
            paddings=[1, 1, 1, 1, 1, 0],
            # The first pools nothing, but the numbering of the layers counts it.
            pools={0: nn.Identity(), 1: nn.MaxPool2d(3, (1, 2)), 4: nn.MaxPool2d(3, 2)},
        )
        self.netfcaud = _projection()
        self.netcnnlip = _tower(
            3,
            [3, 96, 256, 256, 256, 256, 512],
            kernels=[(5, 7, 7), (1, 5, 5), (1, 3, 3), (1, 3, 3), (1, 3, 3), (1, 6, 6)],
            strides=[(1, 2, 2), (1, 2, 2), 1, 1, 1, 1],
            paddings=[0, (0, 1, 1), (0, 1, 1), (0, 1, 1), (0, 1, 1), 0],
            pools={
                0: nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
                1: nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
                4: nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            },
        )
        self.netfclip = _projection()
        self.eval()

    @classmethod
    def load(cls, path: Path) -> SyncNet:
        """Reads published weights: a dict of tensors, or one that holds such a dict under some key.

        Raises:
            InputError: the file is missing, is no file of weights, or holds those of another network.
        """
        path = Path(path)
        where = "get syncnet_v2.model as github.com/joonson/syncnet_python describes"
        regular_file(path, where)
        try:
            stored = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # of a dozen kinds
            raise InputError(f"{path}: cannot be read as weights, it is damaged or something else; {where}") from error
        net = cls()
        weights = _weights_in(stored)
        try:
            net.load_state_dict(weights)
        except Exception as error:  # also of tensors that are none
            raise InputError(f"{path}: holds the weights of another network than SyncNet; {where}") from error
        return net

    def embed_audio(self, steps: Tensor) -> Tensor:
        """Returns the embeddings [B, 1024] of MFCCs [B, 1, 13, 20]."""
        return self.netfcaud(self.netcnnaud(steps).flatten(1))

    def embed_video(self, frames: Tensor) -> Tensor:
        """Crops [B, 3, T, 224, 224], T >= 5, BGR in 0..255 -> [B * (T - 4), 1024]: one for every 5 frames in a row.

        Only the first convolution spans time, so the clips of a row of frames share their work.
        """
        features = self.netcnnlip(frames)  # [B, 512, T - 4, 1, 1]
        return self.netfclip(features.flatten(2).transpose(1, 2).flatten(0, 1))


def _weights_in(stored: object, deepest: int = 4) -> dict[str, Tensor]:
    """Returns the towers' tensors in what a file holds, by names without a prefix; empty if there are none.

    deepest: dicts in one another that are looked through.
    """
    if not isinstance(stored, dict) or not deepest:
        return {}
    prefix = next((str(name).split("netcnnaud.")[0] for name in stored if "netcnnaud." in str(name)), None)
    if prefix is None:
        return next((found for value in stored.values() if (found := _weights_in(value, deepest - 1))), {})
    return {str(name).removeprefix(prefix): value for name, value in stored.items()}


# ---- sound


def _mel_filters() -> np.ndarray:
    """Returns triangles evenly spaced on the mel scale from 0 to 8 kHz, with corners at whole FFT bins, [FILTERS,
    FFT / 2 + 1]."""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, FILTERS + 2) / 2595) - 1)
    corners = np.floor((FFT + 1) * hertz / SAMPLE_RATE)
    bins = np.arange(FFT // 2 + 1)
    low, middle, high = (corners[i : i + FILTERS, None] for i in range(3))
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    # A filter's own corner belongs to its falling side, and its upper end to the next filter.
    return np.where((bins >= low) & (bins < middle), rising, 0) + np.where((bins >= middle) & (bins < high), falling, 0)


def mfcc(samples: Float[np.ndarray, " n"]) -> Float64[np.ndarray, "steps 13"]:
    """Returns mel-frequency cepstral coefficients at 100 Hz, as python_speech_features computes them with its defaults.

    Windows of 25 ms without a taper every 10 ms, pre-emphasis 0.97, 26 mel filters on a 512-point power spectrum, the
    first coefficient replaced by the log energy, sinusoidal lifter 22.

    samples: in -1..1 at 16 kHz. Returns 1 + ceil((n - 400) / 160) steps.
    """
    values = np.asarray(samples, np.float64) * 2**15  # the network learnt from 16-bit samples; energies are absolute
    values = np.append(values[:1], values[1:] - PREEMPHASIS * values[:-1])
    count = 1 + max(0, -(-(len(values) - WINDOW) // HOP))
    padded = np.zeros((count - 1) * HOP + WINDOW)
    padded[: len(values)] = values
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(windows, FFT)) ** 2 / FFT
    tiny = np.finfo(float).eps  # silence has no logarithm
    energies, total = np.maximum(power @ _mel_filters().T, tiny), np.maximum(power.sum(axis=1), tiny)
    cepstrum = np.asarray(dct(np.log(energies), type=2, axis=1, norm="ortho"))[:, :MFCCS]
    cepstrum *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(MFCCS) / LIFTER)
    cepstrum[:, 0] = np.log(total)
    return cepstrum


# ---- faces


def face_boxes(landmarks: Float[np.ndarray, "f 478 3"]) -> Float[np.ndarray, "f 3"]:
    """Returns the square around every face, smoothed over time as the published evaluation does.

    Its columns are the centre's x and y, and half of the side, in pixels.

    landmarks: pixels, NaN where no face is found: there the box is interpolated.

    Raises:
        InputError: no face at all.
    """
    low, high = landmarks[..., :2].min(axis=1), landmarks[..., :2].max(axis=1)
    boxes = np.concatenate([(low + high) / 2, (high - low).max(axis=1, keepdims=True) / 2], axis=1)
    known = np.flatnonzero(np.isfinite(boxes).all(axis=1))
    if not len(known):
        raise InputError("no face is found in any frame; SyncNet needs a face")
    every = np.arange(len(boxes))
    filled = [np.interp(every, known, column[known]) for column in boxes.T]
    half = SMOOTHING // 2
    # Repeated ends, for the filter would otherwise see zeros beyond them.
    return np.stack([medfilt(np.pad(column, half, mode="edge"), SMOOTHING)[half:-half] for column in filled], axis=1)


def crop_face(image: UInt8[np.ndarray, "h w 3"], box: Shaped[np.ndarray, " 3"]) -> UInt8[np.ndarray, "224 224 3"]:
    """Cuts the face out of a picture; box: from `face_boxes`."""
    x, y, half = box
    side = 2 * half * (1 + CROP_MARGIN)
    left, top = x - side / 2, y - half
    scale = CROP / side
    # OpenCV counts from the centre of the first pixel, landmarks from its corner.
    matrix = np.array([[scale, 0, -left * scale + (scale - 1) / 2], [0, scale, -top * scale + (scale - 1) / 2]])
    grey = (BORDER,) * 3
    return cv2.warpAffine(image, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR, borderValue=grey)


# ---- scores


def sync_scores(net: SyncNet, frames: Iterable[np.ndarray], landmarks: np.ndarray, samples: np.ndarray) -> dict:
    """Returns how well a mouth and a sound belong together, to SyncNet.

    Args:
        net: with weights loaded, on any device.
        frames: uint8 [H, W, 3] RGB, 25 a second; read once, a few at a time.
        landmarks: of the same frames, [F, 478, 3] pixels, NaN where no face is found.
        samples: the sound, float [n] in -1..1 at 16 kHz.

    Returns:
        sync_c (confidence, larger is better), sync_d (distance, smaller is better), and shift: the frames by which the
        mouth comes after the sound where they fit best (negative: before).

    Raises:
        InputError: fewer than six frames of picture or sound, or no face.
    """
    count = min(len(landmarks), len(samples) * FPS // SAMPLE_RATE)
    clips = count - CLIP_FRAMES  # the published evaluation leaves the very last clip out as well
    if clips < 1:
        raise InputError(f"SyncNet needs at least {CLIP_FRAMES + 1} frames of picture and sound, not {count}")
    device = next(net.parameters()).device
    steps = torch.from_numpy(mfcc(samples).T.astype(np.float32))  # [13, 100-Hz steps]
    sound = torch.stack([steps[:, STEPS_PER_FRAME * i :][:, :CLIP_STEPS] for i in range(clips)])[:, None]
    crops = (crop_face(image, box) for image, box in zip(frames, face_boxes(landmarks[: clips + 4]), strict=False))
    with torch.no_grad():
        video = torch.cat([net.embed_video(rows.to(device)).cpu() for rows in _rows(crops)])
        audio = torch.cat([net.embed_audio(part.to(device)).cpu() for part in sound.split(BATCH)])
    if len(video) != clips:
        raise ValueError(f"{len(landmarks)} landmarks for fewer frames")
    return scores_from_embeddings(video.numpy(), audio.numpy())


def _rows(crops: Iterator[np.ndarray]) -> Iterator[Tensor]:
    """Yields RGB crops as BGR rows [1, 3, T, 224, 224] that overlap by four frames, each for up to BATCH clips."""
    held: list[np.ndarray] = []
    for crop in crops:
        held.append(crop[..., ::-1])
        if len(held) == BATCH + CLIP_FRAMES - 1:
            yield _row(held)
            held = held[BATCH:]
    if len(held) >= CLIP_FRAMES:
        yield _row(held)


def _row(images: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(images).transpose(3, 0, 1, 2).astype(np.float32))[None]


def scores_from_embeddings(
    video: Float[np.ndarray, "t d"], audio: Float[np.ndarray, "t d"], max_shift: int = MAXIMUM_SHIFT
) -> dict:
    """Returns Sync-C, Sync-D and the best shift of two sequences of embeddings; see `sync_scores`.

    At every shift the Euclidean distances of the pairs are averaged over time; Sync-D is the smallest of the averages,
    Sync-C their median minus it. As in the published evaluation, whose numbers these are to be compared with, the sound
    is continued by zero embeddings beyond its ends, so long takes are measured more truly than short ones.
    """
    length = len(video)
    padded = np.pad(np.asarray(audio, np.float64), ((max_shift, max_shift), (0, 0)))
    shifts = np.arange(max_shift, -max_shift - 1, -1)
    means = np.array(
        [np.linalg.norm(video - padded[max_shift - s : max_shift - s + length], axis=1).mean() for s in shifts]
    )
    best = int(means.argmin())
    return {
        "sync_c": float(np.median(means) - means[best]),
        "sync_d": float(means[best]),
        "shift": int(shifts[best]),
    }
