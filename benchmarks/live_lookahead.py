"""How well lips can be told from live sound, over the look-ahead: the table that `aed live`'s default comes from.

    python benchmarks/live_lookahead.py --output benchmarks/results/live_lookahead.json
    python benchmarks/live_lookahead.py --data ANCHOR --output ...     # a dataset of `aed process` as well

- The actor: the packaged avatar hears 10 s that it was not trained on, offline and live. `r`: correlation of the lip
  opening that its network makes of that with the true one, which is the loudness that the actor's jaw follows. `from
  offline`: mean difference of its four lip distances from the offline path's, percent of their deviation.
- A dataset: ridge regression of the lip shape from the features around a frame, trained on the offline features of all
  clips but the last fifth of the frames. `r` is the opening's against the landmarks' on that fifth, `error` the mean
  difference of the four distances from them, in percent of the face's height from forehead to nose.
- `learnt live`: the same regression trained on features of the front end `moonshine-live`, and told from a live stream
  with the usual look-ahead. `actor, learnt on`: such a regression for the actor, by what it was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tyro

from aed_nerfstudio.audio.features import SAMPLE_RATE, WINDOW, extract_features, windows_at
from aed_nerfstudio.audio.live_hearing import FRAME, LOOKAHEAD, LiveHearing
from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.face.face_mesh import lip_shape
from aed_nerfstudio.media.audio_io import read_audio
from aed_nerfstudio.synthetic.performance import speech_level
from aed_nerfstudio.synthetic.record import training_speech, unseen_speech

LOOKAHEADS = (0.04, 0.08, 0.12, 0.16, 0.2, 0.28, 0.4)
PARTS = 96
"""Principal parts that a step's features are reduced to for the regression."""


def live_windows(sound: np.ndarray, frames: Iterable[int], lookahead: float) -> np.ndarray:
    """Returns what a live stream hears at some frames, [F, 8, 16, dim]."""
    hearing = LiveHearing("moonshine", lookahead)
    padded = np.pad(sound, (hearing.samples, hearing.samples))
    found = []
    for frame in frames:
        end = hearing.samples + (frame + 1 + hearing.ahead) * FRAME
        found.append(windows_at(hearing(padded[end - hearing.samples : end]), hearing.index))
    return np.stack(found)


def offline_windows(sound: np.ndarray, frames: int, front_end: str = "moonshine") -> np.ndarray:
    """Returns what the offline path hears, [F, 8, 16, dim]."""
    features = extract_features(sound, frames, front_end)
    return np.stack([windows_at(features, frame) for frame in range(frames)])


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Returns Pearson's r of two series."""
    return round(float(np.corrcoef(a, b)[0, 1]), 3)


def of_actor() -> dict[str, dict[str, float]]:
    """Returns the figures of the packaged actor by the look-ahead in ms."""
    avatar, sound = Avatar.load(Path("actor"), "cpu"), unseen_speech()
    frames = len(sound) // FRAME
    truth = speech_level(sound, frames)[0]

    def lips(windows: np.ndarray) -> np.ndarray:
        return avatar.network.encode_audio(list(windows))[2].detach().numpy()

    offline = lips(offline_windows(sound, frames))
    table = {"offline": {"r": correlation(offline[:, 0], truth), "from offline": 0.0}}
    for lookahead in LOOKAHEADS:
        live = lips(live_windows(sound, range(frames), lookahead))
        error = round(100 * float(np.abs(live - offline).mean() / offline.std(0).mean()), 1)
        table[f"{1000 * lookahead:.0f} ms"] = {"r": correlation(live[:, 0], truth), "from offline": error}
        print(lookahead, table[f"{1000 * lookahead:.0f} ms"], flush=True)
    return table


