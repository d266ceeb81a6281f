"""The stages of `aed process` in their order: tracks, takes, pictures, poses, layers, backgrounds, sound, description.

Every stage writes files and is then noted in `.stages.json`, so a run that was stopped goes on where it was;
`dataset.json`, which says that the folder is whole, comes last.
"""

from __future__ import annotations

from aed_nerfstudio.capture.backdrop import unite_backgrounds
from aed_nerfstudio.capture.context import Capture
from aed_nerfstudio.capture.description import describe, remove_older
from aed_nerfstudio.capture.layer_stages import make_layers
from aed_nerfstudio.capture.picture_stages import make_pictures
from aed_nerfstudio.capture.pose_stages import find_poses
from aed_nerfstudio.capture.sound_stages import make_sound
from aed_nerfstudio.capture.take_stages import cut_takes, track_videos
from aed_nerfstudio.dataset.schema import Dataset, write_dataset

WHOLE = "dataset"
"""The last stage."""


def run_stages(run: Capture, whole: str) -> Dataset:
    """Makes the dataset, of which earlier runs may have made a part; whole: the key of the last stage.

    Raises:
        InputError: a video cannot be used, or something cannot be written.
    """
    keys, tracks = track_videos(run)
    takes = make_pictures(run, keys, tracks, cut_takes(run, keys, tracks))
    poses = find_poses(run, takes)
    background = make_layers(run, takes)
    replaced = unite_backgrounds(run, takes)
    shifts = make_sound(run, takes)
    remove_older(run.root, run.stages.made, {take.name: take.take.count for take in takes})
    dataset = describe(run, takes, poses, background, shifts, replaced)
    run.stages.run(WHOLE, whole, lambda _: write_dataset(dataset))
    for text in run.warnings:
        run.say(f"warning: {text}")
    return dataset
