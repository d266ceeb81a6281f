"""Front ends `wav2vec2`, `hubert` and `xls-r`: speech encoders of `torchaudio.pipelines`.

Their weights are not part of a package: torch.hub downloads them from torchaudio's own address when they are first
asked for, and a machine without network takes the same file, put into the same place by hand.
"""

from __future__ import annotations

import functools
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aed_nerfstudio.audio.front_end import STEP, AudioFrontEnd, count_steps, cross_fade
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import make_folder

ADDRESS = "https://download.pytorch.org/torchaudio/models/"
"""Where torchaudio's pipelines have their weights."""
# All of these encoders convolve with kernels 10, 3, 3, 3, 3, 2, 2 at strides 5, 2, 2, 2, 2, 2, 2: one state per 320
# samples, read from 400. With 40 samples of silence in front, state k is centred on the middle of the 50-Hz step k.
FIELD = 400
BEFORE = (FIELD - STEP) // 2
CHUNK = 600
"""Steps that go through at a time; no window is filled up with silence, by which the input's scaling would suffer."""


@dataclass(frozen=True)
class Pipeline:
    """One of torchaudio's pipelines.

    layer: number of the hidden layer to read, from 1; the output when None.
    """

    bundle: str
    layer: int | None = None

    def place(self) -> Path:
        """Returns where torch.hub keeps the weights, or would."""
        import torch

        return Path(torch.hub.get_dir()) / "checkpoints" / self._bundle()._path  # torchaudio has no public name for it

    def weights(self) -> Path:
        """Downloads the weights if they are not there, and returns their place.

        Raises InputError when they cannot be.
        """
        import torch

        path, name = self.place(), self._bundle()._path
        if not path.is_file():
            print(f"downloading {ADDRESS}{name} to {path}")
            try:
                make_folder(path.parent)
                torch.hub.download_url_to_file(ADDRESS + name, str(path))
            except (OSError, RuntimeError, InputError) as error:
                raise InputError(
                    f"{path}: missing and cannot be downloaded ({error}); get {ADDRESS}{name} on another machine and "
                    "put it there (TORCH_HOME moves the folder), or choose moonshine or log-mel, which need no download"
                ) from error
        return path

    def _bundle(self):
        import torchaudio

        return getattr(torchaudio.pipelines, self.bundle)

    def load(self):
        """Loads the network with its weights; InputError where they are damaged."""
        path = self.weights()
        try:
            # Our own choice of `weights_only`: torchaudio's default would run whatever code the file holds.
            return self._bundle().get_model(dl_kwargs={"map_location": "cpu", "weights_only": True})
        except (OSError, EOFError, KeyError, AttributeError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
            raise InputError(
                f"{path}: damaged, or not the weights of torchaudio's {self.bundle}; remove it to have it downloaded "
                f"again from {ADDRESS}{path.name}"
            ) from error

    def encode(self, samples: np.ndarray) -> np.ndarray:
        """Encodes one window, float32 [n] -> float32 [(n - 400) // 320 + 1, dim]."""
        import torch

        model, wave = _loaded(self), torch.from_numpy(samples)[None]
        with torch.no_grad():
            if self.layer is None:
                return model(wave)[0][0].numpy()
            return model.extract_features(wave, num_layers=self.layer)[0][-1][0].numpy()

    def extract(self, samples: np.ndarray) -> np.ndarray:
        """Extracts the features: float32 [n] at 16 kHz -> float32 [ceil(n / 320), dim] at 50 Hz."""
        steps = count_steps(samples)
        padded = np.zeros(steps * STEP + FIELD - STEP, np.float32)
        padded[BEFORE : BEFORE + samples.size] = samples

        def encode(first: int, last: int) -> np.ndarray:
            return self.encode(padded[first * STEP : last * STEP + FIELD - STEP])

        return cross_fade(steps, CHUNK, encode)


@functools.lru_cache(maxsize=1)
def _loaded(pipeline: Pipeline):
    """Loads a network, unless it is the one that was used last, which stays in memory."""
    return pipeline.load()


PIPELINES: dict[str, Pipeline] = {}
"""The pipelines of the front ends below, by their names."""


def _front_end(name: str, dim: int, pipeline: Pipeline) -> AudioFrontEnd:
    PIPELINES[name] = pipeline
    return AudioFrontEnd(name, dim, pipeline.extract, pipeline.weights)


WAV2VEC2 = _front_end("wav2vec2", 29, Pipeline("WAV2VEC2_ASR_BASE_960H"))
"""Scores of 29 characters before the softmax, as the family takes them from DeepSpeech: after it nearly all steps would
be 0 or 1, most of them the blank's."""
HUBERT = _front_end("hubert", 768, Pipeline("HUBERT_BASE", 9))
"""The ninth of twelve layers, from which its authors made the targets of their larger models (Hsu et al., HuBERT,
2021)."""
XLS_R = _front_end("xls-r", 1024, Pipeline("WAV2VEC2_XLSR_300M", 15))
"""128 languages. The fifteenth of 24 layers: the last ones go back to what the sound is rather than what is said (Pasad
et al., Layer-wise analysis of a self-supervised speech representation model, 2021)."""
