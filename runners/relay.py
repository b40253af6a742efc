"""The one way into an engine's container: `python -I relay.py SOCKET PORT` joins a Unix socket to a port of loopback.

An engine runs in a network namespace that holds nothing but its own loopback interface. This program runs in a second
container that shares this namespace, and in a folder that it shares with the host it opens a socket. So the harness
reaches the engine, and the engine reaches nobody. Standalone: it imports nothing of this project.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

PIECE = 2**16


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on as they come; the end of one side becomes the end of the other."""
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def join(socket: str, port: int) -> None:
    """Serve until the process is ended."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside: asyncio.StreamWriter | None = None
        try:
            answers, inside = await asyncio.open_connection("127.0.0.1", port)
            asked = asyncio.create_task(pump(reader, inside))
            await pump(answers, writer)  # once the engine has closed, there is nothing more to say to it
            asked.cancel()
        except OSError:
            pass  # nobody listens (yet); the caller sees a connection that ends
        finally:
            for side in filter(None, (inside, writer)):
                side.close()

    server = await asyncio.start_unix_server(connected, socket)
    os.chmod(socket, 0o666)  # the folder around it is the caller's alone
    print("relay ready", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(join(sys.argv[1], int(sys.argv[2])))
