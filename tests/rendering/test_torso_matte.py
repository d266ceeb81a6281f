"""Cutting the avatar out of its recorded background."""

import torch

from aed_nerfstudio.rendering.torso_matte import cut_out


def layers(head_alpha, torso_alpha, head=0.6, torso=0.4, background=0.8):
    """One pixel as the model composites it."""
    pixel = lambda value: torch.full((1, 1, 1), float(value))  # noqa: E731
    behind = torso_alpha * torso + (1 - torso_alpha) * background
    return {
        "head": pixel(head_alpha * head).expand(1, 1, 3),
        "accumulation": pixel(head_alpha),
        "torso": pixel(behind).expand(1, 1, 3),
        "foreground": pixel(head_alpha * head + (1 - head_alpha) * torso_alpha * torso).expand(1, 1, 3),
        "alpha": pixel(head_alpha + (1 - head_alpha) * torso_alpha),
    }


def test_a_torso_that_was_left_half_open_is_solid_and_looks_the_same():
    for head_alpha, torso_alpha in ((0, 0.7), (0, 0.8), (0.3, 0.9), (0, 1)):
        given = layers(head_alpha, torso_alpha)
        colour, alpha = cut_out(given)
        torch.testing.assert_close(alpha, torch.ones(1, 1, 1))
        torch.testing.assert_close(colour, given["head"] + (1 - given["accumulation"]) * given["torso"])


def test_at_its_edge_the_recorded_background_gives_the_recorded_picture():
    for head_alpha, torso_alpha in ((0, 0.5), (0, 0.6), (0.5, 0.55)):
        given = layers(head_alpha, torso_alpha)
        colour, alpha = cut_out(given)
        assert 0 < alpha < 1
        torch.testing.assert_close(colour + (1 - alpha) * 0.8, given["foreground"] + (1 - given["alpha"]) * 0.8)


def test_nothing_is_added_where_there_is_no_torso():
    for head_alpha in (0, 0.4, 1):
        for torso_alpha in (0, 0.3):
            given = layers(head_alpha, torso_alpha)
            colour, alpha = cut_out(given)
            torch.testing.assert_close(alpha, given["accumulation"])
            torch.testing.assert_close(colour, given["head"])
