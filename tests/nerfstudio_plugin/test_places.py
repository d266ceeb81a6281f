"""Where a run's files are: a config says it for good, and a run that was moved finds them again."""

import copy
import os
import shutil
import sys
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
import yaml
from aed_nerfstudio.dataparsers.rad_nerf import RadNerfDataParserConfig
from aed_nerfstudio.method_configs.aed_nerf import aed_nerf_tiny
from nerfstudio.scripts.eval import ComputePSNR
from nerfstudio.scripts.render import DatasetRender
from nerfstudio.scripts.viewer.run_viewer import RunViewer
from nerfstudio.utils.eval_utils import eval_setup

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.commands.main import main
from aed_nerfstudio.commands.set_driving import SetDriving
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.loading import dataset_of, read_run
from aed_nerfstudio.media.audio_io import write_wav
from aed_nerfstudio.media.video_reader import read_frames
from aed_nerfstudio.nerfstudio_plugin.places import dataset_places, find_inputs
from aed_nerfstudio.nerfstudio_plugin.run_config import read_config

RUN = "outputs/anna/aed-nerf-tiny/t"


def config_of(data, output_dir="outputs"):
    """As a training left it, with paths as they were stored then."""
    config = copy.deepcopy(aed_nerf_tiny.config)
    config.output_dir, config.experiment_name, config.timestamp = Path(output_dir), "anna", "t"
    config.data = config.pipeline.datamanager.data = Path(data)
    return config


