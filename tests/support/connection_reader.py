"""Reads a connection file as fast as it can, until its own standard input ends.

Run with the path and the keys that must be there. Prints how often it read, how often the file was there, how often
it appeared, and then every content that was not whole, or that nobody answered for.
"""

import select
import socket
import sys

import yaml

path, *keys = sys.argv[1:]
reads = complete = appeared = 0
last = ""
wrong: set[str] = set()


def judge(text: str) -> str:
    """What is wrong with a content that is seen for the first time; "" for nothing."""
    try:
        values = yaml.safe_load(text)
        missing = set(keys) - set(values)
        socket.create_connection((values["host"], values["port"]), timeout=5).close()
    except (yaml.YAMLError, TypeError, KeyError, OSError) as error:
        return f"{error!r} for {text!r}"
    return f"without {missing}: {text!r}" if missing else ""


while True:
    reads += 1
    if reads % 1000 == 0 and select.select([sys.stdin], [], [], 0)[0]:
        break
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  (as fast as can be)
            text = file.read()
    except FileNotFoundError:
        last = ""
        continue
    complete += 1
    if text != last:
        appeared += 1
        last = text
        if problem := judge(text):
            wrong.add(problem)
print(reads, complete, appeared, *wrong, "", sep="\n", end="")
