"""Whether Spark's own client of its network protocol is let in: at many ports, with several secrets, by one JVM.

Run with a home of Spark; on standard input is JSON: {"java": ..., "tls": false, "ports": ["ADDRESS:PORT", ...],
"secrets": {NAME: SECRET}}. Prints as JSON what came of each: "in", or the reason. Who has no secret ("") asks for
blocks at once; who has one makes the handshake that executors make. With TLS the certificate is one of our own.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway  # type: ignore[import-untyped]
from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]

PATIENCE = 20_000  # milliseconds, of a busy machine
CRYPTO = {
    "spark.network.crypto.enabled": "true",
    "spark.network.crypto.authEngineVersion": "2",
    "spark.network.crypto.cipher": "AES/GCM/NoPadding",
    "spark.network.crypto.saslFallback": "false",
    "spark.rpc.io.numConnectionsPerPeer": "1",
}


def own_certificate() -> dict[str, str]:
    """Settings with a new one; nobody else's is looked at."""
    store = tempfile.mkdtemp() + "/store.p12"
    words = [
        "-keyalg",
        "EC",
        "-dname",
        "CN=mallory",
        "-storetype",
        "PKCS12",
        "-storepass",
        "mallory",
        "-keystore",
        store,
    ]
    keytool = str(Path(asked["java"]).with_name("keytool"))
    subprocess.run([keytool, "-genkeypair", "-J-XX:TieredStopAtLevel=1", *words], check=True, capture_output=True)
    names = {"enabled": "true", "protocol": "TLSv1.3", "keyStore": store, "keyStorePassword": "mallory"}
    return {f"spark.ssl.rpc.{name}": value for name, value in names.items()}


home, asked = Path(sys.argv[1]), json.loads(sys.stdin.read())
gateway = JavaGateway(
    gateway_parameters=GatewayParameters(
        port=launch_gateway(
            classpath=":".join(map(str, sorted((home / "jars").glob("*.jar")))),
            jarpath=str(next((home / "jars").glob("py4j-*.jar"))),
            java_path=asked["java"],
            javaopts=["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
            die_on_exit=True,
        )
    )
)
network = gateway.jvm.org.apache.spark.network
settings = gateway.jvm.java.util.HashMap()
for name, value in (own_certificate() if asked["tls"] else CRYPTO).items():
    settings.put(name, value)
conf = network.util.TransportConf("rpc", network.util.MapConfigProvider(settings))
context = network.TransportContext(conf, network.server.NoOpRpcHandler())
blocks = gateway.new_array(gateway.jvm.java.lang.String, 1)
blocks[0] = "broadcast_0_piece0"


def knock(place: str, secret: str) -> str:
    """What comes of it."""
    address, _, port = place.rpartition(":")
    steps = gateway.jvm.java.util.ArrayList()
    if secret:
        keys = network.sasl.ShuffleSecretManager()
        keys.registerApp("app", secret)
        step = network.sasl.SaslClientBootstrap if asked["tls"] else network.crypto.AuthClientBootstrap
        steps.add(step(conf, "app", keys))
    factory = context.createClientFactory(steps)
    try:
        client = factory.createClient(address, int(port))
        if not secret:
            client.sendRpcSync(network.shuffle.protocol.OpenBlocks("app", "0", blocks).toByteBuffer(), PATIENCE)
    except Py4JJavaError as error:
        return str(error.java_exception.toString())[:300]
    else:
        return "in"
    finally:
        factory.close()


told = {place: {name: knock(place, it) for name, it in asked["secrets"].items()} for place in asked["ports"]}
print(json.dumps(told))
gateway.shutdown()
