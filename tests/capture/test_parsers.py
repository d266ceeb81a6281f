"""Face parsers by name: real loading code on small models made here, and one clear error where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aed_nerfstudio.capture import segformer
from aed_nerfstudio.capture.bisenet import CLASSES, BiSeNet
from aed_nerfstudio.capture.face_classes import LABELS, evidence_of
from aed_nerfstudio.capture.parsers import PARSERS, open_parser
from aed_nerfstudio.dataset.schema import BACKGROUND, HEAD, NECK, TORSO
from aed_nerfstudio.errors import InputError

IMAGE = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
POINTS = np.zeros((478, 3))


def _fails(name: str, weights, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught, open_parser(name, weights):
        pass
    assert "\n" not in str(caught.value)


def _adds_up(evidence: np.ndarray) -> None:
    assert evidence.dtype == np.uint8 and evidence.shape == (256, 256, 4)
    assert np.abs(evidence.astype(int).sum(axis=2) - 255).max() <= 2


def test_names():
    assert {"mediapipe", "segformer", "bisenet"} <= set(PARSERS)
    _fails("u2net", None, "unknown parser 'u2net'; choose one of mediapipe, segformer, bisenet")


def test_mediapipe_finds_no_person_in_noise_and_takes_no_weights(tmp_path):
    with open_parser("mediapipe") as parser:
        evidence = parser.evidence(np.full((96, 96, 3), 128, np.uint8), POINTS)
    assert evidence.dtype == np.uint8 and evidence.shape == (256, 256) and evidence.mean() < 128
    _fails("mediapipe", tmp_path / "w.pth", "w.pth: the parser mediapipe brings its own weights")


def test_classes_become_labels():
    logits = torch.full((1, len(CLASSES), 8, 8), -20.0)
    for k, (name, column) in enumerate((("background", 0), ("cloth", 2), ("necklace", 4), ("hair", 6))):
        logits[0, CLASSES.index("neck_l" if name == "necklace" else name), :, column : column + 2] = 20.0 + k
    evidence = evidence_of(logits, CLASSES)
    _adds_up(evidence)
    for label, column in ((BACKGROUND, 16), (TORSO, 96), (NECK, 160), (HEAD, 240)):
        assert evidence[128, column].argmax() == label and evidence[128, column, label] > 250
    assert set(CLASSES) == set(LABELS)


def test_bisenet(tmp_path):
    torch.manual_seed(0)
    model, path = BiSeNet(), tmp_path / "79999_iter.pth"
    state = model.state_dict()
    assert state["cp.resnet.layer3.0.downsample.0.weight"].shape == (256, 128, 1, 1)
    assert state["cp.arm32.conv_atten.weight"].shape == (128, 128, 1, 1)
    assert state["ffm.convblk.conv.weight"].shape == (256, 256, 1, 1)
    assert state["conv_out.conv_out.weight"].shape == (19, 256, 1, 1)
    # Counters are lacking in old files; the weights must arrive all the same.
    torch.save({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, path)
    with open_parser("bisenet", path) as parser:
        first = parser.evidence(IMAGE, POINTS)
        assert np.array_equal(first, parser.evidence(IMAGE, POINTS))
    _adds_up(first)
    state["conv_out.conv_out.weight"] *= 3
    torch.save(state, path)
    with open_parser("bisenet", path) as parser:
        assert not np.array_equal(first, parser.evidence(IMAGE, POINTS))


def test_bisenet_refuses_other_files(tmp_path):
    _fails("bisenet", None, "needs its weights: give --parser-weights the file 79999_iter.pth")
    _fails("bisenet", tmp_path / "no.pth", "no.pth: no such file")
    (tmp_path / "text.pth").write_text("hello")
    _fails("bisenet", tmp_path / "text.pth", "text.pth: cannot be read as PyTorch weights")
    torch.save([1, 2], tmp_path / "list.pth")
    _fails("bisenet", tmp_path / "list.pth", "it holds no plain weights")
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    _fails("bisenet", tmp_path / "other.pth", r"not the weights of a face parsing BiSeNet \(.* is missing\)")
    torch.save(BiSeNet(classes=11).state_dict(), tmp_path / "eleven.pth")
    _fails("bisenet", tmp_path / "eleven.pth", r"has shape \(11, 256, 1, 1\), expected \(19, 256, 1, 1\)")


def _segformer(folder, names) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 8, 8], num_attention_heads=[1, 1, 1, 1], decoder_hidden_size=8,
        id2label=dict(enumerate(names)), label2id={name: k for k, name in enumerate(names)},
    )  # fmt: skip
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)


def test_segformer(tmp_path):
    # Its classes come in another order than BiSeNet's: the names count.
    _segformer(tmp_path / "model", tuple(reversed(CLASSES)))
    with open_parser("segformer", tmp_path / "model") as parser:
        evidence = parser.evidence(IMAGE, POINTS)
        assert np.array_equal(evidence, parser.evidence(IMAGE, POINTS))
    _adds_up(evidence)


def test_segformer_refuses_other_folders(tmp_path, monkeypatch):
    _segformer(tmp_path / "rooms", tuple(f"LABEL_{k}" for k in range(19)))
    _fails("segformer", tmp_path / "rooms", "rooms: no face parser .its classes are LABEL_0")
    _fails("segformer", tmp_path / "none", "none: holds no config.json; give --parser-weights the folder")
    _segformer(tmp_path / "torn", CLASSES)
    (tmp_path / "torn" / "model.safetensors").write_bytes(b"x" * 40)
    _fails("segformer", tmp_path / "torn", "torn: cannot be loaded as a SegFormer")
    monkeypatch.setattr(segformer, "MODEL", "nobody/has-this-face-parser")
    _fails("segformer", None, "is not on this machine; run `hf download .*--parser-weights")
