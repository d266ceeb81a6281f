"""The schema of `metrics.json`: which figures there are, what each means, and the check that a file holds to it.

docs/evaluation.md explains the whole file. A figure that could not be measured is null, and `not_measured` of the same
section says why: a null without a reason, or a reason beside a figure, is a mistake that `check` finds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aed_nerfstudio.evaluation.closures import NEAR
from aed_nerfstudio.evaluation.pauses import AT_REST, PAUSE_DB, PAUSE_SECONDS
from aed_nerfstudio.evaluation.regions import REGIONS

FORMAT = "aed-metrics"
VERSION = 5


@dataclass(frozen=True)
class Metric:
    """A figure: its heading in tables (with the direction that is better) and how exactly it is taken."""

    heading: str
    convention: str
    digits: int = 2


def _detail() -> dict[str, Metric]:
    """Returns the figures of the regions: how steady each is beside how sharp, so that blur cannot pass for calm."""
    found = {}
    for name, where in REGIONS.items():
        found[f"sharpness_{name}"] = Metric(
            f"sharp, {name} → 1",
            f"mean magnitude of the luminance's gradient (Sobel, 3 x 3) in {where}, there where the recorded frame has "
            "it; mean of all frames over that of the recorded ones (ground_truth: of the recorded ones, 1/255 a pixel)",
        )
        found[f"steadiness_{name}"] = Metric(
            f"steady, {name} → 1",
            "mean magnitude of the luminance's second difference in time (a frame twice, less its neighbours; without "
            "a gap) in the same region, over that of the recorded frames (ground_truth: theirs, 1/255): above 1 for "
            "what flickers, below 1 for what is blurred or moves too little",
        )
    return found


ROW: dict[str, Metric] = {
    "psnr": Metric(
        "PSNR ↑", "dB over all pixels of a frame, background included, of 8-bit RGB; mean of the frames' values"
    ),
    "psnr_face": Metric("PSNR face ↑", "the same over the pixels of the face's box (landmarks' box padded by 5 %)"),
    "psnr_mouth": Metric("PSNR mouth ↑", "the same over the pixels of the lips' box, teeth and tongue included"),
    "ssim": Metric(
        "SSIM ↑",
        "structural similarity (Wang et al. 2004: Gaussian window 11 x 11, sigma 1.5, K 0.01 and 0.03, range 255) of "
        "each RGB channel, averaged over all pixels at least 5 from the border, then over frames",
        3,
    ),
    "ssim_face": Metric("SSIM face ↑", "the same map averaged over the face's box", 3),
    "lpips": Metric("LPIPS ↓", "LPIPS 0.1 with AlexNet, whole frame in [-1, 1], mean of the frames' values", 3),
    "st_lpips": Metric(
        "ST-LPIPS ↓",
        "shift-tolerant LPIPS with AlexNet, taken where LPIPS's own AlexNet is not on the machine; whole frame in "
        "[-1, 1], mean of at most 50 frames, evenly spread (it is slow); not comparable with LPIPS",
        3,
    ),
    **_detail(),
    "seam": Metric(
        "seam → 1",
        "mean step of colour (Delta E 1976) across the line between chin and neck, taken 3 % of the face's width to "
        "both sides of the jaw's landmarks where the recorded frame's parsing has head and neck there; over that of "
        "the recorded frames (ground_truth: theirs)",
    ),
    "lmd_px": Metric(
        "LMD px ↓",
        "lip landmark distance: mean distance in pixels of MediaPipe's 40 lip landmarks (outer and inner contour) in "
        "the frame and in the recorded one, each set about its own centroid; mean of the frames with a face in both",
    ),
    "lmd_percent": Metric("LMD % ↓", "the same as a percentage of the face's width (landmarks 234 to 454)"),
    "lmd_fan_px": Metric(
        "LMD FAN px ↓",
        "the same on points 48 to 67 of FAN's 68 (face-alignment package, S3FD boxes), as RAD-NeRF and its successors "
        "report it; only where the package and its weights are on the machine",
    ),
    "mouth_correlation": Metric(
        "mouth r ↑",
        "Pearson's r of the mouth's opening (distance of MediaPipe's inner lip landmarks 13 and 14) in the frames and "
        "in the recorded ones, the mean of each label (emotion and intensity) taken off both, so that a label's usual "
        "opening counts for nothing; ground_truth has the r of what MediaPipe sees in single recorded frames and the "
        "dataset's own landmarks: how well it can see the mouth at this resolution",
    ),
    "mouth_correlation_shuffled": Metric(
        "r shuffled",
        "the same when every frame is rendered with the audio of another held-out frame, drawn at random: near 0 "
        "unless something else than the audio moves the mouth",
    ),
    "mouth_std_px": Metric(
        "mouth std px",
        "standard deviation in pixels of the mouth's opening about its label's mean: compare with the recorded frames' "
        "own, for a mouth that moves too little",
    ),
    "closures_hit": Metric(
        "closures hit ↑",
        "share of the recorded mouth's closures (frames among the quarter with the smallest openings, over the "
        f"face's width, open before and after) in which this one is closed as well, at most {NEAR} frames earlier or "
        "later; ground_truth has that of the dataset's own landmarks, by their own quarter: how well closures can be "
        "seen at this resolution",
    ),
    "closures_hit_by_chance": Metric(
        "hit by chance",
        "the same of the sequence moved in time by a second or more: mean of all such shifts, round its end. A mouth "
        "that is always closed hits all closures, and all by chance",
    ),
    "silent_mouth_closed": Metric(
        "closed in pauses",
        f"share of the frames in pauses of their clip's sound (more than {PAUSE_SECONDS} s, {PAUSE_DB} dB below its "
        "loudest frame or more) in which the mouth's opening over the face's width is at most what "
        f"{100 * AT_REST:.0f} % of the recording's own such frames keep to (up to 100 of all its takes); compare with "
        "the recorded frames' own",
    ),
    "audio_mouth_correlation": Metric(
        "audio–mouth r ↑",
        "Pearson's r of the mouth's opening and the sound's level (dB in the frame's 40 ms, at most 40 dB below the "
        "clip's loudest), label means taken off, at the shift within 5 frames that makes it largest",
    ),
    "audio_mouth_shift": Metric(
        "at shift", "that shift: by how many frames of 40 ms the mouth comes after the sound (negative: before)", 0
    ),
    "sync_c": Metric(
        "Sync-C ↑",
        "SyncNet's confidence (LSE-C): median minus minimum, over shifts within 15 frames, of the mean distance of "
        "audio and mouth; per uninterrupted stretch, mean weighted by frames",
        3,
    ),
    "sync_d": Metric("Sync-D ↓", "SyncNet's distance (LSE-D): that minimum", 3),
    "sync_shift": Metric(
        "Sync shift", "the shift in frames at that minimum (the longest stretch's; positive: the mouth is late)", 0
    ),
}
"""The figures of a row, in the order of the tables."""

EMOTION: dict[str, str] = {
    "category_accuracy": "held-out conditions are rendered with every trained label; share of the renders, the weakest "
    "intensities left out, whose nearest label is of the category asked for (MediaPipe landmarks aligned by "
    "Procrustes, head turns and lids regressed out, Mahalanobis distance to the labels' centroids over training "
    "frames); a render without a face counts as wrong",
    "category_accuracy_recorded": "the same classifier on the video's own held-out frames: what it can tell "
    "apart at all",
    "confusion": "labels, and the counts behind category_accuracy: asked (rows), measured (columns)",
    "faces_not_found": "renders among them in which no face was found",
    "intensity_ordering": "share of conditions and categories in which the displacement from neutral towards the "
    "category's strongest label grows with every intensity",
    "sweep": "that displacement (0 neutral, 1 the strongest label's training frames) at 11 intensities from weakest to "
    "strongest, by category",
    "sweep_monotonic": "share of the steps of these curves that go up",
    "displacement": "by category, the mean displacement of its strongest label: of the recorded held-out frames, of "
    "the renders of all conditions, and the second over the first (frames that the classifier has not learnt from lie "
    "a little short of 1 even where they are recorded)",
    "judge_accuracy": "an independent judge's: share of the renders, the weakest intensities and labels that it has no "
    "word for left out, which the network of the package fer (FER2013, faces cut out by the landmarks' box) names by "
    "their category",
    "judge_accuracy_recorded": "the same of up to 30 recorded training frames of each label",
    "judge_agreement": "whether it says of the renders what it says of the recorded frames, right or wrong: overlap of "
    "the shares of its words (1 for the same shares), mean of the labels",
    "judge_confusion": "the counts behind these: labels and names (its words), and for recorded frames and for renders "
    "a row for each label with a column for each word",
    "identity_similarity": "structural similarity, between labels, of what expressions do not move (upper nose, "
    "temples, ears); 1 for equal",
    "background_change": "mean absolute change between labels, in 1/255, of pixels outside the head",
    "crossed_poses": "the renders of category_accuracy over the angle between the head pose asked for and the nearest "
    "one of the label's training frames: bins of angles from and to (degrees), and the recorded frames beside them",
}
"""The figures of the `emotion` section."""

JUDGE = tuple(name for name in EMOTION if name.startswith("judge_"))
"""Those among them that need the extra `judge`."""

DEPTH: dict[str, str] = {
    "correlation": "Pearson's r, over the pixels of the face, of the rendered depth (over accumulation) and that of "
    "the recorded frame's landmarks along the same rays; mean of at most 24 held-out frames",
    "scale": "slope of the rendered depth over the landmarks': below 1 for a face that is too flat",
    "error_mm": "their mean distance, mm (a head is as large as an adult's)",
}
"""The figures of the `depth` section."""

CROSSED: dict[str, Metric] = {
    "faces_found": Metric("faces ↑", "share of the pictures in which a face was found"),
    "category_accuracy": Metric("category ↑", "as in the whole section; the weakest intensities left out"),
    "displacement": Metric(
        "displacement → 1",
        "how far the face lies on the way from neutral (0) to the label's own training frames (1); mean of the "
        "pictures with a face, neutral left out",
    ),
    "landmark_error": Metric(
        "landmarks % ↓",
        "mean distance of landmarks from where the recorded frame of that pose and the label's mean expression put "
        "them, lips, jaw, lids and irises left out, in % of the face's width; mean of the pictures with a face",
    ),
    "psnr_face": Metric("PSNR face ↑", "dB over the face's box against the true picture (computer-made actor only)"),
    "landmark_error_true": Metric(
        "landmarks, true % ↓",
        "mean distance of all landmarks from those found in the true picture, in % of the face's width",
    ),
    "category_accuracy_of_truth": Metric("category, true", "category_accuracy of the true pictures: its ceiling"),
    "landmark_error_of_truth": Metric("landmarks % of true", "landmark_error of the true pictures: its floor"),
}
"""The figures of a row of `crossed_poses`; null, or absent without true pictures, where there is none."""

SECTIONS = {
    "ground_truth": "recorded frames",
    "baselines.nearest_pose": "nearest pose",
    "baselines.mean_frame": "mean frame",
    "self_driven.full": "ours, full",
    "self_driven.recorded_shoulders": "ours, recorded shoulders",
    "self_driven.ground_truth_torso": "ours, GT torso",
    "cross_driven": "ours, other audio",
}
"""Where the rows are in the file, and their names in the tables."""

SECTION_CONVENTIONS = {
    "ground_truth": "the held-out frames as recorded",
    "baselines.nearest_pose": "copies, for every held-out frame, the training frame whose head pose is nearest (mean "
    "pixel distance of the projected corners of a head-sized box)",
    "baselines.mean_frame": "the mean of up to 100 training frames, evenly spread, of the frame's own label",
    "self_driven.full": "held-out frames from their own audio, emotion, head pose and eyes; head and torso are "
    "synthesised, the shoulders as the head pose tells (nothing of them is taken from these frames), the background is "
    "the static one",
    "self_driven.recorded_shoulders": "the same, but that the torso is told how the shoulders move in these frames, "
    "six numbers a frame; what it looks like is synthesised still",
    "self_driven.ground_truth_torso": "the same head over the recorded torso and background: the usual setting of this "
    "family's published figures",
    "cross_driven": "other audio with the head motion of training frames; nothing recorded to compare it with",
    "speed": "frames a second of rendering one frame after the other, copy to 8-bit RGB included, after a warm-up",
}


def row(values: Mapping[str, float | None], reasons: Mapping[str, str], frames: int, without_face: int) -> dict:
    """Returns a complete row of what was measured.

    Args:
        values: figures by name; None, not-a-number or absent where not measured.
        reasons: why, for those.
        frames: that were looked at.
        without_face: how many of them show no face that MediaPipe finds.

    Raises:
        ValueError: a figure is missing without a reason.
    """
    result: dict = {"frames": frames, "frames_without_face": without_face}
    missing = {}
    for name in ROW:
        value = values.get(name)
        if value is not None and math.isfinite(value):
            result[name] = value
            continue
        result[name] = None
        if name not in reasons:
            raise ValueError(f"{name} was not measured, and no reason is given")
        missing[name] = reasons[name]
    return {**result, "not_measured": missing}


def empty_row(reason: str) -> dict:
    """Returns a row of which nothing was measured, for one reason."""
    return row({}, dict.fromkeys(ROW, reason), 0, 0)


def emotion_section(found: Mapping) -> dict:
    """Returns what `evaluate_emotion` gives, with null and a reason in place of anything that is not a number."""
    section = dict(found)
    section["not_measured"] = dict(section["not_measured"])
    for name in EMOTION:
        value = section[name]
        if value is None or isinstance(value, float) and not math.isfinite(value):
            section[name] = None
            section["not_measured"].setdefault(name, "no frames that show it")
    return section


def section(metrics: Mapping, path: str) -> dict:
    """Returns the row or section at a dotted path such as `self_driven.full`."""
    inner: Any = metrics
    for part in path.split("."):
        inner = inner[part]
    return inner


def conventions() -> dict:
    """Returns what the file itself says about how its figures were taken."""
    return {
        "metrics": {name: metric.convention for name, metric in ROW.items()},
        "emotion": EMOTION,
        "depth": DEPTH,
        "crossed_poses": {name: metric.convention for name, metric in CROSSED.items()},
        "sections": SECTION_CONVENTIONS,
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_nulls(found: Mapping, names: Mapping, path: str) -> None:
    """Checks that each of the names is there, and is null exactly where the section says why."""
    reasons = found.get("not_measured")
    if not isinstance(reasons, dict):
        raise ValueError(f"{path}: lacks not_measured")
    for name in names:
        if name not in found:
            raise ValueError(f"{path}: lacks {name}")
        if (found[name] is None) != (name in reasons):
            raise ValueError(f"{path}.{name}: must be null exactly if not_measured says why")


def check(metrics: Mapping) -> None:
    """Checks what is to be written as, or was read from, `metrics.json`.

    Raises:
        ValueError: it does not hold to the schema; the message names the place.
    """
    if metrics.get("format") != FORMAT or metrics.get("version") != VERSION:
        raise ValueError(f"format must be {FORMAT}, version {VERSION}")
    for name in ("run", "frames", "conventions", "speed", "emotion", "depth", "settings"):
        if name not in metrics:
            raise ValueError(f"lacks {name}")
    for path in SECTIONS:
        try:
            found = section(metrics, path)
        except KeyError as error:
            raise ValueError(f"lacks {path}") from error
        _check_nulls(found, ROW, path)
        for name in (*ROW, "frames", "frames_without_face"):
            if name not in found or found[name] is not None and not _is_number(found[name]):
                raise ValueError(f"{path}.{name}: must be a number or null")
    _check_nulls(metrics["emotion"], EMOTION, "emotion")
    _check_nulls(metrics["depth"], DEPTH, "depth")
    speed = metrics["speed"]
    if not _is_number(speed.get("frames_per_second")) or not isinstance(speed.get("device"), str):
        raise ValueError("speed: must have frames_per_second and device")
