// Dual-era stdio fixture on @modelcontextprotocol/server v2: an echo, a tool with progress, a tool that asks the user, a resource, a prompt.
import { McpServer, acceptedContent, inputRequired } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';

const text = value => ({ content: [{ type: 'text', text: value }] });
const colour = z.object({ colour: z.string() });

serveStdio(() => {
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
});
