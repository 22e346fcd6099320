"""Making a session's certificate, and reading one that a site gives. The only user of the library cryptography.

A session's own certificate is signed by itself, and trusted by nobody but who was given it: so it names an identity as
well as one of an authority would. Whoever has its key is the session, on whatever node.
"""

import datetime
import ipaddress
import os
import socket
import stat
import string
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ood_runtime import secret
from ood_runtime.allocation import Allocation
from ood_runtime.errors import SettingsError
from ood_runtime.plan import Place
from ood_runtime.secret import Secret
from ood_runtime.settings.tls import Tls as Settings
from ood_runtime.tls import Identity, Tls

# Names and addresses of this many nodes: each connection begins with the certificate, and Java refuses one of more than
# 32 KiB. Only the pages of workers on further nodes are concerned.
_MOST_NODES = 256
_SLACK = datetime.timedelta(days=1)
_CLOCKS = datetime.timedelta(hours=1)  # that those of two nodes may differ
_COMMON_NAME = 64  # characters, RFC 5280
_LOOKUPS, _LOOKUP_SECONDS = 16, 2.0  # side by side, in all


def for_session(settings: Settings, given: Identity | None, allocation: Allocation, place: Place) -> Tls:
    """What the session of ``allocation`` proves itself with; ``given`` is the site's certificate, for mode files."""
    hosts = [node.host for node in allocation.nodes[:_MOST_NODES]]
    names = dict.fromkeys(["localhost", place.host, *hosts])
    addresses = dict.fromkeys(["127.0.0.1", "::1", place.address, place.cluster, *_addresses(names)])
    end = _utc(allocation.ends_at) + _SLACK if allocation.ends_at else _now() + datetime.timedelta(days=settings.days)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(key, place.host, [*names, *addresses], max(end, _now() + _SLACK))
    password = secret.key()
    store = pkcs12.serialize_key_and_certificates(
        b"session", key, certificate, None, BestAvailableEncryption(password.reveal().encode())
    )
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    inner = Identity(certificate.public_bytes(Encoding.PEM).decode(), Secret(text))
    return Tls(front=given or inner, inner=inner, store=store, store_password=password)


def read(settings: Settings, environment: Mapping[str, str]) -> Identity | None:
    """The site's certificate and key; None in other modes than files.

    Raises SettingsError with all that is wrong with them: not set, cannot be read, is no certificate or key, key that
    others can read or that does not belong to the certificate, certificate that is not valid now.
    """
    if settings.mode != "files":
        return None
    wrong: list[str] = []
    texts = {name: _text(name, getattr(settings, name), environment, wrong) for name in ("certificate", "key", "chain")}
    chain = [_certificates(name, texts[name], wrong) for name in ("certificate", "chain")]
    key = _key(texts["key"], wrong)
    leaf = next(iter(chain[0]), None)
    if leaf and not leaf.not_valid_before_utc <= _now() <= leaf.not_valid_after_utc:
        begin, end = (f"{time:%F %R} UTC" for time in (leaf.not_valid_before_utc, leaf.not_valid_after_utc))
        wrong.append(f"tls.certificate: is valid from {begin} to {end}, not now")
    if leaf and key and leaf.public_key() != key.public_key():
        wrong.append("tls.key: does not belong to tls.certificate")
    if wrong:
        raise SettingsError("\n".join(wrong), remedy="`ood-runtime config explain tls` tells what each is for")
    text = "".join(certificate.public_bytes(Encoding.PEM).decode() for part in chain for certificate in part)
    return Identity(text, Secret(texts["key"]))


def cautions(given: Identity | None, host: str, ends_at: float | None) -> list[str]:
    """What a portal's proxy may refuse in a site's certificate: that it does not name the host, or ends too early."""
    if given is None:
        return []
    leaf = x509.load_pem_x509_certificates(given.certificate.encode())[0]
    found = []
    if not _names_host(leaf, host):
        found.append(
            f"the certificate of tls.certificate does not name {host}: a portal that looks at names refuses it"
        )
    if ends_at and leaf.not_valid_after_utc < _utc(ends_at):
        found.append(f"the certificate of tls.certificate ends before the job, at {leaf.not_valid_after_utc:%F %R} UTC")
    return found


def _sign(key: ec.EllipticCurvePrivateKey, host: str, names: Iterable[str], end: datetime.datetime) -> x509.Certificate:
    """A certificate for ``host``, by all of these ``names``, as strict clients want it (RFC 5280)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:_COMMON_NAME])])
    public = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(_now() - _CLOCKS)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(list(_alternatives(names))), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(public, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def _usage() -> x509.KeyUsage:
    others = ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign"]
    none = dict.fromkeys([*others, "crl_sign", "encipher_only", "decipher_only"], False)
    return x509.KeyUsage(digital_signature=True, **none)


def _alternatives(names: Iterable[str]) -> Iterable[x509.GeneralName]:
    for name in names:
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            yield x509.DNSName(name)
        else:
            if not address.is_unspecified:
                yield x509.IPAddress(address)


def _addresses(names: Iterable[str]) -> list[str]:
    """What these names stand for, as far as name servers tell it in time: some take seconds for each unknown one."""
    pool = ThreadPoolExecutor(_LOOKUPS)
    done, _ = wait([pool.submit(_look_up, name) for name in names], _LOOKUP_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    return sorted({address for found in done for address in found.result()})


def _look_up(name: str) -> list[str]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(entry[4][0]).partition("%")[0] for entry in found]


def _text(name: str, value: str | None, environment: Mapping[str, str], wrong: list[str]) -> str:
    if not value:
        if name != "chain":
            wrong.append(f"tls.{name} is not set, which tls.mode: files needs")
        return ""
    try:
        path = Path(string.Template(value).substitute(environment))
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            text = file.read()
    except (KeyError, ValueError):
        wrong.append(f"tls.{name}: {value} has a variable in its name that is not set")
        return ""
    except OSError as error:
        wrong.append(f"tls.{name}: cannot read {value}: {error.strerror}")
        return ""
    if name == "key" and (status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or status.st_uid not in (0, os.geteuid())):
        wrong.append(f"tls.key: others than you can read {path}, or it is theirs; `chmod 600` it and make a new key")
    return text.decode("ascii", "replace")


def _certificates(name: str, text: str, wrong: list[str]) -> list[x509.Certificate]:
    if not text:
        return []
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        wrong.append(f"tls.{name}: holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")
        return []


def _key(text: str, wrong: list[str]) -> PrivateKeyTypes | None:
    if not text:
        return None
    try:
        return load_pem_private_key(text.encode(), None)
    except TypeError:
        wrong.append("tls.key: has a passphrase; a session has nobody to ask for it")
    except (ValueError, UnsupportedAlgorithm):
        wrong.append("tls.key: holds no private key in PEM (-----BEGIN PRIVATE KEY-----)")
    return None


def _names_host(leaf: x509.Certificate, host: str) -> bool:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    stands_for = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    stands_for += [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    host = host.lower()
    return host in stands_for or f"*.{host.partition('.')[2]}" in stands_for


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _utc(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
