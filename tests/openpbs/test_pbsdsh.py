"""What the launcher for PBS and its stand-in take for granted, asked of the stand-in and of a real OpenPBS alike."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.openpbs.cluster import openpbs, submit
from tests.slurm.machines import machines
from tests.standins.batch import batch_job

pytestmark = [pytest.mark.root, pytest.mark.integration]

Run = Callable[[str], list[str]]
MIB = 1 << 20
# Two lines of the node file for the first host, one for the second.
CHUNKS = {"node01": (2, 300 * MIB), "node02": (1, 200 * MIB)}
SELECT = ("-l", "select=1:ncpus=2:mpiprocs=2:mem=300mb+1:ncpus=1:mem=200mb")
# Files, because what tasks print comes some time later.
TASK = """
exec >"$1/task" 2>&1
echo "host $PBS_NODENUM has $NCPUS and $(ulimit -H -m) KiB, for task $PBS_TASKNUM"
[ "$PWD" = "$HOME" ] && echo "at home, umask $(umask), PATH $PATH, stdin $(readlink /proc/self/fd/0)"
echo "${OF_THE_SCRIPT-nothing of the script}, ${USER-no user}, ${PBS_VNODENUM-no vnode}, ${PBS_NODEFILE+node file}"
[ "$TMPDIR" = "$2" ] && [ -O "$TMPDIR" ] && echo "a temporary directory of the same name"
trap 'echo hears hangup' HUP
kill -HUP $$
"""
STAYS = """
trap 'touch "$1.heard"; exit' TERM
while :; do touch "$1"; sleep 0.05; done
"""


@pytest.fixture(scope="module", params=["stand-in", "openpbs"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a script in a job on two hosts, with its directory in $PLACE; the lines that it wrote to descriptor 3."""
    if request.param == "openpbs":
        with openpbs() as cluster:

            def really(script: str) -> list[str]:
                place = _place(cluster.machines.directory)
                job = submit(cluster, _begin(place, f"{cluster.programs}:") + script, *SELECT)
                assert job.wait() == 0, job.output()
                return (place / "told").read_text().splitlines()

            yield really
        return
    with machines(tuple(CHUNKS), Path("/dev/null"), etc=lambda _: {}) as network:

        def by_stand_in(script: str) -> list[str]:
            place = _place(network.directory)
            path = place / "script"
            path.write_text(_begin(place) + script)
            path.chmod(0o755)
            with batch_job(network, "openpbs", path, {}, slots=1, chunks=CHUNKS) as job:
                nodes = job.place / "nodes"
                nodes.write_text("node01\nnode01\nnode02\n")
                assert job.wait() == 0, job.output()
            return (place / "told").read_text().splitlines()

        yield by_stand_in


def _place(directory: Path) -> Path:
    place = directory / f"facts-{time.monotonic_ns()}"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    (place / "task.sh").write_text(TASK)
    (place / "stays.sh").write_text(STAYS)
    return place


def _begin(place: Path, programs: str = "") -> str:
    begin = f"#!/bin/bash\nPLACE={place}\nPATH={programs}$PATH\nexport OF_THE_SCRIPT=exported\ncd /\n"
    return f'{begin}until [ "$(wc -l <"$PBS_NODEFILE")" = 3 ]; do sleep 0.05; done\nexec 3>"$PLACE/told"\n'


def test_what_a_script_and_its_tasks_find(run: Run) -> None:
    told = run("""
        lines=$(uniq -c "$PBS_NODEFILE" | xargs)
        echo "host $PBS_NODENUM has $NCPUS and $(ulimit -H -m) KiB, umask $(umask), $lines" >&3
        for line in 0 2; do
            pbsdsh -n $line -- /bin/sh "$PLACE/task.sh" "$PLACE" "$TMPDIR"
            cat "$PLACE/task" >&3
        done
    """)
    at_home = "at home, umask 0077, PATH /bin:/usr/bin, stdin /dev/null"
    assert told == [
        "host 0 has 2 and 307200 KiB, umask 0077, 2 node01 1 node02",
        "host 0 has 2 and 307200 KiB, for task 00000002",
        at_home,
        "nothing of the script, no user, no vnode, ",
        "a temporary directory of the same name",
        "host 1 has 1 and 204800 KiB, for task 40000001",
        at_home,
        "nothing of the script, no user, no vnode, node file",
        "a temporary directory of the same name",
    ]


def test_what_pbsdsh_tells_and_refuses(run: Run) -> None:
    told = run("""
        try() {
            "$@" >"$PLACE/out" 2>&1
            echo "$? $(head -n 1 "$PLACE/out" | sed 's!.*pbsdsh[: ]*!!')" >&3
        }
        try pbsdsh -n 2 -- sh -c 'exit 3'
        try pbsdsh -n 2 -- sh -c 'kill -9 $$'
        try pbsdsh -n 0 -- no-such-program
        try pbsdsh -n 5 -- sh -c 'exit $PBS_NODENUM'
        try pbsdsh -n 1 sh -c true
        try pbsdsh -n 1 -c 1 -- true
        for name in PBS_JOBCOOKIE PBS_NODENUM PBS_TASKNUM PBS_MOMPORT PBS_ENVIRONMENT; do
            try env -u $name pbsdsh -- true
        done
    """)
    assert told == [
        "0 task 0x00000000 exit status 3",
        "0 task 0x00000000 exit status 265",
        "0 task 0x00000000 exit status 254",
        "0 task 0x00000000 exit status 1",
        *["1 [-c copies][-s][-v][-o] -- program [args...]"] * 2,
        *["1 tm_init failed, rc = bad environment (17005) (17005)"] * 4,
        "1 not executing under PBS",
    ]


def test_signals_to_pbsdsh_with_one_task(run: Run) -> None:
    told = run("""
        soon() { for _ in $(seq 100); do "$@" && return; sleep 0.1; done; echo "never: $*" >&3; }
        for name in TERM HUP KILL; do
            pbsdsh -n 2 -- /bin/sh "$PLACE/stays.sh" "$PLACE/$name" &
            soon [ -e "$PLACE/$name" ]
            kill -$name $!
            wait $! 2>/dev/null
            echo "$name: $?" >&3
        done
        soon [ -e "$PLACE/TERM.heard" ]
        rm "$PLACE/HUP" "$PLACE/KILL"
        soon [ -e "$PLACE/HUP" ] # those two go on
        soon [ -e "$PLACE/KILL" ]
    """)
    assert told == ["TERM: 1", "HUP: 1", "KILL: 137"]
