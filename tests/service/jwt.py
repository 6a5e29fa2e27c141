"""The two uses of JWTs here: checking a runner's client assertion, and making job tokens that clients can read."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_SIGNING_KEY = secrets.token_bytes(32)


class JwtError(ValueError):
    pass


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    if "=" in text or "+" in text or "/" in text:
        raise JwtError("base64url with padding or standard alphabet")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def issue(claims: dict[str, Any]) -> str:
    """A token of this service's own; only this process can check it, everybody can read it."""
    head = b64url(json.dumps({"typ": "JWT", "alg": "HS256"}).encode())
    body = b64url(json.dumps(claims).encode())
    signature = hmac.new(_SIGNING_KEY, f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{b64url(signature)}"


def parse(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    parts = token.split(".")
    if len(parts) != 3:
        raise JwtError(f"expected three parts, got {len(parts)}")
    try:
        header, claims = (json.loads(unb64url(part)) for part in parts[:2])
    except ValueError as error:
        raise JwtError(f"unreadable: {error}") from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise JwtError("header and claims must be objects")
    return header, claims


def verify(token: str, modulus: int, exponent: int, algorithm: str) -> None:
    """Raise JwtError unless the signature is right for this public key and algorithm."""
    head, body, signature = token.split(".")
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    scheme: padding.AsymmetricPadding
    if algorithm == "PS256":
        scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    elif algorithm == "RS256":
        scheme = padding.PKCS1v15()
    else:
        raise JwtError(f"unknown algorithm {algorithm!r}")
    try:
        key.verify(unb64url(signature), f"{head}.{body}".encode(), scheme, hashes.SHA256())
    except InvalidSignature:
        raise JwtError(f"the {algorithm} signature does not verify") from None
