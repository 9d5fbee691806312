// Dual-era fixture on @modelcontextprotocol/server v2, on stdio or, with `http`, at a URL that it prints: an echo, a tool with progress, a tool that asks the user, a resource, a prompt.
import { createServer } from 'node:http';
import { McpServer, acceptedContent, createMcpHandler, inputRequired } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';

const text = value => ({ content: [{ type: 'text', text: value }] });
const colour = z.object({ colour: z.string() });

const fixture = () => {
  const server = new McpServer({ name: 'peers-ts2', version: '1.0.0' }, { instructions: 'fixture' });

  server.registerTool('echo', { description: 'Gives the text back', inputSchema: z.object({ text: z.string() }) },
    ({ text: value }) => text(value));

  server.registerTool('count', { description: 'Counts with progress', inputSchema: z.object({ steps: z.number() }) },
    async ({ steps }, ctx) => {
      const progressToken = ctx.mcpReq._meta?.progressToken;
      for (let progress = 1; progress <= steps; progress++) {
        if (progressToken !== undefined) {
          await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: steps, message: `step ${progress}` } });
        }
        await new Promise(done => setTimeout(done, 50));
      }
      return text(`counted to ${steps}`);
    });

  server.registerTool('ask', { description: 'Asks the user', inputSchema: z.object({ question: z.string() }) },
    ({ question }, ctx) => {
      const answer = acceptedContent(ctx.mcpReq.inputResponses, 'colour', colour);
      if (answer) return text(`${question} ${answer.colour}, state ${ctx.mcpReq.requestState()}`);
      return inputRequired({
        inputRequests: { colour: inputRequired.elicit({ message: question, requestedSchema: colour }) },
        requestState: 'state-1',
      });
    });

  server.registerResource('note', 'note://one', { mimeType: 'text/plain' }, uri => ({ contents: [{ uri: uri.href, text: 'one' }] }));
  server.registerPrompt('greet', { description: 'A greeting' }, () => ({ messages: [{ role: 'user', content: { type: 'text', text: 'hello' } }] }));
  return server;
};

if (process.argv[2] === 'http') {
  const handler = createMcpHandler(fixture);
  const server = createServer(async (incoming, outgoing) => {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const leaves = new AbortController();
    outgoing.on('close', () => leaves.abort());
    const { method, headers } = incoming;
    const body = chunks.length ? Buffer.concat(chunks) : undefined;
    const response = await handler.fetch(new Request(`http://${headers.host}${incoming.url}`, { method, headers, body, signal: leaves.signal }));
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.flushHeaders();
    for await (const chunk of response.body ?? []) outgoing.write(chunk);
    outgoing.end();
  });
  server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/mcp`));
} else {
  serveStdio(fixture);
}
