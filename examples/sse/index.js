// Server-sent events: the head leaves before the first event, and each event when it is written.
//
//   curl -N 'http://localhost:9000/sse?events=3'

const { setTimeout: sleep } = require('node:timers/promises');

exports.handler = async (_ctx, req, res) => {
  const { searchParams } = new URL(req.url, 'http://localhost');
  const events = Number(searchParams.get('events') ?? 5);
  res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  for (let id = 1; id <= events && !res.destroyed; id++) {
    res.write(`id: ${id}\ndata: ${new Date().toISOString()}\n\n`);
    await sleep(1000);
  }
  res.end();
};
