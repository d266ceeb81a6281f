"""Pack an avatar into one file, which needs neither the run nor the person's recording, and load it again.

python examples/03_pack_and_load.py
python examples/03_pack_and_load.py --avatar CONFIG.yml --output me.avatar --no-half
"""

from pathlib import Path

import numpy as np
import tyro

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.synthetic.record import unseen_speech


def main(
    avatar: Path = Path("outputs/examples/actor/aed-nerf-tiny/example/config.yml"),
    output: Path = Path("outputs/examples/actor.avatar"),
    half: bool = True,
) -> None:
    """Pack an avatar and compare its pictures with those of its run.

    Args:
        avatar: the config.yml of a run; that of the first example when left out.
        output: the file to write.
        half: keep the tables in 16 bits: half the size, and pictures that differ by less than one can see.
    """
    from_run = Avatar.load(avatar)
    from_run.save(output, half=half)
    from_file = Avatar.load(output)

    track = from_run.track(unseen_speech(0.2), from_run.vocabulary.encode())
    pictures = [np.stack(list(speaker.render(track))).astype(float) for speaker in (from_run, from_file)]
    error = np.square(pictures[0] - pictures[1]).mean()
    print(f"{output}: {output.stat().st_size / 2**20:.1f} MiB")
    print(f"{len(track)} pictures of the file and of the run: " + (
        "the same" if error == 0 else f"PSNR {10 * np.log10(255**2 / error):.1f} dB"))  # fmt: skip


if __name__ == "__main__":
    tyro.cli(main)
