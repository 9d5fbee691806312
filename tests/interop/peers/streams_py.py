"""Uses streams (subscriptions, resumption, cancellation) on PyPI mcp 2.x: `streams_py.py 2025|2026 URL` prints the results as JSON."""

import json
import sys

import anyio
from mcp import Client

era, url = sys.argv[1:]
saw = {}


async def main():
    async with Client(url, mode={"2025": "legacy", "2026": "2026-07-28"}[era], read_timeout_seconds=20) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        if era == "2026" and "test_trigger_tool_change" in tools:
            async with client.listen(tools_list_changed=True) as subscription:
                await client.call_tool("test_trigger_tool_change", {})
                async for event in subscription:
                    saw["changed"] = type(event).__name__
                    break
        if era == "2025" and "test_reconnection" in tools:
            result = await client.call_tool("test_reconnection", {})
            saw["resumed"] = [block.model_dump(mode="json", exclude_unset=True) for block in result.content]
        if "sleep" in tools:
            with anyio.move_on_after(0.5) as scope:
                await client.call_tool("sleep", {"seconds": 30})
            saw["cancelled"] = scope.cancelled_caught
            saw["after"] = [block.text for block in (await client.call_tool("echo", {"text": "still here"})).content]


anyio.run(main)
print(json.dumps(saw))
