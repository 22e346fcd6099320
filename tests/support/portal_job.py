"""A stand-in for the job script that an Open OnDemand portal makes of an app (template "basic").

As in the real one: the order of the parts, each of which an app's submit.yml may replace; before.sh and after.sh are
sourced, script.sh is a child; create_yml writes the file piece by piece and unquoted, with the app's conn_params;
clean_up ends children only; nothing catches a signal; host and port are exported, password is not.

What it lacks: the helper functions other than find_port, port_used and create_passwd, of which find_port only tries
what bash can; the template vnc.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

# $$ is a dollar for the shell.
_BODY = Template(r"""
cd $work_dir
export host
export port

create_yml () {
  echo "Generating connection YAML file..."
  (
    umask 077
    echo -e "$connection" > "$work_dir/connection.yml"
  )
}

clean_up () {
  echo "Cleaning up..."
  $clean_script
  [[ $${SCRIPT_PID} ]] && pkill -P $${SCRIPT_PID} || :
  pkill -P $$$$
  exit $${1:-0}
}

source_helpers () {
  port_used () {
    (: < "/dev/tcp/$${1%:*}/$${1##*:}") >/dev/null 2>&1
  }
  export -f port_used
  find_port () {
    local host=$${1:-localhost} port
    for port in $$(shuf -i "$${2:-2000}-$${3:-65535}"); do
      port_used "$$host:$$port" || { echo "$$port"; return 0; }
    done
    return 1
  }
  export -f find_port
  create_passwd () (
    tr -cd 'a-zA-Z0-9' < /dev/urandom 2> /dev/null | head -c$${1:-8}
  )
  export -f create_passwd
}
export -f source_helpers
source_helpers

host=$$(hostname)

$before_script

echo "Script starting..."
$run_script &
SCRIPT_PID=$$!

$after_script

create_yml

wait $${SCRIPT_PID} || clean_up 1

clean_up
""")


def _source(directory: Path, name: str) -> str:
    return f'[[ -e "{directory / name}" ]] && source "{directory / name}"'


@dataclass(frozen=True)
class PortalJob:
    """What an app's submit.yml says under ``batch_connect``; None is what the portal does by itself."""

    conn_params: Sequence[str] = ()
    before_script: str | None = None
    run_script: str | None = None
    after_script: str | None = None
    script_wrapper: str = "%s"

    def text(self, staged: Path) -> str:
        """The job script for an app that is staged in ``staged``."""
        names = list(dict.fromkeys([*self.conn_params, "host", "port", "password"]))
        body = _BODY.substitute(
            work_dir=shlex.quote(str(staged)),
            connection="\\n".join(f"{name}: ${name}" for name in names),
            before_script=self.before_script or _source(staged, "before.sh"),
            run_script=self.run_script or f'"{staged / "script.sh"}"',
            after_script=self.after_script or _source(staged, "after.sh"),
            clean_script=_source(staged, "clean.sh"),
        )
        return "#!/bin/bash\n" + self.script_wrapper % body
