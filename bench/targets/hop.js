// The floor of a gateway: node:http, and for each request one write to another process and one read of its answer. The
// other is an echo of its own, started beside it: nothing is framed, and nothing parsed but HTTP.
const { spawn } = require('node:child_process');
const { createServer } = require('node:http');
const net = require('node:net');
const { rmSync } = require('node:fs');

const { HOP, PORT } = process.env;

if (process.argv[2] === 'echo') {
  net.createServer(socket => socket.on('data', chunk => socket.write(chunk))).listen(HOP);
  process.on('disconnect', () => process.exit());
} else {
  rmSync(HOP, { force: true });
  spawn(process.execPath, [__filename, 'echo'], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const waiting = [];
  let left = Buffer.alloc(0);
  let plane;
  const attempt = () => {
    plane = net.connect(HOP);
    plane.on('error', () => setTimeout(attempt, 1));
    plane.on('connect', () => server.listen(Number(PORT), '127.0.0.1'));
    plane.on('data', chunk => {
      left = left.length === 0 ? chunk : Buffer.concat([left, chunk]);
      while (waiting.length > 0 && left.length >= Math.max(1, waiting[0].bytes)) {
        const { bytes, res } = waiting.shift();
        res.writeHead(200, ['content-type', 'text/plain', 'content-length', bytes]);
        res.end(left.subarray(0, bytes));
        left = left.subarray(Math.max(1, bytes));
      }
    });
  };
  const server = createServer((req, res) => {
    const chunks = [];
    req.on('data', chunk => chunks.push(chunk));
    req.on('end', () => {
      const body = Buffer.concat(chunks);
      waiting.push({ bytes: body.length, res });
      // one byte, where there is none to be sent
      plane.write(body.length === 0 ? Buffer.alloc(1) : body);
    });
  });
  attempt();
}
