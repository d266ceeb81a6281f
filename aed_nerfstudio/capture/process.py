"""Videos of one person to a dataset folder, whole or not at all; what a stopped run made is used by the next."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from aed_nerfstudio.capture.parallel import one_thread_in_opencv
from aed_nerfstudio.capture.processing import FILES, PARTS, VERSION, WHOLE, Processing
from aed_nerfstudio.capture.sources import ProcessOptions, Source, read_sources, stamp
from aed_nerfstudio.capture.stages import FILE, WORK, Stages, digest
from aed_nerfstudio.dataset.schema import Dataset, check_pixels, read_dataset, write_dataset
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.engine import fetch
from aed_nerfstudio.face.models import FACE_LANDMARKER, SELFIE_SEGMENTATION
from aed_nerfstudio.jobs.folder_lock import folder_lock

INSPECTION = "inspect"
TRIAL = ".trial.part"
OURS = {TRIAL, WORK, FILE + ".part"}
"""What a run that was killed in its first moment may leave."""


def process_videos(
    videos: Sequence[Path], output: Path, options: ProcessOptions | None = None, progress: bool = True
) -> Dataset:
    """Makes a dataset folder from videos of one person, filmed by one camera that stands still.

    Args:
        videos: files in which one person talks, at least two seconds each; every uninterrupted take becomes a clip.
        output: the folder; must be new, empty or one that this function began. A finished dataset of the same videos
            and options is read again, and made anew where a file of it is missing or damaged.
        options: see there; None: the defaults.
        progress: whether to show progress bars and warnings on stderr.

    Raises:
        InputError: something about the input, named in one line; no `dataset.json` is left then. What was made of
            other videos stays, for the next run.
    """
    options, output = options or ProcessOptions(), Path(output)
    sources = read_sources([Path(v) for v in videos], options)
    with folder_lock(output):
        return _process(sources, output, options, progress)


def _process(sources: list[Source], output: Path, options: ProcessOptions, progress: bool) -> Dataset:
    created = not output.exists()
    _check_output(output)
    stages = Stages(output)
    settings = [options.size, options.front_end, options.parser, options.audio_shift]
    settings.append(stamp(options.parser_weights) if options.parser_weights else None)
    whole = digest(VERSION, [source.inputs() for source in sources], settings)
    if (output / "dataset.json").exists():
        if stages.key(WHOLE) != whole:
            raise InputError(f"{output}: holds a dataset of other videos or options; choose another --output, or "
                             "remove it")  # fmt: skip
        try:
            dataset = read_dataset(output)
            check_pixels(dataset)
            if options.consent not in ("", dataset.consent):
                dataset.consent = options.consent
                write_dataset(dataset)
            stages.close(WHOLE)
            return dataset
        except InputError as error:
            print(f"warning: {error}; making the whole folder anew", file=sys.stderr)
            stages.forget()
            _clear(output)
    try:
        fetch(FACE_LANDMARKER, *([SELFIE_SEGMENTATION] if options.parser == "mediapipe" else []))
        with one_thread_in_opencv():
            dataset = Processing(sources, output, stages, options, progress).run(whole)
        stages.close(WHOLE)
        return dataset
    except InputError:
        if not stages.done:  # nothing worth keeping
            stages.forget()
            _clear(output)
            if created:
                shutil.rmtree(output, ignore_errors=True)
        raise
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror or error}); free space or choose another "
                         "--output, then run again to go on") from error  # fmt: skip


def _check_output(output: Path) -> None:
    """Makes the folder; refuses one that holds other things, because old frames would be deleted in it."""
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; choose a folder for --output")
    try:
        names = {path.name for path in output.iterdir()} if output.exists() else set()
        if names - OURS and FILE not in names:
            raise InputError(f"{output}: holds other files; choose a new or empty folder for --output")
        output.mkdir(parents=True, exist_ok=True)
        trial = output / TRIAL
        trial.write_bytes(b"")
        trial.unlink()
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror}); choose another folder") from error


def _clear(output: Path) -> None:
    """Removes what this module writes, and nothing else."""
    for name in FILES:
        (output / name).unlink(missing_ok=True)
    for name in (*PARTS, INSPECTION):
        shutil.rmtree(output / name, ignore_errors=True)
