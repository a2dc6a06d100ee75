// Streams the request's body back as it comes, at the pace of the slower side.
//
//   curl -d 'as you like it' http://localhost:9000/echo

const { pipeline } = require('node:stream/promises');

exports.handler = async (_ctx, req, res) => {
  // writeHead first: on Noslate a body written before it waits for the end of the response
  res.writeHead(200, { 'content-type': req.headers['content-type'] ?? 'application/octet-stream' });
  await pipeline(req, res);
};
