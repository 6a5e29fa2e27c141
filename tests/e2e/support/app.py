"""A GitHub App's key, with the half of it that the service double knows."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.service.client import Client


def make_key(file: Path, *, bits: int = 2048, form: PrivateFormat = PrivateFormat.TraditionalOpenSSL, password: bytes | None = None) -> str:
    """Writes a private key as GitHub hands it out; returns the public one."""
    key = rsa.generate_private_key(65537, bits)
    file.write_bytes(key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(password) if password else NoEncryption()))
    file.chmod(0o600)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def install(client: Client, folder: Path, scope: str = "acme", **options: object) -> Path:
    """An App that is installed at a scope; returns its key's file."""
    file = folder / "app.pem"
    client.options(app_key=make_key(file), app_scope=scope, **options)
    return file
