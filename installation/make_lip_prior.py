"""Makes the lip prior that comes with the package, `actor`, anew, from the computer-made actor's speech.

    python installation/make_lip_prior.py

Nobody's lips are in it: the actor's follow the loudness and the brightness of recorded speech.
"""

import tempfile
from pathlib import Path

from aed_nerfstudio.driving.lip_prior import LipPrior
from aed_nerfstudio.synthetic.record import record_dataset

TARGET = Path(__file__).resolve().parent.parent / "aed_nerfstudio" / "driving" / "packaged_files" / "actor.prior"
SIDE = 32
"""Pixels of pictures that nobody looks at."""
SECONDS = 44.0
"""Of speech: all but what `unseen_speech` keeps for measuring."""


def main() -> None:
    """Records an actor and writes the prior into the source tree."""
    with tempfile.TemporaryDirectory() as folder:
        actor = record_dataset(
            Path(folder) / "actor", size=SIDE, clip_seconds=SECONDS, emotions=["neutral"], intensities=["medium"]
        )
        LipPrior.of([actor]).save(TARGET)


if __name__ == "__main__":
    main()
