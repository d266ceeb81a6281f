"""What nerfstudio's commands write of an avatar carries the note; see also the round trip, which runs them."""

import sys

import mediapy
import numpy as np
from nerfstudio.pipelines import base_pipeline
from nerfstudio.scripts import render
from PIL import Image

from aed_nerfstudio.media.provenance import SYNTHETIC_NOTE, tag_renders_of_nerfstudio, write_synthetic
from tests.conftest import note


def test_a_picture_has_the_note_and_its_tags(tmp_path):
    picture = np.arange(4 * 5 * 4, dtype=np.uint8).reshape(4, 5, 4)
    write_synthetic(tmp_path / "a.png", picture, {"model": "anna"})
    with Image.open(tmp_path / "a.png") as found:
        assert found.text == {"Comment": SYNTHETIC_NOTE, "model": "anna"} and np.array_equal(found, picture)


def test_renders_of_nerfstudio_in_any_form(tmp_path, monkeypatch):
    monkeypatch.setattr(render, "media", mediapy)
    monkeypatch.setattr(base_pipeline, "vutils", base_pipeline.vutils)
    tag_renders_of_nerfstudio()
    media = sys.modules["nerfstudio.scripts.render"].media
    ours, recorded = tmp_path / "val" / "rgb", tmp_path / "val" / "gt-rgb"
    for folder in (ours, recorded):
        folder.mkdir(parents=True)
        media.write_image(folder / "a.jpg", np.zeros((4, 4, 3)), fmt="jpeg", quality=90)
        media.write_image(folder / "a.png", np.zeros((4, 4, 3)), fmt="png")
    assert note(ours / "a.jpg") == note(ours / "a.png") == SYNTHETIC_NOTE
    assert note(recorded / "a.jpg") is note(recorded / "a.png") is None
    assert media.to_uint8 is mediapy.to_uint8
