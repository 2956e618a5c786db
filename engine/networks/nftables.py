"""libnftables through ctypes: JSON commands in, one atomic transaction each (libnftables(3), libnftables-json(5)).

The library is Debian's `libnftables1`. A context is not thread safe: the network thread makes one and alone uses it.
A transaction costs 0.2–0.4 ms here, whatever rules others have; opening the library 3–7 ms, so that waits for the
first container that needs it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import msgspec

from dosirak.engine.errors import HostLimit

_LIBRARY = "libnftables.so.1"
_NFT_CTX_DEFAULT = 0
_NFT_CTX_OUTPUT_JSON = 1 << 4

Command = dict[str, Any]


class NftError(HostLimit):
    """A transaction the kernel or the library refused; nothing of it was done."""


class Nftables:
    """One libnftables context, in the network namespace of the thread that makes it.

    Raises HostLimit when the library is missing.
    """

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            raise HostLimit(f"{_LIBRARY}: not found; install it (Debian: apt install libnftables1)") from error
        _declare(self._library)
        self._context = self._library.nft_ctx_new(_NFT_CTX_DEFAULT)
        if not self._context:
            raise HostLimit(f"{_LIBRARY}: can't make a context: is nf_tables in this kernel?")
        # "Output" decides about input too: without it a buffer is read as nft's own language.
        self._library.nft_ctx_output_set_flags(self._context, _NFT_CTX_OUTPUT_JSON)
        # Without these two, messages go to our own standard output and error.
        self._library.nft_ctx_buffer_error(self._context)
        self._library.nft_ctx_buffer_output(self._context)

    def close(self) -> None:
        """Frees the context."""
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None

    def run(self, commands: Sequence[Command]) -> None:
        """Applies all commands or none. Raises NftError with the library's first line."""
        text = msgspec.json.encode({"nftables": commands})
        if self._library.nft_run_cmd_from_buffer(self._context, text):
            message: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
            lines = message.decode(errors="replace").splitlines()
            raise NftError(f"nf_tables: {lines[0] if lines else 'unknown error'}")


def _declare(library: ctypes.CDLL) -> None:
    """Types of the functions used (nftables/libnftables.h)."""
    context = ctypes.c_void_p
    library.nft_ctx_new.argtypes, library.nft_ctx_new.restype = (ctypes.c_uint32,), context
    library.nft_ctx_free.argtypes, library.nft_ctx_free.restype = (context,), None
    library.nft_ctx_output_set_flags.argtypes, library.nft_ctx_output_set_flags.restype = (context, ctypes.c_uint), None
    library.nft_ctx_buffer_error.argtypes = (context,)
    library.nft_ctx_buffer_output.argtypes = (context,)
    library.nft_ctx_get_error_buffer.argtypes, library.nft_ctx_get_error_buffer.restype = (context,), ctypes.c_char_p
    library.nft_run_cmd_from_buffer.argtypes = (context, ctypes.c_char_p)
