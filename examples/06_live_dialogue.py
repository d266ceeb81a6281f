"""Have a live avatar play a scripted dialogue: texts with emotions, one after the other, and an interruption.

Start the avatar first, and open its page:

    aed live --avatar actor --tts-command "espeak-ng --stdin --stdout"
    python examples/06_live_dialogue.py
"""

import json
import time
import urllib.request

import tyro

SCRIPT = (
    {"text": "[neutral] Good morning. What can I do for you?"},
    {"text": "[happy:0.8] Your parcel has arrived! [sad:0.5] But it is open."},
    {"text": "[angry] I told you that it was", "pause": 1.0},
    {"text": "[neutral] I am sorry. Let me look into it.", "interrupt": True},
)


def ask(server: str, path: str, token: str, body: dict | None = None) -> dict:
    """Returns the server's answer to a request."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(server + path, data, headers), timeout=30) as answer:
        return json.load(answer)


def main(server: str = "http://localhost:7008", token: str = "") -> None:
    """Say the lines of the script.

    Args:
        server: the address of `aed live`.
        token: its --token, where it has one.
    """
    for line in SCRIPT:
        said = ask(server, "/say", token, {k: v for k, v in line.items() if k != "pause"})
        print(f"{said['utterance']}: {line['text']}")
        if "pause" in line:
            time.sleep(line["pause"])
            continue
        while ask(server, "/status", token)["speaking"]:
            time.sleep(0.5)


if __name__ == "__main__":
    tyro.cli(main)
