"""The life of a session, from the first look at the job to the last signal.

The order is the contract. The portal takes connection.yml as the sign that the session can be used: it is
written last, and is the first thing to go.
"""

import os
import shlex
import signal
import socket
from contextlib import ExitStack

from ood_runtime import connection, ports, processes, secret
from ood_runtime.errors import MissingError, OodRuntimeError
from ood_runtime.guard import Announce
from ood_runtime.plan import Grant, Outline, Plan
from ood_runtime.planner import Planner
from ood_runtime.private_files import owned_directory
from ood_runtime.progress import Progress
from ood_runtime.request import Request
from ood_runtime.session import Session
from ood_runtime.session import running as session_runs
from ood_runtime.signals import SIGNALS
from ood_runtime.status import ENDED, READY, STARTING, STOPPING, Status
from ood_runtime.supervisor import EndAskedError, PortLostError, Supervisor

_PORT_DRAWS = 5


def run(planner: Planner, request: Request, announce: Announce, progress: Progress) -> int:
    """Start a session in this allocation, stay until it ends, and give the exit status.

    ``planner`` plans for ``request``; ``announce`` is told which directory is in use. Raises OodRuntimeError when the
    session fails.
    """
    try:
        outline = _outline(planner, request)
    except EndAskedError as asked:
        return asked.exit_status
    # Ports are held as long as the session lives: services that are started again find theirs free.
    with (
        ExitStack() as held,
        Session(outline.session_directory, outline.app, outline.scratch_base, outline.local_bases) as session,
    ):
        announce(session.root, session.id)
        status = _status(session, outline, progress)
        with Supervisor(
            session,
            status,
            request.environment if outline.environment is None else outline.environment,
            outline.stop_seconds,
            spared=planner.pid,
            lives_with=_lives_with(outline),
        ) as supervisor:
            try:
                plan = _start(planner, outline, session, supervisor, held)
                planner.close()
                supervisor.check()
                connection.publish(session.root, plan.connection)
                status.phase(READY, _how_to_connect(plan, session))
                supervisor.watch()
            except EndAskedError as asked:
                connection.withdraw(session.root)
                status.phase(STOPPING, f"ending: {asked.why}")
                supervisor.stop()
                status.phase(ENDED, f"ended: {asked.why}")
                return asked.exit_status
            except Exception as error:
                connection.withdraw(session.root)
                supervisor.stop()
                status.fail(_in_words(error))
                raise
    return 0


def _outline(planner: Planner, request: Request) -> Outline:
    """What must be known first. What is missing, or wrong, is told to who waits for the session, too."""
    planner.ask(request)
    try:
        # The environment may come from a file system that does not answer: whoever waits can still end it.
        while not planner.answers(0.2):
            if SIGNALS.asked:
                processes.end(processes.descendants, seconds=1)
                raise EndAskedError(f"signal {signal.Signals(SIGNALS.asked).name}", 128 + SIGNALS.asked)
        return planner.outline()
    except OodRuntimeError as error:
        directory = request.session_directory
        if directory and owned_directory(directory) and not session_runs(directory):
            Status(directory=directory, id="", app=request.app, host=socket.gethostname()).fail(error)
        raise


def _lives_with(outline: Outline) -> dict[int, str]:
    """The processes whose end is the session's end, and what they are; none outside of a job.

    A job ends with its script, but a scheduler that knows processes by their parents forgets what the script started
    in the background. The script leads the session that we are in (setsid(2)), or under Slurm, whose leader of the
    session is gone by then, the process group. When the program is killed that keeps the script for the scheduler,
    nobody ends what the script has started.
    """
    allocation = outline.allocation
    leaders = (os.getsid(0), os.getpgrp()) if allocation.job_id else ()
    script = next((leader for leader in leaders if processes.started_at(leader)), None)
    keeper = processes.ancestor(allocation.keeper) if allocation.keeper else None
    return {
        **({script: "the job script"} if script else {}),
        **({keeper: f"{allocation.keeper}, which kept the job,"} if keeper else {}),
    }


def _start(planner: Planner, outline: Outline, session: Session, supervisor: Supervisor, held: ExitStack) -> Plan:
    """Draw ports and secrets, write the files, start the services; again while ports are lost to others.

    The ports stay bound until ``held`` is closed.
    """
    for _ in range(_PORT_DRAWS):
        secrets = {name: getattr(secret, kind)() for name, kind in outline.secret_names.items()}
        numbers = held.enter_context(ports.hold(outline.port_names, *outline.port_range))
        plan = planner.plan(session.directories, Grant(numbers, secrets, session.id))
        supervisor.check()
        session.write(plan.files, plan.directories)
        try:
            supervisor.start(plan)
        except PortLostError as lost:
            supervisor.stop()
            held.close()
            supervisor.notice(f"{lost}; drawing other ports")
            continue
        return plan
    raise MissingError(
        f"other programs took the ports that were drawn, {_PORT_DRAWS} times",
        remedy="give this session a range of its own: ports.min and ports.max",
    )


def _status(session: Session, outline: Outline, progress: Progress) -> Status:
    status = Status(
        directory=session.root,
        id=session.id,
        app=outline.app,
        host=outline.place.host,
        ends_at=outline.allocation.ends_at,
        listeners=[progress],
    )
    status.phase(STARTING, f"starting {outline.app} on {outline.place.host}")
    for notice in (*outline.notices, *session.notices):
        status.notice(notice)
    return status


def _in_words(error: Exception) -> OodRuntimeError:
    return error if isinstance(error, OodRuntimeError) else OodRuntimeError(f"a fault of ood-runtime itself: {error!r}")


def _how_to_connect(plan: Plan, session: Session) -> str:
    return f"ready: {plan.url} (the password is in {shlex.quote(str(session.root / 'connection.yml'))})"
