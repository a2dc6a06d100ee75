// A call to a data plane as a gateway with grpc-js makes it, for the targets that have one.
const { resolve } = require('node:path');
const { credentials, loadPackageDefinition } = require('@grpc/grpc-js');
const { loadSync } = require('@grpc/proto-loader');

const { DATA_PLANE, FUNCTION } = process.env;

const definition = loadSync('data-plane.proto', {
  includeDirs: [resolve(__dirname, '../../test/planes')],
  keepCase: true,
});
const { PushServer } = loadPackageDefinition(definition).noslated.data;
const client = new PushServer(`unix:${DATA_PLANE}`, credentials.createInsecure());

function pairs({ rawHeaders }) {
  const headers = [];
  for (let i = 0; i < rawHeaders.length; i += 2) headers.push({ key: rawHeaders[i], value: rawHeaders[i + 1] });
  return headers;
}

/** Begins a call with a request of node:http, and sends it the request's body. */
exports.invoke = function invoke(req) {
  const call = client.invoke();
  call.write({
    name: FUNCTION,
    url: req.url,
    method: req.method,
    headers: pairs(req),
    deadline: Date.now() + 60_000,
    requestId: String(Math.random()),
  });
  req.on('data', chunk => {
    if (call.write({ body: chunk })) return;
    req.pause();
    call.once('drain', () => req.resume());
  });
  req.on('end', () => call.end());
  return call;
};