def make(folder: Path, name: str = "dataset.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    return folder


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The folder from which commands are called, in which nothing is."""
    folder = tmp_path / "called" / "from"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


# ---- stored for good


@pytest.mark.parametrize("rad", [False, True])
def test_a_config_is_written_with_paths_that_are_right_from_anywhere(tmp_path, monkeypatch, rad):
    monkeypatch.chdir(tmp_path)
    for name in ("hello.wav", "hello.npy", "office.png", "aud.npy"):
        Path(name).touch()
    (tmp_path / "real").mkdir()
    Path("link").symlink_to("real")
    config = config_of("link")
    manager, driving = config.pipeline.datamanager, config.pipeline.model.driving
    driving.audio, driving.audio_features_file, driving.background = Path("hello.wav"), Path("hello.npy"), "office.png"
    manager.frame_cache, config.load_dir = Path("cache"), Path("../elsewhere/nerfstudio_models")
    if rad:
        config.data = manager.data = None
        manager.dataparser = RadNerfDataParserConfig(data=Path("link"), audio_features_file=Path("aud.npy"))
    config.save_config()
    stored = read_config(tmp_path / RUN / "config.yml")
    manager, driving = stored.pipeline.datamanager, stored.pipeline.model.driving
    assert stored.data == manager.data == (None if rad else tmp_path / "link")
    assert manager.dataparser.data == tmp_path / "link" and manager.frame_cache == tmp_path / "cache"
    assert driving.audio == tmp_path / "hello.wav" and driving.audio_features_file == tmp_path / "hello.npy"
    assert driving.background == str(tmp_path / "office.png")
    assert stored.output_dir == tmp_path / "outputs"
    assert stored.load_dir == tmp_path.parent / "elsewhere/nerfstudio_models"
    assert not rad or manager.dataparser.audio_features_file == tmp_path / "aud.npy"
    assert stored.relative_model_dir == Path("nerfstudio_models")


@pytest.mark.parametrize("background", [None, "white", "#00b140", "original"])
def test_a_background_that_is_no_file_stays(tmp_path, monkeypatch, background):
    monkeypatch.chdir(make(tmp_path / "anna"))
    config = config_of(".")
    config.pipeline.model.driving.background = background
    config.save_config()
    assert config.pipeline.model.driving.background == background and config.data == tmp_path / "anna"
    (tmp_path / "white").touch()
    find_inputs(config, tmp_path / "anna" / RUN)
    assert config.pipeline.model.driving.background == background


# ---- found again


OLD = "/home/someone/project"
BESIDE = {
    "where it was": ("{here}/data/anna", f"{OLD}/outputs", "data/anna"),
    "from where the command is called": ("data/anna", "outputs", "../called/from/data/anna"),
    "the project was moved": (f"{OLD}/data/anna", f"{OLD}/outputs", "data/anna"),
    "all from one folder": ("data/anna", "outputs", "data/anna"),
    "outputs elsewhere": ("data/anna", "/scratch/outputs", "data/anna"),
    "a folder further up": ("../data/anna", "outputs", "../data/anna"),
    "beside outputs": ("/data/anna", "outputs", "anna"),
    "in outputs": (f"{OLD}/data/anna", "/scratch", "outputs/anna"),
    "in the experiment": (f"{OLD}/data/anna", "/scratch", "outputs/anna/anna"),
    "beside the run": (f"{OLD}/data/anna", "/scratch", "outputs/anna/aed-nerf-tiny/anna"),
    "in the run": (f"{OLD}/data/anna", "/scratch", f"{RUN}/anna"),
    "of Windows": ("C:/Users/me/project/data/anna", "C:/Users/me/project/outputs", "data/anna"),
    "of Windows, by name": ("C:/Users/me/data/anna", "D:/outputs", "anna"),
}


@pytest.mark.parametrize("stored, output_dir, place", BESIDE.values(), ids=BESIDE)
@pytest.mark.parametrize("name", ["dataset.json", "transforms_train.json"])
def test_the_dataset_is_found(tmp_path, elsewhere, capsys, stored, output_dir, place, name):
    here, run = tmp_path / "here", tmp_path / "here" / RUN
    run.mkdir(parents=True)
    there = make(here / place, name).resolve()
    config = config_of(stored.format(here=here), output_dir)
    find_inputs(config, run)
    manager = config.pipeline.datamanager
    assert config.data == manager.data == manager.dataparser.data == there
    was = stored if output_dir[1] == ":" else os.path.normpath(elsewhere / stored.format(here=here))
    assert capsys.readouterr().out == ("" if str(there) == was else f"{was} is not there: taking {there}\n")


def test_where_it_was_comes_first_and_what_is_no_dataset_does_not_count(tmp_path):
    old, beside = make(tmp_path / "old/anna"), make(tmp_path / "outputs/anna/aed-nerf-tiny/anna")
    config = config_of(old)
    find_inputs(config, tmp_path / RUN)
    assert config.data == old
    (old / "dataset.json").unlink()
    find_inputs(config, tmp_path / RUN)
    assert config.data == beside


def test_all_that_may_be_the_dataset_is_known_without_a_word(tmp_path, capsys):
    beside, further = make(tmp_path / "outputs/anna/aed-nerf-tiny/anna"), make(tmp_path / "anna", "transforms.json")
    (tmp_path / "outputs/anna/anna").mkdir()  # none, and where it was is named though nothing is there
    assert dataset_places(config_of("/nowhere/anna"), tmp_path / RUN) == [Path("/nowhere/anna"), beside, further]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("data", [Path("data/anna"), Path("/nowhere/data/anna"), Path("/nowhere") / ("x" * 5000)])
def test_one_line_names_all_places(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "a/b/c/d/e"
    with pytest.raises(InputError) as error:
        find_inputs(config_of(data), run)
    line = str(error.value)
    assert "--data" in line and "aed set-driving" in line and "\n" not in line
    beside = [level / data.name for level in (run, *run.parents[:4])]
    for place in (data if data.is_absolute() else tmp_path / data, *beside):
        assert f" {place}, " in line or f" {place};" in line, place


def test_other_files_are_found_too(tmp_path, capsys):
    """Those in the dataset move with it; others with the project, or beside the run; a line says so."""
    run, data = tmp_path / RUN, make(tmp_path / "moved")
    make(tmp_path / "sounds", "hello.wav")
    make(data, "aud_ds.npy")
    make(run, "office.png")
    config = config_of(f"{OLD}/data/anna", f"{OLD}/outputs")
    manager, driving = config.pipeline.datamanager, config.pipeline.model.driving
    manager.dataparser = RadNerfDataParserConfig(audio_features_file=Path(f"{OLD}/data/anna/aud_ds.npy"))
    driving.audio, driving.background = Path(f"{OLD}/sounds/hello.wav"), r"C:\pictures\office.png"
    driving.audio_features_file = Path(f"{OLD}/sounds/hello.npy")
    find_inputs(config, run, data)
    assert manager.dataparser.audio_features_file == data / "aud_ds.npy"
    assert driving.audio == tmp_path / "sounds/hello.wav" and driving.background == str(run / "office.png")
    assert driving.audio_features_file == Path(f"{OLD}/sounds/hello.npy")  # whoever reads it says what is wrong
    assert capsys.readouterr().out.count("is not there: taking") == 3


# ---- whole runs


def foreign(run: Path, folder: Path, root: PurePath) -> Path:
    """A copy of a run as it comes from another machine, where it lay in a project."""
    shutil.copytree(run, folder)
    config = read_config(folder / "config.yml")
    config.output_dir, config.experiment_name = root / "outputs", "anna"
    for part in (config, config.pipeline.datamanager, config.pipeline.datamanager.dataparser):
        part.data = root / "data" / "anna"
    config.pipeline.model.backend = "tcnn"
    (folder / "config.yml").write_text(yaml.dump(config).replace("pathlib.Pure", "pathlib."))
    return folder / "config.yml"


@pytest.mark.parametrize(
    "root, place, beside",
    [
        (PureWindowsPath(r"C:\Users\me"), RUN, "data/anna"),
        (PurePosixPath(OLD), "t2", "anna"),
    ],
    ids=["of Windows", "the run's folder alone, renamed"],
)
def test_a_run_of_another_machine(run, data, track, tmp_path, elsewhere, capsys, root, place, beside):
    config = foreign(run, tmp_path / place, root)
    (tmp_path / beside).parent.mkdir(exist_ok=True)
    there = Path(shutil.copytree(data, tmp_path / beside))
    assert dataset_of(read_run(config)).root == there and f"is not there: taking {there}" in capsys.readouterr().out
    avatar = Avatar.load(config)
    # nerfstudio's commands
    found, pipeline, checkpoint, _ = eval_setup(config)
    assert checkpoint.parent == config.parent / "nerfstudio_models" and found.get_base_dir() == config.parent
    assert pipeline.datamanager.dataset.root == there
    condition = track[3]
    assert avatar.network.settings.backend == pipeline.model.config.backend == "auto"
    view = avatar.recorded_view(condition, 32)
    np.testing.assert_array_equal(
        *(renderer.render(view, condition)["rgb"] for renderer in (pipeline.model.renderer, avatar.renderer))
    )


def test_nerfstudio_keeps_to_a_config_beside_which_there_are_no_checkpoints(run, tmp_path):
    shutil.copy(run / "config.yml", tmp_path)
    assert eval_setup(tmp_path / "config.yml")[2].parent == run / "nerfstudio_models"


@pytest.fixture
def lost(run, tmp_path, elsewhere):
    """A run whose dataset is not to be found."""
    return foreign(run, tmp_path / "lost/anna/aed-nerf-tiny/t", PurePosixPath(OLD))


@pytest.fixture
def speech(tmp_path):
    write_wav(tmp_path / "speech.wav", np.sin(np.arange(1300)).astype(np.float32) / 2)
    return tmp_path / "speech.wav"


def words(command, config, speech, folder):
    """Arguments of a command that loads a run."""
    if command == "batch":
        (folder / "jobs.csv").write_text(f"load_config,audio,output,data\n{config},{speech},one.mp4,\n")
        return ["batch", folder / "jobs.csv", "--sequential"]
    more = {"render": ["--audio", speech, "--output", folder / "v.mp4"], "set-driving": ["--emotion", "happy"]}
    return [command, "--load-config", config, *more.get(command, [])]


@pytest.mark.parametrize("command", ["render", "batch"])
def test_an_avatar_speaks_without_its_dataset(lost, speech, tmp_path, capsys, command):
    main([str(word) for word in words(command, lost, speech, tmp_path)])
    (video,) = tmp_path.glob("*.mp4")
    assert len(list(read_frames(video))) == 2 and "not there" not in capsys.readouterr().out


def test_a_dataset_that_was_moved_is_not_written_over(lost, data, tmp_path):
    moved = Path(shutil.copytree(data, tmp_path / "anna"))
    avatar = Avatar.load(lost, device="cpu")  # from its checkpoint alone
    for place in (moved / "dataset.json", moved / "audio" / "anna.avatar"):
        with pytest.raises(InputError, match="which the same command reads"):
            avatar.save(place)
    avatar.save(moved.with_suffix(".avatar"))


@pytest.mark.parametrize("command", ["eval", "bench", "set-driving"])
def test_a_lost_dataset_is_one_line(lost, speech, tmp_path, capsys, command):
    with pytest.raises(SystemExit):
        main([str(word) for word in words(command, lost, speech, tmp_path)])
    said = capsys.readouterr()
    line, *_ = [line for line in (said.out + said.err).splitlines() if "no longer at" in line]
    for part in (f"{OLD}/data/anna", f"{lost.parent}/anna", f"{tmp_path}/anna", "--data"):
        assert part in line
    assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize("kind", [ComputePSNR, DatasetRender, RunViewer])
def test_nerfstudio_says_it_in_one_line(lost, tmp_path, monkeypatch, capsys, kind):
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    with pytest.raises(InputError) as error:
        kind(lost).main()
    sys.excepthook(error.type, error.value, error.tb)  # as Python does
    said = capsys.readouterr().err
    assert said.startswith(f"error: {lost.parent}: the dataset of this run is no longer at") and said.count("\n") == 1


def test_a_dataset_is_where_it_is_said_to_be(lost, speech, data, tmp_path, elsewhere, capsys):
    (tmp_path / "jobs.csv").write_text(f"load_config,audio,output,data,size\n{lost},{speech},one.mp4,../there,32\n")
    there = tmp_path.parent / "there"
    os.symlink(data, there)
    main(["batch", str(tmp_path / "jobs.csv"), "--sequential"])
    there.unlink()
    assert (tmp_path / "one.mp4").is_file()
    SetDriving(load_config=lost, name="here", data=Path(os.path.relpath(data)), emotion="happy").main()
    assert "is not there" not in capsys.readouterr().out
    assert read_config(lost.with_name("here.yml")).pipeline.datamanager.data == data
    DatasetRender(lost, tmp_path / "out", "png", split="val", rendered_output_names=["rgb"], data=data).main()
    assert list((tmp_path / "out").rglob("*.png"))


@pytest.mark.parametrize("command", ["render", "eval", "bench", "set-driving"])
def test_what_is_no_dataset_is_said(lost, speech, tmp_path, capsys, command):
    (tmp_path / "wrong").mkdir()
    with pytest.raises(SystemExit):
        main([str(word) for word in [*words(command, lost, speech, tmp_path), "--data", tmp_path / "wrong"]])
    assert f"error: {tmp_path}/wrong/dataset.json is missing: no finished dataset" in capsys.readouterr().err
