"""Real Open MPI from a notebook, over the nodes of its job, as docs/mpi.md says, while workers hold them."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.conftest import assert_nothing_left
from tests.slurm.mpi import (
    HELLOS,
    MPIEXEC,
    PYTHON,
    SPAWNS,
    SRUN,
    SRUN_BY_VARIABLES,
    TASKS,
    hosts_of,
    need_mpi,
    need_rmpi,
)
from tests.slurm.sessions import REPOSITORY, start
from tests.support.jupyter import JupyterClient, log_in

pytestmark = [pytest.mark.root, pytest.mark.integration]

POOL = """import socket
from mpi4py.futures import MPIPoolExecutor
def where(_):
    return socket.gethostname()
if __name__ == "__main__":
    with MPIPoolExecutor() as pool:
        print(sorted(set(pool.map(where, range(30)))), flush=True)
"""
WAIT = """import time
from pathlib import Path
from mpi4py import MPI
while not Path("go").exists():
    time.sleep(0.1)
"""
NEVER = WAIT.replace("go", "never")
SLAVES = """library(Rmpi)
mpi.spawn.Rslaves(nslaves = 3, quiet = TRUE)
cat(sort(unique(unlist(mpi.remote.exec(Sys.info()[["nodename"]])))), "\\n")
invisible(mpi.close.Rslaves())
invisible(mpi.quit())
"""
SPAWN = """import sys
from mpi4py import MPI
child = "from mpi4py import MPI; import socket; MPI.Comm.Get_parent().gather(socket.gethostname(), root=0)"
workers = MPI.COMM_SELF.Spawn(sys.executable, ["-c", child], maxprocs=3)
print(sorted(set(workers.gather(None, root=MPI.ROOT))), flush=True)
"""
PROGRAMS = {
    **HELLOS,
    "wait.py": WAIT,
    "never.py": NEVER,
    "pool.py": POOL,
    "slaves.R": SLAVES,
    "spawn.py": SPAWN,
}
# The same workers as a Spark cluster's: one long step on all nodes, which shares them with others.
HELD = "srun --overlap --export=ALL sh -c 'echo held; exec sleep 1000' &\nexec {start}"
VARIABLES = ("SLURM_OVERLAP=1", "SLURM_EXPORT_ENV=ALL")  # which a session sets
FROM_HERE = f"env {SPAWNS}"
LAUNCHES = pytest.mark.parametrize(
    "launch", [SRUN, SRUN_BY_VARIABLES, MPIEXEC], ids=["options", "variables", "mpiexec"]
)


@dataclass(frozen=True)
class Notebook:
    """A kernel on the first of two nodes with two tasks each."""

    cluster: Cluster
    client: JupyterClient
    kernel: str
    directory: Path

    def run(self, command: str) -> str:
        """What a command prints that a cell runs; it must succeed."""
        code = (
            f"import subprocess; done = subprocess.run({command!r}, shell=True, cwd={str(self.directory)!r}, "
            "capture_output=True, text=True, timeout=50); print(done.stdout if done.returncode == 0 else done)"
        )
        with self.cluster.network():
            return self.client.run(self.kernel, code).strip()


@pytest.fixture(scope="module")
def notebook(cluster_of_module: Cluster) -> Iterator[Notebook]:
    cluster = cluster_of_module
    need_mpi(cluster)
    session = start(cluster, "jupyter", options=TASKS, script=HELD)
    connection = session.connection()
    session.job.wait_for(lambda: session.job.output().count("held") == 4 or None, "step on all nodes")
    for name, text in PROGRAMS.items():
        (session.job.directory / name).write_text(text)
    with cluster.network():
        client = log_in(connection)
        kernel = client.start_kernel("python3")
    yield Notebook(cluster, client, kernel, session.job.directory)
    client.close()
    session.job.cancel()
    session.job.wait()
    session.assert_gone()
    assert_nothing_left(cluster)


@pytest.fixture
def r() -> str:
    """The R of this machine, with Rmpi."""
    return need_rmpi()


def test_the_page_says_how() -> None:
    page = (REPOSITORY / "docs" / "mpi.md").read_text()
    for words in (SRUN, "srun --mpi=pmix -n", "mpiexec -n", *VARIABLES, f"%env {SPAWNS}"):
        assert words in page
    lines = {line.strip() for line in page.splitlines()}
    for program in HELLOS.values():
        assert set(program.splitlines()) <= lines


@LAUNCHES
def test_a_program_on_all_nodes(notebook: Notebook, launch: str) -> None:
    output = notebook.run(f"{launch} -n 4 {PYTHON} hello.py")
    assert hosts_of(output, 4) == ["node01", "node01", "node02", "node02"]


@pytest.mark.parametrize("launch", [f"{SRUN} -N 2", f"{MPIEXEC} --map-by node"], ids=["srun", "mpiexec"])
def test_one_rank_on_each_node(notebook: Notebook, launch: str) -> None:
    assert hosts_of(notebook.run(f"{launch} -n 2 {PYTHON} hello.py"), 2) == ["node01", "node02"]


@LAUNCHES
def test_r_on_all_nodes(notebook: Notebook, r: str, launch: str) -> None:
    assert hosts_of(notebook.run(f"{launch} -n 4 {r} hello.R"), 4) == ["node01", "node01", "node02", "node02"]


def test_two_programs_at_the_same_time(notebook: Notebook) -> None:
    """The second does not wait for the first, which does not end before."""
    others = f"{SRUN} -n 4 {PYTHON} hello.py; {MPIEXEC} -n 4 {PYTHON} hello.py; touch go; wait"
    assert len(notebook.run(f"{MPIEXEC} -n 4 {PYTHON} wait.py & {others}").splitlines()) == 8


def test_memory_is_shared(notebook: Notebook) -> None:
    """A step with --overlap is refused beside one without, unless it asks for no memory of its own."""
    greedy = (
        "env -u SLURM_OVERLAP srun --export=ALL -N 2 -n 4 sh -c 'touch taken; until [ -e enough ]; do sleep 0.1; done'"
    )
    wait = "until [ -e taken ]; do sleep 0.1; done"
    others = f"{SRUN} -N 1 -n 1 true 2>&1; {SRUN} --mem=0 -N 1 -n 1 echo shared; touch enough; wait"
    refusal, shared = notebook.run(f"{greedy} & {wait}; {others}").splitlines()
    assert "Memory required by task is not available" in refusal
    assert shared == "shared"


@pytest.mark.parametrize("launch", [SRUN, MPIEXEC], ids=["srun", "mpiexec"])
def test_interrupting_the_cell_ends_the_ranks(notebook: Notebook, launch: str) -> None:
    def ranks() -> int:
        return sum(line.endswith("never.py") for line in notebook.cluster.left().get("node02", {}).values())

    def interrupt() -> None:
        notebook.cluster.machines.until(lambda: ranks() >= 2, "ranks", 30)
        notebook.client.request("POST", f"api/kernels/{notebook.kernel}/interrupt")

    with notebook.cluster.network():
        thread = threading.Thread(target=interrupt)  # on the network of who starts it
        thread.start()
        with suppress(AssertionError):  # KeyboardInterrupt
            code = f"%cd -q {notebook.directory}\n!{launch} -n 4 {PYTHON} never.py"
            notebook.client.run(notebook.kernel, code, within=60)
        thread.join()
    notebook.cluster.machines.until(lambda: not ranks(), "end of the ranks", 20)


def test_without_the_variables(notebook: Notebook) -> None:
    """What people see in a job that was submitted with --export=NONE, outside of a session."""
    job = "env SLURM_EXPORT_ENV=NONE"
    assert "execve(): sh: No such file or directory" in notebook.run(f"{job} srun -N 2 -n 2 sh -c true 2>&1 || :")
    failed = notebook.run(f"{job} mpiexec --map-by node -n 2 {PYTHON} hello.py 2>&1 || :")
    assert "ORTE daemon has unexpectedly failed" in failed
    alone = notebook.run(f"srun --overlap --export=ALL -n 4 {PYTHON} hello.py 2>&1 || :")
    assert alone.count("of 1") == 4 or "PMI support" in alone


def test_a_pool_of_mpi4py(notebook: Notebook) -> None:
    assert notebook.run(f"{MPIEXEC} -n 4 {PYTHON} -m mpi4py.futures pool.py") == "['node01', 'node02']"


def test_slaves_of_rmpi(notebook: Notebook, r: str) -> None:
    assert notebook.run(f"{MPIEXEC} -n 1 {r} slaves.R").split()[:2] == ["node01", "node02"]


def test_workers_spawned_without_a_launcher(notebook: Notebook) -> None:
    """By a process that nobody started with srun or mpiexec, as the kernel itself is one."""
    assert notebook.run(f"{FROM_HERE} {PYTHON} spawn.py") == "['node01', 'node02']"


def test_r_slaves_spawned_without_a_launcher(notebook: Notebook, r: str) -> None:
    assert notebook.run(f"{FROM_HERE} {r} slaves.R").split()[:2] == ["node01", "node02"]
