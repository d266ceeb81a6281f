"""The HTML page of `aed inspect`, which holds all that it says and draws and needs no other file."""

from __future__ import annotations

import base64
import re
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from aed_nerfstudio.dataset.schema import FPS, Dataset
from aed_nerfstudio.inspection.findings import VERDICTS, Inspection
from aed_nerfstudio.inspection.label_poses import RIGHT_DEGREES
from aed_nerfstudio.inspection.label_table import look_table, pose_table
from aed_nerfstudio.inspection.measures import Measures
from aed_nerfstudio.inspection.samples import PARTS

TEMPLATE = "page.html"
LEVELS = {"ok": "in order", "warn": "look at this", "fail": "must be mended"}
_CODE = re.compile("`([^`]+)`")


def page(
    dataset: Dataset, measures: Measures, inspection: Inspection, charts: np.ndarray, frames: np.ndarray | None
) -> str:
    """Returns the page as HTML.

    Args:
        dataset: what was inspected.
        measures: what was measured of it.
        inspection: what is said of it.
        charts: uint8 [H, W, 3] RGB, see `draw_charts`.
        frames: uint8 [H, W, 3] RGB, see `sample_sheet`; None where no frame is usable.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _with_code
    usable = Counter(frame.clip for frame in dataset.frames if frame.usable)
    return environment.get_template(TEMPLATE).render(
        name=dataset.root.resolve().name,
        headline=inspection.headline(),
        level={verdict: level for level, verdict in VERDICTS.items()}[inspection.verdict],
        levels=LEVELS,
        findings=sorted(inspection.findings, key=lambda finding: -list(LEVELS).index(finding.level)),  # the worst first
        charts=_data_url(charts, ".png"),
        samples=None if frames is None else _data_url(frames, ".jpg"),
        parts=list(zip(("background", "torso", "neck", "head"), PARTS.values(), strict=True)),
        labels=look_table(measures),
        shared=pose_table(measures),
        right=round(RIGHT_DEGREES),
        figures=inspection.figures,
        clips=[(clip, usable[clip.name]) for clip in dataset.clips],
        fps=FPS,
        warnings=dataset.warnings,
        tools=[("audio front end", dataset.front_end), *dataset.tools.items()],
    )


def _with_code(text: str) -> Markup:
    """Returns a text, escaped, with what is between backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def _data_url(image: np.ndarray, suffix: str) -> str:
    """Returns a picture, uint8 [H, W, 3] RGB, as a data URL; suffix: `.png` or `.jpg`."""
    ok, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not ok:
        raise ValueError(f"{suffix}: a picture of {image.shape} could not be encoded")
    kind = {".png": "png", ".jpg": "jpeg"}[suffix]
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"
