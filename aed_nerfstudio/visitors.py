"""Who may connect to a server of ours: pages of its own, and programs that know what it is called."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_this_machine(name: str | None) -> bool:
    """Returns whether a host's name or address is that of the machine itself."""
    if name is None:
        return False
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def welcome(bound_to: str, origin: str | None, host: str) -> bool:
    """Returns whether a request may be answered: of a page of this server's own, so that no other site steers it
    through a visitor's browser. Programs send no origin, and may.

    A server for this machine only must have been called by its name, too: any name can be made to mean this machine.

    Args:
        bound_to: the address that the server listens on.
        origin: of the page that asks, as its browser says; None of a program.
        host: what the server was called by.
    """
    try:
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return False
        return not is_this_machine(bound_to) or is_this_machine(urlsplit(f"//{host}").hostname)
    except ValueError:  # no address
        return False
