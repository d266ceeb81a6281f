"""The sound of all takes, exactly as long as their frames, and its features."""

from __future__ import annotations

from functools import partial

import numpy as np

from aed_nerfstudio.audio.feature_files import cut_features, read_feature_file
from aed_nerfstudio.audio.features import SAMPLE_RATE, extract_features
from aed_nerfstudio.capture.context import Capture, TakeState
from aed_nerfstudio.capture.take_stages import read_track
from aed_nerfstudio.dataset.schema import FPS, write_array
from aed_nerfstudio.files import digest, stamp
from aed_nerfstudio.media.audio_io import is_silent, read_audio, write_wav
from aed_nerfstudio.media.video_reader import probe

SHORT_SOUND = 0.5  # seconds that sound may lack at the end without a word


def make_sound(run: Capture, takes: list[TakeState]) -> dict[str, float]:
    """Makes the stages `audio:`: writes sound and features; returns the seconds by which each take's was shifted."""
    shifts = {}
    for take in takes:
        source = take.source
        files = [stamp(path) for path in (source.video, source.sound, source.features) if path]
        key = digest(take.take.as_dict(), files, run.options.front_end, run.options.audio_shift)
        shifts[take.name] = run.stage(f"audio:{take.name}", key, partial(_sound, run, take))["audio_shift_seconds"]
    return shifts


def _sound(run: Capture, take: TakeState, _: bool) -> dict:
    options, count = run.options, take.take.count
    warnings: list[str] = []
    samples = _samples(run, take, warnings)
    write_wav(run.root / "audio" / f"{take.name}.wav", samples, SAMPLE_RATE, run.root)
    run.say(f"audio {take.name}: features by {options.front_end}")
    if take.source.features:
        video_frames = len(read_track(run, take.source).others)
        whole = read_feature_file(take.source.features, video_frames)
        features = cut_features(whole, take.take.first, count, options.audio_shift)
    else:
        features = extract_features(samples, count, options.front_end)
    write_array(run.root / "audio_features" / f"{take.name}.npy", features, run.root)
    return {"warnings": warnings, "audio_shift_seconds": options.audio_shift}


def _samples(run: Capture, take: TakeState, warnings: list[str]) -> np.ndarray:
    """Reads a take's sound, float32 [n] at 16 kHz; silence where there is none."""
    source, options = take.source, run.options
    length = take.take.count * SAMPLE_RATE // FPS
    samples = np.zeros(0, np.float32)
    if options.front_end != "none" and (source.sound or probe(source.video).has_audio):
        start = take.take.first * SAMPLE_RATE // FPS + round(options.audio_shift * SAMPLE_RATE)
        beside = None if source.sound else take.stream
        samples = read_audio(source.sound or source.video, SAMPLE_RATE, beside=beside, notes=warnings)
        samples = samples[start:] if start >= 0 else np.pad(samples, (-start, 0))
        samples = samples[:length]
        missing = (length - len(samples)) / SAMPLE_RATE
        if missing > SHORT_SOUND:
            warnings.append(f"{take.name}: the sound ends {missing:.1f} s before the picture; silence stands in")
        if is_silent(samples):
            warnings.append(f"{take.name}: its sound is silent; the mouth cannot learn from it")
    return np.pad(samples, (0, length - len(samples)))
