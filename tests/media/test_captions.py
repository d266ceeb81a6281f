"""Words on frames."""

import numpy as np
import pytest

from aed_nerfstudio.media.captions import BAND, MARK, Mark, labelled
from aed_nerfstudio.media.output import side_by_side, size_together


@pytest.mark.parametrize("size", [(640, 480), (160, 160), (64, 64), (16, 16)])
def test_a_mark_lies_in_the_lower_right_corner(size):
    width, height = size
    frame = np.full((height, width, 3), 128, np.uint8)
    marked = Mark(MARK, size)(frame)
    assert (frame == 128).all() and marked.shape == frame.shape
    changed = (marked != 128).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert rows.max() == height - 1 and columns.max() == width - 1
    assert rows.min() > height / 2 or height < 32
    assert marked.max() > 200 or height < 64  # letters
    assert marked.min() < 80  # on their plate


def test_a_mark_on_nothing_is_visible():
    frame = np.zeros((120, 160, 4), np.uint8)
    marked = Mark("Tonight", (160, 120))(frame)
    assert marked[-1, -1, 3] == 150 and marked[..., 3].max() > 200 and not marked[0].any()


def test_panels_stand_side_by_side_with_their_captions():
    red, blue = (np.full((30, 40, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    (both,) = side_by_side({"happy": iter([red]), "sad": iter([blue])})
    assert both.shape[:2][::-1] == size_together((40, 30), 2) == (80, 30 + BAND)
    assert (both[:30, :40] == red).all() and (both[:30, 40:] == blue).all()
    assert both[30:, :40].max() > 100 and (both[30:, :40] != both[30:, 40:]).any()
    (alone,) = side_by_side({"": iter([red])})
    assert alone is red
    assert (labelled(np.zeros((30, 40, 4), np.uint8), "x")[30:, :, 3] == 255).all()
