"""The options by which every command is given an avatar."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.outside import regular_file

if TYPE_CHECKING:
    from aed_nerfstudio.avatar.avatar import Avatar


@dataclass(kw_only=True)
class AvatarFlags:
    """Names an avatar: as a file, or as the training run that it comes from."""

    avatar: Path | None = None
    """An avatar file (made by aed pack), or actor: the one that comes with the package."""
    load_config: Path | None = None
    """The config.yml of a training run instead; its newest checkpoint is taken."""
    data: Path | None = None
    """Where the dataset of the training is now; by default where it was, or beside the run."""

    def check_avatar(self, with_dataset: bool = False) -> None:
        """Makes sure that one avatar is named, and is there, before seconds are spent on loading.

        with_dataset: whether an avatar file may come with a dataset.

        Raises:
            InputError: none is, or both; or there is no such file.
        """
        self.check_one_avatar()
        if self.load_config is not None:
            regular_file(self.load_config, "give the config.yml of a training run")
            return
        if self.data is not None and not with_dataset:
            raise InputError(f"--data {self.data}: is for --load-config; an avatar file needs no dataset")
        regular_file(self.named(), "give an avatar file, or actor for the one that comes with the package")

    def check_one_avatar(self) -> None:
        """Makes sure that one avatar is named.

        Raises:
            InputError: none is, or both are.
        """
        if (self.avatar is None) == (self.load_config is None):
            raise InputError("give either --avatar (an avatar file, or actor) or --load-config (the config.yml of a "
                             "training run)")  # fmt: skip

    def named(self) -> Path:
        """Returns the file that the avatar is read from: of its own, or its run's config.yml."""
        from aed_nerfstudio.avatar.packaged import packaged

        if self.load_config is not None:
            return self.load_config
        assert self.avatar is not None  # see `check_one_avatar`
        return packaged(self.avatar)

    def avatar_files(self) -> list[Path]:
        """Returns the files and folders that the avatar is read from."""
        if self.load_config is not None:
            return run_files(self.load_config)
        return [] if self.avatar is None else [self.named()]

    def avatar_of(self) -> Avatar:
        """Returns the avatar.

        Raises:
            InputError: as `Avatar.load` says.
        """
        from aed_nerfstudio.avatar.avatar import Avatar

        return Avatar.load(self.named(), data=self.data if self.avatar is None else None)


def run_files(config: Path) -> list[Path]:
    """Returns what is read of a training run: its config.yml, and the folder of its checkpoints."""
    return [config, config.parent / "nerfstudio_models"]
