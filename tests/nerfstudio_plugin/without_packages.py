"""A program for `tests.forks`: trains, as arguments say, where packages that only capture needs are not installed."""

import importlib.metadata
import sys
from pathlib import Path

import numpy as np

MISSING = ("mediapipe", "moonshine_voice", "av", "IPython", "anny", "stlpips_pytorch.stlpips", "onnxruntime")


class Without:
    """A finder of modules that does not find these."""

    def __init__(self, finder) -> None:
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name in MISSING else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)


if __name__ == "__main__":
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("aed_nerfstudio", "nerfstudio", *MISSING):
            del sys.modules[name]
    sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
    sys.argv[0] = "ns-train"
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="ns-train")
    entry.load()()
    from aed_nerfstudio.avatar.avatar import Avatar

    output = Path(sys.argv[sys.argv.index("--output-dir") + 1])
    avatar = Avatar.load(next(output.rglob("config.yml")), device="cpu")
    silence, features = np.zeros(16_000, np.float32), np.zeros((50, avatar.portrait.feature_dim), np.float32)
    avatar.images(avatar.track(silence, avatar.vocabulary.encode(), features=features)[3], 16)
    print("rendered a picture without", *sorted({*MISSING} - {*sys.modules}))
