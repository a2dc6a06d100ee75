// The conformance function on bare node:http: the least that a server needs, and with BAD a server that does not.
const http = require('node:http');
const { setTimeout: sleep } = require('node:timers/promises');

const { BAD = '', FC_CUSTOM_LISTEN_PORT: port = 9000 } = process.env;

const server = http.createServer(async (req, res) => {
  const control = BAD === 'path' ? undefined : req.headers['x-fc-control-path'];
  const url = new URL(req.url, 'http://localhost');
  const event = control === '/invoke' || (control === undefined && url.pathname === '/invoke');
  if (control !== '/http-invoke' && ['/initialize', '/pre-freeze', '/pre-stop'].includes(url.pathname))
    return res.end();
  let wish = JSON.parse(url.searchParams.get('wish'));
  if (wish === null && !event && BAD !== 'buffer') return req.pipe(res);
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  if (event && body.toString().startsWith('{"wish":')) ({ wish } = JSON.parse(body));
  if (wish === null) return res.end(body);
  await sleep(wish.sleep ?? 0);
  if (wish.exit !== undefined) process.exit(wish.exit);
  const failed = wish.throw !== undefined || wish.status > 299;
  if (event && failed && BAD !== 'status') res.setHeader('x-fc-status', '404');
  if (BAD === 'close') res.setHeader('connection', 'close');
  res.writeHead(wish.throw === undefined ? (wish.status ?? 200) : 500, wish.headers);
  if (wish.throw !== undefined) return res.end(JSON.stringify({ errorMessage: wish.throw }));
  if (wish.seen) {
    return res.end(JSON.stringify({ method: req.method, url: req.url, headers: req.rawHeaders, bytes: body.length }));
  }
  if (wish.chunks === undefined) return res.end(wish.body);
  const { count, size, every = 0, breakOff } = wish.chunks;
  if (BAD === 'buffer') return sleep(every * count).then(() => res.end('x'.repeat(size * count)));
  if (every > 0) res.flushHeaders();
  for (let i = 0; i < count; i++) {
    if (every > 0) await sleep(every);
    res.write('x'.repeat(size));
  }
  if (breakOff && BAD !== 'whole') res.destroy();
  else res.end();
});
// off, as FC asks; by default Node closes what has been idle for 5 s
if (BAD !== 'idle') server.keepAliveTimeout = 0;
process.on('SIGTERM', () => (BAD === 'stubborn' ? console.log('no') : server.close(() => process.exit())));
server.listen(Number(port), BAD === 'loopback' ? '127.0.0.1' : '0.0.0.0');