class Ridge:
    """Ridge regression of targets [N, T] from windows of features."""

    def __init__(self, windows: np.ndarray, targets: np.ndarray, strength: float = 300.0) -> None:
        steps = windows[:, 4].reshape(-1, windows.shape[-1])
        self._mean = steps.mean(0)
        self._axes = np.linalg.eigh(np.cov((steps - self._mean).T))[1][:, -PARTS:]
        inputs = self._inputs(windows)
        self._scale = inputs.std(0) + 1e-6
        inputs = inputs / self._scale
        self._middle = targets.mean(0)
        gram = inputs.T @ inputs + strength * np.eye(inputs.shape[1])
        self._weights = np.linalg.solve(gram, inputs.T @ (targets - self._middle))

    def _inputs(self, windows: np.ndarray) -> np.ndarray:
        reduced = (windows[:, 4].reshape(-1, windows.shape[-1]) - self._mean) @ self._axes
        return reduced.reshape(len(windows), WINDOW * PARTS)

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        return self._inputs(windows) / self._scale @ self._weights + self._middle


def of_dataset(folder: Path) -> dict[str, dict[str, float]]:
    """Returns the figures of a dataset by the look-ahead in ms."""
    dataset = read_dataset(folder)
    sounds = [read_audio(folder / "audio" / f"{clip.name}.wav") for clip in dataset.clips]
    truth = [lip_shape(np.load(folder / "landmarks" / f"{clip.name}.npy")) for clip in dataset.clips]
    counts = [len(t) for t in truth]
    truth = np.concatenate(truth)
    known = np.isfinite(truth).all(1)
    split = int(0.8 * len(truth))
    train, test = known.copy(), known.copy()
    train[split - 25 :] = False  # a second between them
    test[:split] = False

    def figures(windows: np.ndarray) -> dict[str, float]:
        told = model(windows)
        error = 100 * float(np.abs(told - truth[test]).mean())
        return {"r": correlation(told[:, 0], truth[test][:, 0]), "error": round(error, 2)}

    whole = np.concatenate([offline_windows(s, n) for s, n in zip(sounds, counts, strict=True)])
    model = offline = Ridge(whole[train], truth[train])
    table = {"offline": figures(whole[test])}
    print(table, flush=True)
    starts = np.cumsum([0, *counts])
    for lookahead in LOOKAHEADS:
        live = []
        for number, sound in enumerate(sounds):
            own = np.flatnonzero(test[starts[number] : starts[number + 1]])
            if len(own):
                live.append(live_windows(sound, own.tolist(), lookahead))
        heard = np.concatenate(live)
        table[f"{1000 * lookahead:.0f} ms"] = figures(heard)
        print(lookahead, table[f"{1000 * lookahead:.0f} ms"], flush=True)
        if lookahead == LOOKAHEAD:
            learnt = [offline_windows(s, n, "moonshine-live") for s, n in zip(sounds, counts, strict=True)]
            model = Ridge(np.concatenate(learnt)[train], truth[train])
            table["learnt live"] = figures(heard)
            model = offline
            print(table["learnt live"], flush=True)
    return table


def actor_that_learns(seconds: float = 60.0) -> dict[str, dict[str, float]]:
    """Returns what regression tells of the actor's opening from a live stream, by what it was trained on."""
    heard, sound = training_speech()[: round(seconds * SAMPLE_RATE)], unseen_speech()
    count, frames = len(heard) // FRAME, len(sound) // FRAME
    known, truth = speech_level(heard, count)[0][:, None], speech_level(sound, frames)[0]
    live = live_windows(sound, range(frames), LOOKAHEAD)
    table = {}
    for front_end in ("moonshine", "moonshine-live"):
        told = Ridge(offline_windows(heard, count, front_end), known)(live)[:, 0]
        error = 100 * float(np.sqrt(np.square(told - truth).mean()) / truth.std())
        table[front_end] = {"r": correlation(told, truth), "error": round(error, 1)}
        print(front_end, table[front_end], flush=True)
    return table


def main(output: Path, data: Path | None = None) -> None:
    """Measures the table.

    Args:
        output: JSON file to write.
        data: a dataset folder whose clips have landmarks; the actor alone is measured without one.
    """
    found: dict[str, object] = {"front end": "moonshine"}
    if data is not None:
        found["dataset"] = {"frames": len(read_dataset(data).frames), **of_dataset(data)}
    found["actor"] = of_actor()
    found["actor, learnt on"] = actor_that_learns()
    output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
