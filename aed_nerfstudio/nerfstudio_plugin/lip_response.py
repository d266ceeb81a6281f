"""How far an avatar's lips go where they are told the recorded ones, and by what they are to be told more."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from jaxtyping import Float

from aed_nerfstudio.avatar.avatar import Avatar, to_uint8
from aed_nerfstudio.dataset.frames import decode, over_background
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.face_mesh import lip_shape
from aed_nerfstudio.nerfstudio_plugin.model import AedNerfModel
from aed_nerfstudio.nerfstudio_plugin.processes import broadcast

FEWEST = 12
"""Frames in whose renders a face is found, below which nothing is told."""
FOLLOWS = 0.5
"""Correlation with the recorded ones from which on a lip distance follows what it is told."""
MOST = 1.5
"""Ratio of the recorded deviation to the shown one, or the reverse, that is made up for at most: beyond it lies what
the field has never been told."""


def response(
    shown: Float[np.ndarray, "f lips"], recorded: Float[np.ndarray, "f lips"], labels: list[str]
) -> Float[np.ndarray, " lips"]:
    """Returns by what lip shapes are to be multiplied so that those which are shown move as far as the recorded ones:
    the ratio of deviations about the means of the labels, 1 / `MOST` to `MOST`; 1 for what does not follow.

    Args:
        shown: lip shapes of renders that were told the recorded ones, [F, 4]. recorded: those, [F, 4].
        labels: of the frames, F.
    """
    shown, recorded = shown.copy(), recorded.copy()
    for label in set(labels):
        own = np.array(labels) == label
        shown[own] -= shown[own].mean(0)
        recorded[own] -= recorded[own].mean(0)
    spread, whole = shown.std(0) + 1e-9, recorded.std(0) + 1e-9
    r = (shown * recorded).mean(0) / (spread * whole)
    return np.where(r > FOLLOWS, np.clip(whole / spread, 1 / MOST, MOST), 1.0)


def fit_response(model: AedNerfModel, frames: int) -> None:
    """Renders so many training frames, evenly spread, with their recorded lips, and has the network's `LinearLips` make
    up for what the renders' lips move less, or more.

    A mouth that was seen for a few thousand steps opens less than it is told to: the picture between two shapes is a
    blur of both. Frames whose sound was not learned from are taken where there are some: in others the field knows from
    the sound how far the lips went. Where there is no sound, lips are told nothing, and nothing is measured. Says in
    one line what it found, or why it has found nothing: MediaPipe is not installed, or few renders show a face.
    """
    lips = model.network.linear_lips
    if lips is None or model.lips is None or model.dataset is None or model.track is None or model.lips.silent:
        return
    some = model.lips.unheard_frames or model.train_frames
    picks = [some[k] for k in np.unique(np.linspace(0, len(some) - 1, frames).astype(int))]
    try:
        shown, recorded = _lips_of(model, picks)
    except (ImportError, InputError) as error:
        print(f"how far the lips follow was not measured: {error}")
        return
    found = np.isfinite(shown).all(1) & np.isfinite(recorded).all(1)
    if found.sum() < FEWEST:
        print(f"how far the lips follow was not measured: {found.sum()} of {len(picks)} renders show a face")
        return
    labels = model.dataset.labels
    gain = response(shown[found], recorded[found], [labels[picks[k]] for k in np.flatnonzero(found)])
    lips.response.copy_(torch.from_numpy(gain))
    broadcast([lips.response])
    print(f"lip distances are told {' '.join(f'{value:.2f}' for value in gain)} times as far as they are read, "
          "so that the renders' lips move as far as the recorded ones")  # fmt: skip


def _lips_of(model: AedNerfModel, picks: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lip shapes of renders of some frames that are told the recorded ones, and of the recorded pictures,
    [F, 4] each; NaN without a face."""
    from aed_nerfstudio.face.face_finder import FaceFinder

    if model.dataset is None or model.track is None or model.lips is None:
        raise ValueError("an avatar without its recording has no true lips")
    avatar, dataset = Avatar(model.network), model.dataset
    background_of = cache(dataset.static_background)
    training = model.network.training
    marks = []
    model.network.eval()
    try:
        with FaceFinder() as finder, torch.no_grad():
            for i in picks:
                pixels, condition = decode(dataset, i), model.track[i]
                told = model.network.encode([condition])._replace(articulation=model.lips.lip_shapes[i : i + 1])
                layers = avatar.images(condition, encoded=told)
                # The torso is trained later.
                background = torch.from_numpy(background_of(dataset.frames[i].clip))
                behind = over_background(torch.from_numpy(pixels.torso), background).to(avatar.device)
                render = to_uint8(layers["head"] + (1 - layers["accumulation"]) * behind)
                marks.append([finder.landmarks(render), finder.landmarks(pixels.image)])
    finally:
        model.network.train(training)
    shapes = lip_shape(np.array(marks, np.float64))
    return shapes[:, 0], shapes[:, 1]
