"""Everything that a session writes and runs, for fixed ports, secrets and paths, as a reviewer reads it."""

import functools
import json
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ood_runtime import apps, launcher_programs, render, ui_filter
from ood_runtime.allocation import Allocation, Node
from ood_runtime.apps import jupyter, jupyter_spark, rstudio
from ood_runtime.class_data import Archives
from ood_runtime.connection import text as connection_text
from ood_runtime.context import Context, Software, SparkSoftware
from ood_runtime.java import Java
from ood_runtime.jupyter_home import Jupyter
from ood_runtime.launchers import slurm
from ood_runtime.plan import Directories, File, Grant, Place, Plan
from ood_runtime.secret import Secret
from ood_runtime.service import Check, Service
from ood_runtime.settings import Settings
from ood_runtime.settings.sizes import GIB
from ood_runtime.spark_home import Spark
from ood_runtime.tls import KEY, STORE, Identity, Tls
from tests.golden import kernel_contexts, rstudio_contexts, test_environment
from tests.support.needs import need
from tests.unit.java_readers import java_arguments, java_properties

# A blank and a quote in every path that somebody else chooses.
SESSION = Path("/home/ada/it's a session")
SCRATCH = Path("/scratch/job 7/ood-abc")
SPARK, JAVA, PYTHON = Path("/opt/spark 4"), Path("/opt/it's java"), Path("/opt/jupyter's env/bin/python")
SECRETS = {
    "password": Secret("gPasswordPasswordPasswordPasswor"),
    "salt": Secret("0123456789abcdef0123456789abcdef"),
    "xsrf": Secret("fedcba9876543210fedcba9876543210"),
    "spark": Secret("SparkSecretSparkSecretSparkSecretSparkSecre"),
    "spark_ui": Secret("SparkUiSecretSparkUiSecretSparkUiSecretSpar"),
    "spark_ui_entry": Secret("gEntryEntryEntryEntryEntryEntryE"),
    "wrong_password": Secret("gWrongWrongWrongWrongWrongWrongW"),
    "csrf": Secret("00112233445566778899aabbccddeeff"),
    "cookie_key": Secret("CookieKeyCookieKeyCookieKeyCookieKeyCookieK"),
    "rpc_key": Secret("RpcKeyRpcKeyRpcKeyRpcKeyRpcKeyRpcKeyRpcKeyR"),
    "store": Secret("StorePasswordStorePasswordStorePasswordStor"),
    "front_key": Secret("SitePrivateKeySitePrivateKeySitePrivateKeyS"),
    "inner_key": Secret("OwnPrivateKeyOwnPrivateKeyOwnPrivateKeyOwnP"),
}
PORTS = {
    "jupyter": 20001,
    "spark_master": 20002,
    "spark_master_ui": 20003,
    "rstudio": 20004,
    "sparklyr": 20005,
    "spark_ui": 20006,
    "spark_connect": 20007,
}
OPTIONS = (
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-modules=jdk.incubator.vector",
    "-Djdk.reflect.useDirectMethodHandle=false",
)


def spark_software(release: str = "4.0.1", *, archives: bool = False, vector: bool = True) -> SparkSoftware:
    jars = tuple(
        SPARK / "jars" / name for name in (f"spark-core_2.13-{release}.jar", f"spark-launcher_2.13-{release}.jar")
    )
    directory = Path("/site/class data/key")
    made = Archives(
        directory, directory / "daemon.jsa", directory / "driver.jsa", directory / "executor.jsa", directory / "conf"
    )
    modules = {"java.base"} | ({"jdk.incubator.vector"} if vector else set())
    return SparkSoftware(
        spark=Spark(SPARK, release, "2.13", jars),
        java=Java(JAVA, "21.0.8", frozenset(modules), "spark.java_home"),
        python=PYTHON,
        archives=made if archives else None,
        archive_directory=None if archives else Path("/home/ada/.cache/ood-runtime/class-data"),
        ui_filter=None if release.startswith("4") else b"PK\x03\x04\xff a jar",
        site_conf={"spark.eventLog.enabled": "true", "spark.authenticate": "false"},
        conf_directory=SPARK / "conf",
    )


