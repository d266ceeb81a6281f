"""`aed bench`: how fast an avatar is on this machine, part by part and backend by backend."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from aed_nerfstudio.bounds import RENDERED_SIDE, Between
from aed_nerfstudio.commands.avatar_flags import AvatarFlags
from aed_nerfstudio.commands.flags import check_flags

if TYPE_CHECKING:
    from aed_nerfstudio.avatar.avatar import Avatar
    from aed_nerfstudio.nerfstudio_plugin.pipeline import AedPipeline


@dataclass(kw_only=True)
class Bench(AvatarFlags):
    """Time the parts of an avatar on this machine, on every backend that it has; prints a table and writes a JSON.

    Training steps are timed with --load-config only, because they need the dataset.
    """

    output: Path | None = None
    """The JSON to write; named after the machine, in the current folder, by default."""
    backend: tuple[str, ...] = ()
    """Which backends to time, the first as the one to compare with; plain torch and all others by default."""
    repeats: Annotated[int, Between(2, 10_000)] = 7
    """Of every operation, at most; slow ones are repeated twice."""
    size: tuple[Annotated[int, RENDERED_SIDE], ...] = (256, 512)
    """Widths of the pictures."""
    rays: tuple[Annotated[int, Between(64, 1 << 20)], ...] = (4096, 65536)
    """Rays of a training step."""

    def main(self) -> None:
        check_flags(self)
        self.check_avatar()
        import torch

        from aed_nerfstudio.backends import Backend, resolve
        from aed_nerfstudio.evaluation import speed
        from aed_nerfstudio.files import keep_apart, temporary_beside, write

        named = cast("list[Backend]", list(self.backend))
        for name in named:
            resolve(name, "cuda" if torch.cuda.is_available() else "cpu")  # refuses what cannot be had
        facts = speed.machine()
        output = self.output or Path(f"bench-{speed.name_of(facts)}.json")
        keep_apart([output], self.avatar_files())
        temporary_beside(output).unlink()  # whether it can be written is known before minutes of work
        pipeline, avatar = self._loaded()
        keep_apart([output], avatar.files)
        backends = named or speed.backends_here(avatar.device)
        print(f"{facts['gpu'] or facts['processor']}, {facts['threads']} threads; backends: {', '.join(backends)}")
        limits = speed.peaks(avatar.device)
        report = lambda line: print(f"  {line}", flush=True)  # noqa: E731
        rows = speed.measure(avatar, pipeline, backends, limits, self.repeats, self.size, self.rays, report)
        result = {
            "machine": facts,
            "commit": _commit(),
            "avatar": avatar.name,
            "peaks": vars(limits),
            "rows": rows,
        }
        write(output, json.dumps(result, indent=1))
        print(speed.table(rows))
        print(f"{output}: all figures")

    def _loaded(self) -> tuple[AedPipeline | None, Avatar]:
        """Returns the pipeline of a training run, and the avatar."""
        if self.load_config is None:
            return None, self.avatar_of()
        from aed_nerfstudio.avatar.avatar import Avatar
        from aed_nerfstudio.loading import load_pipeline

        pipeline, step = load_pipeline(self.load_config, self.data)
        name, files = f"{self.load_config}, step {step}", pipeline.datamanager.dataset.sources
        return pipeline, Avatar(pipeline.model.network.eval(), name, step, files)


def _commit() -> str | None:
    """Returns the commit of this package, where it lies in a git checkout."""
    run = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return run.stdout.strip() or None
