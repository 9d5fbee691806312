"""Base of the sick servers. A server overrides one thing. Stdio: Server().run(); HTTP: Http().run() (argv[1] = file for the port)."""
import http.server, json, os, socketserver, sys, threading, time
TOOL = {'name': 'echo', 'description': 'Says it back', 'annotations': {'readOnlyHint': True},
        'inputSchema': {'type': 'object', 'properties': {'text': {'type': 'string'}}}}
NEW = '2026-07-28'

class Logic:
    era = 2025; version = '2025-11-25'; caps = {'tools': {}}; tools = [TOOL]; name = 'sick'
    def info(self): return {'name': self.name, 'version': '1'}
    def answer(self, m):
        """Result, ('error', code, text), or None for silence."""
        f = getattr(self, 'on_' + m['method'].replace('/', '_'), None)
        return f(m) if f else ('error', -32601, 'Method not found')
    def complete(self, r):
        if self.era == 2026:
            r = {'resultType': 'complete', **r}
            r['_meta'] = {'io.modelcontextprotocol/serverInfo': self.info()}
        return r
    def on_server_discover(self, m):
        if self.era == 2025: return ('error', -32601, 'Method not found')
        return self.complete({'supportedVersions': [NEW], 'capabilities': self.caps, 'ttlMs': 0, 'cacheScope': 'private'})
    def on_initialize(self, m):
        if self.era == 2026: return ('error', -32022, 'Unsupported protocol version', {'supported': [NEW], 'requested': m['params'].get('protocolVersion')})
        return {'protocolVersion': self.version, 'capabilities': self.caps, 'serverInfo': self.info()}
    def on_ping(self, m): return {}
    def on_tools_list(self, m):
        if 'tools' not in self.caps: return ('error', -32601, 'Method not found')
        r = {'tools': self.tools}
        if self.era == 2026: r.update(ttlMs=0, cacheScope='private')
        return self.complete(r)
    def on_tools_call(self, m): return self.complete({'content': [{'type': 'text', 'text': 'hi'}]})
    def reply(self, m):
        r = self.answer(m)
        if r is None: return None
        if isinstance(r, tuple):
            e = {'code': r[1], 'message': r[2]}
            if len(r) > 3: e['data'] = r[3]
            return {'jsonrpc': '2.0', 'id': m['id'], 'error': e}
        return {'jsonrpc': '2.0', 'id': m['id'], 'result': r}

class Server(Logic):
    def raw(self, b): sys.stdout.buffer.write(b); sys.stdout.buffer.flush()
    def send(self, o): self.raw(json.dumps(o).encode() + b'\n')
    def log(self, s): sys.stderr.write(s + '\n'); sys.stderr.flush()
    def start(self): pass
    def end(self): pass
    def got(self, m): pass          # notification or answer
    def handle(self, m):
        if 'method' not in m or 'id' not in m: return self.got(m)
        r = self.reply(m)
        if r is not None: self.send(r)
    def run(self):
        self.start()
        for line in iter(sys.stdin.buffer.readline, b''):
            if line.strip(): self.handle(json.loads(line))
        self.end()

class Http(Logic):
    path = '/mcp'; sse = False; session = None
    def before(self, h, body): return False      # True: answered
    def post(self, h, m):
        if 'id' not in m or 'method' not in m: return self.give(h, 202)
        r = self.reply(m)
        if r is None: time.sleep(600)
        head = {'Mcp-Session-Id': self.session} if self.session and m['method'] == 'initialize' else {}
        status = 200
        if 'error' in r and self.era == 2026: status = 404 if r['error']['code'] == -32601 else 400
        if self.sse and status == 200: self.give(h, 200, 'event: message\ndata: ' + json.dumps(r) + '\n\n', 'text/event-stream', head)
        else: self.give(h, status, json.dumps(r), 'application/json', head)
    def give(self, h, status, body=b'', kind=None, head={}):
        if isinstance(body, str): body = body.encode()
        h.send_response(status)
        if kind: h.send_header('Content-Type', kind)
        for k, v in head.items(): h.send_header(k, v)
        h.send_header('Content-Length', str(len(body))); h.end_headers(); h.wfile.write(body)
    def run(self):
        logic = self
        class H(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            def log_message(self, *a): pass
            def any(self):
                body = self.rfile.read(int(self.headers.get('content-length') or 0))
                if logic.before(self, body): return
                if self.path.split('?')[0] != logic.path: return logic.give(self, 404, '{"detail":"Not Found"}', 'application/json')
                if self.command == 'POST': return logic.post(self, json.loads(body))
                if self.command == 'DELETE' and logic.session: return logic.give(self, 200)
                logic.give(self, 405, '', None, {'Allow': 'POST'})
            do_GET = do_POST = do_DELETE = do_OPTIONS = do_HEAD = any
        class T(socketserver.ThreadingMixIn, http.server.HTTPServer): daemon_threads = True
        s = T(('127.0.0.1', 0), H); port(s.server_address[1]); s.serve_forever()

def port(n):
    f = sys.argv[1]
    with open(f + '.new', 'w') as o: o.write(str(n))
    os.rename(f + '.new', f)
