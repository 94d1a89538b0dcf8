"""An optional file of settings, one `name = value` a line, or the form of an env file: `B3IQ_NAME=value`, `export` and `#`.

It says less than flags and environment: those win. A name that does not exist is a mistake, not a comment.
"""

import io
import os
import stat
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from b3iq_streams.errors import UserError

ENVIRONMENT = "B3IQ_KAFKA_CONFIG"
FILE_CHARACTERS_MAX = 64 * 1024
_PREFIX = "b3iq_"
_SECRETS = ("sasl_password", "tls_key_password")


class FileSource(PydanticBaseSettingsSource):
    """The settings in the file that `kafka_config` or the environment names; none if neither does."""

    def __init__(self, kind: type[BaseSettings], given: str | Path | None) -> None:
        super().__init__(kind)
        self._path = given if given is not None else os.environ.get(ENVIRONMENT)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Unused: the file is read as a whole."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """What the file says; raises UserError naming the line that is wrong, never its value."""
        if self._path is None:
            return {}
        path = Path(self._path)
        try:
            with path.open(encoding="utf-8") as file:
                mode, text = stat.S_IMODE(os.fstat(file.fileno()).st_mode), file.read(FILE_CHARACTERS_MAX + 1)
        except UnicodeDecodeError:
            raise UserError(f"--kafka-config {path} is not a file of settings: it is not text") from None
        except OSError as error:
            raise UserError(f"--kafka-config {path}: {error.strerror}") from None
        if len(text) > FILE_CHARACTERS_MAX:
            raise UserError(f"--kafka-config {path} is not a file of settings: it is larger than {FILE_CHARACTERS_MAX >> 10} KiB")
        bindings = [binding for binding in parse_stream(io.StringIO(text)) if binding.key is not None or binding.error]
        known = {name for name in self.settings_cls.model_fields if name != "kafka_config"}
        found: dict[str, Any] = {}
        for binding in bindings:
            place = f"--kafka-config {path}, line {binding.original.line}"
            if binding.error or binding.key is None or binding.value is None:
                raise UserError(f"{place}: expected name = value")
            name = binding.key.lower().removeprefix(_PREFIX)
            if name not in known:
                raise UserError(f"{place}: there is no setting {binding.key[:80]!r}")
            if name in found:
                raise UserError(f"{place}: {name} is given twice")
            if name in _SECRETS and mode & 0o007:
                raise UserError(f"{place}: a password, in a file that is open to everybody (mode {mode:04o}): chmod o= {path}")
            found[name] = binding.value
        return found
