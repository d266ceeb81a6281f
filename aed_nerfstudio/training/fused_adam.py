"""Where version 0.1 had this, and the `config.yml` of its runs looks for it."""

from aed_nerfstudio.nerfstudio_plugin.fused_adam import FusedAdamConfig

__all__ = ["FusedAdamConfig"]
