import * as assert from 'uvu/assert';
import { describeNode } from '../src/node-release.ts';
import { startServer, suite } from './helpers.ts';

const release = suite('node release');

release('should name a Node.js that gets no fixes any more', () => {
  const day = new Date('2026-11-26T12:00:00Z');
  const over = ' (out of support since 2023-09-11)';
  assert.is(describeNode('v16.18.1', day), `v16.18.1${over}`);
  assert.is(describeNode('v16.18.1', new Date('2023-09-11T23:59:59Z')), 'v16.18.1');
  assert.is(describeNode('v16.18.1', new Date('2023-09-12T00:00:00Z')), `v16.18.1${over}`);
  assert.is(describeNode('v24.21.0', day), 'v24.21.0');
  assert.is(describeNode('v24.21.0', new Date('2028-05-01T00:00:00Z')), 'v24.21.0 (out of support since 2028-04-30)');
});

release('should say nothing of one that is newer than we are', () => {
  assert.is(describeNode('v99.0.0', new Date('2050-01-01T00:00:00Z')), 'v99.0.0');
});

release('should be in the first line of the log', async () => {
  const server = await startServer({});
  const { node } = await server.line('listening', ({ message }) => message === 'listening');
  assert.is(node, describeNode());
  await server.stop();
});

release.run();
