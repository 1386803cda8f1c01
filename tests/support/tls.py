"""Certificates of a test's own: an authority, and a broker's certificate that it vouches for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Files(NamedTuple):
    """Where they are."""

    authority: Path
    certificate: Path
    key: Path


def certificates(folder: Path, *addresses: str) -> Files:
    """An authority that nobody knows, and a certificate for these addresses."""
    theirs, ours = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = (
        _about("a test's authority", "a test's authority", theirs)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(theirs, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(each)) for each in addresses])
    certificate = (
        _about("a test's broker", "a test's authority", ours)
        .add_extension(names, critical=False)
        .sign(theirs, hashes.SHA256())
    )
    secret = ours.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = serialization.Encoding.PEM
    return Files(
        _file(folder / "authority.pem", authority.public_bytes(pem)),
        _file(folder / "certificate.pem", certificate.public_bytes(pem)),
        _file(folder / "key.pem", secret),
    )


def _about(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_named(subject))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
