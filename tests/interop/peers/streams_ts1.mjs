// Uses streams (resumption, cancellation, subscriptions) on @modelcontextprotocol/sdk (v1): `streams_ts1.mjs URL` prints the results as JSON.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ResourceUpdatedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';

const client = new Client({ name: 'streams-ts1', version: '1' });
const saw = {};
await client.connect(new StreamableHTTPClientTransport(new URL(process.argv[2])));
const tools = (await client.listTools()).tools.map(tool => tool.name);
// The server closes the stream in the middle of the call; the SDK reconnects with Last-Event-ID.
if (tools.includes('test_reconnection')) saw.resumed = await client.callTool({ name: 'test_reconnection', arguments: {} });
if (tools.includes('trigger-long-running-operation')) {
  const abort = new AbortController();
  const params = { name: 'trigger-long-running-operation', arguments: { duration: 30, steps: 60 } };
  const call = client.callTool(params, undefined, { signal: abort.signal, onprogress: () => abort.abort('enough') });
  saw.cancelled = await call.then(() => 'not at all', error => String(error.message ?? error));
  const updated = new Promise(done => client.setNotificationHandler(ResourceUpdatedNotificationSchema, n => done(n.params.uri)));
  await client.subscribeResource({ uri: 'demo://resource/dynamic/text/1' });
  await client.callTool({ name: 'toggle-subscriber-updates', arguments: {} });
  saw.updated = await updated;
}
console.log(JSON.stringify(saw));
await client.close();
process.exit(0);
