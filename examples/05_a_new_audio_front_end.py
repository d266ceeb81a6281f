"""Teach avatars to listen with a front end of your own, which turns sound into features 50 times a second.

This one hears loudness and how often the sound crosses zero: two numbers a step, enough to open and round a mouth.
Every process that uses such an avatar has to register its front end first. One that others should have belongs into the
package: CONTRIBUTING.md says how.

    python examples/05_a_new_audio_front_end.py
"""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro
from aed_nerfstudio.method_configs.aed_nerf import aed_nerf_tiny
from nerfstudio.scripts.train import main as train

from aed_nerfstudio.audio.features import STEP, AudioFrontEnd, register_front_end
from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.synthetic.record import record_dataset, unseen_speech


def loudness_and_crossings(samples: np.ndarray) -> np.ndarray:
    """Returns float32 [steps, 2] at 50 Hz of samples, float32 [n] mono at 16 kHz."""
    steps = -(-samples.size // STEP)
    blocks = np.pad(samples, (0, steps * STEP - samples.size)).reshape(steps, STEP)
    loudness = np.log(np.square(blocks).mean(axis=1) + 1e-6)
    crossings = (np.diff(np.signbit(blocks), axis=1) != 0).mean(axis=1)
    return np.stack([loudness, crossings], axis=1).astype(np.float32)


FRONT_END = register_front_end(AudioFrontEnd("loudness-and-crossings", 2, loudness_and_crossings))


def main(output: Path = Path("outputs/examples/front-end"), steps: int = 60, size: int = 64) -> None:
    """Record the actor with the front end, train an avatar, and let it speak.

    Args:
        output: folder for the recording, the run and the video.
        steps: of the training.
        size: side of the actor's pictures, in pixels.
    """
    data = output / "data"
    if not (data / "dataset.json").exists():
        record_dataset(data, size=size, clip_seconds=1.6, emotions=("neutral",), intensities=("weak",),
                       front_end=FRONT_END.name)  # fmt: skip

    config = copy.deepcopy(aed_nerf_tiny.config)
    config.data = data
    config.output_dir, config.experiment_name, config.timestamp = output, "actor", "example"
    config.vis = "tensorboard"
    head, lips = round(0.6 * steps), round(0.1 * steps)
    schedule = config.pipeline.model.schedule
    config.pipeline.model.schedule = replace(schedule, head=head, lips=lips, torso=steps - head - lips)
    config.max_num_iterations = steps
    train(config)

    speaker = Avatar.load(config.get_base_dir() / "config.yml")
    samples = unseen_speech(2.0)
    speaker.write_video(output / "speech.mp4", speaker.track(samples, speaker.vocabulary.encode()), samples)
    print(f"It hears by {FRONT_END.name}: {output / 'speech.mp4'}")


if __name__ == "__main__":
    tyro.cli(main)
