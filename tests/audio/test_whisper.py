"""Front end `whisper`: a small one of random weights, in the formats of those that people have; joined front ends."""

import hashlib
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from aed_nerfstudio.audio import features as audio
from aed_nerfstudio.audio import whisper, whisper_encoder
from aed_nerfstudio.audio.live_hearing import LiveHearing
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import read_audio

WIDTH, LAYERS, TOKENS = 16, 2, 11
OPENAI = {
    "embed_positions.weight": "positional_embedding", "layers.": "blocks.", "self_attn_layer_norm": "attn_ln",
    "self_attn.q_proj": "attn.query", "self_attn.k_proj": "attn.key", "self_attn.v_proj": "attn.value",
    "self_attn.out_proj": "attn.out", "final_layer_norm": "mlp_ln", "fc1": "mlp.0", "fc2": "mlp.2",
    "encoder.layer_norm": "encoder.ln_post", "embed_tokens": "token_embedding", "model.": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def speech():
    return read_audio(audio.speech_wavs()["beckett.wav"])[: 16000 * 6]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Hugging Face's implementation, small, and its file."""
    from transformers.models.whisper.configuration_whisper import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperModel

    torch.manual_seed(0)
    size = {"encoder_layers": LAYERS, "encoder_attention_heads": 8, "encoder_ffn_dim": 4 * WIDTH}
    config = WhisperConfig(vocab_size=TOKENS, d_model=WIDTH, decoder_layers=1, decoder_attention_heads=1,
                           decoder_ffn_dim=4, pad_token_id=0, **size)  # fmt: skip
    model = WhisperModel(config).eval()
    folder = tmp_path_factory.mktemp("whisper")
    model.save_pretrained(folder)
    tensors = {f"model.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    return model.encoder, tensors


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """The network's size, and no weights of the user's own."""
    for name, value in (("WIDTH", WIDTH), ("LAYERS", LAYERS), ("TOKENS", TOKENS)):
        monkeypatch.setattr(whisper_encoder, name, value)
    for name in (whisper.PLACE, "HF_HUB_CACHE", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(whisper, "PACKAGES", ("no_such_part1", "no_such_part2"))
    whisper._encoder.cache_clear()
    yield
    whisper._encoder.cache_clear()


def written(tensors, path):
    """Writes weights as the ending of a file's name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(tensors, path)
    elif path.suffix == ".pt":
        renamed = {}
        for name, tensor in tensors.items():
            for old, new in OPENAI.items():
                name = name.replace(old, new)
            renamed[name] = tensor.half()
        torch.save({"dims": {}, "model_state_dict": renamed}, path)
    else:
        path.write_bytes(ctranslate2(tensors))
    return path


def ctranslate2(tensors) -> bytes:
    """Returns the file that CTranslate2's converter would write, in half precision."""
    names = {}
    for name, tensor in tensors.items():
        if not name.startswith("model.encoder.") or "self_attn." in name and "out_proj" not in name:
            continue
        short = name.removeprefix("model.").replace("layers.", "layer_").replace(".", "/")
        for old, new in (
            ("embed_positions/weight", "position_encodings/encodings"),
            ("self_attn/out_proj", "self_attention/linear_1"),
            ("self_attn_layer_norm", "self_attention/layer_norm"), ("final_layer_norm", "ffn/layer_norm"),
            ("fc1", "ffn/linear_0"), ("fc2", "ffn/linear_1"),
            ("layer_norm/weight", "layer_norm/gamma"), ("layer_norm/bias", "layer_norm/beta"),
        ):  # fmt: skip
            short = short.replace(old, new)
        names[short] = tensor
    for number in range(LAYERS):
        start = f"model.encoder.layers.{number}.self_attn."
        names[f"encoder/layer_{number}/self_attention/linear_0/weight"] = torch.cat(
            [tensors[f"{start}{part}_proj.weight"] for part in "qkv"]
        )
        names[f"encoder/layer_{number}/self_attention/linear_0/bias"] = torch.cat(
            [tensors[f"{start}q_proj.bias"], torch.zeros(WIDTH), tensors[f"{start}v_proj.bias"]]
        )
    names["decoder/embeddings/weight"] = tensors["model.decoder.embed_tokens.weight"]

    def word(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    data = struct.pack("<I", 6) + word("WhisperSpec") + struct.pack("<II", 3, len(names) + 1)
    data += word("encoder/num_heads") + struct.pack("<BBI", 0, 2, 2) + b"\x08\0"  # a number, which has no shape
    for name, tensor in names.items():
        content = tensor.half().numpy().tobytes()
        data += word(name) + struct.pack(f"<B{tensor.ndim}IBI", tensor.ndim, *tensor.shape, 4, len(content)) + content
    return data + struct.pack("<I", 0)


def test_it_is_hugging_face_s(theirs, speech, tmp_path, monkeypatch):
    """Spectra and states, of 30 s."""
    from transformers.models.whisper.feature_extraction_whisper import WhisperFeatureExtractor

    encoder, tensors = theirs
    monkeypatch.setenv(whisper.PLACE, str(written(tensors, tmp_path / "w" / "model.safetensors").parent))
    spectra = WhisperFeatureExtractor()(speech, sampling_rate=16000, return_tensors="pt").input_features
    padded = torch.from_numpy(np.pad(speech, (0, 480000 - speech.size)))
    assert (whisper_encoder.spectra(padded) - spectra[0]).abs().max() < 1e-4
    with torch.no_grad():
        states = encoder(spectra).last_hidden_state[0].numpy()
    ours = audio.extract_features(speech, 150, "whisper")
    assert states.std() > 0.1 and np.abs(ours - states[:300]).max() < 1e-4


@pytest.mark.parametrize(
    "place",
    [
        "cache/whisper/base.pt",
        "cache/huggingface/hub/models--openai--whisper-base/snapshots/0f/model.safetensors",
        "cache/huggingface/hub/models--Systran--faster-whisper-base/snapshots/0f/model.bin",
    ],
)
def test_the_places_and_formats_give_the_same(theirs, speech, tmp_path, monkeypatch, place):
    encoder, tensors = theirs
    path = written(tensors, tmp_path / place)
    assert whisper.find_weights() == [path]
    audio.check_front_end("whisper")
    found = audio.extract_features(speech, 150, "whisper")
    monkeypatch.setenv(whisper.PLACE, str(written(tensors, tmp_path / "model.safetensors")))
    whisper._encoder.cache_clear()
    assert np.abs(found - audio.extract_features(speech, 150, "whisper")).max() < 0.02  # two are in half precision


def test_the_two_packages_are_read_together_and_checked(theirs, tmp_path, monkeypatch):
    data = ctranslate2(theirs[1])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(whisper, "PACKAGES", ("part_one", "part_two"))
    for name, number, content in (("part_one", 1, data[:5000]), ("part_two", 2, data[5000:])):
        folder = tmp_path / name / "data"
        folder.mkdir(parents=True)
        (tmp_path / name / "__init__.py").touch()
        (folder / f"model.bin.part{number}").write_bytes(content)
    with pytest.raises(InputError, match="another SHA-256"):
        audio.extract_features(np.zeros(16000), 25, "whisper")
    monkeypatch.setattr(whisper_encoder, "DIGEST", hashlib.sha256(data).hexdigest())
    assert audio.extract_features(np.zeros(16000), 25, "whisper").shape == (50, WIDTH)
    (tmp_path / "part_two" / "data" / "model.bin.part2").unlink()
    with pytest.raises(InputError, match="half of Whisper's weights"):
        audio.check_front_end("whisper")


def test_without_weights_one_line_says_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="whisper: its weights are not here; set AED_WHISPER.*or choose moonshine"):
        audio.check_front_end("moonshine+whisper")
    monkeypatch.setenv(whisper.PLACE, str(tmp_path / "gone"))
    with pytest.raises(InputError, match="gone: AED_WHISPER names it, and there is no such file"):
        audio.check_front_end("whisper")


@pytest.mark.parametrize("name", ["model.safetensors", "base.pt", "model.bin"])
def test_damaged_weights(theirs, tmp_path, monkeypatch, name):
    path = written(theirs[1], tmp_path / name)
    whole = path.read_bytes()
    monkeypatch.setenv(whisper.PLACE, str(path))
    for content in (b"", whole[:30], whole[: len(whole) // 2], b"\xff" * 3000):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: damaged, or not Whisper's multilingual base model"):
            audio.extract_features(np.zeros(16000), 25, "whisper")


def test_the_english_model_is_another(theirs, tmp_path, monkeypatch):
    tensors = {**theirs[1], "model.decoder.embed_tokens.weight": torch.zeros(TOKENS - 1, WIDTH)}
    monkeypatch.setenv(whisper.PLACE, str(written(tensors, tmp_path / "model.safetensors")))
    with pytest.raises(InputError, match=f"{TOKENS - 1} words and width {WIDTH} for {TOKENS}"):
        audio.extract_features(np.zeros(16000), 25, "whisper")


def test_long_sound_goes_through_in_windows(theirs, speech, tmp_path, monkeypatch):
    """In the middle of a window, a step is what it is in that window alone."""
    monkeypatch.setenv(whisper.PLACE, str(written(theirs[1], tmp_path / "model.safetensors")))
    long = np.tile(speech, 7)[: 16000 * 40]
    features = audio.extract_features(long, 1000, "whisper")
    assert features.shape == (2000, WIDTH)
    alone = audio.extract_features(long[: 16000 * 30], 750, "whisper")
    assert np.abs(features[:490] - alone[:490]).max() < 1e-5
    last = audio.extract_features(long[-16000 * 30 :], 750, "whisper")
    assert np.abs(features[1420:] - last[920:]).max() < 1e-5


def test_joined_front_ends(theirs, speech, tmp_path, monkeypatch):
    monkeypatch.setenv(whisper.PLACE, str(written(theirs[1], tmp_path / "model.safetensors")))
    monkeypatch.setitem(audio.FRONT_ENDS, "whisper", audio.AudioFrontEnd(
        "whisper", WIDTH, whisper._extract, whisper.find_weights, whisper._window))  # fmt: skip
    both = audio.front_end_named("log-mel+whisper")
    assert both.dim == audio.FRONT_ENDS["log-mel"].dim + WIDTH
    features = audio.extract_features(speech, 150, "log-mel+whisper")
    assert np.array_equal(features[:, :-WIDTH], audio.extract_features(speech, 150, "log-mel"))
    assert np.array_equal(features[:, -WIDTH:], audio.extract_features(speech, 150, "whisper"))
    live = LiveHearing("log-mel+whisper")
    assert live(speech[: live.samples]).shape == (live.samples // 320, both.dim)
    for wrong, said in (
        ("log-mel+log-mel", "must differ"),
        ("none+log-mel", "none is not"),
        ("log-mel+x", "x: no such"),
    ):
        with pytest.raises(InputError, match=said):
            audio.front_end_named(wrong)
