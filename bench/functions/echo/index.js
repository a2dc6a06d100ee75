exports.handler = async (_ctx, req, res) => {
  res.writeHead(200, { 'content-type': 'text/plain' });
  for await (const chunk of req) res.write(chunk);
  res.end();
};
