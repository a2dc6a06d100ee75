// Express and grpc-js in the manner of Noslate's own gateways, less their body parsers.
const express = require('express');
const { invoke } = require('./plane.js');

const app = express();
app.use((req, res) => {
  const call = invoke(req);
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
    if (result.body === undefined || res.write(result.body)) return;
    call.pause();
    res.once('drain', () => call.resume());
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
app.listen(Number(process.env.PORT), '127.0.0.1');
