"""A session's own certificate, and what is told of a site's: all that is wrong with it, at once."""

import datetime
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from ood_runtime import certificates, doctor
from ood_runtime.allocation import Allocation, Node
from ood_runtime.errors import SettingsError
from ood_runtime.finding import WARNING
from ood_runtime.plan import Place
from ood_runtime.settings import Settings as AllSettings
from ood_runtime.settings.tls import Tls as Settings
from ood_runtime.tls import Identity, Tls
from tests.support.authority import DAY, HOUR, NOW, OTHER, Site, private
from tests.support.needs import need_java


def made(ends_at: datetime.datetime | None = None, nodes: tuple[str, ...] = ("n0", "n1"), **settings: Any) -> Tls:
    given = settings.pop("given", None)
    found = tuple(Node(name, 1, 1) for name in nodes)
    allocation = Allocation("slurm", "7", found, Path("/"), ends_at=ends_at.timestamp() if ends_at else None)
    return certificates.for_session(
        Settings(mode="self-signed", **settings), given, allocation, Place("n0.cluster", "192.0.2.7", "10.0.0.7")
    )


def loaded(text: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(text.encode())


def names(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))}


@pytest.fixture(autouse=True)
def name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"n1": "10.0.0.8", "n0.cluster": "10.0.0.9"}

    def look_up(name: str, *_: object, **__: object) -> list[Any]:
        if name not in known:
            raise OSError
        return [(0, 0, 0, "", (known[name], 0))]

    monkeypatch.setattr("socket.getaddrinfo", look_up)


# --- a session's own ---


def test_it_names_whatever_a_node_of_the_session_is_called() -> None:
    own = {"localhost", "127.0.0.1", "::1"}
    assert names(loaded(made().inner.certificate)) == own | {
        "n0.cluster", "n0", "n1", "192.0.2.7", "10.0.0.7", "10.0.0.8", "10.0.0.9"
    }  # fmt: skip


def test_one_of_a_large_job_is_small_enough_for_java() -> None:
    text = made(nodes=tuple(f"node-with-a-long-name-{number:04}.cluster.example.org" for number in range(2000)))
    assert len(ssl.PEM_cert_to_DER_cert(text.inner.certificate)) < 1 << 15


@pytest.mark.parametrize(
    ("left", "valid"), [(None, 90 * DAY), (8 * HOUR, 8 * HOUR + DAY), (-30 * DAY, DAY)], ids=["unknown", "8 h", "over"]
)
def test_it_is_valid_as_long_as_the_job(left: datetime.timedelta | None, valid: datetime.timedelta) -> None:
    now = datetime.datetime.now(datetime.UTC)
    certificate = loaded(made(None if left is None else now + left).inner.certificate)
    assert abs(certificate.not_valid_after_utc - now - valid) < HOUR / 4
    assert certificate.not_valid_before_utc <= now, "a node's clock may be slow"


def test_each_session_has_another_key_and_number() -> None:
    first, second = made(), made()
    assert first.inner.key != second.inner.key
    assert loaded(first.inner.certificate).serial_number != loaded(second.inner.certificate).serial_number
    assert first.store_password != second.store_password


def test_the_store_holds_the_same_and_a_repr_holds_nothing() -> None:
    tls = made()
    key, certificate, _ = pkcs12.load_key_and_certificates(tls.store, tls.store_password.reveal().encode())
    assert key and certificate == loaded(tls.inner.certificate)
    assert key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode() == tls.inner.key.reveal()
    assert tls.inner.key.reveal().splitlines()[1] not in repr(tls) and repr(tls.store)[:20] not in repr(tls)


