"""The quality gate: what a dataset holds, what is wrong with it, and whether training on it is worth while.

Everything is measured from what the folder says of its frames, the landmarks and the sound; of the pictures a few are
looked at, so a long video takes no longer than a short one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from aed_nerfstudio.dataset.schema import Dataset, check_pictures, write_image
from aed_nerfstudio.files import keep_apart, replacing
from aed_nerfstudio.inspection.charts import draw_charts
from aed_nerfstudio.inspection.figures import describe
from aed_nerfstudio.inspection.findings import Inspection
from aed_nerfstudio.inspection.judging import judge
from aed_nerfstudio.inspection.measures import Measures, measure
from aed_nerfstudio.inspection.page import page
from aed_nerfstudio.inspection.samples import pick_samples, sample_sheet


def inspect_dataset(dataset: Dataset, output: Path | None = None, progress: bool = True) -> Inspection:
    """Measures a dataset, judges it and draws `inspect.png` and `inspect.html`.

    Args:
        dataset: from `read_dataset`.
        output: folder of the two files; `inspect` in the dataset's folder when None.
        progress: whether to say on stderr what is done.

    Raises:
        InputError: a file of the dataset is missing or damaged, or the output cannot be written.
    """
    measures = measure(dataset, progress)
    check_pictures(dataset)
    figures, findings = describe(dataset, measures), judge(dataset, measures)
    inspection = Inspection(dataset.root, figures, findings, [])
    files = draw(dataset, measures, inspection, dataset.root / "inspect" if output is None else Path(output), progress)
    return Inspection(dataset.root, figures, findings, files)


def draw(dataset: Dataset, measures: Measures, inspection: Inspection, output: Path, progress: bool) -> list[Path]:
    """Writes `inspect.png` and `inspect.html` into a folder and returns their paths.

    Raises:
        InputError: a picture of the dataset is missing or damaged, or the folder cannot be written.
    """
    if progress:
        print("drawing", file=sys.stderr)
    samples = pick_samples(dataset, measures)
    frames = sample_sheet(dataset, samples) if samples else None
    charts = draw_charts(dataset, measures, f"{dataset.root.resolve().name}: {inspection.headline()}")
    files = [output / "inspect.png", output / "inspect.html"]
    root = dataset.root if output.is_relative_to(dataset.root) else output
    keep_apart(files, dataset.sources)
    with replacing(files[0], root) as picture, replacing(files[1], root) as text:  # both, or neither
        write_image(picture, _stacked(charts, frames))
        text.write_text(page(dataset, measures, inspection, charts, frames), "utf-8")
    return files


def _stacked(charts: np.ndarray, frames: np.ndarray | None) -> np.ndarray:
    """Returns the charts above the frames, both as wide as the frames."""
    if frames is None:
        return charts
    width = frames.shape[1]
    height = round(charts.shape[0] * width / charts.shape[1])
    return np.vstack([cv2.resize(charts, (width, height), interpolation=cv2.INTER_AREA), frames])
