"""Containers: the words before a command that run it in an image of Apptainer or SingularityCE. Values only.

An image brings its own PATH, libraries and variables. What a session's programs need of the node is bound; what they
need to be told has names that both programs carry inside, after the image has set its own.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ood_runtime.service import Service

# Apptainer reads the first and, if that is not set, the second; SingularityCE the second.
PREFIXES = ("APPTAINERENV_", "SINGULARITYENV_")
# With these of a user's own, the session would lose sight of its own processes.
CLEANING = ("APPTAINER_CLEANENV", "SINGULARITY_CLEANENV")
# Inside, Apptainer sets both to the places of what was bound, for a container in that one; SingularityCE sets the
# second to the binds as they were asked for.
BOUND = ("APPTAINER_BIND", "SINGULARITY_BIND")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r'[^,:"\\\r\n]+(:[^,:"\\\r\n]+(:r[ow])?)?')
# SOURCE[:PLACE[:ro]]; a colon or a comma in a path cannot be written that way.
_BIND = re.compile(r"(?P<source>[^:]+)(:(?P<place>[^:]+))?(:(?P<mode>ro|rw))?")


@dataclass(frozen=True)
class Container:
    """An ``image``, the ``program`` that runs things in it with these options, and ``binds`` as people write them."""

    program: Path
    image: Path
    options: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()

    def words(self, paths: Iterable[Path] = (), own_tmp: Path | None = None) -> tuple[str, ...]:
        """What to write before a command; ``paths`` are seen inside as they are here, ``own_tmp`` as /tmp."""
        binds = [word for bind in self.binds for word in written(bind)]
        if own_tmp:
            binds += _mount(str(own_tmp), "/tmp")  # noqa: S108  (which it covers)
        for path in dict.fromkeys(paths):
            binds += _mount(str(path), str(path))
        return (str(self.program), "exec", *self.options, *binds, str(self.image))


def around(environment: Mapping[str, str]) -> Container | None:
    """The container that this program itself runs in, as other nodes enter it, where both have its image."""
    image = environment.get("APPTAINER_CONTAINER") or environment.get("SINGULARITY_CONTAINER")
    program = "apptainer" if "APPTAINER_CONTAINER" in environment else "singularity"
    return Container(Path(program), Path(image)) if image else None


def enter(container: Container, service: Service, paths: Collection[Path]) -> Service:
    """``service`` with its program in the container, where it sees ``paths`` of the node, and its own variables."""
    environment: dict[str, str | None] = {**dict.fromkeys(CLEANING), **service.environment}
    environment |= carried({name: value for name, value in service.environment.items() if value is not None})
    return replace(service, argv=(*container.words(paths, service.own_tmp), *service.argv), environment=environment)


def carried(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables by the names under which they come last inside, after those of the image."""
    return {
        f"{prefix}{name}": value for name, value in variables.items() for prefix in PREFIXES if _NAME.fullmatch(name)
    }


def written(bind: str) -> tuple[str, ...]:
    """The option for a bind as people write it: SOURCE, SOURCE:PLACE or SOURCE:PLACE:ro."""
    match = _BIND.fullmatch(bind)
    if match is None or _PLAIN.fullmatch(bind):
        return ("--bind", bind)
    return _mount(match["source"], match["place"] or match["source"], read_only=match["mode"] == "ro")


def _mount(source: str, place: str, *, read_only: bool = False) -> tuple[str, ...]:
    """The short way, and for odd names the one that can quote: the fields of a line of CSV."""
    if _PLAIN.fullmatch(f"{source}:{place}"):
        return ("--bind", f"{source}:{place}:ro" if read_only else f"{source}:{place}")
    fields = ["type=bind", f"source={source}", f"destination={place}", *(["ro"] if read_only else [])]
    return ("--mount", ",".join('"' + field.replace('"', '""') + '"' for field in fields))
