"""How the cost of the head grows with the rays and with the samples of a ray.

    python benchmarks/scaling.py --load-config CONFIG --output benchmarks/results/scaling.json --plot docs/scaling.png

Random rays of held-out frames that meet the head are marched, evaluated and composited, without gradients. Sizes take
turns in every round. A line is fitted through the medians; growth is its slope in logarithms, 1 where cost is linear.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import matplotlib
import numpy as np
import torch

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.avatar.network import Network
from aed_nerfstudio.driving.track import DatasetTrack, FrameCondition
from aed_nerfstudio.evaluation.speed import machine
from aed_nerfstudio.fields.head_field import spherical_harmonics
from aed_nerfstudio.loading import dataset_of, read_run
from aed_nerfstudio.rendering.compositing import composite

RAYS = (1024, 2048, 4096, 8192, 16384, 32768, 65536)
SAMPLES = (2, 4, 6, 8, 12, 16)
MIDDLE_RAYS = 8192


def held_out(config: Path, avatar: Avatar) -> FrameCondition:
    """The first held-out frame's."""
    dataset = dataset_of(read_run(config))
    return DatasetTrack.of(dataset, avatar.vocabulary)[dataset.split("val")[0]]


def head_rays(avatar: Avatar, condition: FrameCondition, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Origins and directions [count, 3] of random rays that have samples, all in one frame's picture."""
    camera = avatar.recorded_view(condition, 512)
    pixels = avatar.renderer.culled.hits(camera)[0]
    bundle = camera.generate_rays(camera_indices=0, keep_shape=True)
    drawn = pixels[torch.randint(len(pixels), (count,), generator=torch.Generator().manual_seed(0))]
    return bundle.origins.reshape(-1, 3)[drawn], bundle.directions.reshape(-1, 3)[drawn]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--load-config", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("scaling.json"))
    parser.add_argument("--plot", type=Path, default=Path("scaling.png"))
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    avatar = Avatar.load(options.load_config)
    network, c = avatar.network, avatar.network.settings
    condition = held_out(options.load_config, avatar)
    encoded = network.encode([condition])
    origins, directions = head_rays(avatar, condition, max(RAYS))
    usual, chunk = c.max_samples, c.eval_num_rays_per_chunk

    @torch.no_grad()
    def seconds(rays: int, samples: int) -> float:
        start = time.perf_counter()
        for o, d in zip(origins[:rays].split(chunk), directions[:rays].split(chunk), strict=True):
            packed = network.occupancy.march(o, d, network.box, c.step_size, samples)
            view = spherical_harmonics(d)[packed.ray_indices]
            sigma, rgb, ambient, _ = network.head(packed.positions, view, encoded, [len(packed)])
            composite(sigma, rgb, ambient.abs().sum(-1, keepdim=True), packed, c.step_size, c.backend)
        return time.perf_counter() - start

    rows = {"rays": [(n, usual) for n in RAYS], "samples": [(MIDDLE_RAYS, n) for n in SAMPLES]}
    times = {size: [] for sizes in rows.values() for size in sizes}
    for number in range(options.rounds + 1):
        for size, found in times.items():
            took = seconds(*size)
            if number:  # the first compiles
                found.append(took)
    result = {"machine": machine(), "avatar": avatar.name, "rounds": options.rounds}
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6))
    for axis, (name, sizes) in zip(axes, rows.items(), strict=True):
        counts = np.array([rays if name == "rays" else taken(network, origins, directions, samples)
                           for rays, samples in sizes], float)  # fmt: skip
        medians = np.array([1000 * statistics.median(times[size]) for size in sizes])
        slope, offset = np.polyfit(counts, medians, 1)
        growth = np.polyfit(np.log(counts), np.log(medians), 1)[0]
        result[name] = {"counts": counts.tolist(), "ms": medians.tolist(), "ms_each": slope, "growth": growth}
        axis.plot(counts, medians, "o")
        axis.plot(counts, slope * counts + offset, "-", linewidth=1)
        axis.set(xlabel="rays" if name == "rays" else f"samples of {MIDDLE_RAYS} rays", ylabel="ms", ylim=(0, None))
        axis.set_title(f"growth {growth:.2f}", fontsize=10)
        print(f"{name}: {1e3 * slope:.2f} µs each, growth {growth:.2f}")
    figure.tight_layout()
    figure.savefig(options.plot, dpi=100)
    options.output.write_text(json.dumps(result, indent=1))


def taken(network: Network, origins: torch.Tensor, directions: torch.Tensor, samples: int) -> int:
    """How many samples rays have of at most so many each."""
    rays, step = (origins[:MIDDLE_RAYS], directions[:MIDDLE_RAYS]), network.settings.step_size
    return len(network.occupancy.march(*rays, network.box, step, samples))


if __name__ == "__main__":
    main()
