"""The real Apache Kafka and Schema Registry that CI starts (packaging/kafka/); tests that want one are skipped, saying so, without it.

packaging/kafka/with-kafka.sh make test           as .ci/run does
"""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from confluent_kafka.admin import AdminClient

from streamer.sinks.kafka import KafkaSink
from streamer.sinks.kafka_config import KafkaOptions

SCRIPTS: Final = Path(__file__).parent.parent / "packaging" / "kafka"
SERVERS: Final = os.environ.get("STREAMER_KAFKA", "")
REGISTRY: Final = os.environ.get("STREAMER_SCHEMA_REGISTRY", "")
needs_kafka = pytest.mark.skipif(not SERVERS, reason="no Kafka: run packaging/kafka/with-kafka.sh make test, or set STREAMER_KAFKA")
needs_registry = pytest.mark.skipif(not REGISTRY, reason="no Schema Registry: run packaging/kafka/with-kafka.sh make test")
needs_kcat = pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed (apt install kcat)")
USER: Final = "streamer"
PASSWORD: Final = "streamer-secret"


TLS: Final = Path(os.environ.get("KAFKA_DIR", SCRIPTS.parent.parent / ".kafka")) / "tls"
"""The authority `ca.pem` that signed the broker's certificate, and `client.p12`, whom it knows."""


def servers_of(security: Literal["sasl_plaintext", "ssl", "sasl_ssl"], host: str = "", servers: str = "") -> str:
    """The listener that asks for a password, a certificate, or a password over TLS. `host`: another name for the same machine; `servers`:
    of another broker."""
    known, _, port = (servers or SERVERS).rpartition(":")
    return f"{host or known}:{int(port) + {'sasl_plaintext': 2, 'ssl': 3, 'sasl_ssl': 4}[security]}"


class OwnBroker:
    """One more, that a test may stop, kill and start as it likes: the other one serves other tests meanwhile. Tests that run at the same
    time have one each."""

    def __init__(self, of: Literal["sink", "daemon"]) -> None:
        host, _, port = SERVERS.rpartition(":")
        self._port = int(port) + {"sink": 10, "daemon": 5}[of]
        self.servers = f"{host}:{self._port}"

    def __call__(self, verb: str) -> None:
        """start, stop, kill or wipe it."""
        env = os.environ | {"KAFKA_PORT": str(self._port)}
        subprocess.run([SCRIPTS / "start-kafka.sh", verb], check=True, stdout=subprocess.DEVNULL, env=env, timeout=60)  # noqa: S603


def kcat(*args: str, servers: str = SERVERS, text: bool = True, given: str | None = None) -> str:
    """What kcat prints: a reader that nobody here wrote."""
    done = subprocess.run(["kcat", "-b", servers, *args], input=given, check=True, capture_output=True, text=text, timeout=30)  # noqa: S603, S607
    return done.stdout


@asynccontextmanager
async def opened(name: str, **options: Any) -> AsyncIterator[KafkaSink]:
    """A sink that writes to topics of that name."""
    given = {"servers": SERVERS, "topic": f"{name}.{{kind}}", "create_topics": True, "partitions": 3, "replication": 1, **options}
    sink = KafkaSink(KafkaOptions.of(given))
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close(5)


def admin() -> AdminClient:
    """Who may do everything there."""
    return AdminClient({"bootstrap.servers": SERVERS})
