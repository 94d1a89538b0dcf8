"""What a local Apache Kafka runs on: Java 17 or newer, and the jars that Maven brings once."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

KAFKA_VERSION = "4.1.1"
JVM_OPTIONS = ("-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")

POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>b3iq</groupId><artifactId>devkafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""


class KafkaStartError(RuntimeError):
    """Kafka could not be started; the message says why in one sentence, then shows the end of the broker's log."""


def java_command(*options: str) -> list[str]:
    """A JVM with Kafka's jars; a main class and its arguments go after it. Raises KafkaStartError without Java or Maven."""
    return [_find_java(), *JVM_OPTIONS, *options, "-cp", f"{_resolve_jars()}/*"]


def _find_java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if java is None:
        raise KafkaStartError("Java 17+ was not found: install a JRE, or set JAVA_HOME.")
    banner = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603  found above
    version = re.search(r'version "(\d+)', banner)
    if version is None or int(version[1]) < 17:
        raise KafkaStartError(f"Java 17+ is needed, but {java} is another version: {banner.partition(chr(10))[0]}")
    return java


def _resolve_jars() -> Path:
    """Return the directory with Kafka's jars, having Maven fill it the first time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "b3iq-streams" / f"kafka-{KAFKA_VERSION}"
    libs = cache / "libs"
    if libs.is_dir():
        return libs
    if (mvn := shutil.which("mvn")) is None:
        raise KafkaStartError("mvn was not found: install Maven, which resolves Kafka's jars.")
    cache.mkdir(parents=True, exist_ok=True)
    pom = cache / "pom.xml"
    pom.write_text(POM)
    # Into a directory aside, then renamed: whoever sees `libs` sees all of it, also with two processes at it.
    aside = Path(tempfile.mkdtemp(prefix="libs-", dir=cache))
    command = [mvn, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={aside}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  found above
        if done.returncode:
            raise KafkaStartError("Maven could not resolve Kafka's jars.\n" + "\n".join(done.stdout.splitlines()[-8:]))
        with contextlib.suppress(OSError):  # another process was quicker, and its copy is as good
            aside.rename(libs)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return libs
