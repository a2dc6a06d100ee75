import { join } from 'node:path';
import { Readable } from 'node:stream';
import * as assert from 'uvu/assert';
import type { Agent } from '../../src/agent.ts';
import { now } from '../../src/clock.ts';
import { createLocalAgent } from '../../src/local/agent.ts';
import { createLog } from '../../src/log.ts';
import { loadProfile } from '../../src/profile-load.ts';
import { Cancellation } from '../../src/signal.ts';
import { project, read, SERVER_FILE, suite, within } from '../helpers.ts';

const SOURCE = `
  exports.handler = async (ctx, req, res) => {
    if (req.url === '/hang') return new Promise(() => {});
    if (req.url === '/exit') {
      await new Promise(done => setTimeout(done, 300));
      res.writeHead(200);
      res.write('half');
      setTimeout(() => process.exit(1), 50);
      return;
    }
    res.end(process.env.NOSLATE_WORKER_ID);
  };`;

/** Runs a test's body with one worker, of an agent in this process. */
async function withAgent(worker: object, body: (agent: Agent) => Promise<void>): Promise<void> {
  const folder = project({ f: SOURCE }, {}, { f: { worker: { replicaCountLimit: 1, ...worker } } });
  const agent = createLocalAgent(SERVER_FILE, createLog('off'));
  try {
    await agent.setProfile(loadProfile(join(folder, 'noslate.json')));
    await body(agent);
  } finally {
    await agent.close();
  }
}

/** Gives the name of the worker that served a call. */
async function call(agent: Agent, url: string, ms: number = 20_000): Promise<string> {
  const { body } = await agent.invoke('f', Readable.from([]), {
    url,
    method: 'GET',
    headers: [],
    baggage: [],
    requestId: url,
    deadline: now() + ms,
    signal: new Cancellation(),
  });
  return String(await within(5000, read(body), 'the body'));
}

/** Stands this thread still, and no other. */
const block = (ms: number): unknown => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

const late = suite('a gateway that is late itself');

late('should not end a worker that has heard in time that a call is over', async () => {
  await withAgent({}, async agent => {
    assert.is(await call(agent, '/'), 'f-1');
    await call(agent, '/hang', 300).then(
      () => assert.unreachable('the function never answers'),
      ({ code }) => assert.is(code, 'TIMEOUT'),
    );
    block(1500);
    assert.is(await call(agent, '/'), 'f-1');
  });
});

late('should not end a worker that has started in time', async () => {
  await withAgent({ reservationCount: 1, initializationTimeout: 1000 }, async agent => {
    block(3000);
    assert.is(await call(agent, '/'), 'f-1');
  });
});

late('should bear a worker that answered and went, both unheard', async () => {
  await withAgent({}, async agent => {
    assert.is(await call(agent, '/'), 'f-1');
    const broken = call(agent, '/exit').then(
      () => assert.unreachable('the answer has no end'),
      ({ code }) => assert.is(code, 'WORKER_EXITED'),
    );
    // it is to have the call, and not to have answered
    await new Promise(done => setTimeout(done, 100));
    block(1500);
    await broken;
    assert.is(await call(agent, '/'), 'f-2');
  });
});

late.run();
