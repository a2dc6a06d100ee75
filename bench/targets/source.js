// Writes BYTES zeros to whoever connects to the unix socket SOURCE, no faster than they are read.
const { createServer } = require('node:net');
const { Readable } = require('node:stream');

const { BYTES, SOURCE } = process.env;
const chunk = Buffer.alloc(64 * 1024);

function* zeros() {
  for (let left = Number(BYTES); left > 0; left -= chunk.length)
    yield left < chunk.length ? chunk.subarray(0, left) : chunk;
}

const server = createServer(socket => {
  socket.on('error', () => {});
  Readable.from(zeros()).pipe(socket);
});
server.listen(SOURCE);
