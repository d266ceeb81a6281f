"""What all renderers put a picture together with."""

from __future__ import annotations

from jaxtyping import Bool, Float
from nerfstudio.cameras.cameras import Cameras, CameraType
from torch import Tensor, nn


def layers(
    size: tuple[int, int],
    head: tuple[Float[Tensor, "pixels _"], ...],
    torso: tuple[Float[Tensor, "pixels 1"], Float[Tensor, "pixels 3"]],
    backdrop: Float[Tensor, "pixels 3"],
) -> dict[str, Float[Tensor, "h w _"]]:
    """Returns the images of `Renderer.render`, [H, W, C] each.

    Args:
        size: height, width.
        head: premultiplied colour [h*w, 3], alpha, depth and ambient [h*w, 1].
        torso: alpha [h*w, 1] and premultiplied colour [h*w, 3].
        backdrop: what is behind both, [h*w, 3].
    """
    colour, alpha, depth, ambient = head
    torso_alpha, torso_colour = torso
    behind = torso_colour + (1 - torso_alpha) * backdrop
    images = {
        "rgb": (colour + (1 - alpha) * behind).clamp(0, 1),
        "head": colour.clamp(0, 1),
        "accumulation": alpha,
        "torso": behind,
        "foreground": (colour + (1 - alpha) * torso_colour).clamp(0, 1),
        "alpha": alpha + (1 - alpha) * torso_alpha,
        "depth": depth,
        "ambient": ambient,
    }
    return {name: image.reshape(*size, -1) for name, image in images.items()}


def relit(images: dict[str, Float[Tensor, "h w _"]], light: Float[Tensor, " 3"]) -> dict[str, Float[Tensor, "h w _"]]:
    """Returns the images of `layers` with the person in another light, which does not fall on the background.

    light: [3], what red, green and blue of the person are multiplied by.
    """
    more = light - 1
    torso = (images["foreground"] - images["head"]) / (1 - images["accumulation"]).clamp_min(1e-3)
    lit = {
        "rgb": images["rgb"] + more * images["foreground"],
        "head": images["head"] * light,
        "torso": images["torso"] + more * torso,
        "foreground": images["foreground"] * light,
    }
    return {**images, **{name: image.clamp(0, 1) for name, image in lit.items()}}


def painted(background: Float[Tensor, "h w 3"], pixels: Float[Tensor, "n 2"]) -> Float[Tensor, "n 3"]:
    """Returns a background [H',W',3] at places of the recording's picture [N, 2] in [-1, 1], [N, 3]."""
    picture = background.permute(2, 0, 1)[None]
    found = nn.functional.grid_sample(picture, pixels[None, None], padding_mode="border", align_corners=False)
    return found[0, :, 0].T


def in_region(pixels: Float[Tensor, "n 2"], region: Bool[Tensor, "s s"]) -> Bool[Tensor, " n"]:
    """Returns which places of the recording's picture [N, 2] in [-1, 1] a region bool [S, S] holds, bool [N]."""
    column, row = ((pixels + 1) * (len(region) / 2)).long().clamp(0, len(region) - 1).unbind(-1)
    return region[row, column]


def is_plain(camera: Cameras) -> bool:
    """Returns whether a camera [1] is a perspective one without distortion."""
    plain = camera.distortion_params is None or not camera.distortion_params.any()
    return plain and int(camera.camera_type.item()) == CameraType.PERSPECTIVE.value
