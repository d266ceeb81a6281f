"""MEAD's folders: which takes of an actor there are, where their sound is, and what they show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from aed_nerfstudio.corpora.corpus import TARGET_SECONDS, CorpusPlan, CorpusTake, choose_takes
from aed_nerfstudio.errors import InputError

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm")
SOUND_SUFFIXES = (".m4a", ".wav")
MEAD_EMOTIONS = {
    "neutral": "neutral", "angry": "angry", "fear": "fearful", "happy": "happy", "sad": "sad",
    "contempt": "contempt", "disgusted": "disgusted", "surprised": "surprised",
}  # fmt: skip
"""MEAD's folder names -> our labels."""
MEAD_LEVELS = {1: "weak", 2: "medium", 3: "strong"}
MEAD_FILE = re.compile(
    r"(?P<actor>[^_]+)_(?P<view>.+)_(?P<emotion>[^_]+)_level_?(?P<level>\d+)_(?P<take>[^_]+)", re.IGNORECASE
)
"""A take's file name in a flat folder: W009_front_angry_level3_001.mp4."""


def plan_mead(
    root: Path,
    actor: str | None = None,
    *,
    emotions: Sequence[str] = (),
    levels: Sequence[int] = (1, 2, 3),
    view: str = "front",
    seconds: float = TARGET_SECONDS,
    sound: bool = True,
    allow_silent: bool = False,
) -> CorpusPlan:
    """Chooses takes from a folder with MEAD's layout.

    Args:
        root: the folder that holds the actors' folders, or an actor's folder: `video/<view>/<emotion>/level_<n>/*.mp4`
            with sound inside or in `audio/<emotion>/level_<n>/*.m4a`, or files named `M030_front_angry_level3_001.mp4`.
        actor: name of the actor's folder; None: there is only one.
        emotions: those to use, by MEAD's names or ours; none: all.
        levels: of MEAD's 1 (weak), 2 (medium) and 3 (strong); neutral, which has one level only, is used with any.
        view: the camera.
        seconds: how much of every label to use; takes are chosen evenly until they are as long as that.
        sound: whether takes need sound.
        allow_silent: whether takes without sound are used beside others with it.

    Raises:
        InputError: the layout is another, or no take can be used.
    """
    levels = _levels(levels)
    folder = _actor_folder(Path(root), actor)
    problems: list[str] = []
    flat = not (folder / "video").is_dir()
    files = _flat_files(folder, view, problems) if flat else _nested_files(folder, view, problems)
    names = {name: name for _, name, *_ in files} | MEAD_EMOTIONS
    wanted = _wanted(emotions, names)
    takes = []
    for path, name, level, sounds in files:
        if name in wanted and (level in levels or name == "neutral"):
            beside = next((file for file in sounds if file.is_file()), None)
            takes.append(CorpusTake(path, names[name], MEAD_LEVELS[level], beside))
    found = {(MEAD_EMOTIONS[name], MEAD_LEVELS[level]): 0 for name in wanted if name in MEAD_EMOTIONS
             for level in ([1] if name == "neutral" else levels)}  # fmt: skip
    asked = {"seconds": seconds, "sound": sound, "allow_silent": allow_silent}
    return choose_takes(folder.name, takes, found, problems, own_sound_first=True, **asked)


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Returns a key by which take2 is sorted before take10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", path.name) if part]


def videos_in(folder: Path) -> list[Path]:
    """Returns the video files right in a folder, in their natural order; hidden ones are left out."""
    files = (p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES and not p.name.startswith("."))
    return sorted((p for p in files if p.is_file()), key=natural)


def _word(name: str) -> str:
    """Returns a folder's name as a label."""
    return re.sub(r"[^\w-]+", "_", name)


def _levels(levels: Sequence[int]) -> list[int]:
    for level in levels:
        if level not in MEAD_LEVELS:
            raise InputError(f"unknown level {level}; choose of {', '.join(map(str, MEAD_LEVELS))}")
    if not levels:
        raise InputError(f"no level given; choose of {', '.join(map(str, MEAD_LEVELS))}")
    return sorted(set(levels))


