"""Who agreed to what, from the command line through dataset and checkpoint to the avatar."""

import hashlib

import pytest

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.dataset.consent import LONGEST, read_consent
from aed_nerfstudio.dataset.schema import read_dataset, write_dataset
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.synthetic.record import CONSENT


def test_a_text_or_a_file_with_it(tmp_path):
    (tmp_path / "note.txt").write_text("Anna agreed, for the museum.\n", "utf-8-sig")
    (tmp_path / "signed.pdf").write_bytes(b"%PDF\0\xff")
    (tmp_path / "long.txt").write_text("x" * (LONGEST + 1))
    assert read_consent(" Anna agreed. ") == "Anna agreed."
    assert read_consent(str(tmp_path / "note.txt")) == "Anna agreed, for the museum."
    for name in ("signed.pdf", "long.txt"):
        number = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        assert read_consent(str(tmp_path / name)) == f"{name}, SHA-256 {number}"


@pytest.mark.parametrize("given", ["", "  ", "x" * (LONGEST + 1)])
def test_what_says_nothing_is_refused(given):
    with pytest.raises(InputError, match="--consent"):
        read_consent(given)


def test_a_folder_is_no_text(tmp_path):
    with pytest.raises(InputError, match="is a folder and not a file; give a text"):
        read_consent(str(tmp_path))


def test_it_stays_with_the_dataset_and_the_avatar(data, run, tmp_path):
    dataset = read_dataset(data)
    assert dataset.consent == CONSENT
    avatar = Avatar.load(run / "config.yml")
    assert avatar.consent == CONSENT
    # The checkpoint's, whatever is written into its dataset later.
    network = Avatar.load(run / "config.yml", data=data).network
    state = network.get_extra_state()
    state["portrait"]["facts"]["provenance"]["consent"] = "Anna agreed."
    network.set_extra_state(state)
    assert network.portrait.provenance.consent == "Anna agreed." and dataset.consent == CONSENT
    of_version_0_1 = {name: state[name] for name in ("front_end", "feature_dim")}
    network.set_extra_state({**of_version_0_1, "consent": "Anna was asked."})
    assert network.portrait.provenance.consent == "Anna was asked."
    fresh = Avatar.load(run / "config.yml", data=data).network
    fresh.set_extra_state(of_version_0_1)  # of its first days
    assert fresh.portrait.provenance.consent == CONSENT
    dataset.root, dataset.consent = tmp_path, ""
    write_dataset(dataset)
    assert '"consent": ""' in (tmp_path / "dataset.json").read_text()
