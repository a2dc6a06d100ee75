// node:http and node:http2 alone, and protobufjs for the messages: what one writes who wants no framework.
const { createServer } = require('node:http');
const { connect } = require('node:http2');
const net = require('node:net');
const { resolve } = require('node:path');
const protobuf = require('protobufjs');

const { DATA_PLANE, FUNCTION, PORT } = process.env;

const root = new protobuf.Root();
root.resolvePath = (_origin, target) => resolve(__dirname, '../../test/planes', target);
root.loadSync('data-plane.proto', { keepCase: true });
const InvokeRequest = root.lookupType('noslated.data.InvokeRequest');
const InvokeResponse = root.lookupType('noslated.data.InvokeResponse');

// windows as large as those of our gateway
const session = connect('http://localhost', {
  createConnection: () => net.connect(DATA_PLANE),
  settings: { initialWindowSize: 256 * 1024 },
});
session.on('connect', () => session.setLocalWindowSize(2 ** 31 - 1));

function message(fields) {
  const bytes = InvokeRequest.encode(fields).finish();
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}

const server = createServer((req, res) => {
  const stream = session.request({
    ':method': 'POST',
    ':path': '/noslated.data.PushServer/invoke',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  const { rawHeaders } = req;
  const headers = [];
  for (let i = 0; i < rawHeaders.length; i += 2) headers.push({ key: rawHeaders[i], value: rawHeaders[i + 1] });
  const deadline = Date.now() + 60_000;
  const requestId = String(Math.random());
  stream.write(message({ name: FUNCTION, url: req.url, method: req.method, headers, deadline, requestId }));
  req.on('data', chunk => {
    if (stream.write(message({ body: chunk }))) return;
    req.pause();
    stream.once('drain', () => req.resume());
  });
  req.on('end', () => stream.end());

  let rest = Buffer.alloc(0);
  stream.on('data', chunk => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (;;) {
      const end = rest.length < 5 ? Infinity : 5 + rest.readUInt32BE(1);
      if (rest.length < end) return;
      const { error, result } = InvokeResponse.decode(rest.subarray(5, end));
      rest = rest.subarray(end);
      if (error) {
        res.writeHead(502).end(error.message);
        stream.close();
        return;
      }
      if (result.status) res.writeHead(result.status, Object.fromEntries(result.headers.map(h => [h.key, h.value])));
      if (result.body.length === 0 || res.write(result.body)) continue;
      stream.pause();
      res.once('drain', () => stream.resume());
    }
  });
  stream.on('end', () => res.end());
  stream.on('error', () => res.destroy());
  res.on('close', () => {
    if (!res.writableFinished) stream.close();
  });
});
server.listen(Number(PORT), '127.0.0.1');
