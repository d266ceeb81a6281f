"""A thread that gave up its network has none, and the others keep theirs."""

from __future__ import annotations

import platform
import socket
import sys
import threading

import pytest

from aed_nerfstudio.face.no_network import CALLS, without_network

sealing = sys.platform == "linux" and platform.machine() in CALLS


def tried() -> list[bool]:
    """Whether sockets of three kinds can be made here."""
    out = []
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        try:
            socket.socket(family, socket.SOCK_DGRAM).close()
            out.append(True)
        except PermissionError:
            out.append(False)
    return out


@pytest.mark.skipif(not sealing, reason="needs Linux on x86_64 or aarch64")
def test_no_sockets_inside_and_all_outside():
    def inside() -> tuple:
        child: list = []
        thread = threading.Thread(target=lambda: child.extend(tried()))
        thread.start()
        thread.join()
        return tried(), child

    assert without_network(inside) == ([False] * 3, [False] * 3)
    assert tried() == [True] * 3


@pytest.mark.skipif(sealing, reason="here it can be stopped")
def test_where_it_cannot_be_stopped_that_is_said_once(capfd):
    assert without_network(lambda: 3) == without_network(lambda: 3) == 3
    assert capfd.readouterr().err.count("Google") == 1


def test_errors_come_through():
    with pytest.raises(ZeroDivisionError):
        without_network(lambda: 1 / 0)
