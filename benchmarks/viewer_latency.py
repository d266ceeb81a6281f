"""How long a change of the viewer's panel takes to become a picture, with and without what a still view keeps.

    python benchmarks/viewer_latency.py --load-config outputs/NAME/aed-nerf-tiny/TIME/config.yml --output latency.json

The panel's own way to a picture is timed, without the browser: a setting or a frame changes, and the window's picture
is rendered. With and without take turns in every round, so that other programs on the machine disturb both alike; the
ratio is the median over the rounds of each round's own ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch
from nerfstudio.cameras.cameras import Cameras

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.loading import dataset_of, read_run
from aed_nerfstudio.rendering.still_view import StillView
from aed_nerfstudio.viewer.performance import Performance, Setting
from aed_nerfstudio.viewer.speech import Recordings


def changes(performance: Performance):
    """Returns what people change, by name: a function of the round's number that does it."""
    vocabulary = performance.renderer.portrait.vocabulary
    known = [c for c in vocabulary.categories if vocabulary.span(c) is not None]

    def emotion(number: int) -> None:
        performance.setting = replace(performance.setting, emotion=vocabulary.encode(known[number % len(known)]))

    def eyes(number: int) -> None:
        performance.setting = replace(performance.setting, eyes=number % 5 / 4)

    def background(number: int) -> None:
        performance.setting = replace(performance.setting, background=torch.rand(1, 1, 3))

    return {"emotion": emotion, "eye openness": eyes, "background": background, "frame (audio)": lambda number: None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--load-config", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("viewer_latency.json"))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    avatar = Avatar.load(options.load_config)
    speech = Recordings(dataset_of(read_run(options.load_config))).first(avatar.portrait)
    performance = Performance(avatar.renderer, speech, Setting(avatar.vocabulary.encode(), pose="still"))
    side = options.size
    window = Cameras(torch.eye(4)[None, :3], fx=1.0, fy=1.0, cx=0.5, cy=0.5, width=side, height=side)
    kept, nothing = StillView(), StillView(budget=0)

    def timed(still: StillView, frame: int) -> float:
        avatar.renderer.culled.still = still
        start = time.perf_counter()
        performance.framed(frame, window)
        return time.perf_counter() - start

    rows = {}
    for name, change in changes(performance).items():
        for _ in range(2):  # a view is kept from its second picture on
            timed(kept, 0)
        rounds = []
        for number in range(options.rounds):
            frame = number * 3 % len(speech.track) if name.startswith("frame") else 0
            change(number)
            rounds.append((timed(nothing, frame), timed(kept, frame)))
        without, with_ = (statistics.median(column) for column in zip(*rounds, strict=True))
        rows[name] = {
            "without_ms": 1000 * without,
            "with_ms": 1000 * with_,
            "ratio": statistics.median(a / b for a, b in rounds),
        }
    result = {
        "size": side,
        "rounds": options.rounds,
        "threads": torch.get_num_threads(),
        "kept_mib": kept.size / 2**20,
        "changes": rows,
    }
    options.output.write_text(json.dumps(result, indent=1))
    print(f"{side} x {side}, {result['threads']} threads; {result['kept_mib']:.0f} MiB kept")
    print("| change | without, ms | with, ms | ratio |\n|---|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {row['without_ms']:.0f} | {row['with_ms']:.0f} | {row['ratio']:.2f} |")


if __name__ == "__main__":
    main()
