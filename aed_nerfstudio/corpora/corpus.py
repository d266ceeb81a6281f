"""Recordings of one person in many takes, such as MEAD's or a table's: which takes to use, and their dataset folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aed_nerfstudio import outside
from aed_nerfstudio.capture.run import process_videos
from aed_nerfstudio.capture.sources import ProcessOptions, check_sound
from aed_nerfstudio.capture.tracking import MINIMUM_SECONDS
from aed_nerfstudio.dataset.schema import Dataset, write_json
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import stamp
from aed_nerfstudio.media.audio_io import write_wav
from aed_nerfstudio.media.video_reader import probe

TARGET_SECONDS = 100.0
ENOUGH_SECONDS = 90.0  # of one label; the paper's figures come from 90 to 120 s


@dataclass(frozen=True)
class CorpusTake:
    """One video file of one person with one label.

    sound: a file with its sound; None: the video's own track. seconds, silent: known once it has been looked at.
    """

    path: Path
    emotion: str
    intensity: str
    sound: Path | None = None
    seconds: float = 0.0
    silent: bool = False

    @property
    def label(self) -> tuple[str, str]:
        """Returns emotion and intensity."""
        return self.emotion, self.intensity


@dataclass(frozen=True)
class CorpusPlan:
    """The takes of one person that are to become a dataset.

    takes: the chosen ones, by label. found: how many takes of each label there are, also of labels that were asked for
    and have none. problems: what is missing or left out and why, a line each.
    """

    name: str
    takes: tuple[CorpusTake, ...]
    found: dict[tuple[str, str], int]
    problems: tuple[str, ...] = ()

    @property
    def seconds(self) -> dict[tuple[str, str], float]:
        """Returns the length (s) of the chosen takes of every label."""
        total = dict.fromkeys(self.found, 0.0)
        for take in self.takes:
            total[take.label] += take.seconds
        return total

    @property
    def missing(self) -> list[str]:
        """Returns the labels without any take."""
        return [" ".join(label) for label, number in self.found.items() if not number]

    @property
    def short(self) -> list[str]:
        """Returns the labels of which there is something, and too little."""
        return [" ".join(label) for label, s in self.seconds.items() if self.found[label] and s < ENOUGH_SECONDS]

    @property
    def table(self) -> str:
        """Returns the plan for people: a line for every label, then what is missing and left out."""
        lines = [f"{self.name}: {len(self.takes)} takes, {sum(t.seconds for t in self.takes):.0f} s",
                 f"{'emotion':12}{'intensity':12}{'takes':>6}{'chosen':>8}{'seconds':>9}"]  # fmt: skip
        for label, seconds in self.seconds.items():
            if self.found[label]:
                chosen = sum(take.label == label for take in self.takes)
                lines.append(f"{label[0]:12}{label[1]:12}{self.found[label]:6}{chosen:8}{seconds:9.1f}")
        if self.short:
            lines.append(f"- less than {ENOUGH_SECONDS:.0f} s: {', '.join(self.short)}")
        if self.missing:
            lines.append(f"- no takes: {', '.join(self.missing)}")
        return "\n".join([*lines, *(f"- {problem}" for problem in self.problems)])


def choose_takes(
    name: str,
    takes: Iterable[CorpusTake],
    found: dict[tuple[str, str], int],
    problems: Iterable[str] = (),
    *,
    seconds: float | None = TARGET_SECONDS,
    sound: bool = True,
    allow_silent: bool = False,
    own_sound_first: bool = False,
) -> CorpusPlan:
    """Opens every take, leaves out what cannot be used, and chooses evenly from each label's rest.

    Args:
        name: of the person or corpus, for messages.
        takes: all there are.
        found: labels that should have takes, each 0; others are added.
        problems: what was noticed before.
        seconds: how much of every label to use; None: all.
        sound: whether takes need sound.
        allow_silent: whether takes without sound are used beside others with it.
        own_sound_first: whether takes' sound files are only for videos without sound.

    Raises:
        InputError: no take can be used, or none has sound.
    """
    if seconds is not None and not seconds > 0:
        raise InputError(f"seconds must be positive, not {seconds:g}")
    found, problems, usable, sizes = dict(found), list(problems), [], set()
    for take in takes:
        found[take.label] = found.get(take.label, 0) + 1
        try:
            take, size = _looked_at(take, sound, own_sound_first, problems)
        except InputError as error:
            problems.append(f"{error}; left out")
            continue
        sizes.add(size)
        usable.append(take)
    if not usable:
        raise InputError(f"{name}: no take can be used" + (f" ({problems[0]})" if problems else "; there is none of "
                         "these emotions and levels"))  # fmt: skip
    silent = [take for take in usable if take.silent]
    if len(silent) == len(usable):
        raise InputError(f"{name}: no take has sound (the first is {silent[0].path}); give --audio-features none for "
                         "an avatar that shows emotions and does not speak")  # fmt: skip
    action = "used all the same" if allow_silent else "left out (--allow-silent uses it)"
    problems += [f"{take.path}: without sound; {action}" for take in silent]
    if len(sizes) > 1:
        shown = ", ".join(f"{w}x{h}" for w, h in sorted(sizes))
        problems.append(f"pictures of several sizes ({shown}); one camera is assumed for all")
    chosen: list[CorpusTake] = []
    for label in found:
        pool = [take for take in usable if take.label == label and (allow_silent or not take.silent)]
        chosen += pool if seconds is None else evenly(pool, seconds)
    return CorpusPlan(name, tuple(chosen), found, tuple(problems))


def _looked_at(
    take: CorpusTake, sound: bool, own_sound_first: bool, problems: list[str]
) -> tuple[CorpusTake, tuple[int, int]]:
    """Returns the take with its length and whether it lacks sound, and its pictures' width and height."""
    info = probe(take.path)
    if info.longest < MINIMUM_SECONDS:  # of one that is cut off, more will be said
        raise InputError(f"{take.path}: only {info.longest:.1f} s long, below {MINIMUM_SECONDS:.0f} s")
    file = take.sound if sound and not (own_sound_first and info.has_audio) else None
    if file is not None:
        try:
            check_sound(file)
        except InputError as error:
            problems.append(f"{error}; not used")
            file = None
    silent = sound and not info.has_audio and file is None
    return replace(take, sound=file, seconds=info.longest, silent=silent), (info.width, info.height)


