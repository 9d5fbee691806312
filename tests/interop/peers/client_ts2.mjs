// Interop client on @modelcontextprotocol/client (v2): `client_ts2.mjs 2025|2026|auto CMD ARG...|URL` prints what it saw as one JSON document.
import { readFileSync } from 'node:fs';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

const [era, command, ...args] = process.argv.slice(2);
const mode = { 2025: 'legacy', 2026: { pin: '2026-07-28' }, auto: 'auto' }[era];
if (!mode) throw new Error(`unknown era ${era}`);

const plans = JSON.parse(readFileSync(new URL('calls.json', import.meta.url), 'utf8').replaceAll('$LAST', args.at(-1)));
const saw = { client: 'ts2', era };
const seen = { messages: [], elicitations: [], calls: [] };
const errorOf = e => ({ name: e.name, code: e.code, message: e.message, data: e.data });
let plan;

const client = new Client({ name: 'interop-ts2', version: '1' }, { capabilities: { elicitation: {} }, versionNegotiation: { mode } });
client.setRequestHandler('elicitation/create', request => {
  seen.elicitations.push(request.params);
  return { action: 'accept', content: plan.answer };
});
const transport = command.startsWith('http:') ? new StreamableHTTPClientTransport(new URL(command)) : new StdioClientTransport({ command, args });
try {
  await client.connect(transport);
  const deliver = transport.onmessage;
  transport.onmessage = (message, extra) => {
    if (message.method) seen.messages.push(message);
    deliver(message, extra);
  };
  Object.assign(saw, { negotiated: client.getNegotiatedProtocolVersion(), server: client.getServerVersion(), capabilities: client.getServerCapabilities(), instructions: client.getInstructions() });
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
      call.result = await client.callTool({ name, arguments: callArgs }, { onprogress, timeout: 20000 });
    } catch (e) { call.error = errorOf(e); }
  }
} catch (e) { saw.failed = errorOf(e); process.exitCode = 1; }
await client.close();
const text = JSON.stringify({ ...saw, ...seen }, null, 1);
console.log(plan?.mask ? text.replace(new RegExp(plan.mask, 'g'), 'MASKED') : text);
