// The server that FC's own samples show: Express, body parsers, a route for each hook. An example of what fails.
//
//   npm install --no-save express && npx noslate-fc conformance --express
const { createRequire } = require('node:module');
const { join } = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');

// as installed where the user is
const express = createRequire(join(process.cwd(), 'here'))('express');

const app = express();
app.use(express.json());
app.use(express.urlencoded({ extended: true }));
app.use(express.raw({ type: '*/*' }));

app.post('/initialize', (_, res) => {
  res.send('');
});
app.post('/invoke', (req, res) => answer(wishOf(req.body), req, res));
app.get('/pre-stop', (_, res) => {
  res.send('');
});
app.use((req, res) => answer(req.query.wish === undefined ? undefined : JSON.parse(req.query.wish), req, res));

function wishOf(body) {
  try {
    return JSON.parse(body.toString()).wish;
  } catch {
    return undefined;
  }
}

/** The conformance function, as an Express handler. */
async function answer(wish, req, res) {
  if (wish === undefined) return res.send(req.body);
  if (wish.sleep !== undefined) await sleep(wish.sleep);
  if (wish.throw !== undefined) throw new Error(wish.throw);
  if (wish.exit !== undefined) process.exit(wish.exit);
  res.status(wish.status ?? 200).set(wish.headers ?? {});
  if (wish.seen) {
    const bytes = req.body?.length ?? 0;
    return res.send(JSON.stringify({ method: req.method, url: req.originalUrl, headers: req.rawHeaders, bytes }));
  }
  if (wish.chunks === undefined) return res.send(wish.body ?? '');
  const { count, size, every = 0, breakOff = false } = wish.chunks;
  if (every > 0) res.flushHeaders();
  for (let i = 0; i < count; i++) {
    if (every > 0) await sleep(every);
    res.write(Buffer.alloc(size, 'x'));
  }
  if (breakOff) throw new Error('broken off');
  res.end();
}

app.listen(process.env.FC_CUSTOM_LISTEN_PORT ?? 9000, '0.0.0.0');
