// The floor of a download from a data plane: node:http alone, which pipes what node:http2 gives of a call
// to the function @source, gRPC's and protobuf's framing included.
const { createServer } = require('node:http');
const { connect } = require('node:http2');
const net = require('node:net');

const { DATA_PLANE, PORT } = process.env;

// InvokeRequest { name = 1: '@source', url = 2 }; no length here takes more than a byte
const field = (number, text) => Buffer.concat([Buffer.of((number << 3) | 2, text.length), Buffer.from(text)]);
function message(url) {
  const request = Buffer.concat([field(1, '@source'), field(2, url)]);
  return Buffer.concat([Buffer.of(0, 0, 0, 0, request.length), request]);
}

// windows as large as those of the gateway
const session = connect('http://localhost', {
  createConnection: () => net.connect(DATA_PLANE),
  settings: { initialWindowSize: 256 * 1024 },
});
session.on('connect', () => session.setLocalWindowSize(2 ** 31 - 1));

const server = createServer((req, res) => {
  const stream = session.request({
    ':method': 'POST',
    ':path': '/noslated.data.PushServer/invoke',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.end(message(req.url));
  res.writeHead(200, ['content-type', 'text/plain']);
  stream.pipe(res);
});
server.listen(Number(PORT), '127.0.0.1');
