// Interop client on @modelcontextprotocol/sdk (v1): `client_ts1.mjs 2025 CMD ARG...|URL` prints what it saw as one JSON document.
import { readFileSync } from 'node:fs';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';

const [era, command, ...args] = process.argv.slice(2);
if (era !== '2025') throw new Error('the v1 SDK speaks only the 2025 era');

const plans = JSON.parse(readFileSync(new URL('calls.json', import.meta.url), 'utf8').replaceAll('$LAST', args.at(-1)));
const saw = { client: 'ts1', era };
const seen = { messages: [], elicitations: [], calls: [] };
const errorOf = e => ({ name: e.name, code: e.code, message: e.message, data: e.data });
let plan;

const client = new Client({ name: 'interop-ts1', version: '1' }, { capabilities: { elicitation: {} } });
client.setRequestHandler(ElicitRequestSchema, request => {
  seen.elicitations.push(request.params);
  return { action: 'accept', content: plan.answer };
});
const transport = command.startsWith('http:') ? new StreamableHTTPClientTransport(new URL(command)) : new StdioClientTransport({ command, args });
transport.setProtocolVersion = version => { saw.negotiated = version; };
try {
  await client.connect(transport);
  const deliver = transport.onmessage;
  transport.onmessage = (message, extra) => {
    if (message.method) seen.messages.push(message);
    deliver(message, extra);
  };
  Object.assign(saw, { server: client.getServerVersion(), capabilities: client.getServerCapabilities(), instructions: client.getInstructions() });
  plan = plans[saw.server.name];
  saw.tools = await client.listTools();
  if (saw.capabilities.resources) saw.resources = await client.listResources();
  if (saw.capabilities.prompts) saw.prompts = await client.listPrompts();
  for (const [name, callArgs] of [...plan.calls, ['no_such_tool', {}]]) {
    const call = { tool: name, progress: [] };
    // The last progress is left out: the SDK drops it when it comes in one read with the result. seen.messages has it.
    const onprogress = p => { if (!(p.progress >= p.total)) call.progress.push(p); };
    seen.calls.push(call);
    try {
      call.result = await client.callTool({ name, arguments: callArgs }, undefined, { onprogress, timeout: 20000 });
    } catch (e) { call.error = errorOf(e); }
  }
} catch (e) { saw.failed = errorOf(e); process.exitCode = 1; }
await client.close();
const text = JSON.stringify({ ...saw, ...seen }, null, 1);
console.log(plan?.mask ? text.replace(new RegExp(plan.mask, 'g'), 'MASKED') : text);
