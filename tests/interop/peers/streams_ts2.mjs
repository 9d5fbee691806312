// Uses the streams of 2026-07-28 (subscriptions, cancellation) on @modelcontextprotocol/client (v2): `streams_ts2.mjs URL` prints the results as JSON.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const client = new Client({ name: 'streams-ts2', version: '1' }, { versionNegotiation: { mode: { pin: '2026-07-28' } } });
const saw = {};
await client.connect(new StreamableHTTPClientTransport(new URL(process.argv[2])));
const tools = (await client.listTools()).tools.map(tool => tool.name);
if (tools.includes('test_trigger_tool_change')) {
  const changed = new Promise(done => client.setNotificationHandler('notifications/tools/list_changed', n => done(n.method)));
  const subscription = await client.listen({ toolsListChanged: true });
  await client.callTool({ name: 'test_trigger_tool_change', arguments: {} });
  saw.changed = await changed;
  await subscription.close();
}
if (tools.includes('sleep')) {
  const abort = new AbortController();
  setTimeout(() => abort.abort('enough'), 300);
  const call = client.callTool({ name: 'sleep', arguments: { seconds: 30 } }, { signal: abort.signal });
  saw.cancelled = await call.then(() => 'not at all', error => String(error.message ?? error));
}
console.log(JSON.stringify(saw));
await client.close();
process.exit(0);
