"""The settings of what can be seen of Spark applications: afterwards in event logs, and meanwhile in metrics."""

from pydantic import Field

from ood_runtime.settings.section import Section
from ood_runtime.settings.sizes import MIB, Memory


class EventLogs(Section):
    """What each Spark application writes down, for `ood-runtime history`."""

    enabled: bool = False
    """Let drivers write event logs into spark-events in the session's directory. They outlive the session."""
    limit: Memory = Field(512 * MIB, ge=64 * MIB)
    """Room for the event logs of one session's directory. Beyond it applications that are over are removed, the oldest
    first; of one that still runs the middle is emptied."""
