"""Where version 0.1 had this, and the `config.yml` of its runs looks for it."""

from aed_nerfstudio.nerfstudio_plugin.pipeline import AedPipeline, AedPipelineConfig

__all__ = ["AedPipeline", "AedPipelineConfig"]
