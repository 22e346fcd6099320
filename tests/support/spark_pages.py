"""The web interfaces of Spark as a person goes through them, from link to link."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import requests

WITHIN = 60.0  # seconds, for an application on a busy machine
_APPLICATION = r"app-\d{14}-\d+"


@dataclass
class Pages:
    """Everything that is below ``url``, which ends with a slash, for a browser that is logged in.

    ``answers`` has the status of each, ``texts`` what those with links say; ``outside`` has the page and the link where
    one leads elsewhere.
    """

    url: str
    http: requests.Session = field(default_factory=requests.Session)
    answers: dict[str, int] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    outside: set[tuple[str, str]] = field(default_factory=set)

    def visit(self, *more: str) -> None:
        """Visit all pages, and ``more``; of those that are the same list in another order only one."""
        waiting, known = [self.url, *more], set()
        while waiting:
            url = waiting.pop()
            if (kind := re.sub(r"[?&][^=&]*(?:sort|desc|pageSize)=[^&]*", "", url)) in known:
                continue
            known.add(kind)
            answer = self.http.get(url, timeout=WITHIN)
            self.answers[url] = answer.status_code
            assert answer.url.startswith(self.url), (url, answer.url)
            if "html" in answer.headers.get("Content-Type", ""):
                self.texts[url] = answer.text
                waiting += self._links(answer)

    def wrong(self) -> dict[str, int]:
        """What did not answer well."""
        return {url: status for url, status in self.answers.items() if status != requests.codes.ok}

    def kinds(self) -> set[str]:
        """What was visited, without numbers: "", worker, jobs/, stages/stage/ and the like."""
        paths = (urlsplit(url).path.removeprefix(urlsplit(self.url).path) for url in self.answers)
        return {re.sub(rf"^proxy/(?:{_APPLICATION}/|(worker)-[^/]*)", r"\1", path) for path in paths}

    def application(self) -> str:
        """The address of an application's pages, as soon as it has a job and a query."""
        deadline = time.monotonic() + WITHIN
        while True:
            page = self.http.get(self.url, timeout=WITHIN).text
            if found := re.search(rf"proxy/({_APPLICATION})", page):
                told = f"{self.url}{found[0]}/api/v1/applications/{found[1]}"
                answers = [self.http.get(f"{told}/{what}", timeout=WITHIN) for what in ("jobs", "sql")]
                if all(answer.ok and answer.json() for answer in answers):
                    return f"{self.url}{found[0]}/"
            assert time.monotonic() < deadline, page
            time.sleep(0.1)

    def _links(self, page: requests.Response) -> Iterator[str]:
        for link in _Links(page.text).found:
            url = urljoin(page.url, link).partition("#")[0]
            if url.startswith(self.url):
                yield url
            elif urlsplit(url).scheme in ("http", "https") and url != page.url.partition("#")[0]:
                self.outside.add((page.url, link))


class _Links(HTMLParser):
    """What a page refers to: other pages, styles, programs, pictures, forms."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note them."""
        self.found += [value for name, value in attrs if name in ("href", "src", "action") and value]
