"""The real Apache Kafka and Schema Registry that CI starts (packaging/kafka/); tests that want one are skipped, saying so, without it.

packaging/kafka/with-kafka.sh make test           as .ci/run does
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

SCRIPTS: Final = Path(__file__).parent.parent / "packaging" / "kafka"
SERVERS: Final = os.environ.get("STREAMER_KAFKA", "")
REGISTRY: Final = os.environ.get("STREAMER_SCHEMA_REGISTRY", "")
needs_kafka = pytest.mark.skipif(not SERVERS, reason="no Kafka: run packaging/kafka/with-kafka.sh make test, or set STREAMER_KAFKA")
needs_registry = pytest.mark.skipif(not REGISTRY, reason="no Schema Registry: run packaging/kafka/with-kafka.sh make test")
needs_kcat = pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed (apt install kcat)")
USER: Final = "streamer"
PASSWORD: Final = "streamer-secret"


def sasl_servers() -> str:
    """The listener that asks for a password."""
    host, _, port = SERVERS.rpartition(":")
    return f"{host}:{int(port) + 2}"


class OwnBroker:
    """One more, that a test may stop, kill and start as it likes: the other one serves other tests meanwhile."""

    def __init__(self) -> None:
        host, _, port = SERVERS.rpartition(":")
        self._port = int(port) + 10
        self.servers = f"{host}:{self._port}"

    def __call__(self, verb: str) -> None:
        """start, stop, kill or wipe it."""
        env = os.environ | {"KAFKA_PORT": str(self._port)}
        subprocess.run([SCRIPTS / "start-kafka.sh", verb], check=True, stdout=subprocess.DEVNULL, env=env, timeout=60)  # noqa: S603


def kcat(*args: str, servers: str = SERVERS, text: bool = True, given: str | None = None) -> str:
    """What kcat prints: a reader that nobody here wrote."""
    done = subprocess.run(["kcat", "-b", servers, *args], input=given, check=True, capture_output=True, text=text, timeout=30)  # noqa: S603, S607
    return done.stdout
