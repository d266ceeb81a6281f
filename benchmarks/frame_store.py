"""Memory and time of training on many frames: the mapped file of decoded frames against decoding anew.

    python benchmarks/frame_store.py --output frame_store.json          # 1000 and 10 000 frames of 512x512

Each dataset repeats a second of the synthetic actor: its pictures are links to the same files, which the store cannot
know. A process of its own trains `aed-nerf` on it for some steps, whose rays the datamanager draws as always; then it
draws alone, frames that were not drawn before, the same frames again, and with every frame decoded anew. The store's
file takes 2 MiB a frame that was drawn.
"""

from __future__ import annotations

import copy
import multiprocessing
import os
import platform
import re
import statistics
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tyro

RECORDED = 25
"""Different pictures."""


def make_dataset(recorded: Path, root: Path, count: int) -> None:
    """Makes a dataset of one clip of count frames, which repeats the recorded one's."""
    from aed_nerfstudio.dataset.schema import read_dataset, write_array, write_dataset

    source = read_dataset(recorded)
    clip = source.clips[0]
    frames = [replace(source.frames[i % clip.count], index=i) for i in range(count)]
    dataset = replace(source, root=root, clips=[replace(clip, count=count)], frames=frames)
    for kind in ("images", "torso", "parsing"):
        (root / kind / clip.name).mkdir(parents=True)
        for i, frame in enumerate(frames):
            os.link(source.path(kind, source.frames[i % clip.count]), dataset.path(kind, frame))
    os.link(source.background, dataset.background)
    random = np.random.default_rng(0)
    speech = random.standard_normal((2 * count, source.feature_dim), np.float32)
    write_array(root / "audio_features" / f"{clip.name}.npy", speech)
    marks = np.resize(source.landmarks(clip.name), (count, 478, 3))
    write_array(root / "landmarks" / f"{clip.name}.npy", marks + random.standard_normal(marks.shape, np.float32))
    write_dataset(dataset)


class Memory:
    """The largest resident memory of this process, MiB: all of it, its own pages, mapped files."""

    NAMES = {"rss": "VmRSS", "anonymous": "RssAnon", "files": "RssFile"}

    def __enter__(self) -> Memory:
        self.most = dict.fromkeys(self.NAMES, 0.0)
        self.going = True
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while self.going:
            status = Path("/proc/self/status").read_text()
            for key, name in self.NAMES.items():
                self.most[key] = max(self.most[key], int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024)
            time.sleep(0.01)

    def __exit__(self, *error) -> None:
        self.going = False
        self.thread.join()


def measure(root: Path, train_steps: int, draw_steps: int) -> dict:
    """Figures of one dataset: MiB and milliseconds a step, medians."""
    import torch
    from aed_nerfstudio.method_configs.aed_nerf import aed_nerf
    from nerfstudio.engine.callbacks import TrainingCallbackAttributes, TrainingCallbackLocation
    from nerfstudio.engine.optimizers import Optimizers

    from aed_nerfstudio.dataset.frames import FramePixels, decode

    torch.manual_seed(0)
    np.random.seed(0)
    config = copy.deepcopy(aed_nerf.config)
    config.pipeline.datamanager.data = root
    with Memory() as memory:
        pipeline = config.pipeline.setup(device="cpu").train()
        optimizers = Optimizers(config.optimizers, pipeline.get_param_groups())
        callbacks = pipeline.get_training_callbacks(
            TrainingCallbackAttributes(
                optimizers=optimizers,
                grad_scaler=None,
                pipeline=pipeline,
                trainer=SimpleNamespace(checkpoint_dir=root, config=config),
            )
        )
    result = {"memory_setup_mib": memory.most}
    with Memory() as memory:
        times = []
        for step in range(train_steps):
            start = time.perf_counter()
            for callback in callbacks:
                callback.run_callback_at_location(step, TrainingCallbackLocation.BEFORE_TRAIN_ITERATION)
            optimizers.zero_grad_all()
            _, losses, _ = pipeline.get_train_loss_dict(step)
            sum(losses.values()).backward()
            optimizers.optimizer_step_all()
            times.append(1000 * (time.perf_counter() - start))
    result |= {"memory_training_mib": memory.most, "train_step_ms": statistics.median(times)}
    manager = pipeline.datamanager

    def draw(seed: int, steps: int) -> float:
        manager.generator = np.random.default_rng(seed)
        times = []
        for _ in range(steps):
            start = time.perf_counter()
            manager.next_train(0)
            times.append(1000 * (time.perf_counter() - start))
        return statistics.median(times)

    with Memory() as memory:
        result |= {"draw_first_ms": draw(1, draw_steps), "draw_again_ms": draw(1, draw_steps)}
    result["memory_drawing_mib"] = memory.most
    status = os.stat(manager.store().path)
    result |= {"file_gib": status.st_size / 2**30, "file_on_disk_gib": status.st_blocks * 512 / 2**30}

    def anew(index: int, pixels: np.ndarray) -> FramePixels:
        return FramePixels(torch.from_numpy(decode(manager.dataset, index).values.reshape(-1, 8)[pixels]))

    manager._pixels = anew
    result["draw_decoding_ms"] = draw(1, max(5, draw_steps // 5))
    return result


@dataclass
class Options:
    """Measure the memory and time of training on many frames."""

    output: Path = Path("frame_store.json")
    frames: tuple[int, ...] = (1000, 10_000)
    size: int = 512
    train_steps: int = 40
    draw_steps: int = 250
    folder: Path | None = None
    """Where the datasets are made, and removed at the end; the system's folder for temporary files when None."""


def main(options: Options) -> None:
    import torch

    from aed_nerfstudio.dataset.schema import FPS, write_json
    from aed_nerfstudio.synthetic.record import record_dataset

    rows = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        recorded = Path(folder) / "recorded"
        record_dataset(recorded, size=options.size, clip_seconds=RECORDED / FPS, emotions=("neutral",), progress=False)
        for count in options.frames:
            root = Path(folder) / str(count)
            make_dataset(recorded, root, count)
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                rows[str(count)] = process.submit(measure, root, options.train_steps, options.draw_steps).result()
            print(count, rows[str(count)], flush=True)
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    result = {
        "machine": {
            "cpu": cpu[1] if cpu else platform.processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        },
        "size": options.size,
        "train_steps": options.train_steps,
        "draw_steps": options.draw_steps,
        "frames": rows,
    }
    write_json(options.output, result)
    print("| frames | training, MiB | mapped files | drawing, MiB | step, ms | first draw | again | decoded anew |")
    print("|---|---|---|---|---|---|---|---|")
    for count, row in rows.items():
        training, drawing = row["memory_training_mib"], row["memory_drawing_mib"]
        memory = (training["rss"], training["files"], drawing["rss"])
        times = (row[f"{key}_ms"] for key in ("train_step", "draw_first", "draw_again", "draw_decoding"))
        print("|", count, "|", " | ".join(f"{value:.0f}" for value in (*memory, *times)), "|")


if __name__ == "__main__":
    main(tyro.cli(Options))
