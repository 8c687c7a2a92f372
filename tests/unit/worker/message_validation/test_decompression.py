"""Decompression stops at a limit."""

from __future__ import annotations

import bz2
import gc
import lzma
import random
import tracemalloc
import zlib
from functools import partial
from typing import Any

import brotli
import pytest

from mailctl.worker.message_validation import IncomingMessage, decompression, task_name


@pytest.mark.parametrize(
    ("method", "compress"),
    [
        ("gzip", zlib.compress),
        ("zlib", zlib.compress),
        ("bzip2", bz2.compress),
        ("xz", partial(lzma.compress, preset=0)),
        ("brotli", partial(brotli.compress, quality=1)),
    ],
    ids=["gzip", "zlib", "bzip2", "xz", "brotli"],
)
def test_a_body_is_decompressed_up_to_the_limit(method: str, compress: Any) -> None:
    """Decompressing a bomb takes only a little memory."""
    assert decompression.decompress(compress(b"x" * 1000), method, limit=1000) == b"x" * 1000
    bomb = compress(b"x" * (32 * 2**20))
    gc.collect()
    tracemalloc.start()
    with pytest.raises(decompression.DecompressedTooLarge):
        decompression.decompress(bomb, method, limit=2**20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 2**20


class OldBrotliDecoder:
    """A decoder without a limit, as before Brotli 1.2, that counts its calls."""

    def __init__(self) -> None:
        self._decoder = brotli.Decompressor()
        self.is_finished = self._decoder.is_finished
        self.calls = 0

    def process(self, data: bytes) -> bytes:
        self.calls += 1
        return bytes(self._decoder.process(data))


class BrotliDecoder(OldBrotliDecoder):
    """A decoder with a limit, as since Brotli 1.2."""

    def process(self, data: bytes, output_buffer_limit: int | None = None) -> bytes:  # type: ignore[override]
        self.calls += 1
        return bytes(self._decoder.process(data, output_buffer_limit=output_buffer_limit))


@pytest.mark.parametrize(("make", "most_calls"), [(BrotliDecoder, 1), (OldBrotliDecoder, 5000)])
def test_brotli_gets_a_body_in_pieces_only_if_its_decoder_has_no_limit(
    make: type[OldBrotliDecoder], most_calls: int
) -> None:
    """The pieces are so small that none can expand to gigabytes."""
    body = random.Random(1).randbytes(64 * 1024)
    decoder = make()
    adapted = decompression._Brotli(decoder)
    assert adapted.decompress(brotli.compress(body), len(body) + 1) == body
    assert adapted.eof
    assert decoder.calls <= most_calls
    bomb = decompression._Brotli(make())
    assert len(bomb.decompress(brotli.compress(b"x" * 32 * 2**20, quality=1), 2**20)) < 16 * 2**20
    assert not bomb.eof


def test_the_limit_applies_to_all_streams_together() -> None:
    """A body may consist of several streams, as bzip2 and xz allow."""
    assert decompression.decompress(bz2.compress(b"a") + bz2.compress(b"b"), "bzip2", limit=2) == b"ab"
    with pytest.raises(decompression.DecompressedTooLarge):
        decompression.decompress(bz2.compress(b"aa") * 2, "bzip2", limit=3)


@pytest.mark.parametrize(
    ("method", "compress"), [("zlib", zlib.compress), ("bzip2", bz2.compress), ("xz", lzma.compress)]
)
def test_a_body_of_very_many_streams_is_refused(method: str, compress: Any) -> None:
    """Empty streams never reach the limit, but each costs a copy of the rest."""
    streams = compress(b"") * 17
    with pytest.raises(ValueError, match="damaged"):
        decompression.decompress(streams, method, limit=2**20)
    message = IncomingMessage(headers={"compression": method}, body=streams)
    assert task_name(message) is None
    assert decompression.decompress(compress(b"a") * 16, method, limit=16) == b"a" * 16
