// An event function: the caller gets the body alone, so a status other than 2xx is how it reports a failure.
//
//   curl -d '{"amount":20}' http://localhost:9000/invoke
//   curl -i -d '{"amount":"many"}' http://localhost:9000/invoke

exports.handler = async (_ctx, req, res) => {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  const { amount } = JSON.parse(Buffer.concat(chunks).toString() || '{"amount":0}');
  const isValid = typeof amount === 'number';
  res.writeHead(isValid ? 200 : 422, { 'content-type': 'application/json' });
  res.end(`${JSON.stringify(isValid ? { doubled: amount * 2 } : { error: 'amount: expected a number' })}\n`);
};