def context(settings: Mapping[str, Any] | None = None, **spark: Any) -> Context:
    return Context(
        settings=Settings.model_validate(settings or {}),
        allocation=Allocation("local", "", (Node("node1", 8, 32 * GIB),), Path("/home/ada")),
        software=Software(
            Jupyter(PYTHON, PYTHON.parent / "jupyter-lab", "lab", "4.2.5", True), spark_software(**spark)
        ),
        place=Place("node1", "192.0.2.7"),
        directories=Directories(SESSION, SESSION / "ood-runtime", SESSION / "logs", SCRATCH, Path("/tmp/ood-xyz")),
        grant=Grant(PORTS, SECRETS),
        environment={
            "HOME": "/nonexistent/ada",
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": "/own lib",
            "HADOOP_CONF_DIR": "/etc/hadoop",
        },
    )


def on_three_nodes() -> Context:
    """A job of Slurm as Open OnDemand submits it, with two workers on each of its nodes, one of which is larger."""
    alone = context({"spark": {"workers_per_node": 2, "network": "ib*", "worker": {"local_dirs": ["/disk 1"]}}})
    job = {
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NODELIST": "node[1-3]",
        "SLURM_JOB_CPUS_PER_NODE": "8(x2),16",
        "SLURM_EXPORT_ENV": "NONE",
        "SLURM_NODEID": "0",
        "SLURM_TMPDIR": "/scratch/job 7",
        "TMPDIR": "/scratch/job 7",
        "BASH_FUNC_module%%": "() {  eval x\n}",
    }
    nodes = (Node("node1", 8, 32 * GIB), Node("node2", 8, 32 * GIB), Node("node3", 16, 64 * GIB))
    allocation = Allocation("slurm", "4711", nodes, Path("/home/ada"))
    return replace(
        alone,
        allocation=allocation,
        place=Place("node1", "192.0.2.7", "10.1.0.7"),
        grant=replace(alone.grant, session_id="node1-4711"),
        environment={**alone.environment, **job},
        launch=lambda script, tasks: slurm.LAUNCHER.commands(allocation, script, tasks, job),
    )


def in_an_environment() -> Context:
    """What an environment of modules has brought: other variables, and a Python for notebooks."""
    alone = context({"environment": {"modules": ["python/3.12"]}})
    python = Path("/apps/python 3.12/bin/python3")
    jupyter = replace(alone.software.jupyter, kernel_python=python) if alone.software.jupyter else None
    return replace(alone, software=replace(alone.software, jupyter=jupyter), loaded=frozenset({"PATH", "PYTHONPATH"}))


def by_a_wrapper() -> Context:
    """A site's own script starts Jupyter, so that nothing of ours can run in it."""
    plain = context()
    wrapper = Jupyter(None, Path("/opt/site's/jupyter-lab"), "lab", "", True)
    return replace(plain, software=replace(plain.software, jupyter=wrapper))


