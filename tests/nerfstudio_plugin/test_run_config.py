"""`config.yml`: what nerfstudio writes is read as it was, and nothing else is."""

import copy
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from aed_nerfstudio.dataparsers.rad_nerf import RadNerfDataParserConfig
from aed_nerfstudio.method_configs import aed_nerf as presets

from aed_nerfstudio.commands.main import main
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import write_wav
from aed_nerfstudio.nerfstudio_plugin.run_config import LARGEST, read_config


def config_of(name: str, vis: str = "viewer", rad: bool = False):
    """As `ns-train` leaves a preset."""
    config = copy.deepcopy(getattr(presets, name).config)
    config.vis, config.timestamp, config.data = vis, "2026-01-01_120000", Path("/data/anna")
    config.viewer.websocket_port = 7007
    config.pipeline.datamanager.data = config.data
    if rad:
        config.pipeline.datamanager.dataparser = RadNerfDataParserConfig(head_centre=(0.0, 0.1, -0.5))
    config.load_dir, config.load_step = Path("outputs"), 999
    return config


@pytest.fixture(scope="module")
def text() -> str:
    return yaml.dump(config_of("aed_nerf_tiny"))


@pytest.mark.parametrize("name", ["aed_nerf", "aed_nerf_paper", "aed_nerf_tiny"])
@pytest.mark.parametrize("more", [{}, {"vis": "tensorboard"}, {"rad": True}], ids=str)
def test_what_nerfstudio_writes(tmp_path, name, more):
    file, config = tmp_path / "config.yml", config_of(name, **more)
    file.write_text(yaml.dump(config))
    found = read_config(file)
    assert found == config == yaml.load(file.read_text(), Loader=yaml.Loader)
    assert yaml.dump(found) == file.read_text()


def test_a_run_s_own_and_a_copy_that_drives_it(run, in_process):
    for name in ("config", "hostile"):
        file = run / f"{name}.yml"
        if name != "config":
            in_process("aed", "set-driving", "--load-config", run / "config.yml", "--name", name, "--emotion", "happy")
        assert read_config(file) == yaml.load(file.read_text(), Loader=yaml.Loader)
    file.unlink()


TOUCH = "!!python/object/apply:os.system\n- touch {mark}\n"
CODE = {
    "apply": f"prompt: {TOUCH}",
    "apply, as nerfstudio writes it": "prompt: !!python/object/apply:os.system ['touch {mark}']\n",
    "apply with state": "prompt: !!python/object/apply:os.system {{args: ['touch {mark}']}}\n",
    "new": "prompt: !!python/object/new:os.system ['touch {mark}']\n",
    "new with listitems": "prompt: !!python/object/new:list {{listitems: !!python/object/apply:os.system "
    "['touch {mark}']}}\n",
    "a path's part": "prompt: !!python/object/apply:pathlib.PosixPath [!!python/object/apply:os.system "
    "['touch {mark}']]\n",
    "a key": "? !!python/object/apply:os.system ['touch {mark}']\n: 1\n",
    "a name": "prompt: !!python/name:os.system ''\n",
    "a module": "prompt: !!python/module:antigravity ''\n",
    "another class": "prompt: !!python/object:subprocess.Popen {{}}\n",
    "another of nerfstudio": "prompt: !!python/object:nerfstudio.scripts.train.Anything {{}}\n",
    "a global tag": "prompt: !<tag:yaml.org,2002:python/object/apply:os.system> ['touch {mark}']\n",
    "a target": "pipeline: !!python/object:aed_nerfstudio.nerfstudio_plugin.pipeline.AedPipelineConfig\n"
    "  datamanager: !!python/object:aed_nerfstudio.nerfstudio_plugin.datamanager.AedDataManagerConfig\n"
    "    _target: !!python/name:os.system ''\n",
    "a function": "pipeline: !!python/object:aed_nerfstudio.nerfstudio_plugin.pipeline.AedPipelineConfig\n"
    "  datamanager: !!python/object:aed_nerfstudio.nerfstudio_plugin.datamanager.AedDataManagerConfig\n"
    "    collate_fn: !!python/name:os.system ''\n",
    "another target": "pipeline: !!python/object:aed_nerfstudio.nerfstudio_plugin.pipeline.AedPipelineConfig\n"
    "  _target: !!python/name:subprocess.Popen ''\n",
    "a target that is text": "pipeline: !!python/object:aed_nerfstudio.nerfstudio_plugin.pipeline.AedPipelineConfig\n"
    "  _target: os.system\n",
    "a set": "prompt: !!set {{a, b}}\n",
    "bytes": "prompt: !!binary aGVsbG8=\n",
}


