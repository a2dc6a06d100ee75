// What InvokeFunction answers: the event with its keys counted. Any status but 2xx is a failed invocation.
exports.handler = async (_ctx, req, res) => {
  let text = '';
  for await (const chunk of req.setEncoding('utf8')) text += chunk;
  try {
    const event = JSON.parse(text);
    res.writeHead(200, { 'content-type': 'application/json' });
    res.end(`${JSON.stringify({ keys: Object.keys(event).length, event })}\n`);
  } catch (error) {
    res.writeHead(400, { 'content-type': 'application/json' });
    res.end(`${JSON.stringify({ error: `event: expected JSON, got ${error.message}` })}\n`);
  }
};
