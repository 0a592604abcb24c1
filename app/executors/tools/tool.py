"""What a tool is given, and what it gives."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


class Impossible(Exception):
    """It can't be made of what was given, whoever tries; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run: a file, a text, or values."""

    data: bytes
    media_type: str
    width: int = 0
    height: int = 0
    duration_ms: int = 0

    @classmethod
    def values(cls, values: Mapping[str, Any]) -> "Result":
        """Return values as a result."""
        return cls(json.dumps(values).encode(), "application/json")

    @classmethod
    def text(cls, text: str) -> "Result":
        """Return a text as a result."""
        return cls(text.encode(), "text/plain")

    def facts(self) -> dict[str, Any]:
        """Return what there is to say of the bytes."""
        return {
            "media_type": self.media_type,
            "width": self.width,
            "height": self.height,
            "duration_ms": self.duration_ms,
        }


@dataclass(frozen=True, slots=True)
class Given:
    """The inputs of a run, judged by the tool's own schema, and the bytes of its pictures."""

    inputs: Mapping[str, Any]
    bytes_of: Mapping[str, bytes]

    def __getitem__(self, name: str) -> Any:
        return self.inputs[name]

    def file(self, name: str) -> bytes:
        """Return the bytes of the picture in a field."""
        return self.bytes_of[self.inputs[name]]

    def files(self, name: str) -> list[bytes]:
        """Return the bytes of each picture in a list."""
        return [self.bytes_of[each] for each in self.inputs[name]]


Tool = Callable[[Given], Result]
