"""A Schema Registry on loopback, as much of Confluent's interface as clients use. It keeps what it is given.

A real one (Apicurio) is tried in test_kafka_real.py.
"""

from typing import Any

import aiohttp.web


class SchemaRegistry:
    """`schemas` by number, `subjects` by name; `configs` what was asked of each subject. `answer`: (status, body) for everything."""

    def __init__(self) -> None:
        self.schemas: list[tuple[str, str]] = []
        self.subjects: dict[str, list[int]] = {}
        self.configs: dict[str, str] = {}
        self.answer: tuple[int, bytes] | None = None
        self.logins: list[str] = []
        self.requests = 0

    async def __aenter__(self) -> "SchemaRegistry":
        app = aiohttp.web.Application(middlewares=[self._first])
        app.router.add_put("/config/{subject}", self._config)
        app.router.add_post("/subjects/{subject}/versions", self._register)
        app.router.add_get("/schemas/ids/{number}", self._schema)
        self._runner = aiohttp.web.AppRunner(app)
        await self._runner.setup()
        site = aiohttp.web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._runner.cleanup()

    @aiohttp.web.middleware
    async def _first(self, request: Any, handler: Any) -> Any:
        self.requests += 1
        self.logins.append(request.headers.get("Authorization", ""))
        if self.answer is not None:
            return aiohttp.web.Response(status=self.answer[0], body=self.answer[1])
        return await handler(request)

    async def _config(self, request: Any) -> Any:
        self.configs[request.match_info["subject"]] = (await request.json())["compatibility"]
        return aiohttp.web.json_response({"compatibility": "FULL_TRANSITIVE"})

    async def _register(self, request: Any) -> Any:
        body = await request.json()
        schema = body.get("schemaType", "AVRO"), body["schema"]
        if schema not in self.schemas:
            self.schemas.append(schema)
        number = self.schemas.index(schema) + 1
        self.subjects.setdefault(request.match_info["subject"], []).append(number)
        return aiohttp.web.json_response({"id": number})

    async def _schema(self, request: Any) -> Any:
        number = int(request.match_info["number"])
        if not 1 <= number <= len(self.schemas):
            return aiohttp.web.json_response({"error_code": 40403, "message": "Schema not found"}, status=404)
        kind, text = self.schemas[number - 1]
        return aiohttp.web.json_response({"schema": text} | ({} if kind == "AVRO" else {"schemaType": kind}))
