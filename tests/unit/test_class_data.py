"""Looking up archives: which are found, which nobody may trust."""

import os
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ood_runtime import class_data, class_data_training, private_files
from ood_runtime.java import Java
from ood_runtime.spark_home import Spark

JAVA = Java(Path("/usr/lib/jvm/some"), "17.0.15", frozenset({"java.base"}), "a test")


@pytest.fixture
def place() -> Iterator[Path]:
    # pytest's own directories may lie below one that a group can write to.
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        yield Path(path)


@pytest.fixture
def cache(place: Path) -> Path:
    directory = place / "cache"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def spark(tmp_path: Path) -> Spark:
    jars = tuple(tmp_path / "jars" / name for name in ("a.jar", "spark-core_2.13-4.3.0.jar"))
    jars[0].parent.mkdir()
    for jar in jars:
        jar.write_text(jar.name)
    return Spark(tmp_path, "4.3.0", "2.13", jars)


def put_archives(cache: Path, spark: Spark, *, empty: str = "") -> Path:
    home = cache / class_data.key(JAVA, spark)
    home.mkdir(mode=0o755)
    (cache / "conf").mkdir(mode=0o755)
    for name in ("daemon.jsa", "driver.jsa", "executor.jsa"):
        (home / name).write_text("" if name == empty else "classes")
        (home / name).chmod(0o600)
    return home


def test_archives_are_found_in_the_first_directory_that_has_them(cache: Path, spark: Spark) -> None:
    home = put_archives(cache, spark)
    found = class_data.find(JAVA, spark, [cache / "nothing", cache])
    assert found is not None
    assert (found.directory, found.conf_dir) == (home, cache / "conf")
    assert {found.daemon, found.driver, found.executor} == set(home.iterdir())


def test_no_archives(cache: Path, spark: Spark) -> None:
    assert class_data.find(JAVA, spark, []) is None
    assert class_data.find(JAVA, spark, [cache]) is None
    home = put_archives(cache, spark)
    (home / "driver.jsa").unlink()
    assert class_data.find(JAVA, spark, [cache]) is None


@pytest.mark.parametrize("empty", ["daemon.jsa", "driver.jsa", "executor.jsa"])
def test_what_a_java_refuses_is_remembered_and_not_used(cache: Path, spark: Spark, empty: str) -> None:
    put_archives(cache, spark, empty=empty)
    found = class_data.find(JAVA, spark, [cache])
    assert found is not None, "it would be built again by every session"
    options = {
        "daemon.jsa": class_data.daemon_options(JAVA, found),
        "driver.jsa": class_data.driver_options(JAVA, found),
        "executor.jsa": class_data.executor_options(JAVA, found),
    }
    used = {name for name, of in options.items() if any("SharedArchiveFile" in option for option in of)}
    assert used == set(options) - {empty}


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
@pytest.mark.parametrize("where", ["cache", "home", "conf"])
def test_what_others_can_write_to_is_not_trusted(cache: Path, spark: Spark, mode: int, where: str) -> None:
    home = put_archives(cache, spark)
    path = {"cache": cache, "home": home, "conf": cache / "conf"}[where]
    path.chmod(mode)
    # A sticky directory protects what is ours in it; not itself at the end of the way.
    safe = mode == 0o1777 and where != "conf"
    assert (class_data.find(JAVA, spark, [cache]) is not None) == safe


def test_a_file_that_others_can_write_to_is_not_trusted(cache: Path, spark: Spark) -> None:
    home = put_archives(cache, spark)
    (home / "executor.jsa").chmod(0o664)
    assert class_data.find(JAVA, spark, [cache]) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("where", ["cache", "daemon.jsa"])
def test_what_belongs_to_another_user_is_not_trusted(cache: Path, spark: Spark, where: str) -> None:
    home = put_archives(cache, spark)
    os.chown(cache if where == "cache" else home / where, 65534, 65534)
    assert class_data.find(JAVA, spark, [cache]) is None


