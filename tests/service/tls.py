"""A certificate authority and a server certificate for localhost, made anew for each run."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(subject: str, issuer: x509.Name, public: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePrivateKey,
                 extensions: list[tuple[x509.ExtensionType, bool]], days: int = 0) -> x509.Certificate:
    now = datetime.datetime.utcnow() + datetime.timedelta(days=days)
    builder = (x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(issuer).public_key(public)
               .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
               .not_valid_after(now + datetime.timedelta(days=30)))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256())


def make(folder: Path, name: str = "", address: str = "127.0.0.1", days: int = 0) -> tuple[ssl.SSLContext, Path]:
    """A server context for a name and an address, and the file of the authority that signed it.

    The server's certificate is valid a month from so many days from now.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ca = _certificate("wherry test authority", _name("wherry test authority"), ca_key.public_key(), ca_key,
                      [(x509.BasicConstraints(True, 0), True), (usage, True),
                       (x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False)])
    names = x509.SubjectAlternativeName([x509.DNSName(name or "localhost"), x509.IPAddress(ipaddress.ip_address(address))])
    leaf = _certificate("localhost", ca.subject, key.public_key(), ca_key,
                        [(names, False), (x509.BasicConstraints(False, None), True),
                         (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
                         (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False)], days)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "server.pem").write_bytes(leaf.public_bytes(pem) + key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context, folder / "ca.pem"
