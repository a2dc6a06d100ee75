// Clients that mean no good: node bench/attack.mjs KIND PORT SECONDS. Prints JSON: what they have had of the server.
// Each connection that is closed is opened again.
//
// idle   5000 connections from 100 addresses that say nothing
// flood  256 connections from one address, each of which asks as fast as it is answered
import { connect } from 'node:net';

const [kind, port, seconds] = process.argv.slice(2);
const counts = { connections: 0, refused: 0, answers: 0 };
const REQUEST = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n';
/** Before a connection that was closed is opened again, ms. */
const AGAIN_MS = 100;

function attack(localAddress) {
  const socket = connect({ port: Number(port), host: '127.0.0.1', localAddress });
  counts.connections++;
  let answers = 0;
  if (kind === 'flood') {
    socket.on('connect', () => socket.write(REQUEST));
    socket.on('data', chunk => {
      // its last bytes, if it comes in pieces
      if (!chunk.toString('latin1').endsWith('0\r\n\r\n')) return;
      answers++;
      counts.answers++;
      socket.write(REQUEST);
    });
  } else socket.resume();
  socket.on('error', () => {});
  socket.on('close', () => {
    if (answers === 0) counts.refused++;
    setTimeout(attack, AGAIN_MS, localAddress);
  });
}

if (kind === 'idle') for (let i = 0; i < 5000; i++) attack(`127.0.1.${1 + (i % 100)}`);
else for (let i = 0; i < 256; i++) attack('127.0.0.66');

setTimeout(() => {
  console.log(JSON.stringify(counts));
  process.exit(0);
}, seconds * 1000);
