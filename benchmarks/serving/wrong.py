"""Requests with mistakes, made from correct ones by seeded random changes."""

import json
import random
from collections.abc import Callable
from typing import Any

CHAT = {
    "model": "tiny",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi!"}],
    "stream": False,
    "stream_options": {"include_usage": True},
    "max_tokens": 9,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 5,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "seed": 3,
    "n": 1,
    "stop": ["x"],
    "logit_bias": {"5": 1.0},
    "team": "peers",
    "workers": 2,
    "layout": "combined",
    "budgets": {"worker_tokens": 5, "answer_tokens": 3},
    "answer": "text",
}
SESSION = {
    "problem": "Count to three!",
    "team": "peers",
    "workers": 2,
    "layout": "combined",
    "max_tokens": 5,
    "answer_tokens": 3,
    "answer": "boxed",
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 5,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "seed": 3,
    "trace": True,
}
WORDS = {"text": "Hurry!", "speaker": "Eve"}
NEWCOMER = {"name": "Carol", "role": "checks", "brief": "Be short."}

NEEDED = ("model", "messages", "problem", "text", "name")
TEXT_FIELDS = ("content", "problem", "text", "speaker", "name", "role", "brief")

ROUTES: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("POST", "/v1/chat/completions", CHAT),
    ("POST", "/v1/chat/completions", CHAT),
    ("POST", "/v1/sessions", SESSION),
    ("POST", "/v1/sessions", SESSION),
    ("POST", "/v1/sessions/{session}/messages", WORDS),
    ("POST", "/v1/sessions/{session}/workers", NEWCOMER),
    ("POST", "/v1/sessions/{session}/cancel", None),
    ("DELETE", "/v1/sessions/{session}/workers/Bob", None),
    ("GET", "/v1/sessions/{session}", None),
    ("GET", "/v1/sessions/{session}/events?after=3", None),
    ("GET", "/v1/sessions/{session}/trace", None),
    ("GET", "/v1/sessions", None),
    ("GET", "/v1/models", None),
    ("GET", "/v1/info", None),
    ("GET", "/healthz", None),
    ("GET", "/readyz", None),
    ("GET", "/openapi.json", None),
    ("GET", "/", None),
    ("GET", "/page/main.js", None),
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW", "get")
HUGE = 10**400
TEXTS = ("", " ", "\n", "\x00", "\ud800", "a\udfffb", "\u202e", "é" * 50, "x" * 3_000,
         "{{ 7 * 7 }}", "{worker}", "</think>", "<eos>", "../../etc/passwd", "%s%n", "null",
         "\U0001f600")  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, HUGE, 0.5, -0.0, 1e308, 5e-324,
    float("nan"), float("inf"), float("-inf"), [], {}, [[]], [None], {"": None}, {"a": {"b": []}},
    *TEXTS,
)  # fmt: skip
AFTERS = ("-1", "x", "", "9" * 20, "9" * 5_000, "1e3", "0x10", "3.0", "%00", "NaN", "\xb2", "1_0")
IDS = ("x", "g0-1-" + "a" * 22, "g0-99999-" + "a" * 22, "g9999-1-" + "a" * 22, "g0-1-", "%00",
       "%ff%fe", "..", "%2e%2e", "%2f", "g0-1-" + "%ED%A0%80" * 8, "a" * 5_000, "%", "%zz", "\xe9",
       "g%D9%A0-1-" + "a" * 22, "'", "g0-" + "9" * 12 + "-" + "a" * 22)  # fmt: skip
HEADERS = (
    "Authorization: Bearer x", "Authorization: \xff\xfe", "Authorization:", "X-Request-Id: \xff",
    "X-Request-Id: " + "a" * 65, "Cookie: a=b; c", "Expect: 100-continue", "Range: bytes=9-1",
    "Accept: nonsense", "Accept-Encoding: gzip;q=x", "Content-Encoding: gzip", "Host: evil",
    "Origin: null", "Transfer-Encoding: gzip", "X-Forwarded-For: '", "Upgrade: websocket",
    "If-None-Match: *", "If-Modified-Since: never", "X: " + "y" * 20_000, "No colon", " folded",
    "Content-Length: -1", "Content-Length: x", "Sec-WebSocket-Key: x",
    "serve_multiplexed_model_id: x",
)  # fmt: skip
TYPES = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "",
         "application/json; charset=utf-16", "application/json; charset=nonsense", "\xff/\xfe",
         "application/problem+json", "json")  # fmt: skip