def test_java_reads_the_store(tmp_path: Path) -> None:
    tls = made()
    (tmp_path / "store.p12").write_bytes(tls.store)
    store, password = str(tmp_path / "store.p12"), tls.store_password.reveal()
    keytool = need_java(17) / "bin" / "keytool"
    listed = subprocess.run(
        [str(keytool), "-list", "-keystore", store, "-storepass:env", "PASSWORD"],
        env={"PASSWORD": password}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "PrivateKeyEntry" in listed.stdout


@pytest.mark.parametrize("name", ["n1", "localhost", "10.0.0.7"])
def test_clients_that_trust_it_alone_take_it(tmp_path: Path, name: str) -> None:
    """With all that a new Python looks at: strictly after RFC 5280, and the name."""
    tls = made()
    context = ssl.create_default_context(cadata=tls.inner.certificate)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    assert shaken(tmp_path, tls.inner, context, name) == ""
    assert "mismatch" in shaken(tmp_path, tls.inner, context, "elsewhere")
    assert "self-signed" in shaken(tmp_path, made().inner, context, name)


def shaken(directory: Path, identity: Identity, client: ssl.SSLContext, name: str) -> str:
    """How a client takes a server with this identity, called ``name``: what it says against it."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (directory / "both.pem").write_text(identity.certificate + identity.key.reveal())
    server.load_cert_chain(directory / "both.pem")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                return str(error)
    return ""


# --- a site's ---


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_sites_certificate_is_for_the_portal_and_not_for_spark(site: Site) -> None:
    site.write("chain.pem", site.certificate())
    given = site.read(chain="$NODE/chain.pem")
    assert given and given.certificate.count("BEGIN CERTIFICATE") == 2
    tls = made(given=given)
    assert tls.front == given and tls.inner.certificate not in given.certificate


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda site: site.write("key.pem", b"no key"), "tls.key: holds no private key in PEM"),
        (lambda site: site.write("key.pem", private(site.key), 0o640), "tls.key: others than you can read"),
        (lambda site: site.write("key.pem", private(site.key, b"passphrase")), "tls.key: has a passphrase"),
        (lambda site: site.write("key.pem", private(OTHER)), "tls.key: does not belong"),
        (lambda site: site.write("cert.pem", b"no certificate"), "tls.certificate: holds no certificate in PEM"),
        (lambda site: site.write("cert.pem", site.certificate(end=NOW - HOUR)), "tls.certificate: is valid from"),
        (lambda site: site.write("cert.pem", site.certificate(begin=NOW + HOUR)), "tls.certificate: is valid from"),
        (lambda site: (site.directory / "cert.pem").unlink(), "cannot read $NODE/cert.pem: No such file"),
        (lambda site: site.settings.update(certificate="/$NOBODY/cert.pem"), "a variable in its name that is not set"),
        (lambda site: site.settings.pop("key"), "tls.key is not set, which tls.mode: files needs"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_it_is_told(site: Site, spoil: Callable[[Site], object], told: str) -> None:
    spoil(site)
    with pytest.raises(SettingsError) as error:
        site.read()
    assert told in error.value.what
    assert "\n" not in error.value.what, "one fault, one line"


def test_all_of_it_is_told_at_once(site: Site) -> None:
    site.write("key.pem", b"no key", 0o644)
    site.write("cert.pem", site.certificate(end=NOW - HOUR))
    with pytest.raises(SettingsError) as error:
        site.read(chain="/nowhere")
    assert [line.partition(":")[0] for line in error.value.what.splitlines()] == [
        "tls.key", "tls.chain", "tls.key", "tls.certificate"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("host", "ends_at", "told"),
    [
        ("n0", NOW + HOUR, []),
        ("a.cluster", None, []),
        ("192.0.2.7", None, []),
        ("n1", NOW + HOUR, ["does not name n1"]),
        ("N0", NOW + 9 * DAY, ["ends before the job"]),
    ],
)
def test_what_a_portal_may_refuse_is_a_notice(
    site: Site, host: str, ends_at: datetime.datetime | None, told: list[str]
) -> None:
    found = certificates.cautions(site.read(), host, ends_at.timestamp() if ends_at else None)
    assert len(found) == len(told) and all(words in text for words, text in zip(told, found, strict=True))


def test_doctor_tells_it_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ood_runtime.place.find", lambda *_: Place("n1", "192.0.2.7"))
    settings = AllSettings.model_validate({"tls": site.settings})
    (finding,) = doctor._tls(settings, {"NODE": str(site.directory)})
    assert (finding.state, finding.what) == (WARNING, "TLS") and "does not name n1" in finding.detail
    assert not list(doctor._tls(AllSettings(), {}))


def test_in_other_modes_nothing_is_read() -> None:
    assert certificates.read(Settings(mode="self-signed", key="/nowhere"), {}) is None
    assert certificates.cautions(None, "n0", None) == []
