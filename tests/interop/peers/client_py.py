"""Interop client on PyPI mcp 2.x: `client_py.py 2025|2026|auto CMD ARG...|URL` prints what it saw as one JSON document."""

import json
import re
import sys
from pathlib import Path

import anyio
from mcp import Client, MCPError, StdioServerParameters
from mcp.types import DiscoverResult, ElicitResult

era, command, *args = sys.argv[1:]
mode = {"2025": "legacy", "2026": "2026-07-28", "auto": "auto"}[era]
plans = json.loads(Path(__file__).with_name("calls.json").read_text("utf-8").replace("$LAST", args[-1] if args else ""))
saw = {"client": "py", "era": era}
seen = {"messages": [], "elicitations": [], "calls": []}
plan = {}


def plain(model):
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True) if model else None


def error_of(e):
    while isinstance(e, BaseExceptionGroup):
        e = e.exceptions[0]
    known = {"code": e.code, "data": e.data} if isinstance(e, MCPError) else {}
    return {"name": type(e).__name__, "message": str(e)} | known


async def hear(message):
    seen["messages"].append(repr(message) if isinstance(message, Exception) else plain(message))


async def elicit(_context, params):
    seen["elicitations"].append(plain(params))
    return ElicitResult(action="accept", content=plan["answer"])


async def call(client, name, arguments):
    entry = {"tool": name, "progress": []}
    seen["calls"].append(entry)

    async def progress(value, total, message):
        entry["progress"].append([value, total, message])

    try:
        entry["result"] = plain(await client.call_tool(name, arguments, progress_callback=progress))
    except Exception as e:
        entry["error"] = error_of(e)


async def main():
    global plan
    server = command if command.startswith("http:") else StdioServerParameters(command=command, args=args)
    async with Client(server, mode=mode, elicitation_callback=elicit, message_handler=hear, read_timeout_seconds=20) as client:
        tools = await client.list_tools()
        if era == "2026":  # a pinned client opens without a probe and knows nothing of the server until it asks
            client.session.adopt(DiscoverResult.model_validate(await client.session.send_discover("2026-07-28")))
        capabilities = client.server_capabilities
        saw.update(negotiated=client.protocol_version, server=plain(client.server_info), capabilities=plain(capabilities), instructions=client.instructions)
        plan = plans[client.server_info.name]
        saw["tools"] = plain(tools)
        if capabilities.resources:
            saw["resources"] = plain(await client.list_resources())
        if capabilities.prompts:
            saw["prompts"] = plain(await client.list_prompts())
        for name, arguments in [*plan["calls"], ["no_such_tool", {}]]:
            await call(client, name, arguments)


try:
    anyio.run(main)
except Exception as e:
    saw["failed"] = error_of(e)
text = json.dumps(saw | seen, indent=1, ensure_ascii=False)
print(re.sub(plan["mask"], "MASKED", text) if "mask" in plan else text)
sys.exit(1 if "failed" in saw else 0)