def with_tls(plain: Context) -> Context:
    """With a certificate of the site's for the portal's proxy, and one of the session's own for Spark."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----\n"
    front, inner = (Identity(f"{begin}\n{name}\n{end}", SECRETS[f"{name}_key"]) for name in ("front", "inner"))
    made = Tls(front, inner, b"PKCS12\xff", SECRETS["store"])
    return replace(plain, tls=made)


CONTEXTS = {
    "jupyter": context({"portal": {"origin": "https://ood.example.org"}}),
    "jupyter-own-settings": context(
        {
            "jupyter": {
                "interface": "notebook",
                "workspace": "session",
                "kernel_transport": "tcp",
                "config": "/etc/jupyter/it's ours.py",
                "shell": "/bin/zsh",
                "fast_import": False,
            },
            "portal": {"node_uri": "/pun/node"},
        }
    ),
    "jupyter-environment": in_an_environment(),
    "jupyter-kernels": kernel_contexts.found(context()),
    "jupyter-spark": context(),
    "jupyter-spark-3.5": context(release="3.5.9", vector=False),
    "jupyter-spark-own-settings": context(
        {
            "spark": {
                "conf": {
                    "spark.driver.extraJavaOptions": "-Da=b '-Dc=d e'",
                    "spark.executor.extraJavaOptions": "-verbose:gc",
                    "spark.hadoop.greeting": " \u00fc\nline",
                },
                "sharing": "one",
                "cores_per_application": 2,
                "executor": {"cores": 2, "memory": "2g"},
                "wait_for_workers": "all",
                "warm": "context",
                "event_logs": {"enabled": True, "limit": "100m"},
                "prometheus": True,
            }
        },
        archives=True,
    ),
    "jupyter-spark-three-nodes": on_three_nodes(),
    "jupyter-spark-connect": context({"spark": {"sharing": "connect"}}),
    "jupyter-spark-by-a-wrapper": by_a_wrapper(),
    "jupyter-spark-tls": with_tls(on_three_nodes()),
    **rstudio_contexts.contexts(context({"portal": {"origin": "https://ood.example.org"}}), SCRATCH),
}


@pytest.fixture(autouse=True)
def fixed_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read from the machine is the same everywhere."""
    monkeypatch.setattr(Spark, "launcher_options", OPTIONS)
    monkeypatch.setattr(jupyter, "_login_shell", lambda: "/bin/bash")
    monkeypatch.setattr("sys.executable", "/opt/ood-runtime/bin/python")
    monkeypatch.setattr(launcher_programs, "find", lambda name, *_: f"/opt/slurm/bin/{name}")
    monkeypatch.setattr(rstudio, "_tickets", lambda: "FILE:/tmp/krb5cc_1000")


def plan_of(name: str) -> Plan:
    app = next(app for app in ("jupyter-spark", "jupyter", "rstudio-spark", "rstudio") if name.startswith(app))
    return apps.get(app).plan(CONTEXTS[name])


reviewed = functools.cache(plan_of)  # a password's hash takes its time


