"""Recordings of the synthetic actor: dataset folders with exact labels, and plain videos with their truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from aed_nerfstudio.audio.features import SAMPLE_RATE, extract_features, front_end_named, speech_wavs
from aed_nerfstudio.dataset.schema import (
    FPS,
    Clip,
    Dataset,
    Frame,
    write_array,
    write_arrays,
    write_dataset,
    write_image,
)
from aed_nerfstudio.driving.emotion import CATEGORIES, INTENSITIES
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.face_mesh import OUTER_LIPS, mouth_opening, padded_box
from aed_nerfstudio.files import disown, is_own, make_own, remove_own
from aed_nerfstudio.media.audio_io import read_audio, write_wav
from aed_nerfstudio.media.video_writer import VideoWriter
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import Performance, perform
from aed_nerfstudio.synthetic.postures import postures as postures_of
from aed_nerfstudio.synthetic.scene import HeadPose, Scene

FRONT_END = "moonshine"
UNSEEN_SECONDS = 10.0
CONSENT = "Nobody is shown: a computer-made actor."
RECORDER = "aed_nerfstudio.synthetic"
SOURCE = "synthetic actor {}"
"""How a clip names who acts in it, by the identity."""
UNFINISHED = "folder for an unfinished recording"


def training_speech(speech: Sequence[Path] | None = None) -> np.ndarray:
    """Returns speech for the clips, float32 [n] at 16 kHz: the given files, or the two of speech_wavs without
    unseen_speech.
    """
    if speech is not None:
        if not speech:
            raise InputError("speech: no file given; name at least one, or leave it out")
        return np.concatenate([read_audio(path) for path in speech])
    cities = _packaged_speech("two_cities.wav")
    return np.concatenate([cities[: -int(UNSEEN_SECONDS * SAMPLE_RATE)], _packaged_speech("beckett.wav")])


def unseen_speech(seconds: float = UNSEEN_SECONDS) -> np.ndarray:
    """Returns speech that no dataset uses, float32 [n] at 16 kHz: of the last 10 s of two_cities.wav."""
    if not 0 < seconds <= UNSEEN_SECONDS:
        raise InputError(f"unseen speech lasts {UNSEEN_SECONDS:g} s, asked for {seconds:g}")
    tail = _packaged_speech("two_cities.wav")[-int(UNSEEN_SECONDS * SAMPLE_RATE) :]
    return tail[: round(seconds * SAMPLE_RATE)].copy()


@lru_cache(maxsize=2)
def _packaged_speech(name: str) -> np.ndarray:
    """Returns one of `speech_wavs`, float32 [n] at 16 kHz, read once; it is not to be written to."""
    samples = read_audio(speech_wavs()[name])
    samples.setflags(write=False)
    return samples


def _stretch(speech: np.ndarray, clip: int, clips: int, count: int) -> np.ndarray:
    """Returns the clip's own stretch of speech, float32 [count]: consecutive if there is enough of it, else
    overlapping.
    """
    if len(speech) <= count:
        return np.pad(speech, (0, count - len(speech)))
    last = len(speech) - count
    start = clip * count if clips * count <= len(speech) else round(clip * last / max(1, clips - 1))
    return speech[start : start + count]


@dataclass
class _Take:
    """A clip to be recorded: its speech, float32 [n] at 16 kHz, and what is acted to it."""

    clip: Clip
    samples: np.ndarray
    acted: Performance


def record_dataset(
    output: Path,
    *,
    size: int = 160,
    clip_seconds: float = 2.0,
    emotions: Sequence[str] = CATEGORIES,
    intensities: Sequence[str] = INTENSITIES,
    identity: int = 0,
    seed: int = 0,
    speech: list[Path] | None = None,
    front_end: str = FRONT_END,
    postures: bool = False,
    progress: bool = True,
) -> Dataset:
    """Write a dataset folder: one clip per emotion and intensity, each with its own stretch of speech and head motion.

    size: pixels, square. clip_seconds: length of each clip. identity: who acts. seed: background, blinks and motion.
    speech: audio files to speak, or None for the packaged recordings without their unseen part. front_end: of its
    features. postures: the head is held in a posture of the clip's own (see `postures`), as people hold theirs, and
    hardly moves; else it moves widely in all clips alike. What a killed run has left of a recording is made anew.

    Raises InputError when `output` holds anything else, a label is unknown, or the speech cannot be read.
    """
    output = Path(output)
    _check_free(output)
    count = round(clip_seconds * FPS)
    if count < 2 or size < 32 or not emotions or not intensities:
        raise InputError("clips need at least 2 frames of 32 pixels, an emotion and an intensity")
    labels = [(e, i) for e in emotions for i in intensities]
    takes = _takes(labels, count, identity, seed, training_speech(speech), postures)
    scene = Scene(Actor(identity), size, seed)
    remove_own(output, UNFINISHED)
    make_own(output, UNFINISHED)
    try:
        write_image(output / "background.png", scene.background, root=output)
        dataset = Dataset(
            root=output,
            camera=scene.camera,
            clips=[take.clip for take in takes],
            frames=_record_frames(output, scene, takes, front_end, progress),
            categories=list(emotions),
            intensities=list(intensities),
            front_end=front_end,
            feature_dim=front_end_named(front_end).dim,
            tools={"recorder": RECORDER},
            consent=CONSENT,
        )
        write_dataset(dataset)
    except BaseException:
        remove_own(output, UNFINISHED)
        raise
    disown(output)
    return dataset


def _check_free(output: Path) -> None:
    """Raises InputError where a folder holds anything but an unfinished recording."""
    begun = is_own(output, UNFINISHED) and not (output / "dataset.json").exists()
    if output.exists() and not begun and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output}: already exists; choose a new folder")


def _takes(
    labels: list[tuple[str, str]], count: int, identity: int, seed: int, voice: np.ndarray, own_postures: bool
) -> list[_Take]:
    """Acts a clip of `count` frames for every label; voice: all speech, float32 [n] at 16 kHz."""
    held: Sequence[HeadPose | None] = (
        postures_of([e for e, _ in labels], seed) if own_postures else [None] * len(labels)
    )
    takes = []
    for k, (emotion, intensity) in enumerate(labels):
        clip = Clip(
            name=f"{emotion}_{intensity}",
            source=SOURCE.format(identity),
            first_frame=0,
            count=count,
            emotion=emotion,
            intensity=intensity,
        )
        samples = _stretch(voice, k, len(labels), count * SAMPLE_RATE // FPS)
        acted = perform(samples, count, emotion, intensity, seed=1000 * seed + k, posture=held[k])
        takes.append(_Take(clip, samples, acted))
    return takes


def _record_frames(output: Path, scene: Scene, takes: list[_Take], front_end: str, shown: bool) -> list[Frame]:
    """Writes all that belongs to the clips and returns what is said of their frames; shown: the progress."""
    frames: list[Frame] = []
    moments = [(take, index) for take in takes for index in range(len(take.acted))]
    marks: list[np.ndarray] = []
    for take, index in _progress(moments, "Recording", shown):
        frame, found = _record_frame(output, scene, take.clip.name, take.acted, index)
        frames.append(frame)
        marks.append(found)
        if len(marks) == len(take.acted):
            _write_clip(output, take.clip.name, take.samples, np.stack(marks), front_end)
            marks.clear()
    return frames


def _progress(items: list, label: str, shown: bool) -> Iterable:
    if not shown:
        return items
    from rich.progress import track

    return track(items, description=label)


def _record_frame(output: Path, scene: Scene, clip: str, take: Performance, index: int) -> tuple[Frame, np.ndarray]:
    """Writes the pictures of a clip's frame; returns what is said of it and its landmarks, float32 [478, 3]."""
    drawn = scene.render(take.units[index], take.poses[index])
    frame = Frame(
        clip=clip,
        index=index,
        camera_to_world=drawn.camera_to_world.tolist(),
        face_box=drawn.face_box,
        lips_box=padded_box(drawn.landmarks[OUTER_LIPS], 0.2, scene.size),
        eye_openness=float(take.eye_openness[index]),
    )
    for kind, image in (("images", drawn.image), ("parsing", drawn.parsing), ("torso", drawn.torso)):
        write_image(output / kind / f"{frame.stem}.{'jpg' if kind == 'images' else 'png'}", image, root=output)
    return frame, drawn.landmarks


