"""The stages of `aed process`: tracking, pictures, pose, parsing, background, torso layer, sound.

Every stage writes files and is then noted in `.stages.json`, so a run that was stopped goes on where it was;
`dataset.json`, which says that the folder is whole, comes last.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from aed_nerfstudio.audio.feature_files import cut_features, read_feature_file
from aed_nerfstudio.audio.features import SAMPLE_RATE, extract_features
from aed_nerfstudio.capture.background import Background, clip_background, merge_backgrounds, sample
from aed_nerfstudio.capture.face_shape import mean_face
from aed_nerfstudio.capture.landmarks import cut, eye_openness, in_picture, smooth_landmarks, to_crop
from aed_nerfstudio.capture.parallel import ahead, in_threads
from aed_nerfstudio.capture.parsers import Parser, open_parser
from aed_nerfstudio.capture.pose_estimation import HeadPoses, PoseReport, estimate_poses
from aed_nerfstudio.capture.quality import (
    BLURRED,
    DETAILED,
    PATCH,
    ClipView,
    clip_view,
    eyes_covered,
    face_detail,
    measure_frame,
    mouth_covered,
    relative_sharpness,
    seen_open,
)
from aed_nerfstudio.capture.rigid_tracks import HeadTracker, RigidTracks
from aed_nerfstudio.capture.segmentation import coarse_person, parse, steady
from aed_nerfstudio.capture.sources import ProcessOptions, Source, stamp
from aed_nerfstudio.capture.stages import Stages, digest
from aed_nerfstudio.capture.takes import Take, crop_takes, split_takes
from aed_nerfstudio.capture.torso import torso_layer
from aed_nerfstudio.capture.tracking import VideoTrack, decoded, track_video
from aed_nerfstudio.capture.upright import LOOKED_AT, FewPictures, turn_command, turned
from aed_nerfstudio.dataset.schema import (
    FLAGS,
    FPS,
    Camera,
    Clip,
    Dataset,
    Frame,
    read_image,
    write_array,
    write_arrays,
    write_dataset,
    write_image,
)
from aed_nerfstudio.driving.emotion import CATEGORIES, INTENSITIES
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.engine import engine_name
from aed_nerfstudio.face.face_mesh import CHIN, COUNT, OUTER_LIPS, padded_box
from aed_nerfstudio.files import inside
from aed_nerfstudio.media.audio_io import is_silent, read_audio, write_wav
from aed_nerfstudio.media.video_reader import probe
from aed_nerfstudio.outside import read_array

VERSION = 5
"""Of the stages: raised when one of them makes something else of the same input."""
FIRST_ENGINE = "mediapipe 0.10.9 face mesh"
"""What found faces before there was a choice: folders begun with it go on, so its name is in no stage's key."""
IMPRECISE = 0.02  # of the picture: mean distance of landmarks from where the pose puts them
UNSURE_FOCAL = 0.2  # standard deviation over value
SHORT_SOUND = 0.5  # seconds that sound may lack at the end without a word
PICTURES = {"images": "jpg", "parsing": "png", "torso": "png"}
"""Folders with a folder for each take, and what its frames' files end in."""
ARRAYS = {"landmarks": "npy", "audio": "wav", "audio_features": "npy"}
"""Folders with a file for each take, and what it ends in."""
WHOLE = "dataset"


def track_key(video: Path, engine: str) -> str:
    """What a video's tracks are made from, and with it all that follows; engine: what finds faces."""
    return digest(VERSION, stamp(video), *([] if engine == FIRST_ENGINE else [engine]))


@dataclass
class TakeState:
    """What is known of a take of F frames so far.

    landmarks: float32 [F, 478, 3] pixels of the crop, NaN where the face was lost. usable: bool [F]. sharpness: [F].
    flags: a list of words for every frame. view: what it shows at all, a `ClipView` as a dictionary, None where no face
    is seen. stream: index in the video of the stream of pictures. key: digest of what its pictures were made from.
    """

    take: Take
    source: Source
    key: str
    landmarks: np.ndarray
    usable: np.ndarray
    sharpness: np.ndarray
    flags: list[list[str]]
    view: dict | None
    stream: int

    @property
    def name(self) -> str:
        return self.take.name


