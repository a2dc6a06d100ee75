import * as assert from 'uvu/assert';
import { createUrls } from '../../src/noslate/urls.ts';
import { EMPTY_PROFILE, type Profile } from '../../src/profile.ts';
import { suite } from '../helpers.ts';
import { metadata } from './bench.ts';

const PROFILE: Profile = {
  ...EMPTY_PROFILE,
  functions: [
    { name: 'node', runtime: 'nodejs', url: 'file:///f', signature: '1', handler: 'a.b' },
    { name: 'aw', runtime: 'aworker', url: 'file:///f', signature: '1', sourceFile: 'a.js' },
  ],
  services: [
    { name: 'aw', type: 'default', selector: { functionName: 'node' } },
    { name: 'toAworker', type: 'default', selector: { functionName: 'aw' } },
    {
      name: 'toBoth',
      type: 'proportional-load-balance',
      selectors: ['aw', 'node'].map(functionName => ({ selector: { functionName }, proportion: 0.5 })),
    },
    {
      name: 'toAworkers',
      type: 'proportional-load-balance',
      selectors: ['aw', 'aw'].map(functionName => ({ selector: { functionName }, proportion: 0.5 })),
    },
  ],
};

const urls = suite('urls');

urls('should be absolute for an aworker, and for a service that picks none but aworkers', () => {
  const of = createUrls(PROFILE);
  const request = metadata({ url: '/p?q', headers: ['Accept', 'host', 'HOST', 'h:1'] });
  const url = (type: 'function' | 'service', name: string): string => of({ type, name }, request);
  assert.is(url('function', 'node'), '/p?q');
  assert.is(url('function', 'aw'), 'http://h:1/p?q');
  assert.is(url('function', 'unknown'), '/p?q');
  assert.is(url('service', 'toAworker'), 'http://h:1/p?q');
  assert.is(url('service', 'toAworkers'), 'http://h:1/p?q');
  assert.is(url('service', 'toBoth'), '/p?q');
  // a service may have the name of a function
  assert.is(url('service', 'aw'), '/p?q');
});

urls('should name some host when the client has not', () => {
  assert.is(createUrls(PROFILE)({ type: 'function', name: 'aw' }, metadata({ url: '/' })), 'http://localhost/');
});

urls.run();
