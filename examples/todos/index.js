// A JSON API with a path parameter. Its list lives in the worker, so it keeps to one worker (see
// noslate.json): a real one would keep it in a database.
//
//   curl http://localhost:9000/todos
//   curl http://localhost:9000/todos/1
//   curl -X PUT -d '{"text":"water the plants","done":true}' http://localhost:9000/todos/2
//   curl http://localhost:9000/todos/nowhere

const todos = new Map([
  ['1', { text: 'read the README', done: true }],
  ['2', { text: 'write a function', done: false }],
]);

exports.handler = async (_ctx, req, res) => {
  const [, , id] = req.url.split('?')[0].split('/');
  if (id === undefined) return send(res, 200, Object.fromEntries(todos));

  if (req.method === 'PUT') {
    try {
      todos.set(id, JSON.parse(await text(req)));
    } catch (error) {
      return send(res, 400, { error: `the body is not JSON: ${error.message}` });
    }
  }
  const todo = todos.get(id);
  return todo === undefined ? send(res, 404, { error: `no todo ${id}` }) : send(res, 200, todo);
};

async function text(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function send(res, status, value) {
  res.writeHead(status, { 'content-type': 'application/json' });
  res.end(`${JSON.stringify(value)}\n`);
}
