"""The layers of all frames: what the parser sees, the background, then parsing maps and torso layers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from aed_nerfstudio.capture.backdrop import differs
from aed_nerfstudio.capture.background import Background, clip_background, merge_backgrounds, own_picture, sample
from aed_nerfstudio.capture.context import Capture, TakeState
from aed_nerfstudio.capture.parallel import ahead, in_threads
from aed_nerfstudio.capture.parsers import Parser, open_parser
from aed_nerfstudio.capture.segmentation import coarse_person, parse, steady
from aed_nerfstudio.capture.torso import torso_layer
from aed_nerfstudio.dataset.schema import read_image, write_image
from aed_nerfstudio.face.face_mesh import CHIN
from aed_nerfstudio.files import digest, inside, stamp


def make_layers(run: Capture, takes: list[TakeState]) -> dict:
    """Makes the stages `person:`, `background` and `parsing:`: writes all layers; returns what is reported of the
    background.
    """
    options = run.options
    weights = stamp(options.parser_weights) if options.parser_weights else None
    key = digest([[take.key, take.usable_frames()] for take in takes], options.parser, weights)
    with open_parser(options.parser, options.parser_weights) as parser:
        for take in takes:
            run.stage(f"person:{take.name}", digest(key, take.name), partial(_person, run, take, parser))
    report = run.stage("background", key, lambda _: _background(run, takes))
    for take in takes:
        run.stage(f"parsing:{take.name}", digest(key, take.key, take.usable_frames()), partial(_parse, run, take))
    report.pop("warnings")
    return report


def _evidence_file(run: Capture, take: TakeState, frame: int) -> Path:
    return run.stages.work / "person" / take.name / f"{frame:05d}.png"


def _evidence_around(run: Capture, take: TakeState, frame: int) -> list[np.ndarray | None]:
    """Reads what the parser saw in the frame before, in the frame, and in the one after; None in unusable ones."""
    return [
        read_image(_evidence_file(run, take, k)) if 0 <= k < take.take.count and take.usable[k] else None
        for k in (frame - 1, frame, frame + 1)
    ]


def _person(run: Capture, take: TakeState, parser: Parser, going_on: bool) -> dict:
    """Writes what the parser sees in the usable frames."""
    frames = [k for k in take.usable_frames() if not (going_on and _evidence_file(run, take, k).exists())]
    pictures = ahead((k, run.picture(take, k)) for k in frames)
    for k, picture in run.bar(pictures, len(frames), f"person {take.name}"):
        write_image(_evidence_file(run, take, k), parser.evidence(picture, take.landmarks[k]), root=run.root)
    return {}


def _background_file(run: Capture, take: TakeState) -> Path:
    return run.work_file("background", take.name)


def _background(run: Capture, takes: list[TakeState]) -> dict:
    """Writes the background of every take and of all together, and reports how much of it was seen and moves."""
    backgrounds: dict[str, Background] = {}
    for take in takes:
        frames = take.usable_frames()
        if frames:
            picks = [frames[k] for k in sample(len(frames), run.size)]
            background = clip_background(_seen(run, take, k) for k in picks)
            background.write(_background_file(run, take), run.root)
            backgrounds[take.name] = background
    picture, seen = merge_backgrounds(list(backgrounds.values()))
    write_image(run.root / "background.png", picture, root=run.root)
    for name, background in backgrounds.items():
        own = run.root / "backgrounds" / f"{name}.png"
        if len(backgrounds) > 1 and not differs(background, picture):
            write_image(own, own_picture(background, picture), root=run.root)
        else:  # that of all, which is laid behind the person in its pictures
            inside(own, run.root).unlink(missing_ok=True)
    reports = [background.report() for background in backgrounds.values()]
    worst = max(reports, key=lambda report: report["moving"])
    warnings = []
    if worst["moves"]:
        warnings.append(f"the background moves ({worst['moving']:.0%} of what is seen of it); the avatar stands before "
                        "a still picture")  # fmt: skip
    return {**worst, "unseen": round(float(1 - seen.mean()), 4), "warnings": warnings}


def _seen(run: Capture, take: TakeState, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns a frame's picture, its person mask and where the chin is, see `clip_background`."""
    image, points = run.picture(take, frame), take.landmarks[frame]
    return image, coarse_person(image, points, steady(_evidence_around(run, take, frame))), points[CHIN]


def _parse(run: Capture, take: TakeState, going_on: bool) -> dict:
    """Writes parsing maps and torso layers of the usable frames."""
    frames = take.usable_frames()
    background = Background.read(_background_file(run, take)) if frames else None

    def work(k: int) -> None:
        paths = [run.root / part / take.name / f"{k:05d}.png" for part in ("parsing", "torso")]
        if going_on and all(path.exists() for path in paths):
            return
        image = run.picture(take, k)
        labels = parse(image, take.landmarks[k], _evidence_around(run, take, k), background)
        write_image(paths[0], labels, root=run.root)
        write_image(paths[1], torso_layer(image, labels, background), root=run.root)

    for _ in run.bar(in_threads(work, frames), len(frames), f"parsing {take.name}"):
        pass
    return {}
