"""Which weights learn at which rate."""

from __future__ import annotations

from torch import nn

from aed_nerfstudio.avatar.network import Network


def parameter_groups(network: Network) -> dict[str, list[nn.Parameter]]:
    """Returns the parameters by their kind; each kind has a learning rate of its own."""
    attention = [*network.audio_encoder.attention.parameters(), *network.audio_encoder.weights.parameters()]
    audio = [*network.audio_encoder.convs.parameters(), *network.audio_encoder.project.parameters()]
    if network.articulation_head is not None:
        audio += network.articulation_head.parameters()
    groups: dict[str, list[nn.Parameter]] = {
        "grids": [p for n, p in network.head.named_parameters() if "grid" in n],
        "mlps": [p for n, p in network.head.named_parameters() if "grid" not in n and "warp" not in n],
        "audio": audio,
        "audio_attention": attention,
    }
    if network.head.warp is not None:
        groups["lip_warp"] = [network.head.warp.shifts]
    if network.codes is not None:
        groups["codes"] = [*network.codes.parameters()]
    if network.torso is not None:
        groups["torso_grid"] = [network.torso.grid.params]
        of_pose = [network.torso.deform, network.torso.net]
        groups["torso_mlps"] = [p for module in of_pose for p in module.parameters()]
        if network.torso.follow is not None:
            groups["torso_motion"] = [*network.torso.follow.parameters()]
    return groups
