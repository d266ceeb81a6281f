"""nerfstudio's viewer with our panel, for an avatar that needs no training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import cast

import torch
from nerfstudio.configs.base_config import LoggingConfig, ViewerConfig
from nerfstudio.data.datasets.base_dataset import InputDataset
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.pipelines.base_pipeline import Pipeline
from nerfstudio.utils import writer
from nerfstudio.viewer.viewer import Viewer

from aed_nerfstudio.avatar.network import Network
from aed_nerfstudio.nerfstudio_plugin.model import AedNerfModel, AedNerfModelConfig
from aed_nerfstudio.viewer.control_panel import ControlPanel
from aed_nerfstudio.viewer.speech import Recordings
from aed_nerfstudio.viewer.start_view import StartView
from aed_nerfstudio.viewer.uploads import Limits


@dataclass
class ViewedPipeline:
    """What nerfstudio's viewer asks of a pipeline; it walks the attributes for what it is to show."""

    model: AedNerfModel
    start_view: StartView
    control_panel: ControlPanel
    datamanager: SimpleNamespace


def start_viewer(
    network: Network, recordings: Recordings, folder: Path, host: str, port: int, uploads: Limits, step: int
) -> Viewer:
    """Starts the viewer, which serves in threads of its own.

    Args:
        network: of the avatar.
        recordings: clips that it can repeat.
        folder: where videos and camera paths that are saved in the browser go; made when there are any.
        host: address to listen on.
        port: the first that is tried.
        uploads: what a browser may send.
        step: of the training after which the weights are these.
    """
    box = SceneBox(aabb=torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]))
    model = AedNerfModel(AedNerfModelConfig(), {"network": network}, scene_box=box, num_train_data=0)
    model = model.to(network.device).eval()
    pipeline = ViewedPipeline(
        model,
        StartView.of(network.portrait),
        ControlPanel(model, recordings, uploads),
        SimpleNamespace(includes_time=True),
    )
    config = ViewerConfig(websocket_host=host, websocket_port_default=port)
    logging = LoggingConfig()
    logging.local_writer.enable = False
    viewer = Viewer(config, folder / "viewer.log", folder, cast(Pipeline, pipeline), train_lock=Lock())
    writer.setup_local_writer(logging, max_iter=step, banner_messages=viewer.viewer_info)
    viewer.init_scene(cast(InputDataset, []), "completed")  # it goes through the pictures of it
    viewer.pause_train.visible = False  # there is no training
    viewer.update_scene(step)
    return viewer