def _wanted(emotions: Sequence[str], names: dict[str, str]) -> list[str]:
    """Returns the corpus's own names of the emotions asked for, known ones first."""
    order = [*MEAD_EMOTIONS, *sorted(name for name in names if name not in MEAD_EMOTIONS)]
    for emotion in emotions:
        if emotion not in names and emotion not in names.values():
            raise InputError(f"unknown emotion {emotion!r}; choose of {', '.join(order)}")
    return [name for name in order if not emotions or name in emotions or names[name] in emotions]


def _actor_folder(root: Path, actor: str | None) -> Path:
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder that holds the actors, or an actor's")
    if actor and (root / actor).is_dir():
        return root / actor
    itself = (root / "video").is_dir() or any(MEAD_FILE.fullmatch(path.stem) for path in videos_in(root))
    own = root.resolve().name
    if itself and actor in (None, own):
        return root.resolve()
    if itself:
        raise InputError(f"{root}: is not {actor}'s folder; leave --actor out, or give the folder that holds {actor}")
    if (root / "video.tar").exists():
        raise InputError(f"{root}: holds video.tar and no folder video; unpack it first")
    actors = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not actors:
        raise InputError(f"{root}: holds no actor; expected ACTOR/video/VIEW/EMOTION/level_N/TAKE.mp4")
    if actor is None and len(actors) == 1:
        return root / actors[0]
    shown = ", ".join(actors[:12]) + (", ..." if len(actors) > 12 else "")
    raise InputError(f"{root}: {f'no actor {actor}; ' if actor else ''}choose --actor of {shown}")


def _nested_files(folder: Path, view: str, problems: list[str]) -> list[tuple[Path, str, int, list[Path]]]:
    """Lists MEAD's own layout: (path, emotion, level, where its sound may be) of every take."""
    base = folder / "video" / view
    if not base.is_dir():
        views = sorted(path.name for path in (folder / "video").iterdir() if path.is_dir())
        raise InputError(f"{folder}: no view {view}; choose --view of {', '.join(views) or 'none (video is empty)'}")
    files = []
    for level_folder in sorted(base.glob("*/*"), key=lambda p: (p.parent.name, natural(p))):
        match = re.fullmatch(r"level_?(\d+)", level_folder.name)
        if level_folder.name.startswith(".") or (level_folder.is_file() and level_folder.suffix not in VIDEO_SUFFIXES):
            continue
        if not match or int(match[1]) not in MEAD_LEVELS:
            problems.append(f"{level_folder}: not level_1, level_2 or level_3; left out")
            continue
        emotion = level_folder.parent.name
        sounds = folder / "audio" / emotion / level_folder.name
        for path in videos_in(level_folder):
            beside = [sounds / f"{path.stem}{suffix}" for suffix in SOUND_SUFFIXES]
            files.append((path, _word(emotion), int(match[1]), beside))
    return files


def _flat_files(folder: Path, view: str, problems: list[str]) -> list[tuple[Path, str, int, list[Path]]]:
    """Takes whose names say what they show, all in one folder, their sound beside them."""
    files, views = [], set()
    for path in videos_in(folder):
        match = MEAD_FILE.fullmatch(path.stem)
        if match is None or int(match["level"]) not in MEAD_LEVELS:
            problems.append(f"{path}: its name says no label (as {folder.name}_front_angry_level3_001 does); left out")
            continue
        views.add(match["view"])
        if match["view"] == view:
            sounds = [path.with_suffix(suffix) for suffix in SOUND_SUFFIXES]
            files.append((path, _word(match["emotion"].lower()), int(match["level"]), sounds))
    if not files:
        raise InputError(f"{folder}: no view {view}; choose --view of {', '.join(sorted(views))}" if views else
                         f"{folder}: holds no takes; expected video/{view}/EMOTION/level_N/TAKE.mp4")  # fmt: skip
    return files
