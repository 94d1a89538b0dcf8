"""Records refused for how their payload is written: well signed, but not canonical JSON."""

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical
from b3iq_schemas.codes import Refusal
from tests.conformance.cases import EVENTS, Case, case, seal

BEAT = topics.HEARTBEATS
PAYLOAD = canonical(EVENTS[BEAT])


def put(old: bytes, new: bytes) -> bytes:
    """The sound heartbeat's payload with one place replaced."""
    assert PAYLOAD.count(old) == 1, old
    return PAYLOAD.replace(old, new)


def cases() -> dict[str, Case]:
    """Every vector of this file by name."""
    raws = {
        "empty": ("no bytes", b""),
        "not_json": ("no JSON", b"hello"),
        "truncated": ("cut off", PAYLOAD[:-1]),
        "two_documents": ("one document after the other", PAYLOAD + PAYLOAD),
        "space_before": ("a space before it", b" " + PAYLOAD),
        "newline_behind": ("a newline behind it", PAYLOAD + b"\n"),
        "spaced": ("a space behind a colon", put(b'"boot":1', b'"boot": 1')),
        "byte_order_mark": ("a byte order mark before it", b"\xef\xbb\xbf" + PAYLOAD),
        "utf16": ("UTF-16", PAYLOAD.decode().encode("utf-16")),
        "invalid_utf8": ("a byte that is not UTF-8", put(b'"online"', b'"\xff"')),
        "cesu8": ("a surrogate pair written as two characters", put(b'"online"', b'"\xed\xa0\xbd\xed\xb8\x80"')),
        "lone_surrogate": ("half a surrogate pair", put(b'"online"', rb'"\ud83d"')),
        "pair_escaped": ("a character beyond the BMP escaped as a pair", put(b'"online"', rb'"\ud83d\ude00"')),
        "letter_escaped": ("a letter escaped without need", put(b'"online"', rb'"\u006fnline"')),
        "slash_escaped": ("a slash escaped without need", put(b'"online"', rb'"\/"')),
        "escape_upper_case": ("an escape with upper-case hex", put(b'"online"', rb'"\u001B"')),
        "escape_long": ("a newline escaped the long way", put(b'"online"', rb'"\u000a"')),
        "control_raw": ("a control character as it is", put(b'"online"', b'"\n"')),
        "member_twice": ("a member twice, with two values", put(b'"seq":1', b'"seq":1,"seq":2')),
        "member_twice_same": ("a member twice, with one value", put(b'"seq":1', b'"seq":1,"seq":1')),
        "member_twice_nested": ("a member of a profile twice", put(b'"status":', b'"status":"x","status":')),
        "member_twice_escaped": ("a member twice, once with an escape", put(b'"seq":1', rb'"s\u0065q":2,"seq":1')),
        "minus_zero": ("-0", put(b'"seq":1', b'"seq":-0')),
        "exponent": ("an integer as 1e3", put(b'"seq":1', b'"seq":1e3')),
        "leading_zero": ("01", put(b'"seq":1', b'"seq":01')),
        "plus": ("+1", put(b'"seq":1', b'"seq":+1')),
        "float_long": ("a fraction with a needless zero", put(b'"seq":1', b'"seq":1.50')),
        "integer_2_64": ("an integer of more than 64 bits", put(b'"seq":1', b'"seq":18446744073709551616')),
        "integer_400_digits": ("an integer of 400 digits", put(b'"seq":1', b'"seq":' + b"9" * 400)),
        "nan": ("NaN", put(b'"seq":1', b'"seq":NaN')),
        "infinity": ("Infinity", put(b'"seq":1', b'"seq":Infinity')),
        "overflow": ("1e400", put(b'"seq":1', b'"seq":1e400')),
        "comma_trailing": ("a comma before the last brace", PAYLOAD[:-1] + b",}"),
        "comment": ("a comment", PAYLOAD + b"/**/"),
        "single_quotes": ("single quotes", PAYLOAD.replace(b'"', b"'")),
        "nested_2000": ("2,000 brackets", b"[" * 2_000 + b"]" * 2_000),
        "nested_300": ("300 brackets", put(b'"seq":1', b'"seq":' + b"[" * 300 + b"]" * 300)),
    }
    code = Refusal.PAYLOAD_NOT_CANONICAL.value
    return {f"payload_{name}": case(BEAT, code, text, seal(BEAT, raw)) for name, (text, raw) in raws.items()}
