"""How fast the parts of an avatar are, on every backend, beside what the machine could do."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from aed_nerfstudio.audio.feature_files import is_file_front_end
from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.backends import Backend, unavailable
from aed_nerfstudio.dataset.schema import FPS
from aed_nerfstudio.driving.track import DrivingTrack, FrameCondition
from aed_nerfstudio.fields.head_field import EncodedCondition

if TYPE_CHECKING:
    from nerfstudio.cameras.cameras import Cameras

    from aed_nerfstudio.avatar.avatar import Avatar
    from aed_nerfstudio.avatar.network import Network
    from aed_nerfstudio.nerfstudio_plugin.model import AedNerfModel
    from aed_nerfstudio.nerfstudio_plugin.pipeline import AedPipeline
    from aed_nerfstudio.rendering.ray_marching import PackedSamples

POINTS = 1 << 17
"""Samples for the operations that are measured alone."""
SPEECH_SECONDS = 4
"""Of the sound that drives the pictures."""
BUDGET = 20.0
"""Seconds that all repeats of one operation may take; two are done in any case."""


@dataclass
class Operation:
    """Something to be timed: `run` does it once. What it has to compute and to move at least, where that is known."""

    name: str
    run: Callable[[], object]
    flops: float = 0.0
    """Of the networks."""
    bytes: float = 0.0
    """Read and written, tables of grids included."""


@dataclass
class Peaks:
    """What this process reaches on this machine: matrix products in GFLOP/s, and copies in GB/s (read and write)."""

    gflops: float
    gflops_half: float
    """In bfloat16."""
    gbytes: float


def machine() -> dict[str, object]:
    """Returns what the figures were measured on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def backends_here(device: torch.device) -> list[Backend]:
    """Returns the backends that can run on a device, plain torch first."""
    return [name for name in ("torch", "numba", "triton", "tcnn") if unavailable(name, device.type) is None]


