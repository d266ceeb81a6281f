"""`aed view`: the avatar that comes with the package in the viewer, with neither a training run nor a dataset."""

import socket
from pathlib import Path

import cv2
import numpy as np
import pytest

from aed_nerfstudio.commands.view import View
from tests.viewer.page_client import Page


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    viewer = View(avatar=Path("actor"), websocket_port=number, output=tmp_path_factory.mktemp("view")).start()
    yield number
    viewer.viser_server.stop()


def picture(page: Page) -> np.ndarray:
    """The next one that comes, in grey."""
    return cv2.imdecode(np.frombuffer(page.another_picture(), np.uint8), cv2.IMREAD_GRAYSCALE)


def test_it_shows_the_actor_and_says_that_there_is_nothing_to_repeat(port):
    with Page(port) as page:
        assert picture(page).std() > 10
        assert list(page.controls[page.id("Says")]["options"]) == ["nothing"]
        emotions = page.controls[page.id("Emotion > Emotion")]["options"]
        assert set(emotions) == {"neutral", "angry", "fearful", "happy", "sad"}


def test_an_emotion_changes_the_picture(port):
    with Page(port) as page:
        before = picture(page)
        page.set("Emotion > Emotion", "happy")
        page.set("Intensity", 1.0)
        after = picture(page)
        assert before.shape != after.shape or np.abs(before.astype(int) - after).max() > 20
