import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { suite } from './helpers.ts';

/** An entry of the lock file, as far as it says where a package's bytes come from. */
interface Entry {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly link?: boolean;
}

const TEXT = readFileSync('package-lock.json', 'utf8');

const lock = suite('lock file');

lock('should pin the bytes of every package, for this machine or another', () => {
  const { packages } = JSON.parse(TEXT) as { packages: Readonly<Record<string, Entry>> };
  const { '': root, ...others } = packages;
  assert.ok(root);
  assert.ok(Object.keys(others).length > 100);
  // without it npm takes what the registry gives that day
  const loose = Object.entries(others).filter(([, { integrity }]) => !/^sha512-[\w+/]{86}==$/.test(integrity ?? ''));
  assert.equal(loose, []);
  // a registry's address would be one of the machine that made the file
  const placed = Object.entries(others).filter(([, { resolved, link }]) => resolved !== undefined || link === true);
  assert.equal(placed, []);
});

lock.run();
