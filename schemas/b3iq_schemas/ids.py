"""The bounded building blocks of every event: ids, hashes, counters, amounts. Nothing here is ever normalised.

An id that does not match is refused as it stands; stripping or folding one would let two spellings share a history.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

INT_MAX = 2**53 - 1
"""The largest integer that every JSON reader holds exactly (RFC 8259 §6)."""

NetworkId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
NodeId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
ProfileId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
ModelId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$")]
ActorId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}$")]
Token = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,48}$")]
"""A word of a list that the network may extend; whoever reads it must have an answer for words it does not know."""

Sha256Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PublicKeyHex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
SignatureHex = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
AttemptId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Wei = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,77})$")]
"""Money: a decimal string in wei, at most 78 digits (2^256)."""

Count = Annotated[int, Field(ge=0, le=INT_MAX)]
Positive = Annotated[int, Field(ge=1, le=INT_MAX)]
TimeMs = Annotated[int, Field(ge=0, le=INT_MAX)]
"""Unix time in milliseconds."""
DurationMs = Annotated[int, Field(ge=0, le=10 * 366 * 86_400_000)]
Text = Annotated[str, Field(min_length=1, max_length=256)]


class Contract(BaseModel):
    """Base of every event: frozen, strict, closed to unknown fields, no floats that are not numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
