// Sends 1 KiB POSTs at an even rate, each at its time, over at most CONNECTIONS connections, and prints how
// many were answered in full: node bench/pace.mjs PORT RATE SECONDS CONNECTIONS
//
// autocannon's own rate will not do here: it sends a second's requests in one burst.
import { Agent, request } from 'node:http';

const [port, rate, seconds, connections] = process.argv.slice(2).map(Number);
const body = Buffer.alloc(1024, 'x');
const agent = new Agent({ keepAlive: true, maxSockets: connections, scheduling: 'fifo' });
const total = rate * seconds;
let sent = 0;
let answered = 0;
let failed = 0;

function send() {
  sent++;
  const outgoing = request(
    {
      host: '127.0.0.1',
      port,
      method: 'POST',
      agent,
      headers: { 'content-type': 'text/plain', 'content-length': body.length },
    },
    response => {
      let bytes = 0;
      response.on('data', chunk => (bytes += chunk.length));
      response.on('end', () => settle(response.statusCode === 200 && bytes === body.length));
      response.on('error', () => settle(false));
    },
  );
  outgoing.on('error', () => settle(false));
  outgoing.end(body);
}

function settle(isRight) {
  if (isRight) answered++;
  else failed++;
  if (answered + failed < total) return;
  agent.destroy();
  console.log(JSON.stringify({ answered, failed, seconds: (performance.now() - startedAt) / 1000 }));
}

const startedAt = performance.now();
const ticking = setInterval(() => {
  const due = Math.min(total, Math.floor(((performance.now() - startedAt) / 1000) * rate));
  while (sent < due) send();
  if (sent === total) clearInterval(ticking);
}, 1);