def test_links_are_followed_with_open_eyes(cache: Path, spark: Spark, place: Path) -> None:
    put_archives(cache, spark)
    (place / "one").symlink_to("two/../two")
    (place / "two").symlink_to(cache)
    (place / "loop").symlink_to("loop")
    assert class_data.find(JAVA, spark, [place / "one"]) is not None
    assert "symbolic links" in (private_files.distrust(place / "loop") or "")

    # A link through a place of others, whatever it leads to in the end.
    open_to_all = place / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (open_to_all / "here").symlink_to(cache)
    (place / "three").symlink_to(open_to_all / "here")
    assert str(open_to_all) in (private_files.distrust(place / "three") or "")


def test_tmp_itself_is_not_trusted() -> None:
    assert "written by others" in (private_files.distrust(Path("/tmp")) or "")
    assert private_files.distrust(Path("/")) is None


def test_the_key_changes_with_everything(spark: Spark) -> None:
    def other(**changes: object) -> Java:
        return Java(**{**JAVA.__dict__, **changes})

    key = class_data.key(JAVA, spark)
    assert key == class_data.key(JAVA, spark)
    assert key.startswith("4.3.0-java17-")
    different = {key, class_data.key(other(version="17.0.16"), spark), class_data.key(other(home=Path("/x")), spark)}
    os.utime(spark.jars[0], (1, 1))
    different.add(class_data.key(JAVA, spark))
    spark.jars[0].write_text("longer than before")
    os.utime(spark.jars[0], (1, 1))
    different.add(class_data.key(JAVA, spark))
    (spark.home / "jars" / "site.jar").touch()
    different.add(class_data.key(JAVA, spark))
    assert len(different) == 6


def test_options(cache: Path, spark: Spark) -> None:
    put_archives(cache, spark)
    found = class_data.find(JAVA, spark, [cache])
    assert found is not None
    daemon = class_data.daemon_options(JAVA, found)
    assert "-XX:TieredStopAtLevel=1" in daemon
    assert f"-XX:SharedArchiveFile={found.daemon}" in daemon
    assert "-XX:TieredStopAtLevel=1" in class_data.daemon_options(JAVA, None)
    for options in (class_data.driver_options(JAVA, found), class_data.executor_options(JAVA, found)):
        assert not any("TieredStop" in option or "Serial" in option for option in options)
        assert "-Xshare:auto" in options
    assert class_data.driver_options(JAVA, None) == ()


def test_a_collector_that_corrupts_data_is_never_left_to_chance() -> None:
    bad = Java(Path("/j"), "25.0.2", frozenset(), "a test")
    assert class_data.driver_options(bad, None) == ("-XX:+UseParallelGC",)
    assert class_data.executor_options(bad, None) == ("-XX:+UseParallelGC",)


def test_the_class_path_is_every_jar(spark: Spark) -> None:
    assert class_data.classpath(spark).split(":") == [str(jar) for jar in spark.jars]


def test_daemons_do_without_what_only_drivers_use(spark: Spark) -> None:
    names = ["avro-1.12.jar", "hive-exec-2.3.10-core.jar", "scala-library-2.13.18.jar", "spark-core_2.13-4.3.0.jar"]
    names += ("spark-sql_2.13-4.3.0.jar", "spark-tags_2.13-4.3.0.jar", "zookeeper-3.9.5.jar")
    everything = replace(spark, jars=tuple(map(Path, names)))
    assert class_data.daemon_classpath(everything).split(":") == [
        "scala-library-2.13.18.jar",
        "spark-core_2.13-4.3.0.jar",
        "avro-1.12.jar",
        "spark-tags_2.13-4.3.0.jar",
        "zookeeper-3.9.5.jar",
    ]


def test_options_in_a_property_survive_a_split() -> None:
    # Spark's Utils.splitCommandString has the rules of a shell, for these characters.
    options = ["-Da=b", "-XX:F=/with space/x", 'say "hi"', "it's", "back\\slash"]
    assert shlex.split(class_data.as_property(options)) == options


def test_lists_of_classes_are_merged(tmp_path: Path) -> None:
    (tmp_path / "a.classes").write_text("# comment\njava/lang/Object id: 0\na/B id: 1\n@lambda-proxy a/B run\n")
    (tmp_path / "b.classes").write_text("java/lang/Object id: 0\nc/D id: 1\nx/Y id: 9 super: 1 source: /z.jar\n")
    merged = class_data_training._classes(tmp_path, "a", "b")
    assert merged == ("java/lang/Object", "a/B", "@lambda-proxy a/B run", "c/D")
