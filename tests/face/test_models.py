"""Model files: where they are looked for, how they are fetched, and what is said when they are wrong or missing."""

from __future__ import annotations

import hashlib
import http.server
import os
import subprocess
import sys
import threading

import pytest

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.models import FACE_LANDMARKER, SETTING, Model, cache_folder, find_model

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves `content` on this machine under any path, and counts how often; after half of it if `breaks`."""

    def __init__(self) -> None:
        self.content, self.asked, self.breaks = CONTENT, 0, False
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(server.content)))
                self.end_headers()
                self.wfile.write(server.content[: len(server.content) // (2 if server.breaks else 1)])

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.model = Model("m.bin", f"http://127.0.0.1:{self.http.server_port}/m.bin", SHA256, len(CONTENT))


@pytest.fixture()
def server():
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def empty(monkeypatch, tmp_path):
    """No setting, and nothing in the cache."""
    monkeypatch.delenv(SETTING, raising=False)
    for name in ("XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


def nothing_else_left(name: str = "m.bin") -> bool:
    return [path.name for path in cache_folder().iterdir()] in ([name], [])


def test_fetched_once_and_found_in_the_cache_from_then_on(server, capfd):
    path = find_model(server.model)
    assert path == cache_folder() / "m.bin" and path.read_bytes() == CONTENT
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and all(part in said for part in ("m.bin", server.model.address, "0.5 MB", str(path)))
    assert find_model(server.model) == path and server.asked == 1 and capfd.readouterr().err == ""
    assert nothing_else_left()


def test_the_setting_goes_before_the_cache_and_may_lack_the_file(server, monkeypatch, tmp_path):
    cached = find_model(server.model)
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv(SETTING, str(folder))
    assert find_model(server.model) == cached
    (folder / "m.bin").write_bytes(CONTENT)
    assert find_model(server.model) == folder / "m.bin" and server.asked == 1


@pytest.mark.parametrize("place", ["setting", "cache"])
def test_another_file_in_its_place_is_refused(server, monkeypatch, tmp_path, place):
    folder = tmp_path if place == "setting" else cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    if place == "setting":
        monkeypatch.setenv(SETTING, str(folder))
    (folder / "m.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(InputError) as caught:
        find_model(server.model)
    words = (str(folder / "m.bin"), hashlib.sha256(CONTENT[:-1]).hexdigest(), SHA256, server.model.address, "remove it")
    assert all(word in str(caught.value) for word in words) and server.asked == 0


@pytest.mark.parametrize("content", [b"<html>please log in</html>", CONTENT + CONTENT])
def test_another_file_from_the_address_is_not_kept(server, content):
    server.content = content
    with pytest.raises(InputError, match="gave another file than m.bin") as caught:
        find_model(server.model)
    assert SHA256 in str(caught.value) and SETTING in str(caught.value) and nothing_else_left("-")


def test_half_a_file_is_not_kept(server):
    server.breaks = True
    with pytest.raises(InputError, match="m.bin"):
        find_model(server.model)
    assert nothing_else_left("-")


def test_without_a_network_one_line_names_the_address_the_place_and_the_setting(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nothing listens
    with pytest.raises(InputError, match="refused") as caught:
        find_model(FACE_LANDMARKER)
    text = str(caught.value)
    assert FACE_LANDMARKER.address in text and str(cache_folder() / "face_landmarker.task") in text and SETTING in text
    assert "\n" not in text and nothing_else_left("-")


def test_a_cache_that_cannot_be_written(server):
    cache_folder().parent.mkdir(parents=True)
    cache_folder().write_text("a file")
    with pytest.raises(InputError, match=f"cannot be written.*{SETTING}"):
        find_model(server.model)


def test_several_processes_fetch_at_once(server):
    code = f"from aed_nerfstudio.face.models import *; print(find_model({server.model!r}).read_bytes() == "
    code += f"open({str(cache_folder() / 'm.bin')!r}, 'rb').read())"
    jobs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
            for _ in range(4)]  # fmt: skip
    assert [job.communicate()[0].strip() for job in jobs] == ["True"] * 4
    assert (cache_folder() / "m.bin").read_bytes() == CONTENT and nothing_else_left()
