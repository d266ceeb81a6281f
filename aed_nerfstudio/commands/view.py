"""`aed view`: an avatar in nerfstudio's viewer, without a training run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from aed_nerfstudio.bounds import Between
from aed_nerfstudio.commands.flags import check_flags
from aed_nerfstudio.errors import InputError

if TYPE_CHECKING:
    from nerfstudio.viewer.viewer import Viewer

    from aed_nerfstudio.avatar.avatar import Avatar
    from aed_nerfstudio.viewer.speech import Recordings


@dataclass(kw_only=True)
class View:
    """Look at an avatar and let it speak in the browser: emotions, sound, pose, background; Ctrl-C ends it."""

    avatar: tyro.conf.Positional[Path]
    """An avatar file, actor (the one that comes with the package), or the config.yml of a training run."""
    data: Path | None = None
    """Where the dataset of the training run is now; by default where it was, or beside the run."""
    output: Path | None = None
    """Folder for videos and camera paths that are saved in the browser; NAME-viewer in the current folder by
    default."""
    websocket_host: str = "127.0.0.1"
    """Address to listen on; see docs/security.md before giving another."""
    websocket_port: Annotated[int, Between(1, 65_535)] = 7007
    """Port to listen on, or the next one that is free."""
    upload_megabytes: Annotated[float, Between(0, 1e6)] = 64
    """MiB of a file that a browser may upload."""
    upload_minutes: Annotated[float, Between(0, 1e6)] = 10
    """Of sound that a browser may upload."""

    def main(self) -> None:
        """Runs the command until it is stopped."""
        self.start()
        while True:
            time.sleep(1)

    def start(self) -> Viewer:
        """Starts the viewer, which serves in threads of its own."""
        from aed_nerfstudio.avatar.avatar import Avatar
        from aed_nerfstudio.nerfstudio_plugin.avatar_viewer import start_viewer
        from aed_nerfstudio.viewer.uploads import Limits

        check_flags(self)
        avatar = Avatar.load(self.avatar, data=self.data)
        if avatar.portrait.front_end == "none":
            print("note: this avatar was trained without sound, so its lips follow nothing")
        return start_viewer(
            avatar.network,
            self._recordings(avatar),
            self.output or Path(f"{self.avatar.stem}-viewer"),
            self.websocket_host,
            self.websocket_port,
            Limits(self.upload_megabytes, self.upload_minutes),
            avatar.step,
        )

    def _recordings(self, avatar: Avatar) -> Recordings:
        """Returns the clips of a run's dataset, where it is still there."""
        from aed_nerfstudio.avatar.packaged import is_config
        from aed_nerfstudio.loading import dataset_of, read_run_config
        from aed_nerfstudio.viewer.speech import Recordings

        if not is_config(self.avatar):
            return Recordings()
        try:
            return Recordings(dataset_of(read_run_config(self.avatar), self.data))
        except InputError as error:
            if self.data is not None:
                raise
            print(f"note: only uploaded sound can be spoken ({error})")
            return Recordings()
