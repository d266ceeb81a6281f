"""Let an avatar speak while its emotion changes: keyframes over time, and what lies between them.

python examples/02_render_with_an_emotion_curve.py
python examples/02_render_with_an_emotion_curve.py --avatar CONFIG.yml --audio hello.wav --emotion sad
"""

from pathlib import Path

import tyro

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.driving.emotion_track import EmotionTrack, keyframe
from aed_nerfstudio.media.audio_io import read_audio
from aed_nerfstudio.synthetic.record import unseen_speech


def main(
    avatar: Path = Path("outputs/examples/actor/aed-nerf-tiny/example/config.yml"),
    audio: Path | None = None,
    emotion: str = "happy",
    output: Path = Path("outputs/examples/curve.mp4"),
) -> None:
    """Render a video in which an emotion comes and goes.

    Args:
        avatar: an avatar file or the config.yml of a run; that of the first example when left out.
        audio: what is said, any audio or video file; two seconds that come with the package when left out.
        emotion: what neutral turns into by the middle of the sound, and back from by its end.
        output: the video to write.
    """
    speaker = Avatar.load(avatar)
    samples = unseen_speech(2.0) if audio is None else read_audio(audio)
    seconds = len(samples) / SAMPLE_RATE
    vocabulary = speaker.vocabulary
    curve = EmotionTrack(
        vocabulary,
        [
            keyframe(vocabulary, 0.0, "neutral", None),
            keyframe(vocabulary, seconds / 2, emotion, None),  # None: as near to medium as was recorded
            keyframe(vocabulary, seconds, "neutral", None),
        ],
    )
    # Any function of the time in seconds does: lambda t: vocabulary.encode({"neutral": 0.5, "happy": 0.5})
    track = speaker.track(samples, curve)
    speaker.write_video(output, track, samples)
    print(f"{output}: {len(track)} frames, with sound")


if __name__ == "__main__":
    tyro.cli(main)
