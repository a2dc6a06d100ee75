exports.handler = async (_ctx, req, res) => {
  let bytes = 0;
  for await (const chunk of req) bytes += chunk.length;
  res.writeHead(200, { 'content-type': 'text/plain' });
  res.end(String(bytes));
};
