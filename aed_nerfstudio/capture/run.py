"""Videos of one person to a dataset folder, whole or not at all; what a stopped run made is used by the next."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from aed_nerfstudio.capture.context import VERSION, Capture
from aed_nerfstudio.capture.parallel import one_thread_in_opencv
from aed_nerfstudio.capture.pipeline import WHOLE, run_stages
from aed_nerfstudio.capture.sources import ProcessOptions, Source, read_sources
from aed_nerfstudio.capture.stages import FILE, WORK, Stages
from aed_nerfstudio.dataset.schema import Dataset, check_pixels, read_dataset, write_dataset
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.engine import fetch
from aed_nerfstudio.face.models import FACE_LANDMARKER, SELFIE_SEGMENTATION
from aed_nerfstudio.files import digest, is_part, keep_apart, make_folder, stamp, temporary_beside, unwritable
from aed_nerfstudio.jobs.folder_lock import folder_lock


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
    given = [path for source in sources for path in (source.video, source.sound, source.features)]
    keep_apart([output], [*given, options.parser_weights])
    with folder_lock(output):
        return _make(sources, output, options, progress)


def _make(sources: list[Source], output: Path, options: ProcessOptions, progress: bool) -> Dataset:
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
            (output / "dataset.json").unlink()
            stages.forget()
    elif stages.key(WHOLE):  # it was removed, by us or by somebody else
        stages.forget()
    try:
        stages.begin()
        fetch(FACE_LANDMARKER, *([SELFIE_SEGMENTATION] if options.parser == "mediapipe" else []))
        with one_thread_in_opencv():
            dataset = run_stages(Capture(sources, output, stages, options, progress), whole)
        stages.close(WHOLE)
        return dataset
    except InputError:
        if not stages.done:  # nothing worth keeping
            stages.remove_work()
            if {path.name for path in output.iterdir()} <= {FILE}:
                (output / FILE).unlink(missing_ok=True)
                if created:
                    output.rmdir()
        raise
    except OSError as error:
        raise unwritable(output, error) from error


def _check_output(output: Path) -> None:
    """Makes the folder; refuses one that holds other things, because old frames would be deleted in it."""
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; choose a folder for --output")
    try:
        names = {path.name for path in output.iterdir()} if output.exists() else set()
    except OSError as error:
        raise unwritable(output, error) from error
    # What a run that was killed in its first moment has left does not count.
    if FILE not in names and any(name != WORK and not is_part(name) for name in names):
        raise InputError(f"{output}: holds other files; choose a new or empty folder for --output")
    make_folder(output)
    temporary_beside(output / FILE).unlink()  # whether it can be written
