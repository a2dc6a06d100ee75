import {
  linkSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { stampOf, watch } from '../src/watch.ts';
import { deferred, suite, temporary, within, write } from './helpers.ts';

const stamps = suite('stampOf');

stamps('should be another one whatever was done to the file, and the same when nothing was', () => {
  const root = temporary();
  const file = join(root, 'app/index.js');
  write(file, 'one');
  let last = stampOf(file);
  const differs = (what: string, act: () => void): void => {
    act();
    const next = stampOf(file);
    assert.is.not(next, last, what);
    assert.is(stampOf(file), next);
    last = next;
  };
  differs('another length', () => writeFileSync(file, 'three'));
  differs('another file', () => {
    write(join(root, 'app/new'), 'three');
    renameSync(join(root, 'app/new'), file);
  });
  differs('the same length and time', () => {
    const { atime, mtime } = statSync(file);
    writeFileSync(file, 'seven');
    utimesSync(file, atime, mtime);
  });
  differs('a hard link of the same', () => linkSync(file, join(root, 'app/other')));
  differs('none', () => rmSync(file));
  differs('a folder', () => mkdirSync(file));
  differs('no folder above', () => renameSync(join(root, 'app'), join(root, 'old')));
  differs('a link above', () => {
    write(join(root, 'release/index.js'), 'one');
    symlinkSync('release', join(root, 'app'));
  });
  differs('a file above', () => {
    unlinkSync(join(root, 'app'));
    writeFileSync(join(root, 'app'), '');
  });
  differs('a link to itself', () => {
    rmSync(join(root, 'app'));
    symlinkSync('app', join(root, 'app'));
  });
});

stamps('should tell which folder it is, and not what is in it', () => {
  const root = temporary();
  const before = stampOf(root);
  write(join(root, 'file'), '');
  assert.is(stampOf(root), before);
});

stamps.run();

const watching = suite('watch');

/** Lets another watch come to its change, which takes several looks. */
async function assertEnded(count: () => number): Promise<void> {
  const before = count();
  let looks = 0;
  const done = deferred();
  const end = watch(() => Math.min(looks++, 2), done.resolve);
  await within(5000, done.promise, 'another change');
  end();
  assert.is(count(), before, 'looks after the end');
}

watching(
  'should tell of what belongs together once, after it has come to rest, and not of what was undone',
  async () => {
    // what comes with each look, then always the last
    const values = ['a', 'a', 'b', 'a', 'a', 'b', 'c', 'd', 'd', 'd', 'e', 'e', 'e'];
    let looks = 0;
    const told: string[] = [];
    const done = deferred();
    const end = watch(
      () => values[Math.min(looks++, values.length - 1)],
      () => {
        told.push(`${values[looks - 1]} ${looks}`);
        if (told.length === 2) done.resolve();
      },
    );
    await within(5000, done.promise, 'two changes');
    end();
    assert.equal(told, ['d 9', 'e 12']);
  },
);

watching('should tell of what never comes to rest', async () => {
  let looks = 0;
  const done = deferred();
  const end = watch(() => looks++, done.resolve);
  await within(5000, done.promise, 'a change');
  end();
  await assertEnded(() => looks);
});

watching('should end when it is told to in the middle of a change', async () => {
  let looks = 0;
  const done = deferred();
  const end = watch(
    () => Math.min(looks++, 1),
    () => {
      end();
      done.resolve();
    },
  );
  await within(5000, done.promise, 'a change');
  await assertEnded(() => looks);
});

watching.run();
