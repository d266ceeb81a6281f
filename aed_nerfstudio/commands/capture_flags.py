"""The options that all commands share which make datasets of several videos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from aed_nerfstudio.bounds import DATASET_SIDE

if TYPE_CHECKING:
    from aed_nerfstudio.capture.sources import ProcessOptions
    from aed_nerfstudio.corpora.corpus import CorpusPlan
    from aed_nerfstudio.dataset.schema import Dataset


def judge(dataset: Dataset) -> None:
    """Prints what `aed inspect` says of a new dataset, and what to do next."""
    from aed_nerfstudio.inspection.inspect import inspect_dataset  # slow to import: scipy, matplotlib

    inspection = inspect_dataset(dataset)
    print(inspection.summary_text())
    if not dataset.consent:
        print("No consent is noted: the same command with --consent TEXT-OR-FILE adds who agreed to what.")
    if inspection.usable:
        print(f"Next: ns-train aed-nerf --data {dataset.root}")


@dataclass(kw_only=True)
class CaptureFlags:
    """How videos become datasets; see `aed process`."""

    size: Annotated[int, DATASET_SIDE] = 512
    """Side of the square pictures, pixels."""
    audio_features: str = "moonshine"
    """What is read from the sound, as in aed process; none: for avatars that show emotions and do not speak."""
    parser: str = "mediapipe"
    """What finds head, neck and torso, as in aed process."""
    parser_weights: Path | None = None
    """File or folder of the parser's weights, where it needs any."""
    consent: str | None = None
    """Who agreed to what, as in aed process."""

    def options(self) -> ProcessOptions:
        """Returns the options of `process_videos` that these flags say."""
        from aed_nerfstudio.capture.sources import ProcessOptions  # slow to import: mediapipe, scipy
        from aed_nerfstudio.dataset.consent import read_consent

        return ProcessOptions(
            size=self.size,
            front_end=self.audio_features,
            parser=self.parser,
            parser_weights=self.parser_weights,
            consent="" if self.consent is None else read_consent(self.consent),
        )


@dataclass(kw_only=True)
class TakesFlags(CaptureFlags):
    """How many takes of one person become one dataset."""

    output: Path
    """The folder to make; run again with the same options to go on after an interruption."""
    allow_silent: bool = False
    """Also use takes without sound, beside others with it; the mouth cannot learn from these."""
    dry_run: bool = False
    """Only say which takes there are and which would be used."""

    def make(self, plan: CorpusPlan) -> None:
        """Prints the plan and, unless that is all that was asked for, makes the dataset."""
        from aed_nerfstudio.corpora.corpus import run_plan

        print(plan.table, flush=True)
        if self.dry_run:
            return
        dataset, left_out = run_plan(plan, self.output, self.options())
        for reason in left_out:
            print(f"- left out: {reason}")
        judge(dataset)
