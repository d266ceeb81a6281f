"""Opening and parsing what a user names: regular files only, and no more of them than they hold."""

import json
import os
import socket
import stat
import sys

import numpy as np
import pytest

from aed_nerfstudio import outside
from aed_nerfstudio.errors import InputError

pytestmark = pytest.mark.hostile


def header(shape, descr="'<f8'", order="False", version=1) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes((version, 0)) + len(text).to_bytes(2 if version == 1 else 4, "little") + text


def hang_or_die(folder):
    """What is no regular file, by what is said of it."""
    os.mkfifo(folder / "pipe")
    (folder / "to_pipe").symlink_to("pipe")
    (folder / "round").symlink_to("round")
    (folder / "file").write_bytes(b"")
    place = socket.socket(socket.AF_UNIX)
    place.bind(str(folder / "sock"))
    place.close()
    return {
        folder: "a folder", folder / "pipe": "a pipe", folder / "to_pipe": "a pipe", folder / "sock": "a socket",
        "/dev/zero": "a device", folder / "round": "leads to itself", folder / "lost": "no such file",
        folder / "file" / "in": "no such file", folder / ("a" * 300): "name is too long", "a\0b": r"a\x00b: is no name",
        "\ud800.json": r"\ud800.json: is no name", "": "no such file",
    }  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="has no pipes among its files")
def test_only_regular_files_are_opened(tmp_path):
    readers = (outside.regular_file, outside.open_file, outside.read_bytes, outside.read_text, outside.read_json,
               outside.read_array)  # fmt: skip
    for path, what in hang_or_die(tmp_path).items():
        for read in readers:
            with pytest.raises(InputError) as error:
                read(path, mend="do this")
            text = str(error.value)
            assert what in text and text.endswith("; do this") and text.isprintable() and len(text) < 600
            assert isinstance(error.value, outside.Missing) == ("no such file" in what)
    (tmp_path / "link").symlink_to("file")
    assert outside.regular_file(tmp_path / "link") == tmp_path / "link" and outside.read_bytes(tmp_path / "link") == b""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_another(tmp_path):
    (tmp_path / "a").write_bytes(b"secret")
    (tmp_path / "a").chmod(stat.S_IWUSR)
    with pytest.raises(InputError, match="a: cannot be read: no permission; ask"):
        outside.read_bytes(tmp_path / "a", mend="ask")


def test_no_more_than_asked_for(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345678")
    assert outside.read_bytes(path, 8) == b"12345678"
    with pytest.raises(InputError, match="a: holds more than 7 bytes"):
        outside.read_bytes(path, 7)
    with open(path, "ab") as file:
        file.truncate(1 << 40)  # a terabyte that is not there
    with pytest.raises(InputError, match="a: holds more than 64 MiB"):
        outside.read_json(path)
    assert b"MemTotal" in outside.read_bytes("/proc/meminfo")  # which says that it holds nothing


def test_text(tmp_path):
    for name, content, what in (
        ("bom", b"\xef\xbb\xbfme\n", None),
        ("latin", b"a\nb\xe9c", "line 2: is not UTF-8 text; write"),
        ("utf16", "hallo".encode("utf-16"), "line 1: is not UTF-8"),
        ("binary", b"a\n\n\0", "line 3: is no text, it holds a NUL"),
    ):
        (tmp_path / name).write_bytes(content)
        if what is None:
            assert outside.read_text(tmp_path / name) == "me\n"
        else:
            with pytest.raises(InputError, match=f"{name}, {what}"):
                outside.read_text(tmp_path / name, mend="write it anew")


JSON = {
    "deep list": "[" * 100_000,
    "deep object": '{"a":' * 900 + "1" + "}" * 900,
    "just too deep": "[" * 65 + "]" * 65,
    "deep between": "[1, [2], " * 65 + "]" * 65,
    "two values": "1 2",
    "nothing": " ",
    "no-break space": "\u00a0{}",
    "cut off": '{"a": [1, 2',
}


@pytest.mark.parametrize("name", JSON)
def test_what_is_no_json(tmp_path, name):
    (tmp_path / "a.json").write_text(JSON[name])
    with pytest.raises(InputError, match=r"a\.json is damaged: no JSON .*; make it again") as error:
        outside.read_json(tmp_path / "a.json", mend="make it again")
    assert len(str(error.value)) < 400


def test_json(tmp_path):
    given = {"whole": [1, -(10**17)], "text": "\U0001f600\ud7ff", "none": None, "deep": {}}
    place = given["deep"]
    for _ in range(outside.DEEPEST - 2):
        place["a"] = place = {}
    for ascii_only in (False, True):
        (tmp_path / "a.json").write_text(json.dumps(given, ensure_ascii=ascii_only) + "\n")
        assert outside.read_json(tmp_path / "a.json") == given
    (tmp_path / "b.json").write_text(f"[1{'0' * 25}, 1{'0' * 400}, -{'9' * 9000}, 1e999, NaN]")
    found = outside.read_json(tmp_path / "b.json")
    assert found[:4] == [1e25, float("inf"), float("-inf"), float("inf")] and found[4] != found[4]


def test_csv():
    def read(text, **options):
        return list(outside.csv_rows("a.csv", text, **options))

    assert read('a, b \r\n\n"c,d",e\rf;g') == [(1, ["a", "b"]), (3, ["c,d", "e"]), (4, ["f;g"])]
    assert read("a;b,c", delimiter=";") == [(1, ["a", "b,c"])]
    for text, what in (
        ('a,b\n"c,d\n' + "e\n" * 9, "line 2: no CSV .*quotes"),
        ('a\n\n"b"c', "line 3: no CSV"),
        ("a\n" + "b" * 120_000, "line 2: no CSV .*value"),
        ("a\n" + "b" * 200_000, "line 2: no CSV"),
        ("a\n" * 1_000_001, "has 1000002 lines"),
    ):
        with pytest.raises(InputError, match=rf"a\.csv[,:] ?{what}"):
            read(text)


def test_arrays(tmp_path):
    path = tmp_path / "a.npy"
    for array in (
        np.arange(24.0).reshape(2, 3, 4), np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)), np.float32(3),
        np.zeros((0, 5)), np.arange(3, dtype=np.uint8),
    ):  # fmt: skip
        np.save(path, array)
        found = outside.read_array(path)
        assert found.dtype == array.dtype and found.shape == array.shape
        np.testing.assert_array_equal(found, array)
    for version in (1, 2, 3):
        path.write_bytes(header("(2L, 1,)", "'<f4'", version=version) + np.float32([1, 2]).tobytes() + b"more")
        np.testing.assert_array_equal(outside.read_array(path), [[1], [2]])


