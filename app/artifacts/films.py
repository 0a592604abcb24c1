"""A film is decoded, bounded and encoded anew: MP4 with H.264, and AAC where it has sound.

Anew, and not only its container: a bitstream can carry what no picture shows (messages between
its pictures, sizes that change, pictures that are never shown), and to prove that one carries
nothing is harder than to make a new one. Runs in the process of `app.artifacts.press`.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Final

import av

from app.artifacts.bounds import (
    LEAST_FILM_SIDE,
    MOST_FILM_PIXELS,
    MOST_FILM_S,
    MOST_FRAMES,
    MOST_PIXELS_OF_ALL,
    Pressed,
    Refused,
)
from app.artifacts.looks import SIDE, WIDE, look_in

TICKS: Final = 90_000  # a second of the time that pictures are shown at
RATE: Final = 48_000  # samples a second
LOOKS_AT: Final = 8  # one picture of so many, to see how the film looks
# `whitelist`: no other decoder is opened, not even to look what a stream may be.
ONLY: Final = {"codec_whitelist": "h264,aac"}
X264: Final = {
    "preset": "veryfast",
    "crf": "18",
    "rc-lookahead": "5",  # each picture that is looked ahead at is held in memory
    "a53cc": "0",  # no captions of theirs
    "udu_sei": "0",  # nor other messages
}

NOT_ONE: Final = "This is not a film that can be decoded: send a whole MP4 file with H.264."
TOO_LARGE: Final = (
    f"The film is too large: at most {MOST_FILM_PIXELS:,} pixels a picture are taken, and at least"
    f" {LEAST_FILM_SIDE} a side."
)
TOO_LONG: Final = (
    f"The film is too long: at most {MOST_FILM_S} seconds, {MOST_FRAMES:,} pictures and"
    f" {MOST_PIXELS_OF_ALL:,} pixels in all of them are taken."
)
BROKEN_OFF: Final = "The film breaks off before its end: send it whole."
TURNED: Final = "The film is to be shown turned: send one that stands upright as it is."


def press(data: bytes) -> Pressed:
    """Return a film encoded anew. Raises Refused."""
    try:
        with (
            av.open(io.BytesIO(data), "r", format="mp4", container_options=ONLY) as film,
            _made() as (file, made),
        ):
            pressing = _Pressing(film, made)
            pressing.run()
            made.close()
            with open(file, "rb") as whole:
                return pressing.result(whole.read())
    except (av.FFmpegError, EOFError, ValueError, IndexError):
        raise Refused(NOT_ONE) from None


@contextmanager
def _made() -> Iterator[tuple[str, Any]]:
    """Yield a film to be written in memory that can be read again: its index goes to the front."""
    memory = os.memfd_create("film")
    file = f"/proc/self/fd/{memory}"
    options = {"movflags": "+faststart", "fflags": "+bitexact"}  # names no program
    try:
        with av.open(file, "w", format="mp4", container_options=options) as made:
            yield file, made
    finally:
        os.close(memory)


class _Pressing:
    """One film on its way from what was sent to what is kept."""

    def __init__(self, film: Any, made: Any) -> None:
        self._film, self._made = film, made
        if len(film.streams.video) != 1 or len(film.streams.audio) > 1:
            raise Refused(NOT_ONE)
        self._seen = film.streams.video[0]
        self._heard = film.streams.audio[0] if film.streams.audio else None
        for stream, codec in ((self._seen, "h264"), (self._heard, "aac")):
            if stream is not None and (
                stream.codec_context is None or stream.codec_context.name != codec
            ):
                raise Refused(NOT_ONE)
            if stream is not None:
                stream.codec_context.thread_count = 1
        self._size = _bounded(self._seen.codec_context.width, self._seen.codec_context.height)
        self._seen.codec_context.options = {"max_pixels": str(MOST_FILM_PIXELS)}
        width, height = self._size
        self._most = min(MOST_FRAMES, MOST_PIXELS_OF_ALL // (width * height))
        length_s = (film.duration or 0) / av.time_base
        if self._seen.frames > self._most or length_s > MOST_FILM_S + 1:
            raise Refused(TOO_LONG)
        self._shown = self._picture_stream()
        self._played = self._sound_stream() if self._heard is not None else None
        self._began_s: float | None = None
        self._frames, self._last, self._step = 0, -1, TICKS // 25
        self._samples: int | None = None
        self._greys = [0] * (WIDE * SIDE)  # of some pictures together: how the film looks
        self._looked = 0

    def run(self) -> None:
        """Decode every picture and sound, and encode it anew."""
        packets = 0
        streams = [stream for stream in (self._seen, self._heard) if stream is not None]
        for packet in self._film.demux(streams):
            seen = packet.stream.index == self._seen.index
            packets += seen and packet.size > 0
            if packets > self._most:
                raise Refused(TOO_LONG)
            for frame in packet.decode():
                if seen:
                    self._show(frame)
                else:
                    self._play(frame)
        if not self._frames:
            raise Refused(NOT_ONE)
        if packets < self._seen.frames:
            raise Refused(BROKEN_OFF)
        self._write(self._shown, None)
        if self._played is not None:
            self._play(None)
            self._write(self._played, None)

    def _write(self, stream: Any, frame: Any) -> None:
        try:
            self._made.mux(stream.encode(frame))
        except (av.FFmpegError, OSError):  # of ours: what it lacks is memory, or room for the file
            raise MemoryError from None

    def result(self, data: bytes) -> Pressed:
        """Return what was made, once it is whole."""
        width, height = self._size
        duration_ms = (self._last + self._step) * 1000 // TICKS
        greys = [grey // self._looked for grey in self._greys]
        return Pressed(data, "video/mp4", width, height, duration_ms, look_in(greys))

    # ------------------------------------------------------------------ pictures

    def _picture_stream(self) -> Any:
        given = self._seen.average_rate or Fraction(25)
        rate = min(max(given, Fraction(1)), Fraction(60)).limit_denominator(1001)
        stream = self._made.add_stream("libx264", rate=rate, options=X264)
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        stream.codec_context.thread_count = 1
        for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
            setattr(stream.codec_context, name, getattr(self._seen.codec_context, name))
        return stream

    def _show(self, frame: Any) -> None:
        _bounded(frame.width, frame.height)
        if getattr(frame, "rotation", 0):
            raise Refused(TURNED)
        at_s = frame.time if frame.time is not None else 0.0
        if self._began_s is None:
            self._began_s = at_s
        at = round((at_s - self._began_s) * TICKS)
        if at > MOST_FILM_S * TICKS or self._frames >= self._most:
            raise Refused(TOO_LONG)
        at = max(at, self._last + 1)  # each is shown after the one before it
        self._step = min(at - self._last, TICKS) if self._frames else self._step
        if self._frames % LOOKS_AT == 0:
            self._look_at(frame)
        picture = frame.reformat(*self._size, format="yuv420p")
        picture.pict_type = av.video.frame.PictureType.NONE  # which are whole, we decide
        picture.time_base, picture.pts = Fraction(1, TICKS), at
        self._frames, self._last = self._frames + 1, at
        self._write(self._shown, picture)

    def _look_at(self, frame: Any) -> None:
        [plane] = frame.reformat(WIDE, SIDE, format="gray", interpolation="AREA").planes
        seen, line = memoryview(plane), plane.line_size
        self._looked += 1
        for at in range(WIDE * SIDE):
            self._greys[at] += seen[at // WIDE * line + at % WIDE]

    # ------------------------------------------------------------------ sound

    def _sound_stream(self) -> Any:
        self._stereo = av.AudioResampler(format="fltp", layout="stereo", rate=RATE, frame_size=1024)
        return self._made.add_stream("aac", rate=RATE, layout="stereo", bit_rate=128_000)

    def _play(self, frame: Any) -> None:
        if frame is not None and self._samples is None:
            began_s = (frame.time or 0.0) - (self._began_s or 0.0)
            self._samples = round(min(max(began_s, 0.0), MOST_FILM_S) * RATE)
        for sound in self._stereo.resample(frame):
            at = self._samples or 0
            if at > (MOST_FILM_S + 1) * RATE:
                raise Refused(TOO_LONG)
            sound.pts, sound.time_base = at, Fraction(1, RATE)
            self._samples = at + sound.samples
            self._write(self._played, sound)


def _bounded(width: int, height: int) -> tuple[int, int]:
    """Return the size that a film is shown in: H.264 as everybody plays it has even sides, and an
    odd one loses its last line."""
    if min(width, height) < LEAST_FILM_SIDE or width * height > MOST_FILM_PIXELS:
        raise Refused(TOO_LARGE)
    return width - width % 2, height - height % 2
