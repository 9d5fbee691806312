// Opens a page in headless Chromium and uses it as a person would: `page.mjs FILE` prints what it saw as one JSON document.
import { spawn } from 'node:child_process';
import { pathToFileURL } from 'node:url';

const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--remote-debugging-pipe', '--window-size=1200,800'];
const browser = spawn(process.env.CHROMIUM ?? 'chromium-headless-shell', flags, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
const waiting = new Map();
const saw = { console: [], requests: [] };
let rest = '', last = 0;
browser.stdio[4].on('data', chunk => {
  const parts = (rest + chunk).split('\0');
  rest = parts.pop();
  for (const message of parts.map(part => JSON.parse(part))) {
    const { id, method, params, result, error } = message;
    if (id && waiting.has(id)) { const { resolve, reject } = waiting.get(id); waiting.delete(id); error ? reject(new Error(error.message)) : resolve(result); }
    if (method === 'Runtime.exceptionThrown') saw.console.push(params.exceptionDetails.text + ' ' + (params.exceptionDetails.exception?.description ?? ''));
    if (method === 'Runtime.consoleAPICalled' && params.type === 'error') saw.console.push(JSON.stringify(params.args));
    if (method === 'Log.entryAdded' && params.entry.level === 'error') saw.console.push(params.entry.text);
    if (method === 'Network.requestWillBeSent') saw.requests.push(params.request.url);
  }
});
const send = (method, params = {}, sessionId) => new Promise((resolve, reject) => {
  const id = ++last;
  waiting.set(id, { resolve, reject });
  // A page that navigates away never answers a pending request, so limit the time.
  setTimeout(() => { if (waiting.delete(id)) reject(new Error(method + ' was not answered')); }, 5000).unref();
  browser.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + '\0');
});
const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
for (const domain of ['Page', 'Runtime', 'Network', 'Log']) await send(domain + '.enable', {}, sessionId);
const url = pathToFileURL(process.argv[2]).href;
await send('Page.navigate', { url }, sessionId);
const evaluate = async expression => {
  const { result, exceptionDetails } = await send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true }, sessionId);
  if (exceptionDetails) saw.console.push(exceptionDetails.text);
  return result.value;
};
for (let tries = 0, there = false; !there && tries < 50; tries++) {
  await new Promise(resolve => setTimeout(resolve, 100));
  there = await evaluate(`location.href === ${JSON.stringify(url)} && document.readyState === 'complete'`).catch(() => false);
}
const at = id => `document.getElementById('${id}')`;
const rows = `document.querySelectorAll('.row').length`;
const where = `${at('where')}.textContent`;
saw.title = await evaluate('document.title');
saw.rows = await evaluate(rows);
const search = text => evaluate(`(() => { const box = ${at('search')}; box.value = ${JSON.stringify(text)}; box.dispatchEvent(new Event('input')); return ${rows}; })()`);
saw.found = await search(process.argv[3]);
saw.marked = await evaluate(`document.querySelectorAll('#tree mark').length`);
await search('');
saw.open = await evaluate(`document.querySelectorAll('#tree details[open]').length`);
await evaluate(`${at('fold')}.click()`);
saw.folded = await evaluate(`document.querySelectorAll('#tree details[open]').length`);
const key = text => evaluate(`dispatchEvent(new KeyboardEvent('keydown', { key: '${text}' }))`);
await key(','); await key(',');
saw.before = await evaluate(where);
await key('.');
saw.after = await evaluate(where);
await evaluate(`document.querySelectorAll('.row')[0].click(); ${at('speed')}.value = 'Infinity'; ${at('play')}.click(); new Promise(resolve => setTimeout(resolve, 500))`);
saw.played = await evaluate(where);
saw.drawn = await evaluate(`(() => { const canvas = ${at('time')}; return canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(byte => byte > 0); })()`);
saw.requests = saw.requests.filter(request => request !== url);
console.log(JSON.stringify(saw));
browser.kill('SIGKILL');
process.exit(0);
