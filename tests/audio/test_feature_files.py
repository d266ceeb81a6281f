"""Ready features in every shape that the peers write, and what is refused."""

import numpy as np
import pytest

from aed_nerfstudio.audio.feature_files import TOLERANCE, cut_features, is_file_front_end, read_feature_file
from aed_nerfstudio.audio.features import check_front_end, cut_windows, extract_features
from aed_nerfstudio.errors import InputError

FRAMES = 40


@pytest.fixture
def sequence():
    return np.random.default_rng(0).normal(size=(2 * FRAMES, 29)).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "aud.npy"


SHAPES = {
    "DeepSpeech windows [N,16,29]": cut_windows,
    "wav2vec windows [N,29,16]": lambda x: cut_windows(x).swapaxes(1, 2),
    "windows in double precision": lambda x: cut_windows(x).astype(np.float64),
    "HuBERT pairs [N,2,29]": lambda x: x.reshape(FRAMES, 2, 29),
    "50 Hz [2N,29]": lambda x: x,
    "Fortran order": np.asfortranarray,
    "big endian": lambda x: x.astype(">f4"),
}


@pytest.mark.parametrize("write", SHAPES.values(), ids=SHAPES)
def test_peers_shapes_give_the_sequence(path, sequence, write):
    np.save(path, write(sequence))
    features = read_feature_file(path, FRAMES, 29)
    assert features.dtype == np.float32 and features.dtype.isnative
    np.testing.assert_array_equal(features, sequence)


def test_windows_of_16_numbers_a_step_are_told_by_their_overlap(path, sequence):
    for turned in (False, True):
        windows = cut_windows(sequence[:, :16])
        np.save(path, windows.swapaxes(1, 2) if turned else windows)
        np.testing.assert_array_equal(read_feature_file(path, FRAMES), sequence[:, :16])


def test_a_step_a_frame_is_interpolated_in_time(path):
    middles = (np.arange(FRAMES, dtype=np.float32) + 0.5) / 25
    np.save(path, np.stack([middles, -middles], 1))
    features = read_feature_file(path, FRAMES)
    steps = (np.arange(2 * FRAMES) + 0.5) / 50
    np.testing.assert_allclose(features[1:-1, 0], steps[1:-1], atol=1e-6)
    np.testing.assert_allclose(features[:, 1], -features[:, 0])


def test_the_shortest_clips_take_the_nearer_rate(path):
    np.save(path, np.ones((6, 4), np.float32) * np.arange(6, dtype=np.float32)[:, None])
    assert read_feature_file(path, 3)[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(read_feature_file(path, 6)) == 12


@pytest.mark.parametrize("write", [lambda x: x, cut_windows], ids=["50 Hz", "windows"])
@pytest.mark.parametrize("frames", [FRAMES - TOLERANCE, FRAMES + TOLERANCE])
def test_a_few_frames_more_or_less_are_mended(path, sequence, write, frames):
    np.save(path, write(sequence))
    features = read_feature_file(path, frames)
    assert features.shape == (2 * frames, 29)
    both = min(len(features), len(sequence))
    np.testing.assert_array_equal(features[:both], sequence[:both])
    assert (features[both:] == sequence[-1]).all()


@pytest.mark.parametrize("frames", [FRAMES - TOLERANCE - 1, FRAMES + TOLERANCE + 1, 3 * FRAMES])
@pytest.mark.parametrize("write", [lambda x: x, lambda x: x[::2], cut_windows], ids=["50 Hz", "25 Hz", "windows"])
def test_another_length_is_refused_with_the_expected_shape(path, sequence, write, frames):
    array = write(sequence)
    np.save(path, array)
    with pytest.raises(InputError) as error:
        read_feature_file(path, frames)
    text = str(error.value)
    assert str(path) in text and str(list(array.shape)) in text
    assert f"[{2 * frames}, D]" in text and f"[{frames}, 16, D]" in text


def test_another_size_is_refused(path, sequence):
    np.save(path, sequence)
    with pytest.raises(InputError, match=r"29 numbers a step \[80, 29\], not the 44 .* \[80, 44\]"):
        read_feature_file(path, FRAMES, 44)


def with_nan(x):
    x[7, 3] = np.nan
    return x


BAD = {
    "NaN": (with_nan, "not finite in 1 of 80 steps, first at 0.14 s"),
    "infinity": (lambda x: np.where(x == x[9, 2], np.inf, x), "not finite"),
    "NaN in windows": (lambda x: cut_windows(with_nan(x)), "not finite in 1 of 80 steps"),
    "integers": (lambda x: (x * 100).astype(np.int64), "int64"),
    "complex": (lambda x: x.astype(np.complex64), "complex64"),
    "text": (lambda x: x.astype(str), "<U"),
    "one dimension": (lambda x: x[:, 0], r"\[80\]"),
    "four dimensions": (lambda x: x[None, None], r"\[1, 1, 80, 29\]"),
    "no numbers": (lambda x: x[:, :0], r"\[80, 0\]"),
    "no steps": (lambda x: x[:0], r"\[0, 29\]"),
    "a single number": (lambda x: x[0, 0], r"\[\]"),
    "windows of 8": (lambda x: cut_windows(x)[:, :8], r"\[40, 8, 29\]"),
    "windows without overlap": (lambda x: np.tile(x[:FRAMES, None], (1, 16, 1)), "do not overlap"),
}


@pytest.mark.parametrize(("write", "message"), BAD.values(), ids=BAD)
def test_other_arrays_are_refused(path, sequence, write, message):
    np.save(path, write(sequence))
    with pytest.raises(InputError, match=message) as error:
        read_feature_file(path, FRAMES)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


class Mischief:
    def __reduce__(self):
        return exec, ("raise SystemExit('code of the file was run')",)


def test_files_that_are_no_plain_arrays_are_refused(path, sequence):
    with pytest.raises(InputError, match="no such file"):
        read_feature_file(path, FRAMES)
    np.save(path, np.array([Mischief()], object))
    with pytest.raises(InputError, match="plain numbers"):
        read_feature_file(path, FRAMES)
    np.save(path, sequence)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:6], whole[:100], whole[:-4], b"\x80\x04."):
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            read_feature_file(path, FRAMES)
    with open(path, "wb") as file:
        np.savez(file, a=sequence)
    with pytest.raises(InputError, match="npz"):
        read_feature_file(path, FRAMES)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError):
        read_feature_file(path, FRAMES)


def test_parts_and_late_sound():
    features = np.arange(20, dtype=np.float32)[:, None]
    assert cut_features(features, 0, 10)[:, 0].tolist() == list(range(20))
    assert cut_features(features, 3, 2)[:, 0].tolist() == [6, 7, 8, 9]
    assert cut_features(features, 3, 2, late=0.06)[:, 0].tolist() == [9, 10, 11, 12]
    assert cut_features(features, 0, 2, late=-0.04)[:, 0].tolist() == [0, 0, 0, 1]
    assert cut_features(features, 8, 2, late=0.04)[:, 0].tolist() == [18, 19, 19, 19]


def test_names():
    for name in ("file", "file/deepspeech", "file/my-own_2.0"):
        assert is_file_front_end(name)
        check_front_end(name)
        with pytest.raises(InputError, match="files"):
            extract_features(np.zeros(16000), 25, name)
    for name in ("moonshine", "file/", "file/a b", "file/../x", "filed", ""):
        assert not is_file_front_end(name)
    with pytest.raises(InputError, match="file$"):
        check_front_end("file/")
