"""Decompression that stops at a limit: a few bytes can expand to gigabytes."""

from __future__ import annotations

import bz2
import importlib
import lzma
import sys
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import kombu.compression

#: kombu has no type hints.
compression: Any = kombu.compression

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes that LZMA may use for its dictionary; `xz -9` needs 65 MiB.
_LZMA_MEMORY = 96 * 2**20
#: Bytes of Brotli that are passed at a time to old decoders, which have no limit: a few more could expand to
#: gigabytes.
_BROTLI_CHUNK_SIZE = 16
#: Streams in one body: each costs a decompressor and a copy of the rest, even if it is empty.
_MAX_STREAMS = 16


class DecompressedTooLarge(ValueError):
    """A body decompresses to more bytes than the limit."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def decompress(body: bytes, method: str, *, limit: int) -> bytes:
    """Return the decompressed body.

    Args:
        body: the compressed body.
        method: a content type of kombu or its alias, as in the header `compression`.
        limit: the greatest number of bytes of the result.

    Raises:
        DecompressedTooLarge: the result has more bytes.
        ValueError: the method is unknown, or the body is damaged.
    """
    try:
        content_type = compression._aliases.get(method, method)
        decompressor = _DECOMPRESSORS[content_type]
    except (KeyError, TypeError):
        raise ValueError("unknown compression") from None
    try:
        return decompressor(body, limit)
    except DecompressedTooLarge:
        raise
    except Exception as error:  # each library has its own classes
        raise ValueError(f"damaged ({type(error).__name__})") from None


def limit_kombu_decompression(limit: int) -> None:
    """Make kombu apply a limit to every message that it decompresses in this process."""
    for content_type, decompressor in _DECOMPRESSORS.items():
        if content_type in compression.encoders():
            encoder, _ = compression.get_encoder(content_type)
            compression.register(
                encoder, partial(_decompress_within_limit, decompressor, limit), content_type
            )


def _decompress_within_limit(decompressor: Callable[[bytes, int], bytes], limit: int, body: bytes) -> bytes:
    return decompressor(body, limit)


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
    """Adapts a Brotli decoder to the interface of the other decompressors.

    Args:
        decoder: a new decoder.
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
        result = bytearray()
        for start in range(0, len(data), _BROTLI_CHUNK_SIZE):
            result += self._decoder.process(data[start : start + _BROTLI_CHUNK_SIZE])
            if len(result) >= max_length:
                break
        return bytes(result)


def _import_first(*names: str) -> Any:
    """Return the first module that is installed; None if there is none."""
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
