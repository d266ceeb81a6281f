"""The avatar file, `*.avatar`: an avatar as one file that may be opened when it comes from a stranger.

It is a safetensors file: the length of its header, the header as JSON, and numbers; no pickle and no code. The header's
`__metadata__` has `format`, `version`, `avatar` (JSON: the portrait's facts, the network's settings, name and step) and
`sha256`: of the whole file, with 64 zeros in its own place. Tensors are the network's weights by their names (hash
grids in half precision where that was asked for), `occupied` (the occupancy grid, a bit a cell) and the portrait's
arrays as `portrait.NAME`, of which the background is a PNG file's bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from aed_nerfstudio.avatar.network import BOUNDS, Network, NetworkSettings
from aed_nerfstudio.avatar.portrait import DTYPES, Portrait
from aed_nerfstudio.backends import had_here
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.fields.hash_grid import HashGridLayout
from aed_nerfstudio.fields.linear_lips import LATER as LATER_LIPS
from aed_nerfstudio.files import write
from aed_nerfstudio.outside import can_be_name, parse_json, read_bytes

FORMAT, VERSION = "aed-nerfstudio avatar", "1"
MOST_BYTES = 1 << 30
"""Of a file; avatars have some 30 MB."""
MOST_HEADER = 1 << 20
"""Bytes of a file's header."""
ZEROS = "0" * 64
DERIVED = ("background", "occupancy.")
"""Beginnings of the names of weights that are not stored, because the rest says what they are."""
LATER = {"lid_gain", "lip_warp", "smooth_shading", "take_light", "torso_motion"}
"""Settings that files of before they were there leave out."""
HALF = torch.float32, torch.float16
"""Kinds of a network's weight and of what a file may store of it."""
MEND = "get it again from where it came from, or pack it anew with `aed pack`"


def write_avatar(path: Path, network: Network, name: str, step: int, half: bool = True) -> None:
    """Writes an avatar file, whole or not at all.

    Args:
        path: the file; its folder is made.
        network: of the avatar, with trained weights.
        name: for people.
        step: of the training.
        half: whether the hash grids are stored in half precision.

    Raises:
        InputError: it cannot be written.
    """
    settings = {f.name: getattr(network.settings, f.name) for f in fields(NetworkSettings) if f.name != "backend"}
    facts = {
        "portrait": network.portrait.facts(),
        "settings": settings,
        "has_torso": network.torso is not None,
        "name": name,
        "step": step,
    }
    told = {"format": FORMAT, "version": VERSION, "avatar": json.dumps(facts, allow_nan=False), "sha256": ZEROS}
    content = save(_tensors(network, half), told)
    checksum = hashlib.sha256(content).hexdigest()
    write(path, content.replace(_checksum(ZEROS), _checksum(checksum), 1))


def _checksum(digits: str) -> bytes:
    """Returns how a header holds a checksum; no text within another of the header's can look like this, its quotes
    being escaped."""
    return f'"sha256":"{digits}"'.encode()


def _tensors(network: Network, half: bool) -> dict[str, Tensor]:
    tensors = {}
    for name, value in network.state_dict().items():
        if torch.is_tensor(value) and not name.startswith(DERIVED):
            is_grid = half and name.endswith("grid.params")
            tensors[name] = value.detach().cpu().to(torch.float16 if is_grid else value.dtype).contiguous()
    occupied = network.occupancy.binaries.detach().cpu().numpy().ravel()
    tensors["occupied"] = torch.from_numpy(np.packbits(occupied))
    for name, array in network.portrait.arrays().items():
        tensors[f"portrait.{name}"] = torch.from_numpy(np.array(_png(array) if name == "background" else array))
    return tensors


def _png(image: np.ndarray) -> np.ndarray:
    """Returns the bytes of a picture's PNG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return np.frombuffer(file.getvalue(), np.uint8)


def read_avatar(path: Path) -> tuple[Network, str, int]:
    """Returns the network of an avatar file on a GPU, if there is one, or the CPU; its name; and the step of its
    training. The file may come from a stranger: nothing in it is run, and memory is bounded by its size.

    Raises:
        InputError: there is no such file; it is no avatar, damaged, cut off, or of a newer version.
    """
    content = read_bytes(path, MOST_BYTES, "give an avatar file, the config.yml of a training run, or `actor`")
    try:
        return _read(content)
    except (InputError, ValueError, SafetensorError) as error:
        raise InputError(f"{path}: {error}; {MEND}") from error


def _read(content: bytes) -> tuple[Network, str, int]:
    told = _header(content)
    if told.get("format") != FORMAT:
        raise ValueError("is no avatar file")
    checksum = told.get("sha256")
    if not isinstance(checksum, str) or len(checksum) != len(ZEROS):
        raise ValueError("has no checksum")
    if hashlib.sha256(content.replace(_checksum(checksum), _checksum(ZEROS), 1)).hexdigest() != checksum:
        raise ValueError("is damaged: its checksum is not that of its contents")
    if told.get("version") != VERSION:
        raise ValueError(f"has version {told.get('version')!r}, and this program knows {VERSION}; install a newer one")
    facts = parse_json(told["avatar"]) if isinstance(told.get("avatar"), str) else None
    if not isinstance(facts, dict):
        raise ValueError("does not describe an avatar")
    tensors = load(content)
    portrait = _portrait(facts.get("portrait"), tensors)
    settings, has_torso = _settings(facts.get("settings")), facts.get("has_torso") is True
    name, step = facts.get("name"), facts.get("step")
    if not isinstance(name, str) or len(name) > 1000 or not can_be_name(name) or type(step) is not int:
        raise ValueError("has no name or step")
    _check_sizes(settings, has_torso, portrait, tensors)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settings.backend = had_here("auto", device)
    network = Network(settings, portrait, has_torso)
    _fill(network, tensors)
    return network.to(device).eval(), name, step


def _header(content: bytes) -> dict:
    """Returns the header's `__metadata__`."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or not 2 <= length <= min(MOST_HEADER, len(content) - 8):
        raise ValueError("is cut off, or no avatar file")
    try:
        header = parse_json(content[8 : 8 + length].decode())
    except ValueError as error:
        raise ValueError("is damaged, or no avatar file") from error
    told = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(told, dict):
        raise ValueError("is no avatar file")
    return told


