// The floor of a download: node:http alone, which pipes what comes from the unix socket SOURCE.
const { createServer } = require('node:http');
const { connect } = require('node:net');

const { PORT, SOURCE } = process.env;

const server = createServer((_, res) => {
  res.writeHead(200, ['content-type', 'text/plain']);
  connect(SOURCE).pipe(res);
});
server.listen(Number(PORT), '127.0.0.1');