class Processing:
    """One run over the stages of a folder."""

    def __init__(self, sources: list[Source], root: Path, stages: Stages, options: ProcessOptions, progress: bool):
        self.sources, self.root, self.stages, self.options, self.progress = sources, root, stages, options, progress
        self.size = options.size
        self.warnings: list[str] = []

    def run(self, whole: str) -> Dataset:
        """All stages in their order; `whole` is the key of the finished dataset."""
        takes = self._takes()
        poses = self._poses(takes)
        background_key = self._background(takes)
        for take in takes:
            key = digest(background_key, take.key, np.flatnonzero(take.usable).tolist())
            self._stage(f"parsing:{take.name}", key, partial(self._parse, take))
        background = {k: v for k, v in self.stages.found("background").items() if k != "warnings"}
        report = {"pose": poses.report.as_dict(), "background": background, "clips": {}}
        for take in takes:
            source = take.source
            given = [stamp(path) for path in (source.video, source.sound, source.features) if path]
            key = digest(take.take.as_dict(), given, self.options.front_end, self.options.audio_shift)
            sound = self._stage(f"audio:{take.name}", key, partial(self._sound, take))
            report["clips"][take.name] = {
                "audio_shift_seconds": sound["audio_shift_seconds"],
                "crop": list(take.take.crop),  # left, top, side: pixels of the video
                "view": take.view,
            }
        return self._finish(whole, takes, poses, report)

    def _stage(self, name: str, key: str, make: Callable[[bool], dict]) -> dict:
        """A stage's findings; its warnings are collected."""
        found = self.stages.run(name, key, make)
        self.warnings += [text for text in found.get("warnings", []) if text not in self.warnings]
        return found

    def _bar(self, items: Iterable, total: int | None, title: str) -> Iterator:
        return iter(tqdm(items, total=total, desc=title, unit="frame", disable=not self.progress, file=sys.stderr))

    # The videos: tracks, takes, pictures.

    def _takes(self) -> list[TakeState]:
        keys, tracks = [], []
        for source in self.sources:
            keys.append(track_key(source.video, engine_name()))
            self._stage(f"track:{source.name}", keys[-1], partial(self._track, source))
            tracks.append(VideoTrack.load(self._track_file(source)))
        found = self._stage("takes", digest(keys, self.size), lambda _: self._cut(tracks))
        takes = [Take(**{**take, "crop": tuple(take["crop"])}) for take in found["takes"]]
        self.stages.remember(take.name for take in takes)
        states = []
        for number, source in enumerate(self.sources):
            mine = [take for take in takes if take.video == number]
            key = digest(keys[number], [take.as_dict() for take in mine], self.size)
            found = self._stage(f"frames:{source.name}", key, partial(self._frames, source, mine, tracks[number]))
            for take in mine:
                stored = _load(self._measures(take.name))
                flags = [[f for f, on in zip(FLAGS, row, strict=True) if on] for row in stored["flags"]]
                landmarks = np.load(self.root / "landmarks" / f"{take.name}.npy")
                states.append(TakeState(take, source, digest(key, take.name), landmarks, stored["usable"],
                                        stored["sharpness"], flags, found["views"][take.name],
                                        tracks[number].stream))  # fmt: skip
        return states

    def _track_file(self, source: Source) -> Path:
        return self.stages.work / "track" / f"{source.name}.npz"

    def _measures(self, name: str) -> Path:
        return self.stages.work / "frames" / f"{name}.npz"

    def _track(self, source: Source, _: bool) -> dict:
        warnings: list[str] = []
        few = FewPictures()
        total = round(probe(source.video).duration * FPS) or None

        def shown(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
            return few.watch(self._bar(frames, total, f"track {source.name}"))

        try:
            track = track_video(source.video, warnings, shown)
        except InputError:
            _check_upright(source.video, few.kept, None)  # where no face is found, that may be why
            raise
        _check_upright(source.video, few.kept, track)
        track.save(self._track_file(source), self.root)
        return {"warnings": warnings}

    def _cut(self, tracks: list[VideoTrack]) -> dict:
        warnings: list[str] = []
        takes = []
        for number, (source, track) in enumerate(zip(self.sources, tracks, strict=True)):
            takes += split_takes(source.video, number, source.name, track, warnings)
        crop_takes(takes, tracks, [source.video for source in self.sources], self.size, warnings)
        return {"takes": [take.as_dict() for take in takes], "warnings": warnings}

    def _frames(self, source: Source, takes: list[Take], track: VideoTrack, _: bool) -> dict:
        """Pictures of all takes of a video, and what shows in them."""
        warnings: list[str] = []
        landmarks, usable, measures = {}, {}, {}
        for take in takes:
            part = to_crop(track.landmarks[take.first : take.first + take.count], take.crop, self.size)
            usable[take.name] = in_picture(part, self.size)
            landmarks[take.name] = part
            numbers = ("sharpness", "detail", "inside", "opening", "whites")
            measures[take.name] = {"lips": np.zeros((take.count, 2)),
                                   "patch": np.zeros((take.count, PATCH, PATCH), np.uint8),
                                   **{name: np.zeros(take.count) for name in numbers}}  # fmt: skip

        def wanted() -> Iterator[tuple[Take, int, np.ndarray]]:
            last = takes[-1].first + takes[-1].count
            for k, image in enumerate(decoded(source.video, warnings, track.stream)):
                if k >= last:
                    return
                if image.shape[1::-1] != track.size:
                    raise InputError(f"{source.video}: has changed since its face was tracked; process it again into a "
                                     "new folder")  # fmt: skip
                for take in takes:
                    if take.first <= k < take.first + take.count:
                        yield take, k - take.first, image

        def write(item: tuple[Take, int, np.ndarray]) -> None:
            take, k, image = item
            picture = cut(image, take.crop, self.size)
            write_image(self.root / "images" / take.name / f"{k:05d}.jpg", picture, root=self.root)
            if usable[take.name][k]:
                seen = vars(measure_frame(picture, landmarks[take.name][k]))
                # A small picture is sharp whatever the video is, an enlarged one never.
                seen["detail"] = min(seen["detail"], face_detail(image, track.landmarks[take.first + k]))
                for name, value in seen.items():
                    measures[take.name][name][k] = value

        total = sum(take.count for take in takes)
        for _ in self._bar(in_threads(write, ahead(wanted())), total, f"frames {source.name}"):
            pass
        views = {}
        for take in takes:
            there, name = usable[take.name], take.name
            seen = measures[name]
            shares = relative_sharpness(seen["sharpness"], there)
            opened = seen_open(seen["inside"], seen["opening"], there)
            mouth, eyes = mouth_covered(seen["lips"], there, opened), eyes_covered(seen["patch"], there)
            view = clip_view(seen, there)
            views[name] = view and asdict(view)
            flags = {"blurred": shares < BLURRED, "mouth_covered": mouth, "eyes_covered": eyes,
                     "other_face": track.others[take.first : take.first + take.count]}  # fmt: skip
            usable[name] = there & ~mouth
            self._report_frames(take, there, flags, view, warnings)
            table = np.stack([flags.get(flag, np.zeros(take.count, bool)) for flag in FLAGS], axis=1)
            landmarks[name][~there] = np.nan
            write_array(self.root / "landmarks" / f"{name}.npy", smooth_landmarks(landmarks[name]), self.root)
            self._save(self._measures(name), usable=usable[name], sharpness=shares, flags=table)
        return {"views": views, "warnings": warnings}

    def _report_frames(
        self, take: Take, there: np.ndarray, flags: dict[str, np.ndarray], view: ClipView | None, warnings: list[str]
    ) -> None:
        """Says what was found in the frames of a take."""
        lost = int((~there).sum())
        if lost:
            warnings.append(f"{take.name}: face lost or out of the picture in {lost} of {take.count} frames; they are "
                            "left out")  # fmt: skip
        texts = {"mouth_covered": "something covers the mouth in {} of {} frames; they are left out",
                 "eyes_covered": "something covers the eyes in {} of {} frames",
                 "blurred": "{} of {} frames are blurred; light the face better or hold the camera still",
                 "other_face": "several faces in {} of {} frames; the largest one that stays was followed"}  # fmt: skip
        for flag, text in texts.items():
            if flags[flag].any():
                warnings.append(f"{take.name}: {text.format(int(flags[flag].sum()), take.count)}")
        if view is None:
            return
        if view.mouth == "unseen":
            warnings.append(f"{take.name}: the mouth is never seen to open, nor are lips; something covers it all the "
                            "time, and the avatar cannot learn to speak from it")  # fmt: skip
        if view.mouth == "closed":
            warnings.append(f"{take.name}: the mouth is never seen to open; nobody speaks, or something covers it")
        if not view.eyes:
            warnings.append(f"{take.name}: the eyes are never seen; something such as dark glasses covers them")
        if view.detail < DETAILED[0]:
            warnings.append(f"{take.name}: all of it is blurred: a face of {view.detail:.0%} of the height would show "
                            "as much; film it sharp and close, or export it less compressed")  # fmt: skip

    # The camera.

    def _poses(self, takes: list[TakeState]) -> HeadPoses:
        """Poses of all frames; frames whose pose is an outlier are no longer usable."""
        key = digest([take.key for take in takes])
        landmarks = np.concatenate([take.landmarks for take in takes])
        usable = np.concatenate([take.usable for take in takes])
        if not usable.any():
            raise InputError(f"{self.sources[0].video}: no frame shows the whole face with nothing before it; film it "
                             "unobstructed")  # fmt: skip
        self._flows(takes, key, mean_face(landmarks, usable))
        starts = np.cumsum([0, *[len(take.landmarks) for take in takes]]).tolist()
        path = self.stages.work / "pose.npz"

        def make(_: bool) -> dict:
            if self.progress:
                print("pose: bundle adjustment", file=sys.stderr)
            tracks = [RigidTracks(**_load(self._flow_file(take))) for take in takes]
            poses = estimate_poses(landmarks, usable, self.size, starts[:-1], tracks)
            self._save(path, rotations=poses.rotations, translations=poses.translations, shape=poses.shape)
            warnings = []
            if poses.error > IMPRECISE * self.size:
                warnings.append(f"head poses are imprecise: landmarks lie {poses.error:.1f} px from where the pose "
                                "puts them")  # fmt: skip
            if poses.report.focal_deviation > UNSURE_FOCAL * poses.focal:
                spread = poses.report.focal_deviation
                warnings.append(f"the focal length of {poses.focal:.0f} px is unsure by {spread:.0f} px: the head "
                                "turns too little; views from aside will be flat or deep")  # fmt: skip
            return {"focal": poses.focal, "error": poses.error, "report": poses.report.as_dict(), "warnings": warnings}

        found = self._stage("pose", key, make)
        for take, first in zip(takes, starts[:-1], strict=True):
            for k in found["report"]["outliers"]:
                if first <= k < first + len(take.usable) and take.usable[k - first]:
                    take.usable[k - first] = False
                    take.flags[k - first].append("pose_outlier")
        report = PoseReport(**found["report"])
        return HeadPoses(**_load(path), focal=found["focal"], error=found["error"], report=report)

    def _flow_file(self, take: TakeState) -> Path:
        return self.stages.work / "flow" / f"{take.name}.npz"

    def _flows(self, takes: list[TakeState], key: str, face: np.ndarray) -> None:
        """Tracks of all takes, each with the keyframes of those before it."""
        tracker = HeadTracker(face, self.size)
        earlier: list[TakeState] = []  # done in another run, their keyframes not made again yet

        def landmarks(take: TakeState) -> np.ndarray:
            return np.where(take.usable[:, None, None], take.landmarks, np.float32(np.nan))

        for take in takes:
            made = False

            def make(_: bool, take: TakeState = take) -> dict:
                nonlocal made
                made = True
                for other in earlier:
                    keyframes = _load(self._flow_file(other))["keyframes"]
                    tracker.remember(partial(self._picture, other), landmarks(other), keyframes)
                earlier.clear()
                pictures = ahead(self._picture(take, k) for k in range(take.take.count))
                pictures = self._bar(pictures, take.take.count, f"flow {take.name}")
                self._save(self._flow_file(take), **vars(tracker.track(pictures, landmarks(take))))
                return {}

            self._stage(f"flow:{take.name}", digest(key, take.name), make)
            if not made:
                earlier.append(take)

    # The layers.

    def _picture(self, take: TakeState, k: int) -> np.ndarray:
        return read_image(self.root / "images" / take.name / f"{k:05d}.jpg")

    def _evidence_file(self, take: TakeState, k: int) -> Path:
        return self.stages.work / "person" / take.name / f"{k:05d}.png"

    def _evidence(self, take: TakeState, k: int) -> np.ndarray | None:
        there = 0 <= k < take.take.count and take.usable[k]
        return read_image(self._evidence_file(take, k)) if there else None

    def _evidence_around(self, take: TakeState, k: int) -> list[np.ndarray | None]:
        """The evidence of the frame before, of the frame, and of the one after."""
        return [self._evidence(take, n) for n in (k - 1, k, k + 1)]

    def _background_file(self, take: TakeState) -> Path:
        return self.stages.work / "background" / f"{take.name}.npz"

    def _background(self, takes: list[TakeState]) -> str:
        """What the parser sees, and the background of every take and of all together; returns the key of that."""
        options = self.options
        weights = stamp(options.parser_weights) if options.parser_weights else None
        key = digest([[take.key, np.flatnonzero(take.usable).tolist()] for take in takes], options.parser, weights)
        with open_parser(options.parser, options.parser_weights) as parser:
            for take in takes:
                self._stage(f"person:{take.name}", digest(key, take.name), partial(self._person, take, parser))

        def make(_: bool) -> dict:
            found = []
            for take in takes:
                there = np.flatnonzero(take.usable)
                if there.size:
                    picks = there[sample(len(there), self.size)].tolist()
                    found.append(clip_background(self._seen(take, k) for k in picks))
                    found[-1].write(self._background_file(take), self.root)
            write_image(self.root / "background.png", merge_backgrounds(found), root=self.root)
            reports = [background.report() for background in found]
            worst = max(reports, key=lambda report: report["moving"])
            warnings = []
            if worst["moves"]:
                warnings.append(f"the background moves ({worst['moving']:.0%} of what is seen of it); the avatar "
                                "stands before a still picture")  # fmt: skip
            return {**worst, "unseen": min(report["unseen"] for report in reports), "warnings": warnings}

        self._stage("background", key, make)
        return key

    def _seen(self, take: TakeState, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image, points = self._picture(take, k), take.landmarks[k]
        return image, coarse_person(image, points, steady(self._evidence_around(take, k))), points[CHIN]

    def _person(self, take: TakeState, parser: Parser, going_on: bool) -> dict:
        frames = [k for k in np.flatnonzero(take.usable).tolist()
                  if not (going_on and self._evidence_file(take, k).exists())]  # fmt: skip
        pictures = ahead((k, self._picture(take, k)) for k in frames)
        for k, picture in self._bar(pictures, len(frames), f"person {take.name}"):
            evidence = parser.evidence(picture, take.landmarks[k])
            write_image(self._evidence_file(take, k), evidence, root=self.root)
        return {}

    def _parse(self, take: TakeState, going_on: bool) -> dict:
        """Parsing maps and torso layers of the usable frames."""
        frames = np.flatnonzero(take.usable).tolist()
        background = Background.read(self._background_file(take)) if frames else None

        def work(k: int) -> None:
            paths = [self.root / part / take.name / f"{k:05d}.png" for part in ("parsing", "torso")]
            if going_on and all(path.exists() for path in paths):
                return
            image = self._picture(take, k)
            labels = parse(image, take.landmarks[k], self._evidence_around(take, k), background)
            write_image(paths[0], labels, root=self.root)
            write_image(paths[1], torso_layer(image, labels, background), root=self.root)

        for _ in self._bar(in_threads(work, frames), len(frames), f"parsing {take.name}"):
            pass
        return {}

    # The sound, and the end.

    def _sound(self, take: TakeState, _: bool) -> dict:
        """The take's sound, exactly as long as its frames, and the features of it."""
        source, options = take.source, self.options
        first, count = take.take.first, take.take.count
        warnings: list[str] = []
        length = count * SAMPLE_RATE // FPS
        samples = np.zeros(0, np.float32)
        if options.front_end != "none" and (source.sound or probe(source.video).has_audio):
            start = first * SAMPLE_RATE // FPS + round(options.audio_shift * SAMPLE_RATE)
            beside = None if source.sound else take.stream
            samples = read_audio(source.sound or source.video, SAMPLE_RATE, beside=beside, notes=warnings)
            samples = samples[start:] if start >= 0 else np.pad(samples, (-start, 0))
            samples = samples[:length]
            missing = (length - len(samples)) / SAMPLE_RATE
            if missing > SHORT_SOUND:
                warnings.append(f"{take.name}: the sound ends {missing:.1f} s before the picture; silence stands in")
            if is_silent(samples):
                warnings.append(f"{take.name}: its sound is silent; the mouth cannot learn from it")
        samples = np.pad(samples, (0, length - len(samples)))
        write_wav(self.root / "audio" / f"{take.name}.wav", samples, SAMPLE_RATE, self.root)
        if self.progress:
            print(f"audio {take.name}: features by {options.front_end}", file=sys.stderr)
        if source.features:
            video_frames = len(VideoTrack.load(self._track_file(source)).others)
            whole = read_feature_file(source.features, video_frames)
            features = cut_features(whole, first, count, options.audio_shift)
        else:
            features = extract_features(samples, count, options.front_end)
        write_array(self.root / "audio_features" / f"{take.name}.npy", features, self.root)
        return {"warnings": warnings, "audio_shift_seconds": options.audio_shift}

    def _finish(self, whole: str, takes: list[TakeState], poses: HeadPoses, report: dict) -> Dataset:
        """Removes what earlier tries left and writes the description."""
        self._remove_older({take.name: take.take.count for take in takes})
        clips, frames, first = [], [], 0
        cameras = poses.camera_to_world()
        for take in takes:
            count, source = take.take.count, take.source
            clips.append(Clip(take.name, source.video.name, first, count, source.emotion, source.intensity,
                              take.take.first / FPS))  # fmt: skip
            frames += _frames(take, cameras[first : first + count], self.size)
            first += count
        # Of the files: what 0.1 has noted of a sound lacks it where a full disk had stopped its last stage.
        dims = {read_array(self.root / "audio_features" / f"{take.name}.npy").shape[1] for take in takes}
        if len(dims) > 1:
            raise InputError(f"{self.root}: the feature files have different sizes ({sorted(dims)}); give files of one "
                             "front end")  # fmt: skip
        report["seconds"] = self.stages.seconds()
        options, size = self.options, self.size
        dataset = Dataset(
            root=self.root,
            camera=Camera(poses.focal, poses.focal, size / 2, size / 2, size, size),
            clips=clips,
            frames=frames,
            categories=list(dict.fromkeys([*CATEGORIES, *(source.emotion for source in self.sources)])),
            intensities=list(INTENSITIES),
            front_end=options.front_end,
            feature_dim=dims.pop(),
            warnings=self.warnings,
            tools={
                "landmarks": engine_name(),
                "parsing": options.parser,
                "pose": f"mean reprojection error {poses.error:.2f} px, focal length {poses.focal:.0f} px",
            },
            report=report,
            consent=options.consent,
        )
        self.stages.run(WHOLE, whole, lambda _: write_dataset(dataset))
        if self.progress:
            for text in self.warnings:
                print(f"warning: {text}", file=sys.stderr)
        return dataset

    def _remove_older(self, counts: dict[str, int]) -> None:
        """Removes what earlier tries made and this one did not, and nothing that others have put into the folder.

        counts: frames by the names of this run's takes.
        """
        for name in {*self.stages.made, *counts}:
            for part, suffix in PICTURES.items():
                folder = inside(self.root / part / name, self.root)
                for path in folder.iterdir() if folder.is_dir() else ():
                    if re.fullmatch(rf"\d{{5,}}\.{suffix}", path.name) and int(path.stem) >= counts.get(name, 0):
                        path.unlink()
                if name not in counts:
                    with contextlib.suppress(OSError):  # there is none, or something of others is in it
                        folder.rmdir()
            for part, suffix in ARRAYS.items() if name not in counts else ():
                inside(self.root / part / f"{name}.{suffix}", self.root).unlink(missing_ok=True)

    def _save(self, path: Path, **arrays: np.ndarray | int) -> None:
        """Something between two stages."""
        write_arrays(path, self.root, **arrays)


def _check_upright(video: Path, pictures: dict[int, np.ndarray], track: VideoTrack | None) -> None:
    """Raises InputError where the video lies on its side or upside down; pictures: some of it, by frame."""
    marks = {k: np.full((COUNT, 3), np.nan, np.float32) for k in pictures}
    if track:
        scale = {k: np.float32(picture.shape[1] / track.size[0]) for k, picture in pictures.items()}
        marks = {k: track.landmarks[k] * scale[k] for k in pictures}
        marks = {k: points for k, points in marks.items() if np.isfinite(points).all()}
    picks = [list(marks)[n] for n in np.unique(np.linspace(0, len(marks) - 1, LOOKED_AT).astype(int))] if marks else []
    quarters = turned([pictures[k] for k in picks], [marks[k] for k in picks])
    if quarters:
        how = "upside down" if quarters == 2 else "on its side"
        raise InputError(f"{video}: the face lies {how}; turn the video with {turn_command(quarters)}")


def _load(path: Path) -> dict:
    with np.load(path) as stored:
        return {name: stored[name] if stored[name].ndim else stored[name].item() for name in stored.files}


def _frames(take: TakeState, cameras: np.ndarray, size: int) -> list[Frame]:
    """The dataset's frames of one clip; boxes of unusable frames are the whole picture."""
    openness = eye_openness(take.landmarks)
    frames = []
    for k, landmarks in enumerate(take.landmarks):
        usable = bool(take.usable[k])
        face = padded_box(landmarks, 0.05, size) if usable else [0, 0, size, size]
        lips = padded_box(landmarks[OUTER_LIPS], 0.2, size) if usable else [0, 0, size, size]
        frames.append(Frame(take.name, k, cameras[k].tolist(), face, lips, float(openness[k]), usable,
                            float(take.sharpness[k]), take.flags[k]))  # fmt: skip
    return frames