@pytest.mark.hostile
@pytest.mark.parametrize("line", CODE.values(), ids=CODE)
def test_code_is_not_run(tmp_path, text, line):
    file, mark = tmp_path / "config.yml", tmp_path / "mark"
    lines = "|".join(str(text.count("\n") + line) for line in (1, 2, 3))
    file.write_text(text + line.format(mark=mark))
    with pytest.raises(InputError, match=rf"config\.yml: .*line ({lines}) .*!!.* nothing of it was"):
        read_config(file)
    assert not mark.exists() and list(tmp_path.iterdir()) == [file]


@pytest.mark.hostile
def test_every_command_that_reads_one_refuses_it(tmp_path, run, capsys):
    mark, out = tmp_path / "mark", tmp_path / "v.mp4"
    config = run / "bad.yml"
    config.write_text((run / "config.yml").read_text() + f"prompt: {TOUCH}".format(mark=mark))
    sound = tmp_path / "a.wav"
    table = tmp_path / "jobs.csv"
    table.write_text(f"load_config,audio,output\n{config},{sound},{out}\n")
    write_wav(sound, np.array([0.1, -0.1] * 640, np.float32))
    for words in (
        ("render", "--load-config", config, "--audio", sound, "--output", out),
        ("set-driving", "--load-config", config, "--emotion", "happy"),
        ("batch", table, "--sequential"),
        ("eval", "--load-config", config, "--output", tmp_path / "report"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        said = capsys.readouterr()
        printed = said.out + said.err
        assert ended.value.code == 1
        assert "bad.yml: does not fit" in printed and "os.system" in printed and "Traceback" not in printed, printed
    config.unlink()
    assert not mark.exists() and not out.exists()


LAUGHS = "".join(f"  - &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
HOSTILE = {
    "too large": (lambda text: text + "#" * LARGEST, "bytes"),
    "deep": (lambda text: text + "prompt: " + "[" * 100_000 + "]" * 100_000, "levels deep"),
    "deep mappings": (lambda text: text + "prompt: " + "{a: " * 20_000 + "1" + "}" * 20_000, "levels deep"),
    "billion laughs": (lambda text: f"{text}prompt:\n  - &a0 [lol]\n{LAUGHS}", "more than .* values"),
    "within itself": (lambda text: text + "prompt: &a [*a]\n", "within itself"),
    "digits": (lambda text: text + f"load_step: {'9' * 5000}\n", "5000 digits"),
    "sexagesimal": (lambda text: text + f"load_step: {':'.join(['1'] * 30)}\n", "digits|no setting"),
    "infinite": (lambda text: text.replace("lr: 0.002", "lr: .inf"), "no setting"),
    "an unknown field": (lambda text: text + "surprise: 1\n", "surprise.* AedTrainerConfig does not know"),
    "a config elsewhere": (
        lambda text: text + "prompt: !!python/object:nerfstudio.configs.base_config.MachineConfig {}\n",
        "as prompt of",
    ),
    "another's part": (
        lambda text: text + "machine: !!python/object:nerfstudio.configs.base_config.ViewerConfig {}\n",
        "as machine of",
    ),
    "a plain part": (lambda text: text + "pipeline: {}\n", "as pipeline of"),
    "a zero byte": (lambda text: text + 'experiment_name: "a\\0b"\n', "zero byte"),
    "bytes": (lambda text: text + "\x80\x81", "does not fit"),
    "no enumeration's": (lambda text: text.replace("Train Iter (time)", "Rain"), "'Rain'"),
    "another method": (
        lambda text: text.replace(
            "aed_nerfstudio.nerfstudio_plugin.model.AedNerf", "nerfstudio.models.nerfacto.Nerfacto"
        ),
        r"NerfactoModelConfig.* `ns-train aed-nerf`",
    ),
}


@pytest.mark.hostile
@pytest.mark.parametrize("change, words", HOSTILE.values(), ids=HOSTILE)
def test_hostile_values(tmp_path, text, change, words):
    file = tmp_path / "config.yml"
    file.write_bytes(change(text).encode("latin-1"))
    with pytest.raises(InputError, match=rf"config\.yml: .*({words})"):
        read_config(file)


@pytest.mark.hostile
def test_a_file_that_never_ends(tmp_path):
    os.symlink("/dev/zero", tmp_path / "config.yml")
    with pytest.raises(InputError, match="bytes"):
        read_config(tmp_path / "config.yml")