def evenly(takes: Sequence[CorpusTake], seconds: float) -> list[CorpusTake]:
    """Returns the fewest takes, spread evenly over the given ones, that are together as long as asked; else all."""
    for count in range(1, len(takes)):
        chosen = [takes[int((k + 0.5) * len(takes) / count)] for k in range(count)]
        if sum(take.seconds for take in chosen) >= seconds:
            return chosen
    return list(takes)


def run_plan(
    plan: CorpusPlan, output: Path, options: ProcessOptions, progress: bool = True
) -> tuple[Dataset, list[str]]:
    """Makes one dataset folder of all the plan's takes, with one camera and one world frame.

    A take that turns out to be unusable (no face in it, damaged part-way) is left out. That is remembered in
    `.NAME.left_out.json` beside the folder, so that a second run goes on with the same takes.

    Args:
        plan: which takes, by choose_takes.
        output: as in process_videos.
        options: their labels and sound are replaced by the plan's.
        progress: whether to show progress bars and warnings on stderr.

    Returns:
        the dataset, and a line for every take that was left out.

    Raises:
        InputError: no take is usable, the folder cannot be written, or another process is writing it.
    """
    output = Path(output)
    memory = _beside(output, "left_out.json")
    left_out = _read_memory(memory) if output.exists() else {}
    while True:
        takes = [take for take in plan.takes if not _is_left_out(take, left_out)]
        errors = [left_out[str(take.path)][1] for take in plan.takes if take not in takes]
        if not takes:
            raise InputError(errors[0] if errors else f"{plan.name}: no take to use")
        try:
            dataset = process_videos([t.path for t in takes], output, _filled(options, takes, output), progress)
            return dataset, errors
        except InputError as error:
            culprit = _culprit(takes, str(error))
            if culprit is None or len(plan.takes) == 1:
                raise
            left_out[str(culprit.path)] = [known_stamp(culprit.path), str(error)]
            write_json(memory, left_out)


def _filled(options: ProcessOptions, takes: Sequence[CorpusTake], output: Path) -> ProcessOptions:
    """Returns the options with the takes' labels and sound."""
    silence = _beside(output, "silence.wav")
    if any(take.silent for take in takes) and not silence.exists():
        write_wav(silence, np.zeros(1600, np.float32))
    sound = [silence if take.silent else take.sound for take in takes]
    return replace(
        options,
        emotions=tuple(take.emotion for take in takes),
        intensities=tuple(take.intensity for take in takes),
        sound=tuple(sound) if any(sound) else (),
    )


def _beside(folder: Path, name: str) -> Path:
    """Returns a hidden file that belongs to a folder and lies outside it, because the folder may be removed."""
    folder = folder.resolve()
    return folder.with_name(f".{folder.name}.{name}")


def _culprit(takes: Sequence[CorpusTake], error: str) -> CorpusTake | None:
    """Returns the take that an error names; the longest name, because one may begin another."""
    named = [t for t in takes if str(t.path) in error or (t.sound is not None and str(t.sound) in error)]
    return max(named, key=lambda take: len(str(take.path)), default=None)


def known_stamp(path: Path) -> list | None:
    """Tells whether a file was exchanged meanwhile; None where there is none."""
    return stamp(path) if path.exists() else None


def _is_left_out(take: CorpusTake, left_out: dict[str, list]) -> bool:
    """Returns whether this very file was found unusable before."""
    entry = left_out.get(str(take.path))
    return entry is not None and entry[0] == known_stamp(take.path)


def _read_memory(path: Path) -> dict[str, list]:
    """Returns stamp and error of every take that was left out, by its path; nothing where the file is missing or
    damaged.
    """
    try:
        stored: Any = outside.read_json(path, finite=True)
        return {name: [before, str(error)] for name, (before, error) in stored.items()}
    except (ValueError, AttributeError, TypeError):
        return {}
