import * as assert from 'uvu/assert';
import type { Connection } from '../../src/h2/connection.ts';
import { createPlane, type Plane } from '../../src/noslate/plane.ts';
import { goaway, hear, listen, type Peer, REQUEST, settings, socketPath, Type } from '../h2/peer.ts';
import { deferred, eventually, suite, within } from '../helpers.ts';
import { SOON_MS } from './bench.ts';

interface Watched {
  readonly plane: Plane;
  /** `up`, `down`; capacity is not noted. */
  readonly events: string[];
  /** Resolves with the next connection, once the plane can use it. */
  accept(): Promise<Peer>;
}

const pickOf = (plane: Plane): Connection => {
  const connection = plane.pick();
  if (connection === undefined) throw new Error('expected a connection');
  return connection;
};

/** Runs a test's body with a plane that is a script. */
async function withPlane(body: (watched: Watched) => Promise<void>): Promise<void> {
  const server = await listen();
  const events: string[] = [];
  let capacity = deferred();
  const plane = createPlane('dp-0', 'dp', server.path, {
    onUp: () => events.push('up'),
    onDown: () => events.push('down'),
    onCapacity: () => capacity.resolve(),
  });
  const peers: Peer[] = [];
  try {
    await body({
      plane,
      events,
      async accept() {
        capacity = deferred();
        const peer = await server.accept();
        peers.push(peer);
        peer.send(settings());
        await within(SOON_MS, capacity.promise, 'the plane to hear of it');
        return peer;
      },
    });
  } finally {
    plane.close();
    for (const { socket } of peers) socket.destroy();
    server.close();
  }
}

const planes = suite('plane');

planes('should be up with its first connection, and down with its last', async () => {
  await withPlane(async ({ plane, events, accept }) => {
    assert.equal([plane.isUp, plane.pick(), plane.load], [false, undefined, 0]);
    plane.connect();
    // there is one on its way
    plane.connect();
    const peer = await accept();
    assert.is(plane.isUp, true);
    const { upSince } = plane;
    plane.connect();
    const connection = pickOf(plane);
    connection.request(REQUEST, hear().listener);
    assert.is(plane.load, 1);
    peer.socket.destroy();
    await eventually('it to be down', async () => !plane.isUp);
    assert.is(plane.pick(), undefined);
    plane.connect();
    await accept();
    assert.equal(events, ['up', 'down', 'up']);
    assert.ok(plane.upSince > upSince);
  });
});

planes('should stay down when nobody listens, and say so to nobody', async () => {
  const events: string[] = [];
  const plane = createPlane('dp-0', 'dp', socketPath(), {
    onUp: () => events.push('up'),
    onDown: () => events.push('down'),
    onCapacity: () => events.push('capacity'),
  });
  for (let i = 0; i < 3; i++) {
    plane.connect();
    await new Promise(done => setImmediate(done));
  }
  plane.close();
  assert.equal(events, []);
});

planes('should stay up while a connection that goes away makes room for another', async () => {
  await withPlane(async ({ plane, events, accept }) => {
    plane.connect();
    const peer = await accept();
    const connection = pickOf(plane);
    peer.send(goaway(0, 0));
    await eventually('the connection to close', async () => connection.state === 'closed');
    assert.is(plane.pick(), undefined);
    assert.is(plane.isUp, true);
    await accept();
    assert.ok(pickOf(plane) !== connection);
    assert.equal(events, ['up']);
  });
});

planes('should leave its calls alone when it is replaced, and come up anew', async () => {
  await withPlane(async ({ plane, events, accept }) => {
    plane.connect();
    const peer = await accept();
    const heard = hear();
    const connection = pickOf(plane);
    connection.request(REQUEST, heard.listener);
    plane.replace();
    assert.equal([plane.isUp, plane.pick()], [false, undefined]);
    await accept();
    assert.equal(events, ['up', 'up']);
    assert.equal([connection.state, heard.events.length], ['draining', 0]);
    // the old one says nothing of the new
    peer.socket.destroy();
    await heard.closed();
    assert.is(plane.isUp, true);
    assert.equal(events, ['up', 'up']);
  });
});

planes('should make no connection once it is closed', async () => {
  await withPlane(async ({ plane, events, accept }) => {
    plane.connect();
    const peer = await accept();
    plane.close();
    assert.equal([plane.isUp, plane.pick()], [false, undefined]);
    await peer.take(Type.GOAWAY);
    await within(SOON_MS, peer.closed, 'the connection to close');
    assert.equal(events, ['up']);
  });
});

planes.run();
