// Fails in every way a function can. The caller gets a short JSON error, or a broken connection once the
// answer has begun; what happened is in the log. The next request finds a worker that works.
//
//   curl -i http://localhost:9000/fail/throw     # 502 FUNCTION_FAILED: it threw
//   curl -i http://localhost:9000/fail/exit      # 502 WORKER_EXITED: it ended its worker
//   curl -i http://localhost:9000/fail/memory    # 502 WORKER_EXITED: it took more than its 64 MiB
//   curl -i http://localhost:9000/fail/status    # 502 BAD_RESPONSE: status 99999
//   curl -i http://localhost:9000/fail/header    # 502 BAD_RESPONSE: a header with a line break
//   curl -i http://localhost:9000/fail/twice     # 502 FUNCTION_FAILED: it wrote after the end
//   curl -i -H 'x-fc-function-timeout: 2' http://localhost:9000/fail/never   # 504 TIMEOUT: it never answered
//   curl -i -H 'x-fc-function-timeout: 2' http://localhost:9000/fail/block   # 504 TIMEOUT: it blocked its thread
//   curl -i http://localhost:9000/fail/middle    # a 200 that breaks off: curl says so and exits with an error

const ways = {
  throw() {
    throw new Error('thrown by the function');
  },
  exit() {
    process.exit(3);
  },
  memory() {
    const hoard = [];
    for (;;) hoard.push({ size: hoard.length });
  },
  status(res) {
    res.writeHead(99999);
    res.end();
  },
  header(res) {
    res.writeHead(200, { 'x-broken': 'one line\r\nx-injected: another' });
    res.end();
  },
  twice(res) {
    res.end('first');
    res.write('second');
  },
  never() {},
  block() {
    for (;;);
  },
  middle(res) {
    res.writeHead(200, { 'content-type': 'text/plain' });
    res.write('the first half, and then\n', () => res.destroy(new Error('broke off')));
  },
};

exports.handler = async (_ctx, req, res) => {
  const [, , way = ''] = req.url.split('/');
  if (Object.hasOwn(ways, way)) return ways[way](res);
  res.writeHead(200, { 'content-type': 'text/plain' });
  res.end(`ways to fail: ${Object.keys(ways).join(', ')}\n`);
};