def _write_clip(output: Path, clip: str, samples: np.ndarray, marks: np.ndarray, front_end: str) -> None:
    """Writes a clip's sound, float32 [n] at 16 kHz, its features and its landmarks, float32 [F, 478, 3]."""
    write_wav(output / "audio" / f"{clip}.wav", samples, root=output)
    features = extract_features(samples, len(marks), front_end)
    write_array(output / "audio_features" / f"{clip}.npy", features, output)
    write_array(output / "landmarks" / f"{clip}.npy", marks, output)


def record_video(
    path: Path,
    *,
    seconds: float,
    size: int = 256,
    emotion: str = "neutral",
    intensity: str = "medium",
    identity: int = 0,
    seed: int = 0,
    samples: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Write a plain video with sound, and its truth beside it as `<stem>.npz`.

    samples: speech, float [n] at 16 kHz, by default training_speech.
    Returns the truth: camera_to_world [F, 4, 4], landmarks [F, 478, 3] pixels, mouth_opening [F] pixels, eye_openness
    [F], focal [1] pixels, background [S, S, 3].
    """
    path = Path(path)
    count = round(seconds * FPS)
    voice = training_speech() if samples is None else np.asarray(samples, np.float32)
    voice = _stretch(voice, 0, 1, count * SAMPLE_RATE // FPS)
    scene = Scene(Actor(identity), size, seed)
    take = perform(voice, count, emotion, intensity, seed=1000 * seed)
    cameras, marks = [], []
    with VideoWriter(path, fps=FPS, size=(size, size), audio=voice, sample_rate=SAMPLE_RATE) as writer:
        for units, pose in zip(take.units, take.poses, strict=True):
            drawn = scene.render(units, pose)
            writer.write(drawn.image)
            cameras.append(drawn.camera_to_world)
            marks.append(drawn.landmarks)
    landmarks = np.array(marks)
    truth = {
        "camera_to_world": np.array(cameras),
        "landmarks": landmarks,
        "mouth_opening": mouth_opening(landmarks),
        "eye_openness": take.eye_openness,
        "focal": np.array([scene.camera.fl_x]),
        "background": scene.background,
    }
    write_arrays(path.with_suffix(".npz"), **truth)
    return truth
