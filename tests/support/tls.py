"""Certificates of a test's own: authorities, and what they vouch for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOUR = timedelta(hours=1)


class Files(NamedTuple):
    """Where they are."""

    authority: Path
    certificate: Path
    key: Path


class Authority:
    """One that nobody knows; all in one folder."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._name = f"a test's {name}"
        self._key = ec.generate_private_key(ec.SECP256R1())
        own = (
            _about(self._name, self._name, self._key, -HOUR, HOUR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def vouch(
        self,
        file: str,
        *addresses: str,
        name: str = "a test's broker",
        begins: timedelta = -HOUR,
        ends: timedelta = HOUR,
    ) -> Files:
        """Write a certificate for these hosts, and its key, in place of earlier ones."""
        key = ec.generate_private_key(ec.SECP256R1())
        about = _about(name, self._name, key, begins, ends)
        if addresses:
            names = [_of_host(each) for each in addresses]
            about = about.add_extension(x509.SubjectAlternativeName(names), critical=False)
        signed = about.sign(self._key, hashes.SHA256())
        files = Files(self.file, self._folder / f"{file}.pem", self._folder / f"{file}.key")
        files.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        files.key.touch(0o600)
        files.key.write_bytes(pem_of(key, serialization.NoEncryption()))
        return files


def certificates(folder: Path, *addresses: str) -> Files:
    """An authority that nobody knows, and a certificate for these addresses."""
    return Authority(folder).vouch("certificate", *addresses)


def pem_of(
    key: ec.EllipticCurvePrivateKey, lock: serialization.KeySerializationEncryption
) -> bytes:
    """A key as a file has it."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


def _about(
    subject: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    begins: timedelta,
    ends: timedelta,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_named(subject))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )


def _of_host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
