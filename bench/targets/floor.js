// The floor: node:http alone, which answers what it was sent.
const { createServer } = require('node:http');

const server = createServer((req, res) => {
  const chunks = [];
  req.on('data', chunk => chunks.push(chunk));
  req.on('end', () => {
    const body = Buffer.concat(chunks);
    res.writeHead(200, ['content-type', 'text/plain', 'content-length', body.length]);
    res.end(body);
  });
});
server.listen(Number(process.env.PORT), '127.0.0.1');
