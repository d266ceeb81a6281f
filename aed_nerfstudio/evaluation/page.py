"""The page of a report: figures, pictures and videos, made from the template beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from aed_nerfstudio.evaluation.tables import NOTES, reasons, speed_line, tables

TEMPLATE = "page.html.jinja"
SPOKEN = "spoken.mp4"
MEDIA = {
    "side-by-side.mp4": "Held-out frames: recorded, ours",
    SPOKEN: "Other audio",
    "mouth.png": "Opening of the mouth",
    "sheet.png": "Recorded, ours, training frame of the nearest pose",
    "depth.png": "Recorded, our depth, the landmarks' depth: nearer is brighter",
    "emotions.png": "One moment with every emotion at every strength",
    "poses.png": "Every emotion (rows) in held-out poses of the takes (columns), by pitch; its own are framed",
}
"""Pictures and videos of a report in the page's order, and their titles."""


def page(metrics: Mapping[str, Any], files: set[str]) -> str:
    """Returns a report as HTML that needs nothing but the files beside it.

    Args:
        metrics: the contents of `metrics.json`.
        files: names of the files that lie beside the page; of pictures and videos it shows those.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = resources.files("aed_nerfstudio.evaluation").joinpath(TEMPLATE).read_text(encoding="utf-8")
    conventions = metrics["conventions"]
    return environment.from_string(source).render(
        run=metrics["run"],
        held_out=metrics["frames"]["held_out"],
        tables=tables(metrics),
        notes=NOTES,
        speed=speed_line(metrics),
        media={name: title for name, title in MEDIA.items() if name in files},
        conventions={
            "How the figures are taken": conventions["metrics"],
            "Rows": conventions["sections"],
            "Depth": conventions["depth"],
            "Emotion": conventions["emotion"],
            "Emotions in other poses": conventions["crossed_poses"],
        },
        missing=reasons(metrics),
    )
