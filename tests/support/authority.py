"""An authority that gives certificates to nodes, as a site has it: its own, and those of a node, in files."""

import datetime
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ood_runtime import certificates
from ood_runtime.settings.tls import Tls as Settings
from ood_runtime.tls import Identity

NOW = datetime.datetime.now(datetime.UTC)
DAY, HOUR = datetime.timedelta(days=1), datetime.timedelta(hours=1)
OTHER = ec.generate_private_key(ec.SECP256R1())
_AUTHORITY, _NODE = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("authority", "node"))


class Site:
    """Certificate and key of a node with these names, in ``directory``, and the settings of a session with them."""

    def __init__(self, directory: Path, names: Iterable[str] = ("n0", "*.cluster")) -> None:
        self.directory = directory
        self._names = tuple(names)
        self._authority = ec.generate_private_key(ec.SECP256R1())
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.settings = {"mode": "files", "certificate": "$NODE/cert.pem", "key": f"{directory}/key.pem"}
        self.write("key.pem", private(self.key))
        self.write("cert.pem", self.certificate())
        self.write("authority.pem", self._own(), 0o644)

    def certificate(self, begin: datetime.datetime = NOW - DAY, end: datetime.datetime = NOW + DAY) -> bytes:
        """One for the node's key."""
        builder = x509.CertificateBuilder(_AUTHORITY, _NODE, self.key.public_key(), 7, begin, end)
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in self._names]
        names.append(x509.IPAddress(ipaddress.ip_address("192.0.2.7")))
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._authority, hashes.SHA256()).public_bytes(Encoding.PEM)

    def write(self, name: str, content: bytes, mode: int = 0o600) -> None:
        """A file of the node."""
        path = self.directory / name
        path.unlink(missing_ok=True)
        path.touch(mode)
        path.write_bytes(content)

    def read(self, **more: str) -> Identity | None:
        """What a session would take."""
        return certificates.read(Settings.model_validate(self.settings | more), {"NODE": str(self.directory)})

    def _own(self) -> bytes:
        key = self._authority
        builder = x509.CertificateBuilder(_AUTHORITY, _AUTHORITY, key.public_key(), 1, NOW - DAY, NOW + DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def private(key: ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> bytes:
    """A key in PEM."""
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