def peaks(device: torch.device) -> Peaks:
    """Measures what this machine reaches; a matrix product of the networks' width (64) reaches less than this."""

    def gflops(dtype: torch.dtype) -> float:
        a = torch.randn(2048, 2048, device=device, dtype=dtype)
        return 2 * 2048**3 / _seconds(lambda: a @ a, device, 5) / 1e9

    source = torch.randn(1 << 26, device=device)  # 256 MiB: no cache holds it
    target = torch.empty_like(source)
    gbytes = 2 * source.nbytes / _seconds(lambda: target.copy_(source), device, 5) / 1e9
    return Peaks(gflops(torch.float32), gflops(torch.bfloat16), gbytes)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _once(run: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def _seconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Returns the median of some repeats, after one that does not count."""
    run()
    return statistics.median(_once(run, device) for _ in range(repeats))


class _PeakMemory:
    """The most memory that is used while it is entered, in MiB beyond what was used before: resident or, on a GPU,
    allocated."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.mib = device, 0.0

    def __enter__(self) -> _PeakMemory:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self._before = torch.cuda.memory_allocated(self.device)
            return self
        import psutil  # a dependency of viser's

        self._process, self._ended, self._most = psutil.Process(os.getpid()), threading.Event(), 0
        self._before = self._process.memory_info().rss
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def _look(self) -> None:
        while not self._ended.wait(0.002):
            self._most = max(self._most, self._process.memory_info().rss)

    def __exit__(self, *_) -> None:
        if self.device.type == "cuda":
            self._most = torch.cuda.max_memory_allocated(self.device)
        else:
            self._ended.set()
            self._watch.join()
        self.mib = max(0, self._most - self._before) / 2**20


def measure(
    avatar: Avatar,
    pipeline: AedPipeline | None,
    backends: Sequence[Backend],
    limits: Peaks,
    repeats: int,
    sizes: Sequence[int] = (256, 512),
    rays: Sequence[int] = (4096, 65536),
    report: Callable[[str], None] = lambda line: None,
) -> list[dict]:
    """Times every operation on every backend; the backends take turns in each repeat, so that what else the machine
    does disturbs all alike.

    Args:
        avatar: of a trained run; its weights are left as they are.
        pipeline: the avatar's, which draws the training steps; None: these are not timed.
        backends: see `backends_here`; ratios are against the first.
        limits: the machine's, from `peaks`.
        repeats: at most so many, and fewer where these took more than `BUDGET` seconds.
        sizes: widths of the pictures.
        rays: of the training steps.
        report: is told what is being measured.

    Returns: rows of operation, backend, ms (median), ratio (median over the repeats of first backend's time by this
    one's), mib (memory beyond what was held before), roof (share of the time that the machine's peaks allow for; None
    where unknown).
    """
    device = avatar.device
    own = avatar.network.settings.backend
    rows = []
    for make in _operations(avatar, pipeline, sizes, rays):
        operations, memory = {}, {}
        for backend in backends:
            avatar.network.use_backend(backend)
            operations[backend] = make()
            report(f"{operations[backend].name}, {backend}")
            operations[backend].run()  # compiles and fills caches
            with _PeakMemory(device) as peak:
                operations[backend].run()
            memory[backend] = peak.mib
        times, start = {backend: [] for backend in backends}, time.perf_counter()
        for number in range(repeats):
            if number >= 2 and time.perf_counter() - start > BUDGET:
                break
            for backend in backends:
                avatar.network.use_backend(backend)
                times[backend].append(_once(operations[backend].run, device))
        for backend in backends:
            avatar.network.use_backend(backend)
            half = avatar.network.head.in_bfloat16(device)
            first = times[backends[0]]
            figures = summary(operations[backend], times[backend], first, limits, half)
            rows.append({"backend": backend, "mib": memory[backend], **figures})
    avatar.network.use_backend(own)
    return rows


def summary(
    operation: Operation, seconds: Sequence[float], first: Sequence[float], limits: Peaks, half: bool
) -> dict[str, object]:
    """Returns the figures of an operation on a backend from the seconds of its repeats.

    Args:
        operation: what was timed.
        seconds: of each repeat.
        first: of the same repeats on the backend that the others are compared with.
        limits: what the machine reaches at most.
        half: whether the networks' products are in bfloat16.
    """
    median = statistics.median(seconds)
    least = operation.flops / (1e9 * (limits.gflops_half if half else limits.gflops))
    least += operation.bytes / (1e9 * limits.gbytes)
    return {
        "operation": operation.name,
        "ms": 1000 * median,
        "repeats": len(seconds),
        "ratio": statistics.median(a / b for a, b in zip(first, seconds, strict=True)),
        "roof": least / median if least else None,
    }


def _operations(
    avatar: Avatar, pipeline: AedPipeline | None, sizes: Sequence[int], rays: Sequence[int]
) -> Iterator[Callable[[], Operation]]:
    """Yields a function for each operation, which makes it for the backend that the network uses by then."""
    network, device = avatar.network, avatar.device
    track = _speech(avatar)
    condition = track[len(track) // 2]
    samples, view = _samples(avatar, condition)
    encoded = EncodedCondition(*(value.detach() for value in network.encode([condition])))
    camera = avatar.recorded_view(condition, 512).to(device)
    yield lambda: _encoding(network, samples.positions)
    yield lambda: _encoding_and_back(network, samples.positions)
    yield lambda: _marching(network, camera)
    yield lambda: _field(network, samples.positions, view, encoded)
    yield lambda: _compositing(network, samples)
    for size in sizes:
        yield lambda size=size: _frame(avatar, track, size)
    if pipeline is None:
        return
    for count in rays:
        for stage in ("head", "lips", "torso"):
            if stage != "torso" or network.torso is not None:
                yield lambda count=count, stage=stage: _training_step(pipeline, stage, count)


def _grid_bytes(network: Network, count: int) -> tuple[int, int]:
    """Returns the bytes that the spatial grid reads and writes for a number of points."""
    layout = network.head.grid.layout
    read = count * layout.n_levels * 2**layout.n_dims * layout.n_features * 4
    return read, count * layout.n_outputs * 4


def _encoding(network: Network, x: Tensor) -> Operation:
    """Returns the spatial grid's features of points [N, 3]."""
    read, write = _grid_bytes(network, len(x))

    def run() -> None:
        with torch.no_grad():
            network.head.spatial_features(x)

    return Operation(f"encode {len(x)} points", run, bytes=read + write)


def _encoding_and_back(network: Network, x: Tensor) -> Operation:
    """Returns the spatial grid's features of points [N, 3], and the gradients of its tables."""
    read, write = _grid_bytes(network, len(x))

    def run() -> None:
        network.head.grid.params.grad = None
        network.head.spatial_features(x).sum().backward()

    return Operation(f"encode {len(x)} points, forward and backward", run, bytes=3 * read + 2 * write)


def _marching(network: Network, camera: Cameras) -> Operation:
    """Returns the march of all rays of a camera [1] through the occupancy grid."""
    bundle = camera.generate_rays(camera_indices=0, keep_shape=True)
    origins, directions = bundle.origins.reshape(-1, 3), bundle.directions.reshape(-1, 3)
    c = network.settings
    return Operation(
        f"march {len(origins)} rays",
        lambda: network.occupancy.march(origins, directions, network.box, c.step_size, c.max_samples),
    )


def _field(network: Network, x: Tensor, view: Tensor, encoded: EncodedCondition) -> Operation:
    """Returns the evaluation of the head field at samples [N, 3]."""
    read, _ = _grid_bytes(network, len(x))

    def run() -> None:
        with torch.no_grad():
            network.head(x, view, encoded, [len(x)])

    return Operation(f"field, {len(x)} samples", run, flops=len(x) * _field_flops(network), bytes=2.2 * read)


def _compositing(network: Network, samples: PackedSamples) -> Operation:
    """Returns the compositing of random densities and colours along rays, and its gradients."""
    from aed_nerfstudio.rendering.compositing import composite

    x, c = samples.positions, network.settings
    sigma, colour = torch.rand(len(x), device=x.device) * 50, torch.rand(len(x), 3, device=x.device)
    sigma.requires_grad_()
    colour.requires_grad_()

    def run() -> None:
        done = composite(sigma, colour, None, samples, c.step_size, c.backend)
        (done.rgb.sum() + done.accumulation.sum()).backward()

    return Operation(f"composite {len(x)} samples, forward and backward", run, bytes=len(x) * 4 * 20)


def _samples(avatar: Avatar, condition: FrameCondition) -> tuple[PackedSamples, Tensor]:
    """Returns packed samples of whole rays of a picture, about `POINTS`, and their directions' harmonics."""
    from aed_nerfstudio.rendering.ray_marching import PackedSamples

    _, harmonics, positions, t, rays, starts = avatar.renderer.culled.hits(avatar.recorded_view(condition, 512))
    count = max(1, int(torch.searchsorted(starts, min(POINTS, int(starts[-1])), right=True)) - 1)
    end = int(starts[count])
    samples = PackedSamples(positions[:end], t[:end], rays[:end], starts[: count + 1])
    return samples, harmonics[samples.ray_indices]


def _field_flops(network: Network) -> float:
    """Returns the floating-point operations of the networks for a sample; conditions are multiplied once a frame."""

    def layers(mlp, condition: int) -> float:
        weights = [layer.weight for layer in mlp if hasattr(layer, "weight")]
        return 2 * (sum(w.numel() for w in weights) - condition * weights[0].shape[0])

    head, settings = network.head, network.settings
    expression = network.portrait.vocabulary.dim * settings.use_emotion + settings.use_eye
    lips = 0 if network.articulation_head is None else network.articulation_head.out_features
    flops = layers(head.colour, settings.appearance_dim) + (layers(head.shading, 0) if head.shading else 0)
    if settings.audio_compression:
        return flops + layers(head.compress, 64 + lips) + layers(head.density, expression + lips)
    return flops + layers(head.density, 64 + expression + lips)


def _speech(avatar: Avatar) -> DrivingTrack:
    """Returns the track of seconds of noise, with the recorded head motion."""
    noise = np.random.default_rng(0).normal(0, 0.1, SPEECH_SECONDS * SAMPLE_RATE).astype(np.float32)
    front_end, frames = avatar.portrait.front_end, SPEECH_SECONDS * FPS
    if is_file_front_end(front_end):
        features = np.resize(noise, (2 * frames, avatar.portrait.feature_dim))
    else:
        features = avatar.features(noise)
    return avatar.track(noise, avatar.vocabulary.encode(), features=features)


def _frame(avatar: Avatar, track: DrivingTrack, size: int) -> Operation:
    """Returns the rendering of a whole picture: head, torso, background. Each one has another pose, as in a video."""
    count = iter(range(1 << 30))

    def run() -> Tensor:
        return avatar.images(track[next(count) % len(track)], size)["rgb"]

    run()
    return Operation(f"picture {size} x {size}", run, avatar.renderer.evaluated * _field_flops(avatar.network))


def _training_step(pipeline: AedPipeline, stage: str, rays: int) -> Operation:
    """Returns drawing rays, forward, backward and the optimizers' step, with a learning rate of zero."""
    from nerfstudio.engine.optimizers import Optimizers

    from aed_nerfstudio.method_configs.aed_nerf import aed_nerf

    model, data = pipeline.model, pipeline.datamanager
    schedule = model.config.schedule
    step = {"head": max(1, schedule.head - 1), "lips": schedule.head, "torso": schedule.head + schedule.lips}[stage]
    step += stage == "lips" and step % 2  # every other step has a patch, and this is to be one
    groups = pipeline.get_param_groups()
    configs = {name: {"optimizer": replace(aed_nerf.config.optimizers[name]["optimizer"], lr=0.0), "scheduler": None}
               for name in groups}  # fmt: skip
    optimizers = Optimizers(configs, groups)

    def run() -> None:
        kept = data.config.train_num_rays_per_batch, data.config.torso_rays_per_batch
        data.config.train_num_rays_per_batch = data.config.torso_rays_per_batch = rays
        with _training(model, step):
            optimizers.zero_grad_all()
            bundle, batch = data.next_train(step)
            losses = model.get_loss_dict(model(bundle), batch)
            reduce(torch.add, losses.values()).backward()
            optimizers.optimizer_step_all()
        data.config.train_num_rays_per_batch, data.config.torso_rays_per_batch = kept

    return Operation(f"training step, {stage}, {rays} rays", run)


@contextmanager
def _training(model: AedNerfModel, step: int) -> Iterator[None]:
    """Sets the model as it is in a step's stage, between updates of the occupancy grid."""
    model.train()
    model.set_stage(step)
    try:
        yield
    finally:
        model.requires_grad_(True)
        model.eval()


def name_of(machine_facts: dict[str, object]) -> str:
    """Returns a file name for a machine's results."""
    text = f"{machine_facts['gpu'] or machine_facts['processor']} {machine_facts['threads']} threads"
    return "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def table(rows: Sequence[dict]) -> str:
    """Returns the rows as Markdown."""
    lines = ["| operation | backend | ms | ratio | MiB | of peak |", "|---|---|---|---|---|---|"]
    for row in rows:
        roof = "" if row["roof"] is None else f"{100 * row['roof']:.0f} %"
        figures = f"{row['ms']:.1f} | {row['ratio']:.1f} | {row['mib']:.0f} | {roof}"
        lines.append(f"| {row['operation']} | {row['backend']} | {figures} |")
    return "\n".join(lines)
