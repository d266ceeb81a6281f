"""`aed view`: the avatar that comes with the package in the viewer, with neither a training run nor a dataset."""

import socket
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from aed_nerfstudio.commands.view import View
from tests.viewer.page_client import Page


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def viewer(port, tmp_path_factory):
    shown = View(avatar=Path("actor"), websocket_port=port, output=tmp_path_factory.mktemp("view")).start()
    yield shown
    shown.viser_server.stop()


def picture(page: Page) -> np.ndarray:
    """The next one that comes, in grey."""
    return cv2.imdecode(np.frombuffer(page.another_picture(), np.uint8), cv2.IMREAD_GRAYSCALE)


def test_it_shows_the_actor_and_says_that_there_is_nothing_to_repeat(viewer, port):
    with Page(port) as page:
        assert picture(page).std() > 10
        assert list(page.controls[page.id("Says")]["options"]) == ["nothing"]
        emotions = page.controls[page.id("Emotion > Emotion")]["options"]
        assert set(emotions) == {"neutral", "angry", "fearful", "happy", "sad"}


def test_an_emotion_is_what_it_shows(viewer, port):
    with Page(port) as page:
        page.set("Emotion > Emotion", "happy")
        page.wait(lambda: not page.controls[page.id("Intensity")]["disabled"])  # neutral has none
        page.set("Intensity", 1.0)
        panel, portrait = viewer.pipeline.control_panel, viewer.pipeline.model.portrait
        happy = portrait.vocabulary.encode("happy", "strong")
        page.wait(lambda: np.array_equal(panel._emotion.vector, happy))
        assert picture(page).std() > 10


class Hasty(Page):
    """Says what it wants before it says where its camera is, as viser's threads may hear it."""

    def look(self, **camera) -> None:
        pass


def test_a_value_that_is_heard_before_its_page_s_camera_counts(viewer, port):
    category = viewer.pipeline.control_panel._emotion.category
    with Hasty(port) as page:
        page.set("Emotion > Emotion", "sad")
        time.sleep(0.3)
        assert category.value != "sad"
        Page.look(page)
        page.wait(lambda: category.value == "sad")
