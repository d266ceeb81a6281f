"""Numbers of the configs: all have bounds, and those that are out of them are refused before there is a run."""

import copy
import math

import pytest
from aed_nerfstudio.method_configs.aed_nerf import aed_nerf, aed_nerf_paper, aed_nerf_tiny
from nerfstudio.scripts.train import main as train

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.nerfstudio_plugin.limits import _OPTIMIZER, LIMITS, UNUSED, check_numbers, numbers

pytestmark = pytest.mark.hostile
PRESETS = [method.config for method in (aed_nerf, aed_nerf_paper, aed_nerf_tiny)]


@pytest.mark.parametrize("config", PRESETS, ids=lambda config: config.method_name)
def test_all_numbers_of_the_presets_have_bounds_and_lie_within(config):
    check_numbers(config)
    for name, _ in numbers(config):
        known = name in LIMITS or name.startswith("optimizers.") and name.rpartition(".")[2] in _OPTIMIZER
        assert known or any(part in name for part in UNUSED), name


WRONG = {
    name: [value for value in (-1, 10**30, math.nan, math.inf) if not (name == "viewer.max_num_display_images"
           and value == -1) and not (name.endswith("aabb") and value == -1)]
    for name in LIMITS
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_number_out_of_bounds_is_named_before_there_is_a_run(tmp_path, data, name, monkeypatch):
    # nerfstudio prints all of a config first, for ten times as long as all the rest takes.
    monkeypatch.setattr(type(aed_nerf_tiny.config), "print_to_terminal", lambda config: None)
    for value in WRONG[name]:
        config = copy.deepcopy(aed_nerf_tiny.config)
        config.data, config.output_dir, config.timestamp = data, tmp_path, "t"
        place = config
        *parents, last = name.split(".")
        for parent in parents:
            place = getattr(place, parent)
        setattr(place, last, (value,) * 6 if last == "aabb" else value)
        with pytest.raises(InputError, match=f"--{name.replace('_', '-')} must be (from|at)"):
            train(config)
    assert not list(tmp_path.iterdir())
