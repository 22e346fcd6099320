"""A session with TLS on two nodes of a real batch job: what its listeners show, and what can be read on the network."""

import secrets
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ood_runtime import tls
from tests.slurm.capture import Capture
from tests.slurm.cluster import Cluster, ClusterSpec, NodeSize, slurm
from tests.slurm.spark_jobs import NODES, SRUN, SparkJob, spark
from tests.support.session_of_two import Watcher

pytestmark = [pytest.mark.root, pytest.mark.integration]

# Every value has the word in it, many times; each goes to the executors of the other node, and back to the notebook.
CELL = """word = "{word}"
rows = sc.parallelize(range(2000), 8).map(lambda n: (n % 8, word * 20 + str(n)))
print(word, len(rows.groupByKey(8).flatMap(lambda group: list(group[1])[:50]).collect()))"""


LISTEN, LOOPBACK = "0A", ("0100007F", "0" * 24 + "01000000")  # in the kernel's tables, proc(5)
# One executor on each node, which stays: else they come and go, with their ports, while these are looked at.
STEADY = "spark.sharing=one"


@dataclass
class Scene:
    """A session that has computed, and what was seen on the network since before its job."""

    spark: SparkJob
    capture: Capture
    word: str


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    word = f"word-of-the-session-{secrets.token_hex(8)}"
    words = (word, "in-plain-words", "no-one-says-this")
    with (
        slurm(ClusterSpec(nodes=(NodeSize(), NodeSize()))) as cluster,
        Watcher() as watcher,
        Capture(cluster, *words) as capture,
    ):
        session = spark(cluster, "tls.mode=self-signed", STEADY, options=("--exclusive",))
        session.connection()
        with session.notebook(2) as run:
            assert run(NODES.format(tasks=16)) == " ".join(cluster.nodes)
            assert run(CELL.format(word=word)) == f"{word} 400"
            yield Scene(session, capture, word)
        said = session.session.secrets()
        keys = [session.session.directory / "ood-runtime" / name for name in (tls.KEY, tls.STORE)]
        assert all(key.exists() for key in keys)
        session.job.cancel()
        assert session.job.wait() == "CANCELLED"
        session.assert_gone()
    assert not [key for key in keys if key.exists()]
    assert len(said) >= 5 and not [line for line in watcher.seen for secret in said if secret in line]


def test_nothing_that_a_notebook_says_can_be_read_on_the_network(scene: Scene) -> None:
    say_plainly(scene.spark.cluster, "in-plain-words")
    scene.capture.wait_for("in-plain-words")
    assert scene.capture.packets > 1000
    assert scene.capture.seen[scene.word] == scene.capture.seen["no-one-says-this"] == 0


def test_whatever_the_nodes_listen_on_shows_a_certificate_that_names_them(scene: Scene) -> None:
    machines, private = scene.spark.cluster.machines, scene.spark.session.directory / "ood-runtime"
    trusting = ssl.create_default_context(cafile=private / tls.CERTIFICATE)
    refused: list[str] = []
    shown = 0
    for node, processes in scene.spark.session.processes().items():
        for port, command in listening(processes).items():
            for name in (node, machines.by_name[node].address):
                with scene.spark.cluster.network():
                    answer = shake(trusting, machines.by_name[node].address, port, name)
                if answer:
                    refused.append(f"{node} {command.split()[-1]}: {answer}")
                else:
                    shown += 1
    # Jupyter; web interfaces and RPC of master, two workers and driver; block managers of driver and executors.
    assert shown == 2 * (1 + 4 + 4 + 3), refused
    # What leads to the four web interfaces, as seen below; on two ways each.
    assert len(refused) == 2 * 4 and all(answer.endswith("leads to https") for answer in refused), refused


def test_what_srun_says_without_tls_has_no_secret_in_it(scene: Scene) -> None:
    secrets_of_session = scene.spark.session.secrets()
    found = scene.spark.pids(scene.spark.cluster.nodes[0], SRUN)
    sent = [Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace") for pid in found]
    assert len(secrets_of_session) >= 5 and sent and all("SLURM_JOB_ID=" in environment for environment in sent)
    assert not [secret for secret in secrets_of_session for environment in sent if secret in environment]


def listening(processes: dict[int, str]) -> dict[int, str]:
    """The ports that these processes listen on, on whatever network, for others than their own node.

    Without srun's, where only Slurm's own daemons are answered: docs/security.md says what goes there.
    """
    found = {}
    for pid, command in processes.items():
        if Path(f"/proc/{pid}/comm").read_text().strip() == "srun":
            continue
        open_files = {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()}
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                address, _, port = fields[1].partition(":")
                if fields[3] == LISTEN and f"socket:[{fields[9]}]" in open_files and not address.endswith(LOOPBACK):
                    found[int(port, 16)] = command
    return found


def shake(client: ssl.SSLContext, address: str, port: int, name: str) -> str:
    """What a client says against the server there, and what that answers to one without TLS."""
    try:
        with socket.create_connection((address, port), 20) as plain, client.wrap_socket(plain, server_hostname=name):
            return ""
    except OSError as error:
        head, _, body = say_hello(address, port).partition(b"\r\n\r\n")
        leads = head.startswith(b"HTTP/1.1 302 ") and b"\r\nLocation: https://" in head and not body
        return "leads to https" if leads else f"{error}; {head[:200]!r}"


def say_hello(address: str, port: int) -> bytes:
    """What a server answers to a question without TLS, or why that cannot be told."""
    try:
        with socket.create_connection((address, port), 20) as client:
            client.sendall(b"GET /json/ HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: client.recv(4096), b""))
    except OSError as error:
        return str(error).encode()


def say_plainly(cluster: Cluster, word: str) -> None:
    """Send a word from one node to another as it is, in one packet."""
    first, second = cluster.nodes
    script = "import socket, sys; socket.socket(type=socket.SOCK_DGRAM).sendto(sys.argv[2].encode(), (sys.argv[1], 9))"
    cluster.machines.check(["python3", "-c", script, cluster.machines.by_name[first].address, word], on=second)
