"""Signing with c2pa-python: a chain of test certificates, a signed video, and its manifest read back."""

import datetime
import json

import numpy as np
import pytest

pytest.importorskip("cryptography", reason="the extra c2pa is not installed")
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aed_nerfstudio.commands.render import Render
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import write_wav
from aed_nerfstudio.media.content_credentials import SOURCE, Credentials
from aed_nerfstudio.media.video_reader import probe, read_frames
from aed_nerfstudio.media.video_writer import VideoWriter

TAGS = {"model": "anna/aed-nerf/t, step 9", "audio_sha256": "ab" * 32}


def certificate(name, key, issuer=None, issuer_key=None, later=datetime.timedelta()):
    """A certificate; a certificate authority's where it signs itself."""
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test")]
    )
    authority = issuer is None
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1) + later
    unused = "content_commitment key_encipherment data_encipherment key_agreement encipher_only decipher_only"
    usage = dict.fromkeys(unused.split(), False)
    signing_key = issuer_key or key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if authority else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **usage), True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), False)
    )
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    return builder.sign(signing_key, hashes.SHA256())


def pem(key):
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Files of a certificate chain and of the signer's key."""
    folder = tmp_path_factory.mktemp("certificates")
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = certificate("Test root", root_key)
    signer = certificate("Test signer", key, root, root_key)
    encoded = [c.public_bytes(serialization.Encoding.PEM) for c in (signer, root)]
    (folder / "chain.pem").write_bytes(b"".join(encoded))
    (folder / "root.pem").write_bytes(encoded[1])
    (folder / "key.pem").write_bytes(pem(key))
    return folder


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "talk.mp4"
    with VideoWriter(path, 25, (64, 48), np.zeros(6400)) as out:
        for _ in range(10):
            out.write(np.full((48, 64, 3), 90, np.uint8))
    return path


def test_a_signed_video_says_what_made_it(chain, video):
    c2pa = pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
    Credentials(chain / "chain.pem", chain / "key.pem", video).sign(video, TAGS)
    found = json.loads(c2pa.Reader(video).json())
    manifest = found["manifests"][found["active_manifest"]]
    assertions = {a["label"]: a["data"] for a in manifest["assertions"]}
    assert assertions["org.aed-nerfstudio.render"] == TAGS
    actions = next(data for label, data in assertions.items() if label.startswith("c2pa.actions"))
    assert actions["actions"][0]["digitalSourceType"] == SOURCE
    # The signature holds; only the issuer is unknown to the world.
    faults = {fault["code"] for fault in found.get("validation_status", [])}
    assert faults <= {"signingCredential.untrusted"}
    assert probe(video).has_audio and len(list(read_frames(video))) == 10
    assert [p.name for p in video.parent.iterdir()] == [video.name]
    changed = bytearray(video.read_bytes())
    changed[changed.rindex(b"mdat") + 200] ^= 255
    video.write_bytes(changed)
    broken = json.loads(c2pa.Reader(video).json())["validation_status"]
    assert any("mismatch" in fault["code"] for fault in broken)


def test_a_signed_render(chain, run, tmp_path):
    c2pa = pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
    write_wav(tmp_path / "a.wav", 0.4 * np.sin(np.arange(1920) / 9))
    video = tmp_path / "a.mp4"
    sign = {"c2pa": chain / "chain.pem", "c2pa_key": chain / "key.pem"}
    Render(load_config=run / "config.yml", audio=tmp_path / "a.wav", output=video, **sign).main()
    found = json.loads(c2pa.Reader(video).json())
    manifest = found["manifests"][found["active_manifest"]]
    tags = next(a["data"] for a in manifest["assertions"] if a["label"] == "org.aed-nerfstudio.render")
    assert set(tags) == {"model", "emotion_track", "audio_sha256", "consent"} and "step 29" in tags["model"]
    assert len(list(read_frames(video))) == 3


def test_a_certificate_that_does_not_sign_is_named_before_there_is_a_video(chain, tmp_path):
    pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
    video = tmp_path / "v.mp4"
    with pytest.raises(InputError, match=r"root\.pem.*digitalSignature"):
        Credentials(chain / "root.pem", chain / "key.pem", video)
    with pytest.raises(InputError, match=r"key\.pem: holds no certificates"):
        Credentials(chain / "key.pem", chain / "key.pem", video)
    (tmp_path / "other.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(InputError, match=r"chain\.pem: cannot sign .*the key its own"):
        Credentials(chain / "chain.pem", tmp_path / "other.pem", video)
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = certificate("Test root", root_key)
    late = certificate("Test signer", key, root, root_key, datetime.timedelta(days=-40))
    (tmp_path / "late.pem").write_bytes(b"".join(c.public_bytes(serialization.Encoding.PEM) for c in (late, root)))
    (tmp_path / "late key.pem").write_bytes(pem(key))
    with pytest.raises(InputError, match=r"late\.pem: .*valid from .* only"):
        Credentials(tmp_path / "late.pem", tmp_path / "late key.pem", video)


@pytest.mark.hostile
def test_no_unsigned_video_is_left_where_a_signed_one_was_asked_for(chain, run, tmp_path, monkeypatch):
    c2pa = pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
    write_wav(tmp_path / "a.wav", 0.4 * np.sin(np.arange(1920) / 9))
    video, key = tmp_path / "a.mp4", tmp_path / "key.pem"
    key.write_bytes((chain / "key.pem").read_bytes())
    signed = {"c2pa": chain / "chain.pem", "c2pa_key": key}
    render = Render(load_config=run / "config.yml", audio=tmp_path / "a.wav", output=video, **signed)
    sign = c2pa.Builder.sign

    def fails_at_videos(self, signer, kind, source, target):
        if kind == "video/mp4":
            raise c2pa.C2paError("out of luck")
        return sign(self, signer, kind, source, target)

    with monkeypatch.context() as patch:
        patch.setattr(c2pa.Builder, "sign", fails_at_videos)
        with pytest.raises(InputError, match="cannot sign"):
            render.main()
    assert {path.name for path in tmp_path.iterdir()} == {"a.wav", "key.pem", ".a.mp4.segments"}
    # All was rendered; only the signing is done again.
    render.resume = True
    render.main()
    assert c2pa.Reader(video).json() and len(list(read_frames(video))) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"a.wav", "key.pem", "a.mp4"}


def test_unfit_files_are_refused_before_rendering(chain, video, tmp_path):
    pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
    certificates, key = chain / "chain.pem", chain / "key.pem"
    with pytest.raises(InputError, match=r"a\.webm.*cannot be signed"):
        Credentials(certificates, key, tmp_path / "a.webm")
    with pytest.raises(InputError, match="--c2pa-key"):
        Credentials(certificates, None, video)
    with pytest.raises(InputError, match=r"lost\.pem"):
        Credentials(tmp_path / "lost.pem", key, video)
    with pytest.raises(InputError, match=r"chain\.pem.*no private key"):
        Credentials(certificates, certificates, video)
    (tmp_path / "rsa.pem").write_bytes(pem(rsa.generate_private_key(65537, 2048)))
    with pytest.raises(InputError, match=r"chain\.pem: cannot sign"):
        Credentials(certificates, tmp_path / "rsa.pem", video)
    (tmp_path / "k1.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256K1())))
    with pytest.raises(InputError, match=r"k1\.pem.*P-256"):
        Credentials(certificates, tmp_path / "k1.pem", video)


def test_a_missing_package_is_named(chain, video, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install aed-nerfstudio.c2pa."):
        Credentials(chain / "chain.pem", chain / "key.pem", video)
