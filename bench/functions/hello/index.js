exports.handler = async (_ctx, _req, res) => {
  res.writeHead(200, { 'content-type': 'text/plain' });
  res.end('hello');
};
