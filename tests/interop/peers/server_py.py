"""HTTP fixture on PyPI mcp 2.x, both eras: an echo, a tool with progress, a resource. Prints its URL."""

import socket

import anyio
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("peers-py", instructions="fixture")


@server.tool()
def echo(text: str) -> str:
    """Gives the text back"""
    return text


@server.tool()
async def count(steps: int, ctx: Context) -> str:
    """Counts with progress"""
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps, f"step {step}")
        await anyio.sleep(0.05)
    return f"counted to {steps}"


@server.tool()
async def sleep(seconds: float) -> str:
    """Sleeps"""
    await anyio.sleep(seconds)
    return "slept"


@server.resource("note://one")
def note() -> str:
    return "one"


with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
print(f"http://127.0.0.1:{port}/mcp", flush=True)
server.run("streamable-http", port=port)
