"""nerfstudio's pipeline with one stage schedule for model and datamanager."""

from __future__ import annotations

from dataclasses import dataclass, field

from nerfstudio.pipelines.base_pipeline import VanillaPipeline, VanillaPipelineConfig

from aed_nerfstudio.model.aed_nerf import AedNerfModelConfig
from aed_nerfstudio.training.datamanager import AedDataManagerConfig


@dataclass
class AedPipelineConfig(VanillaPipelineConfig):
    """AED-NeRF's pipeline."""

    _target: type = field(default_factory=lambda: AedPipeline)
    datamanager: AedDataManagerConfig = field(default_factory=AedDataManagerConfig)
    model: AedNerfModelConfig = field(default_factory=AedNerfModelConfig)


class AedPipeline(VanillaPipeline):
    """Hands the model's stage schedule to the datamanager."""

    def __init__(self, config: AedPipelineConfig, *args, **kwargs) -> None:
        config.datamanager.schedule = config.model.schedule
        super().__init__(config, *args, **kwargs)
