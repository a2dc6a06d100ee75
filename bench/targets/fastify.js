// Fastify and grpc-js: bodies are streams in both directions.
const { Transform } = require('node:stream');
const fastify = require('fastify');
const { invoke } = require('./plane.js');

const app = fastify();
app.removeAllContentTypeParsers();
app.addContentTypeParser('*', (_request, _payload, done) => done(null));
app.all('/*', (request, reply) => {
  const call = invoke(request.raw);
  const body = new Transform({
    writableObjectMode: true,
    transform({ error, result }, _encoding, done) {
      if (error) {
        done(new Error(error.message));
        return;
      }
      if (result.status !== undefined) {
        reply.code(result.status);
        for (const { key, value } of result.headers ?? []) reply.header(key, value);
        reply.send(body);
      }
      done(null, result.body);
    },
  });
  // without a listener a client that leaves ends the process
  body.on('error', () => {});
  call.on('error', error => body.destroy(error));
  reply.raw.on('close', () => {
    if (!reply.raw.writableFinished) call.cancel();
  });
  call.pipe(body);
});
app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' });
