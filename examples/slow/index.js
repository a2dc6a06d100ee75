// Takes its time, 3 seconds unless told otherwise. With a deadline before that, the caller gets 504 TIMEOUT
// when it passes; FC sends the function's timeout, in seconds, in a header.
//
//   curl http://localhost:9000/slow
//   curl -H 'x-fc-function-timeout: 2' http://localhost:9000/slow   # 504 TIMEOUT

const { setTimeout: sleep } = require('node:timers/promises');

exports.handler = async (_ctx, req, res) => {
  const { searchParams } = new URL(req.url, 'http://localhost');
  const seconds = Number(searchParams.get('seconds') ?? 3);
  await sleep(seconds * 1000);
  res.writeHead(200, { 'content-type': 'text/plain' });
  res.end(`done after ${seconds} s\n`);
};