class Wrong:
    """Makes requests with one or a few mistakes; some happen to be correct.

    Args:
        chance: source of random choices.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._sessions: list[str] = []

    def remember(self, session: str) -> None:
        """Let later requests name this session too."""
        self._sessions = [*self._sessions[-4:], session]

    def request(self) -> tuple[str, bytes]:
        """Return the route of the next request, and the request."""
        chance = self._chance
        method, path, fields = chance.choice(ROUTES)
        route = f"{method} {path}"
        body = b"" if fields is None else self._body(fields)
        path = path.replace("{session}", self._id())
        if "after=" in path and chance.random() < 0.6:
            path = path.replace("after=3", f"after={chance.choice(AFTERS)}")
        if chance.random() < 0.1:
            method = chance.choice(METHODS)
        if chance.random() < 0.1:
            path = self._path(path)
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
        lines += self._headers(body)
        return route, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    def _id(self) -> str:
        """Return the id of a known session, or an unknown one."""
        chance = self._chance
        return chance.choice(self._sessions if self._sessions and chance.random() < 0.8 else IDS)

    def _path(self, path: str) -> str:
        """Return a changed path."""
        at = self._chance.randrange(len(path) + 1)
        sign = self._chance.choice(("/", "%00", "%", "?", "#", "//", ";", "\xe9", ".", "%2F", "&&"))
        return path[:at] + sign + path[at:]

    def _headers(self, body: bytes) -> list[str]:
        """Return the headers of a body, sometimes with odd ones."""
        chance = self._chance
        kind = chance.choice(TYPES) if chance.random() < 0.1 else "application/json"
        lines = [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
        if chance.random() < 0.2:
            lines.append(chance.choice(HEADERS))
        if chance.random() < 0.1:
            lines.append(f"Last-Event-ID: {chance.choice(AFTERS)}")
        if chance.random() < 0.02:
            lines.remove(f"Content-Length: {len(body)}")
        return lines

    def _body(self, fields: dict[str, Any]) -> bytes:
        """Return a body with some changed values, or one that is not JSON."""
        chance = self._chance
        changed = {name: value for name, value in fields.items() if chance.random() < 0.6}
        if chance.random() < 0.9:
            changed |= {name: fields[name] for name in NEEDED if name in fields}
        for _ in range(chance.choice((0, 1, 1, 1, 2))):
            changed = self._changed(changed)
        text = json.dumps(changed, ensure_ascii=chance.random() < 0.7)
        data = text.encode("utf-8", "surrogatepass")
        return chance.choice(BREAKS)(data, chance) if chance.random() < 0.15 else data

    def _changed(self, value: Any) -> Any:
        """Return a value with one part changed."""
        chance = self._chance
        if isinstance(value, dict) and value and chance.random() < 0.85:
            name = chance.choice(list(value))
            if name in TEXT_FIELDS and chance.random() < 0.8:
                return {**value, name: chance.choice(TEXTS)}
            if chance.random() < 0.1:
                other = chance.choice((*TEXTS, "tools", "logprobs", "response_format", "user"))
                return {**value, other: value[name]}
            return {**value, name: self._changed(value[name])}
        if isinstance(value, list) and value and chance.random() < 0.6:
            at = chance.randrange(len(value))
            return [*value[:at], self._changed(value[at]), *value[at + 1 :]]
        return chance.choice(VALUES)


def _deep(data: bytes, chance: random.Random) -> bytes:
    count = chance.choice((100, 5_000, 100_000))
    return b"[" * count + data + b"]" * count


def _flipped(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]


BREAKS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _deep,
    _flipped,
    lambda data, chance: data[: chance.randrange(len(data))],
    lambda _, chance: chance.randbytes(chance.randrange(1, 200)),
    lambda data, _: b"\xef\xbb\xbf" + data,
    lambda data, _: data.decode("utf-8", "replace").encode("utf-16"),
    lambda data, _: data + b" " * 1_100_000,
    lambda data, _: data + data,
    lambda *_: b"",
    lambda *_: b"null",
    lambda *_: b'"' + b"\\ud800" * 50 + b'"',
    lambda *_: b"9" * 10_000,
)
