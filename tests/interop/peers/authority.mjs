// Authorization server (oidc-provider), and an MCP server that accepts only its tokens.
// `authority.mjs [SECONDS]`: lifetime of the tokens. Prints the URL of the MCP server, then one line per request.
import http from 'node:http';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import Provider from 'oidc-provider';

const lives = Number(process.argv[2] ?? 3600);
const listen = (server) => new Promise((done) => server.listen(0, '127.0.0.1', () => done(server.address().port)));

const resource = http.createServer();
const mcp = `http://127.0.0.1:${await listen(resource)}/mcp`;
const authority = http.createServer();
const issuer = `http://127.0.0.1:${await listen(authority)}`;

const provider = new Provider(issuer, {
  clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post'],
  clients: [],
  cookies: { keys: ['for tests'] },
  features: {
    devInteractions: { enabled: true },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({ scope: 'mcp:use', accessTokenFormat: 'jwt', accessTokenTTL: lives, jwt: { sign: { alg: 'RS256' } } }),
      useGrantedResource: () => true,
    },
  },
  scopes: ['openid', 'offline_access', 'mcp:use'],
  issueRefreshToken: async () => true,
  rotateRefreshToken: true,
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
});
authority.on('request', provider.callback());

const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`));
resource.on('request', async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  const metadata = `${new URL(mcp).origin}/.well-known/oauth-protected-resource/mcp`;
  if (request.url.startsWith('/.well-known/oauth-protected-resource')) {
    response.setHeader('content-type', 'application/json');
    return response.end(JSON.stringify({ resource: mcp, authorization_servers: [issuer], scopes_supported: ['mcp:use'] }));
  }
  const token = request.headers.authorization?.replace(/^Bearer /, '');
  try {
    const { payload } = await jwtVerify(token ?? '', keys, { issuer, audience: mcp });
    const { id } = JSON.parse(body);
    console.log(`let in ${payload.sub} ${payload.scope} ${payload.jti}`);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ jsonrpc: '2.0', id, result: { sub: payload.sub } }));
  } catch (error) {
    console.log(`sent away: ${error.code ?? error.message}`);
    response.writeHead(401, { 'www-authenticate': `Bearer resource_metadata="${metadata}", scope="mcp:use"${token ? ', error="invalid_token"' : ''}` });
    response.end();
  }
});
console.log(mcp);
