"""The background of a clip: what was seen is right, what was not is made up, and movement is found."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from aed_nerfstudio.capture.background import Background, clip_background, fill, merge_backgrounds, own_picture, sample
from aed_nerfstudio.errors import InputError

SIZE = 96


def _room() -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE]
    room = np.stack([90 + 0.8 * y, 120 + 0.5 * x, 160 - 0.4 * y], axis=2)
    room[20:40, 5:25] = (200, 60, 40)
    return room


def _frames(count: int = 24, seed: int = 0, room=None):
    """A person-like blob that sways in front of the room; noise of 3 levels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    for k in range(count):
        centre = SIZE / 2 + 10 * np.sin(k / 3)
        person = (((x - centre) / 14) ** 2 + ((y - 40) / 20) ** 2 < 1) | ((y > 70) & (abs(x - centre) < 30))
        image = (_room() if room is None else room(k)).copy()
        image[person] = (30, 25, 20)
        image += rng.normal(0, 3, image.shape)
        yield np.clip(image, 0, 255).astype(np.uint8), person.astype(np.float32), np.array([centre, 60.0])


def test_still_room():
    found = clip_background(_frames())
    error = np.abs(found.picture.astype(float) - _room())
    assert error[found.seen].mean() < 1.5 and np.percentile(error[found.seen], 99) < 8
    assert 0.1 < found.unseen < 0.5 and not found.seen[80, SIZE // 2]
    assert 2 < np.median(found.noise) < 4.5
    assert found.moving < 0.01 and not found.moves
    assert found.usual[0, 80, SIZE // 2] == 255 and found.usual[0, 5, 5] == 0
    # Shifted along with the chin the blob stands still.
    there, along = (((u > 0) & (u < 250)).mean() for u in found.usual)
    assert along < 0.7 * there
    assert set(found.report()) == {"unseen", "moving", "moves", "noise"}


def test_a_clip_s_own_picture_is_what_it_saw_in_front_of_what_all_saw():
    """A red thing hangs elsewhere, in weaker light, in the second clip; the first one saw more of the room."""
    moved = np.roll(_room(), 4, axis=1)
    moved[:, :4] = _room()[:, :4]
    first, second = clip_background(_frames()), clip_background(_frames(seed=1, room=lambda k: 0.9 * moved))
    second = replace(second, seen=second.seen & (np.arange(SIZE) < 75))
    common, seen = merge_backgrounds([first, second])
    own = own_picture(second, common).astype(float)
    surely = cv2.distanceTransform(second.seen.astype(np.uint8), cv2.DIST_L2, 3) > 0.1 * SIZE
    assert np.abs(own - 0.9 * moved)[surely].mean() < 2 < 4 < np.abs(common - 0.9 * moved)[surely].mean()
    elsewhere = ~second.seen & seen
    right, wrong = (np.abs(picture - 0.9 * _room())[elsewhere].mean() for picture in (own, common))
    assert right < 0.5 * wrong


def test_never_seen_areas_look_like_what_is_around():
    found = clip_background(_frames())
    hidden = ~found.seen
    assert np.abs(found.picture.astype(float) - _room())[hidden].mean() < 20
    assert found.picture[hidden].min() > 50, "nothing of the dark person is left"
    grain = found.picture[60:66, 44:52].astype(float)
    assert grain.std(axis=(0, 1)).max() > 1, "no smear"


def test_movement_is_found():
    def waving(k: int) -> np.ndarray:
        room = _room()
        room[:, :25] += 40 * np.sin(k * 1.3 + np.arange(SIZE) / 8)[:, None, None]
        return room

    found = clip_background(_frames(room=waving))
    assert found.moves and found.moving > 0.2 and found.report()["moves"]


def test_one_passing_by_does_not_stay():
    def passing(k: int) -> np.ndarray:
        room = _room()
        room[:, 3 * k : 3 * k + 9] = 0
        return room

    found = clip_background(_frames(room=passing))
    assert np.abs(found.picture.astype(float) - _room())[found.seen].mean() < 3


def test_what_the_mask_is_unsure_of_is_background_if_it_stands_still():
    def unsure(frames):
        for image, person, chin in frames:
            person[:, :30] = np.maximum(person[:, :30], 0.5)
            yield image, person, chin

    found = clip_background(unsure(_frames()))
    assert found.seen[20:60, 5:20].mean() > 0.9


def test_same_frames_same_bytes(tmp_path):
    for name in "ab":
        clip_background(_frames()).write(tmp_path / f"{name}.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again, found = Background.read(tmp_path / "a.npz"), clip_background(_frames())
    assert np.array_equal(again.picture, found.picture) and again.report() == found.report()
    assert again.anchor == found.anchor and np.array_equal(again.usual, found.usual)


def test_damaged_file(tmp_path):
    path = tmp_path / "background.npz"
    with pytest.raises(InputError, match="background.npz is missing or damaged; run"):
        Background.read(path)
    clip_background(_frames(4)).write(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match="background.npz is missing or damaged; run"):
        Background.read(path)


def test_few_frames_of_large_pictures():
    assert len(sample(10_000, 512)) == 80 and len(sample(10_000, 2048)) <= 16 and list(sample(3, 512)) == [0, 1, 2]
    assert clip_background(_frames(1)).picture.shape == (SIZE, SIZE, 3)


def test_never_seen_at_all():
    image = np.full((SIZE, SIZE, 3), 9, np.uint8)
    found = clip_background([(image, np.ones((SIZE, SIZE), np.float32), np.zeros(2))] * 3)
    assert found.unseen == 1 and (found.picture == 127).all() and not found.moves


def test_holes():
    image = np.tile(np.linspace(20, 220, SIZE)[None, :, None], (SIZE, 1, 3)).astype(np.uint8)
    known = np.ones((SIZE, SIZE), bool)
    known[20:80, 30:70] = False
    broken = np.where(known[..., None], image, 0).astype(np.uint8)
    filled = fill(broken, known)
    assert np.array_equal(filled[known], image[known])
    assert np.abs(filled.astype(int) - image)[~known].mean() < 8


def test_clips_of_one_room_complete_each_other():
    whole = clip_background(_frames())
    first, second = clip_background(_frames()), clip_background(_frames())
    second.seen[:] = True
    second.picture[:] = np.clip(_room(), 0, 255)
    first.seen[40:] = False
    merged, _ = merge_backgrounds([first, second])
    assert np.abs(merged.astype(float) - _room()).mean() < 2
    # Another room has nothing to say about this one.
    second.picture[:] = 255 - second.picture
    second.seen[80:] = False
    first.seen[:] = whole.seen
    first.seen[:80] = True
    assert np.abs(merge_backgrounds([first, second])[0][:20].astype(float) - _room()[:20]).mean() < 4


def _hung(seed: int, hair: bool) -> Background:
    """A clip before a plain wall; hair at the person's side, which the mask missed, or none."""
    rng = np.random.default_rng(seed)
    frames = []
    for image, person, chin in _frames(8, seed, room=lambda _: np.full((SIZE, SIZE, 3), (60.0, 110, 80))):
        if hair:
            image[50:85, 12:32][person[50:85, 12:32] == 0] = (20, 15, 10)
        frames.append((np.clip(image + rng.normal(0, 1, image.shape), 0, 255).astype(np.uint8), person, chin))
    return clip_background(frames)


def test_what_hangs_at_the_border_does_not_darken_what_is_made_up():
    found = _hung(0, hair=True)
    assert (found.picture[60:80, 14:20].mean(axis=(0, 1)) < 40).all(), "seen, if wrongly"
    middle = found.picture[74:92, 44:52].astype(float).mean(axis=(0, 1))
    assert not found.seen[74:92, 44:52].any() and np.abs(middle - (60, 110, 80)).max() < 8


def test_what_one_clips_mask_missed_others_know_better():
    clear, hung = _hung(0, hair=False), _hung(1, hair=True)
    clear.seen[:, 80:] = False  # so that the other saw more
    merged, seen = merge_backgrounds([hung, clear])
    assert seen[:, 85:].any() and hung.seen.mean() > clear.seen.mean()
    patch = np.s_[60:80, 14:26]
    off = [np.abs(picture[patch].astype(float) - (60, 110, 80)).mean() for picture in (hung.picture, merged)]
    assert off[1] < 0.6 * off[0]
    assert np.array_equal(seen, clear.seen | hung.seen)
