"""Decompression that stops at a limit: a few octets can hold gigabytes."""

from __future__ import annotations

import bz2
import importlib
import lzma
import sys
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import kombu.compression

#: Without types of its own.
compression: Any = kombu.compression

if TYPE_CHECKING:
    from collections.abc import Callable

#: Octets that LZMA may take for its dictionary; `xz -9` needs 65 MiB.
_LZMA_MEMORY = 96 * 2**20
#: Octets of Brotli that are expanded at a time by its older decoders, which know no limit: a few octets more
#: could hold gigabytes.
_BROTLI_CHUNK_SIZE = 16
#: Streams in one body: each costs a decompressor and a copy of the rest, and an empty one adds nothing.
_MAX_STREAMS = 16


class DecompressedTooLarge(ValueError):
    """A body expands to more than is taken."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def decompress(body: bytes, method: str, *, limit: int) -> bytes:
    """Return what a body holds that was compressed by a method of kombu's.

    Args:
        method: a content type or an alias, as in the header `compression`.
        limit: octets that it may hold.

    Raises:
        TooLarge: it holds more.
        ValueError: the method is not known here, or the body is damaged.
    """
    try:
        content_type = compression._aliases.get(method, method)
        expand_by = _DECOMPRESSORS[content_type]
    except (KeyError, TypeError):
        raise ValueError("unknown compression") from None
    try:
        return expand_by(body, limit)
    except DecompressedTooLarge:
        raise
    except Exception as error:  # each library has its own
        raise ValueError(f"damaged ({type(error).__name__})") from None


def limit_kombu_decompression(limit: int) -> None:
    """Let kombu expand no message of this process beyond a limit, whoever consumes it."""
    for content_type, expand_by in _DECOMPRESSORS.items():
        if content_type in compression.encoders():
            encoder, _ = compression.get_encoder(content_type)
            compression.register(encoder, partial(_decompress_within_limit, expand_by, limit), content_type)


def _decompress_within_limit(expand_by: Callable[[bytes, int], bytes], limit: int, body: bytes) -> bytes:
    return expand_by(body, limit)


def _decompress_streams(make: Callable[[], _Decompressor], body: bytes, limit: int) -> bytes:
    parts: list[bytes] = []
    while body:
        if len(parts) == _MAX_STREAMS:
            raise ValueError("too many streams")
        stream = make()
        parts.append(stream.decompress(body, limit + 1))
        limit -= len(parts[-1])
        if limit < 0:
            raise DecompressedTooLarge
        if not stream.eof:
            raise EOFError
        body = stream.unused_data
    return b"".join(parts)


class _Brotli:
    """Adapts Brotli's decoder to the interface of the others.

    Args:
        decoder: a new one.
    """

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self.unused_data = b""

    @property
    def eof(self) -> bool:
        return bool(self._decoder.is_finished())

    def decompress(self, data: bytes, max_length: int) -> bytes:
        try:
            return bytes(self._decoder.process(data, output_buffer_limit=max_length))
        except TypeError:  # before version 1.2
            return self._decompress_in_pieces(data, max_length)

    def _decompress_in_pieces(self, data: bytes, max_length: int) -> bytes:
        expanded = bytearray()
        for start in range(0, len(data), _BROTLI_CHUNK_SIZE):
            expanded += self._decoder.process(data[start : start + _BROTLI_CHUNK_SIZE])
            if len(expanded) >= max_length:
                break
        return bytes(expanded)


def _import_first(*names: str) -> Any:
    """Return the first of some modules that is installed; None if none is."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def _make_decompressors() -> dict[str, Callable[[bytes, int], bytes]]:
    makers: dict[str, Callable[[], Any]] = {
        "application/x-gzip": zlib.decompressobj,
        "application/x-bz2": bz2.BZ2Decompressor,
        "application/x-lzma": partial(lzma.LZMADecompressor, memlimit=_LZMA_MEMORY),
    }
    if brotli := _import_first("brotli", "brotlicffi"):
        makers["application/x-brotli"] = lambda: _Brotli(brotli.Decompressor())
    if zstd := _import_first("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"):
        makers["application/zstd"] = zstd.ZstdDecompressor
    return {name: partial(_decompress_streams, make) for name, make in makers.items()}


_DECOMPRESSORS = _make_decompressors()
