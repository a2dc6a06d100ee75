import * as assert from 'uvu/assert';
import { environmentBytes, MAX_ENVIRONMENT_BYTES, oversized, settable } from '../src/environment.ts';
import type { FunctionProfile } from '../src/profile.ts';
import { suite } from './helpers.ts';

const profile = (name: string, ...environments: { key: string; value: string }[]): FunctionProfile => ({
  name,
  runtime: 'nodejs',
  url: 'file:///f',
  signature: '1',
  handler: 'a.b',
  environments,
});

const environment = suite('environment');

environment('should never be sent as an empty list', () => {
  assert.equal(settable([]), [{ key: 'NO_PLATFORM_ENVIRONMENT', value: '1' }]);
  assert.not.match(settable([])[0]?.key ?? '', /^NOSLATED?_/);
  const own = [{ key: 'A', value: '' }];
  assert.is(settable(own), own);
});

environment('should be measured as turfd is told it, that of all functions and their own', () => {
  const all = { environments: [{ key: 'A', value: 'b' }] };
  // "A=b", and "C=\"ä", with their commas
  assert.is(environmentBytes(all, profile('f')), 6);
  assert.is(environmentBytes(all, profile('f', { key: 'C', value: '"ä' })), 6 + 9);
});

environment('should be told of where turfd may not take it', () => {
  const fits = { key: 'LONG', value: 'x'.repeat(MAX_ENVIRONMENT_BYTES - 'LONG='.length - 3) };
  const environments = [{ key: 'A', value: 'b' }];
  assert.equal(oversized({ environments: [], functions: [profile('f', fits)] }), []);
  assert.equal(oversized({ environments, functions: [profile('small'), profile('f', fits)] }), [
    'functions[1].environments: with those of all functions "f" has 2506 bytes, above 2500 turfd may start no worker',
  ]);
});

environment.run();
