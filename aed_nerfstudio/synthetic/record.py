"""Recordings of the synthetic actor: dataset folders with exact labels, and plain videos with their truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aed_nerfstudio.audio.features import FRONT_ENDS, SAMPLE_RATE, extract_features, speech_wavs
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
from aed_nerfstudio.face.face_mesh import COUNT, OUTER_LIPS, mouth_opening, padded_box
from aed_nerfstudio.files import disown, is_own, make_own, remove_own
from aed_nerfstudio.media.audio_io import read_audio, write_wav
from aed_nerfstudio.media.video_writer import VideoWriter
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import Performance, perform
from aed_nerfstudio.synthetic.scene import Scene

FRONT_END = "moonshine"
UNSEEN_SECONDS = 10.0
CONSENT = "Nobody is shown: a computer-made actor."
UNFINISHED = "folder for an unfinished recording"


def training_speech(speech: Sequence[Path] | None = None) -> np.ndarray:
    """Returns speech for the clips, float32 [n] at 16 kHz: the given files, or the two of speech_wavs without
    unseen_speech.
    """
    if speech is not None:
        if not speech:
            raise InputError("speech: no file given; name at least one, or leave it out")
        return np.concatenate([read_audio(path) for path in speech])
    wavs = speech_wavs()
    cities = read_audio(wavs["two_cities.wav"])
    return np.concatenate([cities[: -int(UNSEEN_SECONDS * SAMPLE_RATE)], read_audio(wavs["beckett.wav"])])


def unseen_speech(seconds: float = UNSEEN_SECONDS) -> np.ndarray:
    """Returns speech that no dataset uses, float32 [n] at 16 kHz: of the last 10 s of two_cities.wav."""
    if not 0 < seconds <= UNSEEN_SECONDS:
        raise InputError(f"unseen speech lasts {UNSEEN_SECONDS:g} s, asked for {seconds:g}")
    tail = read_audio(speech_wavs()["two_cities.wav"])[-int(UNSEEN_SECONDS * SAMPLE_RATE) :]
    return tail[: round(seconds * SAMPLE_RATE)]


def _stretch(speech: np.ndarray, clip: int, clips: int, count: int) -> np.ndarray:
    """Returns the clip's own stretch of speech, float32 [count]: consecutive if there is enough of it, else
    overlapping.
    """
    if len(speech) <= count:
        return np.pad(speech, (0, count - len(speech)))
    last = len(speech) - count
    start = clip * count if clips * count <= len(speech) else round(clip * last / max(1, clips - 1))
    return speech[start : start + count]


def _progress(items: range, label: str, shown: bool):
    if not shown:
        return items
    from rich.progress import track

    return track(items, description=label)


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
    progress: bool = True,
) -> Dataset:
    """Write a dataset folder: one clip per emotion and intensity, each with its own stretch of speech and head motion.

    size: pixels, square. clip_seconds: length of each clip. identity: who acts. seed: background, blinks and motion.
    speech: audio files to speak, or None for the packaged recordings without their unseen part. front_end: of its
    features. What a killed run has left of a recording is made anew.

    Raises InputError when `output` holds anything else, a label is unknown, or the speech cannot be read.
    """
    output = Path(output)
    begun = is_own(output, UNFINISHED) and not (output / "dataset.json").exists()
    if output.exists() and not begun and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output}: already exists; choose a new folder")
    count = round(clip_seconds * FPS)
    if count < 2 or size < 32 or not emotions or not intensities:
        raise InputError("clips need at least 2 frames of 32 pixels, an emotion and an intensity")
    voice = training_speech(speech)
    scene = Scene(Actor(identity), size, seed)
    labels = [(e, i) for e in emotions for i in intensities]
    takes = []
    for k, (emotion, intensity) in enumerate(labels):
        samples = _stretch(voice, k, len(labels), count * SAMPLE_RATE // FPS)
        takes.append((samples, perform(samples, count, emotion, intensity, seed=1000 * seed + k)))
    clips = [
        Clip(name=f"{e}_{i}", source=f"synthetic actor {identity}", first_frame=0, count=count, emotion=e, intensity=i)
        for e, i in labels
    ]
    frames: list[Frame] = []
    remove_own(output, UNFINISHED)
    make_own(output, UNFINISHED)
    try:
        write_image(output / "background.png", scene.background, root=output)
        for n in _progress(range(len(clips) * count), "Recording", progress):
            k, f = divmod(n, count)
            if f == 0:
                marks = np.zeros((count, COUNT, 3), np.float32)
            frame, marks[f] = _record_frame(output, scene, clips[k].name, takes[k][1], f)
            frames.append(frame)
            if f == count - 1:
                _write_clip(output, clips[k].name, takes[k][0], marks, front_end)
        dataset = Dataset(
            root=output,
            camera=scene.camera,
            clips=clips,
            frames=frames,
            categories=list(emotions),
            intensities=list(intensities),
            front_end=front_end,
            feature_dim=FRONT_ENDS[front_end].dim,
            tools={"recorder": "aed_nerfstudio.synthetic"},
            consent=CONSENT,
        )
        write_dataset(dataset)
    except BaseException:
        remove_own(output, UNFINISHED)
        raise
    disown(output)
    return dataset


def _record_frame(output: Path, scene: Scene, clip: str, take: Performance, index: int) -> tuple[Frame, np.ndarray]:
    """Writes the pictures of a clip's frame; returns what is said of it and its landmarks, float32 [478, 3]."""
    drawn = scene.render(take.units[index], take.poses[index])
    frame = Frame(
        clip=clip,
        index=index,
        camera_to_world=drawn.camera_to_world.tolist(),
        face_box=padded_box(drawn.landmarks, 0.05, scene.size),
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
