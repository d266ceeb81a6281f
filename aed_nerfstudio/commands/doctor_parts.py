"""What `aed doctor` checks of parts beside the packages: weights, programs, fonts; and where things are.

Nothing here may count on more than the standard library being whole.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from aed_nerfstudio.commands.doctor_check import Broken, Check, NotHere
from aed_nerfstudio.commands.doctor_packages import extras
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import hugging_face_cache


def parts() -> Iterator[Check]:
    """Checks weights, programs and optional packages."""
    yield Check("face landmarks", _landmarks)
    yield Check("audio front end moonshine", _moonshine)
    yield Check("other front ends' weights", _front_ends, needed=False)
    yield Check("Whisper weights", _whisper, needed=False)
    yield Check("LPIPS trunk", _lpips)
    yield Check("FAN", _fan, needed=False)
    yield Check("SyncNet", lambda: "weights are named by `aed eval --syncnet`; none are looked for", needed=False)
    yield Check("SegFormer weights", _segformer, needed=False)
    yield Check("independent judge", _judge, needed=False)
    yield Check("video encoders", _encoders)
    yield Check("fonts", _fonts)
    yield Check("ffmpeg", _ffmpeg, needed=False)
    yield from extras()


def _landmarks() -> str:
    import numpy as np

    from aed_nerfstudio.evaluation.landmark_distance import detect
    from aed_nerfstudio.face.engine import engine_name, missing_models

    if missing := missing_models():  # nothing is fetched here
        return f"{engine_name()}; {' and '.join(missing)} will be fetched on first use"
    detect([np.zeros((64, 64, 3), np.uint8)])
    return f"ok, {engine_name()}"


def _moonshine() -> str:
    import numpy as np

    from aed_nerfstudio.audio.features import FRONT_ENDS

    features = FRONT_ENDS["moonshine"].extract(np.zeros(16000, np.float32))
    if not np.isfinite(features).all():
        raise Broken("its features are not finite")
    return f"ok, {features.shape[1]} numbers a step"


def _front_ends() -> str:
    from aed_nerfstudio.audio.torchaudio_pipelines import PIPELINES

    states = {name: "found" if pipeline.place().is_file() else "not here" for name, pipeline in PIPELINES.items()}
    return ", ".join(f"{name} {state}" for name, state in states.items())


def _whisper() -> str:
    from aed_nerfstudio.audio.whisper import find_weights

    try:
        return f"found {find_weights()[0]}"
    except InputError as error:
        raise NotHere(str(error)) from None


def _lpips() -> str:
    from aed_nerfstudio.nerfstudio_plugin.losses import PerceptualLoss

    if PerceptualLoss().name == "lpips":
        return "ok, AlexNet"
    return "not here (alexnet-*.pth in torch's checkpoints); ST-LPIPS takes its place: ok"


def _fan() -> str:
    from aed_nerfstudio.evaluation.landmark_distance import FanLips, NotMeasurable

    try:
        FanLips("cpu")
    except NotMeasurable as error:
        raise NotHere(str(error)) from None
    return "ok"


def _segformer() -> str:
    from aed_nerfstudio.capture.segformer import MODEL

    if not Path(hugging_face_cache(), f"models--{MODEL.replace('/', '--')}").is_dir():
        raise NotHere(f"{MODEL} is not in Hugging Face's cache")
    return f"found {MODEL}"


def _judge() -> str:
    from aed_nerfstudio.evaluation.independent_judge import IndependentJudge
    from aed_nerfstudio.evaluation.landmark_distance import NotMeasurable

    try:
        IndependentJudge()
    except NotMeasurable as reason:
        raise NotHere(str(reason)) from None
    return "ok, the network of fer"


def _encoders() -> str:
    import av

    from aed_nerfstudio.media.formats import FORMATS

    wanted = {codec for form in FORMATS.values() for codec in (form.codec, form.sound) if form.codec}
    missing = sorted(wanted - av.codecs_available)
    if missing:
        raise Broken(f"PyAV {av.__version__} was built without {', '.join(missing)}; run "
                     f"`pip install --force-reinstall --only-binary av av`")  # fmt: skip
    return f"ok, {', '.join(sorted(wanted))} (FFmpeg {av.ffmpeg_version_info})"


def _fonts() -> str:
    import numpy as np

    from aed_nerfstudio.media.captions import MARK, Mark, labelled

    black = np.zeros((64, 256, 3), np.uint8)
    if not Mark(MARK, (256, 64))(black).any() or not labelled(black, MARK).any():
        raise Broken("letters leave a picture black")
    return "ok, Pillow's and OpenCV's own"


def _ffmpeg() -> str:
    program = shutil.which("ffmpeg")
    if program is None:
        raise NotHere("only nerfstudio's own commands call it; PyAV has FFmpeg's libraries")
    run = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=False)
    return " ".join(run.stdout.split()[:3]) if run.returncode == 0 else f"exit code {run.returncode}"


def paths() -> Iterator[Check]:
    """Says where things are: for `--paths` only."""
    yield Check("Python", lambda: sys.executable)
    yield Check("environment", lambda: sys.prefix)
    yield Check("package", lambda: str(Path(__file__).parents[1]))
    yield Check("current folder", os.getcwd)
    yield Check("temporary files", tempfile.gettempdir)
    yield Check("torch's checkpoints", _checkpoints)
    yield Check("Hugging Face's cache", lambda: str(hugging_face_cache()))
    yield Check("Triton's cache", lambda: os.environ.get("TRITON_CACHE_DIR") or str(Path("~/.triton").expanduser()))
    yield Check("Numba's cache", lambda: os.environ.get("NUMBA_CACHE_DIR") or "beside the kernels, in the package")
    yield Check("cv2", lambda: str(importlib.import_module("cv2").__file__), needed=False)


def _checkpoints() -> str:
    import torch

    return str(Path(torch.hub.get_dir(), "checkpoints"))
