"""A client of Schema Registries that speak Confluent's REST interface (Confluent's own, Apicurio, Karapace, Redpanda).

https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

import asyncio
import base64
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import msgspec

from streamer.errors import IoFailure, UsageError

COMPATIBILITY: Final = "FULL_TRANSITIVE"
"""Old readers read new values, and new readers old ones, of every version: fields are only added, and have a default."""
MAX_ANSWER: Final = 1 << 20
TIMEOUT_S: Final = 10.0
_TYPE: Final = "application/vnd.schemaregistry.v1+json"


class Registry:
    """`url`: of the registry, as ``http://127.0.0.1:8081``. `user_info`: ``USER:PASSWORD``. What was learnt is kept for ever."""

    def __init__(self, url: str, user_info: str = "") -> None:
        self._url = url.rstrip("/")
        self._login = {"Authorization": f"Basic {base64.b64encode(user_info.encode()).decode()}"} if user_info else {}
        self._ids: dict[tuple[str, str], int] = {}
        self._schemas: dict[int, tuple[str, str]] = {}

    async def register(self, subject: str, kind: str, schema: str) -> int:
        """The number of this schema (`kind`: AVRO or PROTOBUF), registered now if it was not yet, with our rule for compatibility.

        Raises `IoFailure`, and `UsageError` when the registry refuses it.
        """
        found = self._ids.get((subject, schema))
        if found is None:
            path = quote(subject, safe="")
            await self._ask("PUT", f"/config/{path}", {"compatibility": COMPATIBILITY})
            answer = await self._ask("POST", f"/subjects/{path}/versions", {"schemaType": kind, "schema": schema})
            found = self._ids[subject, schema] = _int(answer, "id")
        return found

    async def schema(self, number: int) -> tuple[str, str]:
        """(kind, text) of the schema with this number."""
        found = self._schemas.get(number)
        if found is None:
            answer = await self._ask("GET", f"/schemas/ids/{number}", None)
            text = answer.get("schema")
            if not isinstance(text, str):
                raise IoFailure(f"{self._url}: schema {number} has no text", "schema_registry")
            found = self._schemas[number] = str(answer.get("schemaType", "AVRO")), text
        return found

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        headers = {"Accept": _TYPE, "Content-Type": _TYPE, **self._login}
        data = None if body is None else msgspec.json.encode(body)
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                aiohttp.ClientSession(trust_env=True) as session,
                session.request(method, self._url + path, data=data, headers=headers, allow_redirects=False) as response,
            ):
                text = await response.content.read(MAX_ANSWER)
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as e:
            raise IoFailure(f"schema registry {self._url}: {e or type(e).__name__}", "schema_registry") from None
        if status in (400, 404, 409, 422):  # Confluent: incompatible, no such schema, not valid
            raise UsageError(f"schema registry {self._url} refuses {method} {path}: {_said(text)}")
        if status != 200:
            raise IoFailure(f"schema registry {self._url} answers {status} to {method} {path}: {_said(text)}", "schema_registry")
        return _object(text)


def _object(text: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise IoFailure(f"the schema registry answers what is no JSON object: {_said(text)}", "schema_registry") from None
    return found


def _int(answer: dict[str, Any], key: str) -> int:
    found = answer.get(key)
    if not isinstance(found, int):
        raise IoFailure(f"the schema registry gives no {key}: {ascii(answer)[:200]}", "schema_registry")
    return found


def _said(text: bytes) -> str:
    return ascii(text[:300].decode(errors="replace"))
