"""Everything that waits for a GPU, by one command: the backends' tests, trainings, speed, evaluation, and the way back
to a CPU.

    python benchmarks/gpu.py --data data/anchor --output gpu.json            # both methods, their whole schedules
    python benchmarks/gpu.py --data data/anchor --output gpu.json --steps 3000 --no-evaluate     # minutes

    python benchmarks/gpu.py --data data/anchor --parcel parcel           # here: 64 MiB for a machine without internet
    python benchmarks/gpu.py --from-parcel parcel --output short --minutes 9       # there: what fits into ten minutes

Prints a table with the figures that the project asks for and writes all of them as JSON. Needs no internet. It runs on
a CPU as well (`--device cpu` for a parcel), to try it out: with few steps, for it takes long, and the figures asked for
mean nothing there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from minutes import Minutes, exchanged
from parcel import pack

SCRIPTS = Path(sys.executable).parent


def run(*command: str | Path, check: bool = True) -> tuple[float, str]:
    """Runs a program; returns the seconds it took and the last line that it prints, which is shown as well."""
    print("$", *command, flush=True)
    start, last = time.perf_counter(), ""
    with subprocess.Popen(
        [str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as job:
        for line in job.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    if check and job.returncode:
        raise SystemExit(f"{command[0]} failed with {job.returncode}")
    return time.perf_counter() - start, last


def scaled(method: str, steps: int | None) -> dict[str, int]:
    """Returns a method's stages, shortened alike to so many steps in all."""
    from aed_nerfstudio.method_configs import aed_nerf

    schedule = getattr(aed_nerf, method.replace("-", "_")).config.pipeline.model.schedule
    share = 1.0 if steps is None else steps / schedule.total
    return {stage: round(getattr(schedule, stage) * share) for stage in ("head", "lips", "torso")}


@dataclass
class Gpu:
    """Measure all that the project claims of GPUs."""

    data: Path | None = None
    """A dataset, as `aed process` makes it."""
    output: Path | None = None
    """The JSON to write; from a parcel, a folder."""
    parcel: Path | None = None
    """A new folder: the dataset is written there as a parcel (`benchmarks/parcel.py`), and nothing is measured."""
    from_parcel: Path | None = None
    """Such a folder, from which what fits into `minutes` is measured (`benchmarks/minutes.py`)."""
    device: Literal["cuda", "cpu"] = "cuda"
    """Of the measures from a parcel."""
    minutes: float = 9.0
    """For all measures from a parcel."""
    short: tuple[int, int, int] = (600, 100, 200)
    """Steps of head, lips and torso that are measured from a parcel."""
    runs: Path = Path("outputs")
    """Where the trainings go."""
    methods: tuple[str, ...] = ("aed-nerf", "aed-nerf-paper")
    """Which are trained; speed is measured on the first."""
    steps: int | None = None
    """Of each training; the method's own by default."""
    evaluate: bool = True
    """Run `aed eval`; it needs MediaPipe and its weights."""

    def main(self) -> None:
        if self.from_parcel is not None and self.output is not None:
            self.output.mkdir(parents=True, exist_ok=True)
            Minutes(self.from_parcel, self.output, self.device, self.minutes, self.short).main()
        elif self.parcel is not None and self.data is not None:
            print(f"{self.parcel}: {pack(self.data, self.parcel) / 2**20:.1f} MiB")
        elif self.data is not None and self.output is not None:
            self._measure()
        else:
            raise SystemExit("give --data and --output, --data and --parcel, or --from-parcel and --output")

    def _measure(self) -> None:
        figures: dict[str, object] = {}
        tests = Path(__file__).parents[1] / "tests"
        suites = tests / "test_backends.py", tests / "avatar" / "test_recorded.py"
        figures["tests"] = run(sys.executable, "-m", "pytest", "-q", *suites, check=False)[1]
        for method in self.methods:
            figures[method] = self._train(method)
            self._write(figures)
        config = Path(figures[self.methods[0]]["config"])
        bench = self.output.with_suffix(".bench.json")
        run(SCRIPTS / "aed", "bench", "--load-config", config, "--output", bench)
        figures["bench"] = json.loads(bench.read_text())
        bench.unlink()
        figures["exchanged"] = exchanged(config)
        self._write(figures)
        print(self._table(figures))

    def _train(self, method: str) -> dict[str, object]:
        stages = scaled(method, self.steps)
        flags = [f"--pipeline.model.schedule.{stage}={steps}" for stage, steps in stages.items()]
        flags += [f"--max-num-iterations={sum(stages.values())}", "--vis=tensorboard", "--experiment-name=gpu"]
        folder = self.runs / "gpu" / method / "gpu"
        where = ["--timestamp=gpu", f"--output-dir={self.runs}", f"--data={self.data}"]
        seconds, _ = run(SCRIPTS / "ns-train", method, *where, *flags)
        found: dict[str, object] = {"config": str(folder / "config.yml"), "steps": stages, "minutes": seconds / 60}
        if self.evaluate:
            run(SCRIPTS / "aed", "eval", "--load-config", folder / "config.yml", "--output", folder / "evaluation")
            found["evaluation"] = json.loads((folder / "evaluation" / "metrics.json").read_text())
        return found

    def _write(self, figures: dict[str, object]) -> None:
        self.output.write_text(json.dumps(figures, indent=1))

    def _table(self, figures: dict) -> str:
        """Returns the figures asked for, as Markdown."""
        rows = figures["bench"]["rows"]

        def fastest(start: str) -> str:
            best = min((r for r in rows if r["operation"].startswith(start)), key=lambda r: r["ms"])
            return f"{best['ms']:.1f} ms ({best['backend']})"

        asked = [
            ("picture 512 x 512, condition to picture", "10 ms, 12 at most", fastest("picture 512")),
            ("training step, head, 65 536 rays", "25 ms", fastest("training step, head, 65536")),
            ("the same pictures on a CPU", "45 dB", f"{figures['exchanged']:.1f} dB"),
            ("tests of backends and pictures", "all", figures["tests"]),
        ]
        for method in self.methods:
            found = figures[method]
            name = f"training, {method}, {sum(found['steps'].values())} steps"
            asked.append((name, "20 min of 45 000", f"{found['minutes']:.1f} min"))
        machine = figures["bench"]["machine"]
        lines = [f"{machine['gpu'] or machine['processor']}", "", "| figure | asked | measured |", "|---|---|---|"]
        return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in asked)])


if __name__ == "__main__":
    tyro.cli(Gpu, description=__doc__).main()
