// The smallest function.
//
//   curl 'http://localhost:9000/hello?name=Noslate'

exports.handler = async (_ctx, req, res) => {
  const { searchParams } = new URL(req.url, 'http://localhost');
  res.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
  res.end(`Hello, ${searchParams.get('name') ?? 'world'}!\n`);
};
