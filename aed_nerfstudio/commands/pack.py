"""`aed pack`: the avatar of a training run as one file, which needs neither the run nor the person's recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aed_nerfstudio.commands.avatar_flags import AvatarFlags
from aed_nerfstudio.commands.flags import check_flags


@dataclass(kw_only=True)
class Pack(AvatarFlags):
    """Write an avatar into one file, to keep it, give it away or put it on a server."""

    output: Path
    """The file to write, usually NAME.avatar."""
    half: bool = True
    """Store the hash grids in half precision: about half as large; pictures differ by less than 1/1000. Without, they
    are the same."""
    consent: str | None = None
    """Who agreed to the avatar, in words or in a file that is named; by default what its dataset said."""
    licence: str | None = None
    """Under which terms it may be used, in words or in a file that is named."""

    def main(self) -> None:
        """Runs the command."""
        from aed_nerfstudio.dataset.consent import read_consent
        from aed_nerfstudio.files import keep_apart

        check_flags(self)
        self.check_avatar()
        said = {"consent": self.consent, "licence": self.licence}
        words = {name: read_consent(text, f"--{name}") for name, text in said.items() if text is not None}
        keep_apart([self.output], self.avatar_files())
        avatar = self.avatar_of()
        avatar.network.portrait = avatar.portrait.noting(**words)
        avatar.save(self.output, self.half)
        size = self.output.stat().st_size / 1e6
        print(f"{self.output.resolve()}: {size:.1f} MB; for --avatar of aed render, aed batch, aed eval and aed bench, "
              f"and for aed view {self.output}")  # fmt: skip
