// The conformance function for noslate-fc; `noslate-fc conformance --help` says what it has to do.
const { once } = require('node:events');
const { pipeline } = require('node:stream/promises');
const { setTimeout: sleep } = require('node:timers/promises');

/** The wish in the query of an HTTP trigger's request, or in an event. */
async function wishOf(req) {
  const [path, query = ''] = req.url.split('?');
  const told = new URLSearchParams(query).get('wish');
  if (told !== null) return { wish: JSON.parse(told) };
  if (path !== '/invoke') return {};
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  try {
    return { body, wish: JSON.parse(body.toString()).wish };
  } catch {
    return { body };
  }
}

/** Noslate takes 10 MiB in one write. */
function* pieces(body) {
  for (let at = 0; at < body.length; at += 65_536) yield body.subarray(at, at + 65_536);
}

exports.handler = async (_, req, res) => {
  const { wish, body } = await wishOf(req);
  if (wish === undefined) {
    res.writeHead(200, { 'content-type': 'application/octet-stream' });
    return pipeline(body === undefined ? req : pieces(body), res);
  }
  if (wish.sleep !== undefined) await sleep(wish.sleep);
  if (wish.throw !== undefined) throw new Error(wish.throw);
  if (wish.exit !== undefined) process.exit(wish.exit);
  res.writeHead(wish.status ?? 200, wish.headers ?? {});
  if (wish.seen) {
    let bytes = 0;
    for await (const chunk of req) bytes += chunk.length;
    return res.end(JSON.stringify({ method: req.method, url: req.url, headers: req.rawHeaders, bytes }));
  }
  if (wish.chunks === undefined) return res.end(wish.body);
  const { count, size, every = 0, breakOff = false } = wish.chunks;
  if (every > 0) {
    res.flushHeaders();
    await sleep(every);
  }
  for (let i = 0; i < count; i++) {
    if (i > 0 && every > 0) await sleep(every);
    if (!res.write(Buffer.alloc(size, 'x'))) await Promise.race([once(res, 'drain'), once(res, 'close')]);
    if (res.destroyed) return;
  }
  if (breakOff) throw new Error('broken off');
  res.end();
};
