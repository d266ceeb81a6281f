"""Whisper's audio encoder, and its weights in the formats of OpenAI, Hugging Face and CTranslate2."""

from __future__ import annotations

import functools
import hashlib
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from aed_nerfstudio.audio.front_end import SAMPLE_RATE

LAYERS, HEADS, WIDTH = 6, 8, 512
"""Of the size "base"."""
TOKENS = 51865
"""Words of the multilingual model; the English one has one less."""
MELS = 80
HOP = 160
"""Samples between spectra; a state is read from two."""
LENGTH = 1500
"""States of 30 s, for which the encoder has positions."""
LARGEST = 1 << 30
"""Bytes of a file of weights."""
DIGEST = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
"""SHA-256 of the file that comes in two parts."""


def load(paths: list[Path]) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the encoder: float32 [n] mono at 16 kHz, n a multiple of 320 and at most 30 s -> float32 [n / 320, 512].

    paths: of its weights, see `read_weights`, which says what ValueError there is.
    """
    encoder = Encoder().eval().requires_grad_(False)
    encoder.load_state_dict(read_weights(paths))

    def encode(samples: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return encoder(spectra(torch.from_numpy(samples))).numpy()

    return encode


class Encoder(nn.Module):
    """Whisper's audio encoder at the size "base"."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(MELS, WIDTH, 3, padding=1)
        self.conv2 = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.positions: Tensor
        self.register_buffer("positions", torch.zeros(LENGTH, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, 0.0, functional.gelu, batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)

    def forward(self, spectra: Float[Tensor, "80 spectra"]) -> Float[Tensor, "steps width"]:
        """Returns the states of spectra, [80, 2 * steps] -> [steps, 512]; steps <= 1500."""
        x = functional.gelu(self.conv2(functional.gelu(self.conv1(spectra[None]))))
        return self.transformer(x.mT + self.positions[: x.shape[2]])[0]


@functools.cache
def _filters() -> Tensor:
    """Returns the weights of the mel bands, [201, 80]."""
    from torchaudio.functional import melscale_fbanks

    return melscale_fbanks(201, 0.0, SAMPLE_RATE / 2, MELS, SAMPLE_RATE, norm="slaney", mel_scale="slaney")


def spectra(samples: Float[Tensor, " n"]) -> Float[Tensor, "80 spectra"]:
    """Returns what the encoder reads of sound, [n] at 16 kHz: log-mel energies [80, n // 160] down to 8 decades below
    the largest."""
    parts = torch.stft(samples, 400, HOP, window=torch.hann_window(400), return_complex=True)[:, :-1]
    bands = (_filters().T @ parts.abs().square()).clamp_min(1e-10).log10()
    return (bands.clamp_min(bands.max() - 8) + 4) / 4


# ---- weights


@dataclass(frozen=True)
class Naming:
    """What a format calls the encoder's parts.

    joined: queries, keys and values as one matrix; else `apart` has the three names.
    """

    start: str
    layer: str
    positions: str
    norm: str
    norm1: str
    norm2: str
    linear1: str
    linear2: str
    out: str
    tokens: str
    joined: str = ""
    apart: tuple[str, str, str] = ("", "", "")


NAMINGS = (
    Naming("encoder.", "blocks.", "positional_embedding", "ln_post", "attn_ln", "mlp_ln", "mlp.0", "mlp.2", "attn.out",
           "decoder.token_embedding.weight", apart=("attn.query", "attn.key", "attn.value")),
    Naming("model.encoder.", "layers.", "embed_positions.weight", "layer_norm", "self_attn_layer_norm",
           "final_layer_norm", "fc1", "fc2", "self_attn.out_proj", "model.decoder.embed_tokens.weight",
           apart=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
    Naming("encoder.", "layer_", "position_encodings.encodings", "layer_norm", "self_attention.layer_norm",
           "ffn.layer_norm", "ffn.linear_0", "ffn.linear_1", "self_attention.linear_1", "decoder.embeddings.weight",
           joined="self_attention.linear_0"),
)  # fmt: skip
"""OpenAI's, Hugging Face's and CTranslate2's."""


def read_weights(paths: list[Path]) -> dict[str, Tensor]:
    """Reads the encoder's weights, float32, under the names that `Encoder` has for them.

    paths: a file, or the parts of one in order.

    Raises:
        ValueError: damaged, too large, of no known format, or of another model than the multilingual base.
    """
    path, size = paths[0], sum(part.stat().st_size for part in paths)
    if size > LARGEST:
        raise ValueError(f"{path}: {size >> 20} MiB, which the base model has not")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            tensors: Mapping[str, Tensor] = load_file(path)
        elif path.suffix == ".pt":
            tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["model_state_dict"]
        else:
            data = b"".join(part.read_bytes() for part in paths)
            if len(paths) > 1 and hashlib.sha256(data).hexdigest() != DIGEST:
                raise ValueError("another SHA-256 than when this was written")
            tensors = _read_ctranslate2(data)
        return _renamed(tensors)
    except Exception as error:  # three libraries' ways of saying that a file is damaged
        raise ValueError(f"{path}: damaged, or not Whisper's multilingual base model ({error})") from error


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the encoder's weights under torch's names, from any of `NAMINGS`; KeyError where one is missing."""
    naming = next((naming for naming in NAMINGS if naming.start + naming.positions in tensors), None)
    if naming is None:
        raise ValueError("no encoder's position embedding in it")
    tokens = len(tensors[naming.tokens])
    width = tensors[naming.start + naming.positions].shape[1]
    if (tokens, width) != (TOKENS, WIDTH):
        raise ValueError(f"{tokens} words and width {width} for {TOKENS} and {WIDTH}")

    def both(ours: str, theirs: str) -> None:
        for kind in ("weight", "bias"):
            weights[f"{ours}{kind}"] = tensors[f"{naming.start}{theirs}.{kind}"].float()

    weights = {"positions": tensors[naming.start + naming.positions].float()}
    both("conv1.", "conv1")
    both("conv2.", "conv2")
    both("transformer.norm.", naming.norm)
    for number in range(LAYERS):
        ours, theirs = f"transformer.layers.{number}.", f"{naming.layer}{number}."
        for part in ("norm1", "norm2", "linear1", "linear2"):
            both(f"{ours}{part}.", theirs + getattr(naming, part))
        both(f"{ours}self_attn.out_proj.", theirs + naming.out)
        if naming.joined:
            both(f"{ours}self_attn.in_proj_", theirs + naming.joined)
            continue
        query, key, value = (f"{naming.start}{theirs}{name}" for name in naming.apart)
        bias = tensors[f"{query}.bias"], torch.zeros(WIDTH), tensors[f"{value}.bias"]  # keys have none
        weights[f"{ours}self_attn.in_proj_weight"] = torch.cat(
            [tensors[f"{of}.weight"] for of in (query, key, value)]
        ).float()
        weights[f"{ours}self_attn.in_proj_bias"] = torch.cat([of.float() for of in bias])
    return weights


def _read_ctranslate2(data: bytes) -> dict[str, Tensor]:
    """Reads the tensors of CTranslate2's format 6, by names with dots; ValueError or struct.error where damaged.

    A head, then of each tensor its name, shape, type and bytes; all numbers little-endian.
    """
    place = 0

    def take(kind: str) -> int:
        nonlocal place
        (value,) = struct.unpack_from(f"<{kind}", data, place)
        place += struct.calcsize(f"<{kind}")
        return value

    def word() -> str:
        nonlocal place
        length = take("H")
        text = data[place : place + length].rstrip(b"\0").decode()
        place += length
        return text

    if take("I") != 6 or word() != "WhisperSpec":
        raise ValueError("not CTranslate2's format 6 of Whisper")
    take("I")
    tensors = {}
    for _ in range(take("I")):
        name = word().replace("/", ".").replace("layer_norm.gamma", "layer_norm.weight")
        shape = [take("I") for _ in range(take("B"))]
        kind, size = take("B"), take("I")
        if place + size > len(data):
            raise ValueError("it ends too early")
        if kind in (0, 4) and shape:  # float32, float16
            values = np.frombuffer(data, (np.float32, None, None, None, np.float16)[kind], math.prod(shape), place)
            tensors[name.replace("layer_norm.beta", "layer_norm.bias")] = torch.from_numpy(values.reshape(shape).copy())
        place += size
    return tensors
