"""What checkpoints say of an avatar's portrait, and how it is taken over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Tensor

from aed_nerfstudio.audio.feature_files import is_file_front_end
from aed_nerfstudio.avatar.portrait import Portrait, Provenance
from aed_nerfstudio.dataset.torso_motion import MOTION_DIM
from aed_nerfstudio.errors import InputError


def told_by_checkpoints(portrait: Portrait) -> dict:
    """Returns what checkpoints store of a portrait: plain values and tensors."""
    return {
        "front_end": portrait.front_end,  # these three also for version 0.1, which knows no portrait
        "feature_dim": portrait.feature_dim,
        "consent": portrait.provenance.consent,
        "portrait": {
            "facts": portrait.facts(),
            "arrays": {name: torch.from_numpy(np.array(array)) for name, array in portrait.arrays().items()},
        },
    }


def with_checkpoint(portrait: Portrait, state: Mapping, shoulders: bool, made_of: str) -> Portrait:
    """Returns a portrait with where a checkpoint's avatar comes from.

    Args:
        portrait: of the recording that is at hand.
        state: what `told_by_checkpoints` returned, in any version.
        shoulders: whether the motion of the shoulders is taken over, too.
        made_of: what the portrait was made of, as errors name it.

    Raises:
        InputError: the avatar was trained on other audio features than these; its `front_end` may be None: unknown.
    """
    name, dim = state["front_end"], state["feature_dim"]
    portrait = portrait.noting(**_provenance(state))
    torso = _torso(state, portrait.frames) if shoulders else None
    if torso is not None:
        portrait = portrait.moving(torso)
    if dim == portrait.feature_dim and name in (None, portrait.front_end):
        return portrait
    trained = f"{name or 'other ones'} ({dim} numbers a step)"
    option = f"{name or 'NAME'}{' --features-file X.npy' if name and is_file_front_end(name) else ''}"
    raise InputError(
        f"{made_of}: has audio features {portrait.front_end} ({portrait.feature_dim} numbers a step), but "
        f"this avatar was trained on {trained}; give it a dataset made by `aed process VIDEO --output FOLDER "
        f"--audio-features {option}`, or train a new avatar on this one"
    )


def _torso(state: Mapping, frames: Int32[np.ndarray, " f"]) -> Float[np.ndarray, "f m"] | None:
    """Returns the motion of the shoulders that a checkpoint's portrait has, [F, M]; None where it has none, or is of
    other training frames than these [F]."""
    portrait = state.get("portrait")
    arrays = portrait.get("arrays") if isinstance(portrait, Mapping) else None
    if not isinstance(arrays, Mapping):
        return None
    torso, own = arrays.get("torso"), arrays.get("frames")
    if not (isinstance(torso, Tensor) and isinstance(own, Tensor) and np.array_equal(own.numpy(), frames)):
        return None
    return torso.numpy() if torso.shape == (len(frames), MOTION_DIM) and torch.isfinite(torso).all() else None


def _provenance(state: Mapping) -> dict[str, str]:
    """Returns where a checkpoint's avatar comes from, as far as its extra state says it in words."""
    told = {"consent": state.get("consent")}
    portrait = state.get("portrait")
    facts = portrait.get("facts") if isinstance(portrait, Mapping) else None
    noted = facts.get("provenance") if isinstance(facts, Mapping) else None
    told |= {f.name: noted.get(f.name) for f in fields(Provenance)} if isinstance(noted, Mapping) else {}
    return {name: text for name, text in told.items() if isinstance(text, str)}
