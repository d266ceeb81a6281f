"""Signed provenance (C2PA, "content credentials") in finished videos, by the optional package c2pa-python."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from aed_nerfstudio.errors import InputError, reason
from aed_nerfstudio.files import replacing
from aed_nerfstudio.outside import read_bytes

TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime"}
"""Media types of what can be signed, by suffix."""
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's name for media that a trained model has made."""
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
MOST_BYTES = 1 << 20
"""The largest PEM file."""
MEND = (
    "it must be a PEM chain, the signer's certificate first, that C2PA accepts: not self-signed, key usage "
    "digitalSignature, extended key usage emailProtection, and the key its own"
)


class Credentials:
    """Signs one video.

    certificate: PEM file of the signer's certificate, followed by those above it. key: PEM file of its private key,
    without a password. output: the video that will be signed.

    Raises InputError when c2pa-python is not installed, one of the files is missing or unfit, the certificate is not
    accepted, and when this kind of output cannot be signed: all before there is an output.
    """

    def __init__(self, certificate: Path, key: Path | None, output: Path) -> None:
        if importlib.util.find_spec("c2pa") is None:
            raise InputError("--c2pa needs the package c2pa-python; run `pip install aed-nerfstudio[c2pa]`")
        if key is None:
            raise InputError(f"{certificate}: signing needs its private key too; give it with --c2pa-key")
        if output.suffix.lower() not in TYPES:
            raise InputError(f"{output}: cannot be signed; write a video that ends in {', '.join(TYPES)}")
        self._path, self._output = certificate, output
        self._certificate, self._key = (read_bytes(file, MOST_BYTES, "give a PEM file") for file in (certificate, key))
        self._algorithm = _algorithm(key, self._key)
        _check_dates(certificate, self._certificate)
        trial = BytesIO()
        Image.new("RGB", (8, 8)).save(trial, "png")
        self._put(trial, "image/png", BytesIO(), {})

    def sign(self, video: Path, tags: Mapping[str, str]) -> None:
        """Puts a manifest into a video: that a trained model has made it, and the tags as an assertion of our own.

        video: the finished file, wherever it lies before it takes the output's place.

        Raises InputError when it is not signed; it then stays as it was.
        """
        with replacing(video) as signed, open(video, "rb") as source, open(signed, "w+b") as target:
            self._put(source, TYPES[self._output.suffix.lower()], target, tags)

    def _put(self, source: BinaryIO, media: str, target: BinaryIO, tags: Mapping[str, str]) -> None:
        """Writes the source with a manifest to the target."""
        import c2pa

        created = {"action": "c2pa.created", "digitalSourceType": SOURCE}
        manifest = {
            "claim_generator_info": [{"name": "aed-nerfstudio"}],
            "title": self._output.name,
            "assertions": [
                {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
                {"label": "org.aed-nerfstudio.render", "data": dict(tags)},
            ],
        }
        try:
            # No time stamp, which an authority on the internet would have to give.
            signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(self._algorithm, self._certificate, self._key, None))
            with signer, c2pa.Builder(manifest) as builder:
                builder.sign(signer, media, source, target)
        except c2pa.C2paError as error:
            raise InputError(f"{self._path}: cannot sign {self._output} ({reason(error)}); {MEND}") from error


def _check_dates(path: Path, pem: bytes) -> None:
    """Raises InputError where a certificate of the chain is of another time, which C2PA would only find on reading."""
    from cryptography import x509

    try:
        chain = x509.load_pem_x509_certificates(pem)
        spans = [(found.not_valid_before_utc, found.not_valid_after_utc) for found in chain]
    except ValueError as error:
        raise InputError(f"{path}: holds no certificates ({reason(error)}); {MEND}") from error
    now = datetime.now(timezone.utc)
    for first, last in spans:
        if not first <= now <= last:
            raise InputError(f"{path}: a certificate in it is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d} only; ask "
                             "its issuer for a new one")  # fmt: skip


def _algorithm(path: Path, pem: bytes) -> str:
    """Returns C2PA's name of the algorithm that a private key is for."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path}: is no private key in PEM form without a password ({reason(error)})") from error
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
        return CURVES[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise InputError(f"{path}: C2PA knows no signatures by this kind of key; make one on the curve P-256")
