// What the HTTP trigger answers: who asked for what, and which instance says so.
exports.handler = async (_ctx, req, res) => {
  res.writeHead(200, { 'content-type': 'application/json' });
  const requestId = req.headers['x-fc-request-id'];
  res.end(`${JSON.stringify({ method: req.method, url: req.url, requestId, worker: process.pid })}\n`);
};
