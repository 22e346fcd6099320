"""Finding Spark: made-up directories, and the pyspark package when it is installed."""

import importlib.util
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ood_runtime import spark_home
from ood_runtime.errors import MissingError


def make_spark(home: Path, version: str = "4.3.0", scala: str = "2.13") -> Path:
    (home / "jars").mkdir(parents=True)
    for name in ("spark-core", "spark-sql", "a-library"):
        (home / "jars" / f"{name}_{scala}-{version}.jar").touch()
    return home


def class_file(*strings: str) -> bytes:
    """A class file that holds nothing but constants: a long, which counts twice, and strings."""
    constants = b"\x05" + bytes(8)
    constants += b"".join(b"\x01" + struct.pack(">H", len(text)) + text.encode() for text in strings)
    return b"\xca\xfe\xba\xbe" + bytes(4) + struct.pack(">H", len(strings) + 3) + constants


def test_the_setting_wins_and_never_falls_through(tmp_path: Path) -> None:
    good, other = make_spark(tmp_path / "good"), make_spark(tmp_path / "other", "3.5.9", "2.12")
    env = {"SPARK_HOME": str(other)}

    assert spark_home.find(good, env).version == "4.3.0"
    with pytest.raises(MissingError, match=r"spark\.home is .*nothing"):
        spark_home.find(tmp_path / "nothing", env)


def test_the_environment_comes_next(tmp_path: Path) -> None:
    home = make_spark(tmp_path / "with space", "3.5.9", "2.12")
    spark = spark_home.find(None, {"SPARK_HOME": str(home)})

    assert (spark.home, spark.version, spark.scala, spark.release) == (home, "3.5.9", "2.12", (3, 5))
    assert [jar.name for jar in spark.jars] == sorted(jar.name for jar in spark.jars)
    assert len(spark.jars) == 3


def test_versions_of_vendors(tmp_path: Path) -> None:
    spark = spark_home.find(make_spark(tmp_path / "v", "3.5.1-amzn-0"), {})
    assert spark.version == "3.5.1-amzn-0"
    assert spark.release == (3, 5)
    assert spark_home.find(make_spark(tmp_path / "s", "5.0-SNAPSHOT"), {}).release == (5, 0)


def test_an_old_spark_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"Spark 3\.4\.2: Spark 3\.5 or newer"):
        spark_home.find(None, {"SPARK_HOME": str(make_spark(tmp_path / "old", "3.4.2"))})


def test_two_releases_in_one_directory(tmp_path: Path) -> None:
    home = make_spark(tmp_path / "mixed")
    (home / "jars" / "spark-core_2.13-4.1.0.jar").touch()
    with pytest.raises(MissingError, match="mixes"):
        spark_home.find(home, {})


def test_nothing_at_all_names_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_home, "package_home", lambda name: None)
    with pytest.raises(MissingError) as caught:
        spark_home.find(None, {"SPARK_HOME": ""})
    assert all(word in caught.value.what for word in ("spark.home", "SPARK_HOME", "pyspark"))
    assert "pip install" in caught.value.remedy


def test_the_python_of_a_distribution(tmp_path: Path) -> None:
    home = make_spark(tmp_path / "dist")
    package, py4j = home / "python" / "pyspark", home / "python" / "lib" / "py4j-0.10.9.9-src.zip"
    package.mkdir(parents=True)
    py4j.parent.mkdir()
    (package / "__init__.py").touch()
    py4j.touch()
    spark = spark_home.find(home, {})

    assert spark.python_path == (home / "python", py4j)


def test_the_python_of_the_pip_layout(tmp_path: Path) -> None:
    home = make_spark(tmp_path / "site-packages" / "pyspark")
    (home / "python" / "pyspark").mkdir(parents=True)
    (home / "python" / "pyspark" / "shell.py").touch()
    (home.parent / "py4j").mkdir()
    spark = spark_home.find(home, {})

    assert spark.python_path == (home.parent,)


def test_launcher_options_are_read_from_the_class_file(tmp_path: Path) -> None:
    home = make_spark(tmp_path / "s")
    with zipfile.ZipFile(home / "jars" / "spark-launcher_2.13-4.3.0.jar", "w") as jar:
        name = "org/apache/spark/launcher/JavaModuleOptions.class"
        jar.writestr(name, class_file("Code", "-XX:+Some", "--add-opens=a/b=ALL-UNNAMED", "-", "()V", "-Dx.y=z"))
    spark = spark_home.find(home, {})

    assert spark.launcher_options == ("-XX:+Some", "--add-opens=a/b=ALL-UNNAMED", "-Dx.y=z")
    assert spark.has_class("spark-launcher_", name)
    assert not spark.has_class("spark-launcher_", "no/such.class")


def test_without_a_readable_launcher_there_are_no_options(tmp_path: Path) -> None:
    home = make_spark(tmp_path / "s")
    (home / "jars" / "spark-launcher_2.13-4.3.0.jar").write_bytes(b"no zip")
    assert spark_home.find(home, {}).launcher_options == ()


@pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="pyspark is not installed")
def test_the_installed_package() -> None:
    spark = spark_home.find(None, {})
    env = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(map(str, spark.python_path))}
    code = "import pyspark, py4j; print(pyspark.__version__)"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == spark.version
    assert "-XX:+IgnoreUnrecognizedVMOptions" in spark.launcher_options
    assert any("sun.nio.ch" in option for option in spark.launcher_options)


def test_looking_does_not_import_pyspark() -> None:
    code = (
        "import sys; from ood_runtime import spark_home\n"
        "spark_home.package_home('pyspark'); print('pyspark' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
