"""Adam in one pass over the weights: a grid has millions, of which a step touches few."""

from dataclasses import dataclass

from nerfstudio.engine.optimizers import AdamOptimizerConfig


@dataclass
class FusedAdamConfig(AdamOptimizerConfig):
    """nerfstudio's Adam, by PyTorch's fused kernels (CPU and CUDA)."""

    fused: bool = True
    """False: one tensor operation after the other."""
