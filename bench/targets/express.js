// The rival: Express and grpc-js in the manner of Noslate's own gateways, less their body parsers.
const { resolve } = require('node:path');
const { credentials, loadPackageDefinition } = require('@grpc/grpc-js');
const { loadSync } = require('@grpc/proto-loader');
const express = require('express');

const { DATA_PLANE, FUNCTION, PORT } = process.env;

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

const app = express();
app.use((req, res) => {
  const call = client.invoke();
  call.write({
    name: FUNCTION,
    url: req.url,
    method: req.method,
    headers: pairs(req),
    deadline: Date.now() + 60_000,
    requestId: String(Math.random()),
  });
  req.on('data', chunk => call.write({ body: chunk }));
  req.on('end', () => call.end());

  call.on('data', ({ error, result }) => {
    if (error) {
      call.cancel();
      res.status(502).json({ errorMessage: error.message });
      return;
    }
    if (result.status !== undefined) {
      res.status(result.status);
      for (const { key, value } of result.headers ?? []) res.append(key, value);
    }
    if (result.body !== undefined) res.write(result.body);
  });
  call.on('end', () => res.end());
  call.on('error', error => {
    if (res.headersSent) res.destroy();
    else res.status(502).json({ errorMessage: error.message });
  });
  res.on('close', () => {
    if (!res.writableFinished) call.cancel();
  });
});
app.listen(Number(PORT), '127.0.0.1');