@pytest.fixture(params=CONTEXTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def plan(name: str) -> Plan:
    return reviewed(name)


def described(service: Service) -> str:
    lines = [f"[{service.name}]", f"argv = {shlex.join(service.argv)}", f"directory = {service.directory}"]
    lines += [
        f"unset {key}" if value is None else f"{key}={value}" for key, value in sorted(service.environment.items())
    ]
    lines += [f"after = {list(service.after)}", f"ports = {list(service.ports)}", f"ready = {service.ready!r}"]
    lines += [f"alone at {service.alone_at}"] if service.alone_at else []
    lines += [f"ready_seconds = {service.ready_seconds:g}", f"restarts = {service.restarts}"]
    lines += [f"essential = {service.essential}, background = {service.background}"]
    lines += ["remote"] * service.remote
    lines += [f"parting: {number.name} to {name}" for name, number in service.parting.items()]
    return "\n".join(lines) + "\n"


def looked_after(check: Check) -> str:
    return (
        f"[check {check.name}]\nafter = {list(check.after)}\nready = {check.ready!r}\nlog = {check.log}\n"
        f"ready_seconds = {check.ready_seconds:g}, every {check.probe_seconds:g} s, later {check.again_seconds:g} s\n"
    )


def summary(plan: Plan) -> str:
    """The whole plan but the content of its files."""
    parts = [f"{plan.app}: {plan.url}\n", *(f"notice: {notice}\n" for notice in plan.notices), ""]
    parts += [described(service) + "\n" for service in plan.services]
    parts += [looked_after(check) + "\n" for check in plan.checks]
    parts += [f"directory {directory}\n" for directory in plan.directories]
    parts += [f"file {file.name}{' executable' * file.executable}{' secret' * file.secret}\n" for file in plan.files]
    return "".join(parts) + "\nconnection.yml:\n" + connection_text(plan.connection)


def is_text(file: File) -> bool:
    return isinstance(file.content, str) or file.name.endswith((".json", ".sh"))


def content(file: File) -> str:
    return file.content if isinstance(file.content, str) else file.content.decode()


def test_the_plan_is_the_one_that_was_reviewed(name: str, plan: Plan, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}/plan.txt", summary(plan))


# Of programs that hardly depend on the session only what the template fills in.
MOSTLY_FIXED = (
    "jupyter/jupyter_server.py",
    "pyspark_startup.py",
    "pyspark_shared_startup.py",
    "mpi/mpi_kernel.py",
)
# What comes with the package as it is.
STATIC = ("jupyter/kernels/pyspark/", "jupyter/kernels/pyspark-shared/", "jupyter/kernels/python-mpi/")


def filled_in(file: File) -> str:
    template = Path(render.__file__).parent / "scripts" / f"{Path(file.name).name}.j2"
    names = re.findall(r"^([A-Z_]+) = \{\{", template.read_text(), re.MULTILINE)
    assert names
    return "".join(re.findall(rf"^(?:{'|'.join(names)}) = .*\n", content(file), re.MULTILINE))


def test_the_files_are_those_that_were_reviewed(name: str, plan: Plan, golden: Callable[[str, str], None]) -> None:
    for file in plan.files:
        if is_text(file) and not file.name.startswith(STATIC):
            golden(f"{name}/{file.name}.txt", filled_in(file) if file.name in MOSTLY_FIXED else content(file))


def test_a_plan_is_the_same_every_time(name: str, plan: Plan) -> None:
    assert plan_of(name) == plan


def test_nothing_is_golden_that_no_test_writes() -> None:
    expected = Path(__file__).parent / "expected"
    wanted = {f"{name}/plan.txt" for name in CONTEXTS} | {f"environment/{name}" for name in test_environment.SCRIPTS}
    for name in CONTEXTS:
        wanted |= {f"{name}/{file.name}.txt" for file in reviewed(name).files if is_text(file)}
    assert {str(path.relative_to(expected)) for path in expected.rglob("*") if path.is_file()} <= wanted


# --- what every reader makes of it ---


def test_shellcheck_likes_every_shell_script(plan: Plan, tmp_path: Path) -> None:
    shellcheck = need("shellcheck")
    for file in plan.files:
        if shell := shell_of(file):
            path = tmp_path / Path(file.name).name
            path.write_text(content(file))
            done = subprocess.run(
                [shellcheck, "--severity=style", f"--shell={shell}", path], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout


def shell_of(file: File) -> str | None:
    found = re.match(r"#!/bin/(sh|bash)\n", content(file)) if is_text(file) else None
    return found[1] if found else None


def test_every_executable_names_its_interpreter(plan: Plan) -> None:
    for file in plan.files:
        assert file.executable == bool(shell_of(file)), file.name


def test_every_python_file_compiles(plan: Plan) -> None:
    files = [file for file in plan.files if file.name.endswith(".py")]
    assert files or plan.app.startswith("rstudio")
    for file in files:
        compile(content(file), file.name, "exec")


def test_every_json_file_is_one(plan: Plan) -> None:
    for file in plan.files:
        if file.name.endswith(".json"):
            json.loads(content(file))


def test_java_reads_its_arguments_as_they_are_meant(plan: Plan) -> None:
    for file in plan.files:
        if file.name.endswith(".args"):
            words = java_arguments(content(file))
            assert len(words) == len(content(file).splitlines()), "one argument a line"
            if file.name != "spark/remote-worker.args":  # each node's script adds what is the node's
                properties = words[words.index("--properties-file") + 1]
                own = "connect.conf" if file.name == "spark/connect.args" else "spark.conf"
                assert properties == str(SESSION / "ood-runtime/spark" / own)
            classpath = words[words.index("-cp") + 1].split(":")
            assert str(SPARK / "jars") in {str(Path(entry).parent) for entry in classpath}


def test_java_reads_the_properties_as_they_are_meant(name: str, plan: Plan) -> None:
    for file in plan.files:
        if file.name.endswith(".conf") and file.name.startswith("spark/") and file.content:
            entries = java_properties(content(file))
            assert entries["spark.authenticate"] == "true", "what the site says is left out"
            assert entries["spark.authenticate.secret"] == SECRETS["spark"].reveal()
            assert entries["spark.eventLog.enabled"] == "true", "what else the site says is kept"
            for key, value in CONTEXTS[name].settings.spark.conf.items():
                assert value in entries[key]


def test_spark_reads_the_options_of_executors_as_they_are_meant() -> None:
    """Spark's Utils.splitCommandString takes them apart as a shell would."""
    (file,) = [file for file in plan_of("jupyter-spark-own-settings").files if file.name == "spark/spark.conf"]
    words = shlex.split(java_properties(content(file))["spark.executor.extraJavaOptions"])
    assert "-XX:SharedArchiveFile=/site/class data/key/executor.jsa" in words


# --- what is secret ---


def test_secrets_are_only_in_files_that_are_erased(plan: Plan) -> None:
    for value in (*SECRETS.values(), ui_filter.jws_token(SECRETS["spark_ui"])):
        for file in plan.files:
            text = file.content if isinstance(file.content, str) else file.content.decode("latin-1")
            assert file.secret or value.reveal() not in text, file.name
        for service in plan.services:
            assert value.reveal() not in repr(service), service.name
        assert value.reveal() not in repr(plan.connection) + plan.url + repr(plan.notices)


# The first is what the server's script makes the others of.
CONNECT = {"spark/connect-base.conf", "spark/connect.conf", "spark/connect.token"}


def test_what_is_erased_is_what_holds_secrets(plan: Plan) -> None:
    held = {file.name for file in plan.files if file.secret}
    own = {"jupyter/jupyter_config.py", "jupyter/spark_ui.py", "gateway/spark-ui.json", "spark/metrics-token"}
    own |= {KEY, STORE, "spark/master.args"} if STORE in {file.name for file in plan.files} else set()
    assert held <= {*own, "spark/spark.conf", "spark/environment.sh", *CONNECT, *rstudio_contexts.SECRET}
    assert "gPassword" not in "".join(content(file) for file in plan.files if is_text(file)), "only its hash is written"


def test_the_connection_has_what_the_portal_needs(name: str, plan: Plan) -> None:
    own = {"username", "csrf_token"} if name.startswith("rstudio") else {"xsrf", "base_url"}
    keys = {"host", "port", "password", *own} | ({"spark_master", "spark_ui_path"} if "spark" in name else set())
    keys |= {"spark_ui_secret"} if "gateway/spark-ui.json" in {file.name for file in plan.files} else set()
    assert set(plan.connection) == keys | ({"certificate"} if KEY in {file.name for file in plan.files} else set())


# --- the worker's script, run for real ---


def test_the_workers_script_gives_java_its_arguments(tmp_path: Path) -> None:
    (script,) = [file for file in plan_of("jupyter-spark").files if file.name == "spark/worker.sh"]
    java = tmp_path / "it's java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text('#!/bin/sh\nprintf "%s\\n" "$@" "$SPARK_LOCAL_DIRS" "$JAVA_HOME"\n')
    java.chmod(0o755)
    quoted = shlex.quote(str(JAVA / "bin" / "java"))
    gate, arguments = tmp_path / "a gate", tmp_path / "some arguments"
    text = content(script)
    assert quoted in text
    command = ["/bin/sh", "-c", text.replace(quoted, shlex.quote(str(java))), "worker.sh", str(arguments), str(gate)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert gate.is_fifo()
    assert done.stdout.splitlines() == [f"@{arguments}", str(SCRATCH / "spark/local"), str(JAVA)]


@pytest.mark.parametrize(("cpus", "seconds"), [(1, 0.7), (2, 0.7), (3, 0.0)])
def test_on_two_processors_what_takes_longest_goes_first(cpus: int, seconds: float) -> None:
    few = replace(context(), allocation=Allocation("local", "", (Node("node1", cpus, 32 * GIB),), Path("/home/ada")))
    (jupyter,) = [service for service in jupyter_spark.APP.plan(few).services if service.name == "jupyter"]
    assert jupyter.head_start == seconds