def _portrait(facts: object, tensors: dict[str, Tensor]) -> Portrait:
    if not isinstance(facts, dict):
        raise ValueError("has no portrait")
    arrays = {name: tensors.pop(f"portrait.{name}", torch.zeros(0)).numpy() for name in DTYPES}
    if not arrays["torso"].size:  # not measured, or before it was
        del arrays["torso"]
    camera = facts.get("camera")
    size = (camera.get("w"), camera.get("h")) if isinstance(camera, dict) else None
    try:
        with Image.open(io.BytesIO(arrays["background"].tobytes()), formats=["PNG"]) as picture:
            if picture.size != size:
                raise ValueError("has a background of another size than its camera's")
            arrays["background"] = np.array(picture.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("has no readable background") from error
    return Portrait.restore(facts, arrays)


def _settings(stored: object) -> NetworkSettings:
    """Returns the network's settings, each of its own kind and within its bounds."""
    if not isinstance(stored, Mapping):
        raise ValueError("has no settings")
    values = {}
    for name, usual in asdict(NetworkSettings()).items():
        if name == "backend":
            continue
        value = stored.get(name, usual if name in LATER else ())  # no setting is like an empty tuple
        value = tuple(value) if isinstance(value, list) else value
        if not _is_like(value, usual):
            raise ValueError(f"has no setting {name}, or one that cannot be")
        if name in BOUNDS:
            for part in value if isinstance(value, tuple) else (value,):
                BOUNDS[name].check(f"its setting {name}", part)
        values[name] = value
    return NetworkSettings(**values)


def _is_like(value: object, usual: object) -> bool:
    """Returns whether a value is of the kind of another one."""
    if isinstance(usual, tuple):
        return isinstance(value, tuple) and len(value) == len(usual) and all(map(_is_like, value, usual))
    if isinstance(usual, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(usual)


def _check_sizes(settings: NetworkSettings, has_torso: bool, portrait: Portrait, tensors: Mapping[str, Tensor]) -> None:
    """Makes sure that the file is as large as the network that it describes, before that is made."""
    size, top = settings.log2_size, settings.top_resolution
    expected = {"head.grid.params": 3}
    if settings.audio_compression:
        expected["head.audio_grid.params"] = 2
    if has_torso:
        expected["torso.grid.params"] = 2
    for name, dimensions in expected.items():
        layout = HashGridLayout(dimensions, log2_size=size, top_resolution=top)
        if name not in tensors or tensors[name].numel() != layout.n_entries * layout.n_features:
            raise ValueError(f"has not the {name} that its settings say")
    if settings.appearance_dim and getattr(tensors.get("codes.weight"), "shape", None) != (
        portrait.frame_count,
        settings.appearance_dim,
    ):
        raise ValueError("has not the codes.weight that its settings say")
    if getattr(tensors.get("feature_mean"), "shape", None) != (portrait.feature_dim,):
        raise ValueError("has not the feature_mean that its portrait says")


def _fill(network: Network, tensors: dict[str, Tensor]) -> None:
    """Gives a network the weights of a file."""
    state = {name: value for name, value in network.state_dict().items() if torch.is_tensor(value)}
    occupied = tensors.pop("occupied", torch.zeros(0))
    cells = state["occupancy.binaries"]
    for name in (f"linear_lips.{name}" for name in LATER_LIPS):
        if name in state:  # of files of before they were there: as they are at first
            tensors.setdefault(name, state[name].clone())
    if occupied.dtype != torch.uint8 or occupied.numel() * 8 != cells.numel():
        raise ValueError("has no occupancy grid of this size")
    stored = {name for name in state if not name.startswith(DERIVED)}
    if stored != set(tensors):
        raise ValueError(f"lacks weights or has more: {', '.join(sorted(stored ^ set(tensors))[:3])}")
    for name, value in tensors.items():
        own = state[name]
        if own.shape != value.shape or not (value.dtype == own.dtype or (own.dtype, value.dtype) == HALF):
            raise ValueError(f"has a {name} of another size or kind")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"has numbers in {name} that are not finite")
    with torch.no_grad():
        for name, value in tensors.items():
            state[name].copy_(value)
        cells.copy_(torch.from_numpy(np.unpackbits(occupied.numpy())).view(cells.shape).bool())