ARRAYS = {
    "8.7 TiB": header("(100000000000, 3, 4)"),
    "more than there is": header("(9999999999, 9999999999)"),
    "longer than numbers are": header(f"({'9' * 6000},)"),
    "nothing, many times": header("(0, 99999999999999999, 99999999999)"),
    "many axes": header("(" + "1," * 65 + ")") + bytes(8),
    "negative": header("(-1, 3)") + bytes(24),
    "one number short": header("(3,)") + bytes(16),
    "text of megabytes": header("(1,)", "'<U99999999'"),
    "objects": header("(1,)", "'|O'") + bytes(8),
    "records": header("(1,)", "[('a', '<f8')]") + bytes(8),
    "complex": header("(1,)", "'<c16'") + bytes(16),
    "text": header("(1,)", "'<U3'") + bytes(12),
    "no such type": header("(1,)", "'<f7'") + bytes(8),
    "true and false": header("(8,)", "'|b1'") + bytes(8),
    "two shapes": header("(1,), 'shape': (2,)") + bytes(16),
    "an expression": header("(1,) * 9") + bytes(8),
    "a long header": b"\x93NUMPY\x02\0\xff\xff\xff\xff",
    "a cut header": header("(1,)")[:30],
    "another version": header("(1,)", version=4) + bytes(8),
    "an archive": b"PK\x03\x04" + bytes(80),
    "nothing": b"",
}


@pytest.mark.parametrize("name", ARRAYS)
def test_what_is_no_array(tmp_path, name):
    (tmp_path / "a.npy").write_bytes(ARRAYS[name])
    with pytest.raises(InputError, match=r"a\.npy: is no \.npy file of plain numbers, or damaged \(.*\); save it so"):
        outside.read_array(tmp_path / "a.npy", mend="save it so")


@pytest.mark.parametrize("number, kind", [(2**63 - 1, int), (-(2**63) + 1, int), (1_795_817_643_123_456_789, int),
                                          (2**63, float), (10**30, float), (-(10**400), float)])  # fmt: skip
def test_whole_numbers_stay_whole_up_to_what_arrays_hold(number, kind):
    """Times of files in nanoseconds, by which they are known again, have 19 digits."""
    found = outside.parse_json(f"[{number}]" if abs(number) < 10**300 else f"[{'-' * (number < 0)}1{'0' * 400}]")[0]
    assert type(found) is kind and (kind is float or found == number)
