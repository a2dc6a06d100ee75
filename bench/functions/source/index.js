const { once } = require('node:events');

exports.handler = async (_ctx, req, res) => {
  const chunk = Buffer.alloc(64 * 1024);
  res.writeHead(200, { 'content-type': 'text/plain' });
  for (let left = Number(req.url.slice(1)); left > 0; left -= chunk.length) {
    if (!res.write(chunk.subarray(0, left))) await once(res, 'drain');
  }
  res.end();
};
