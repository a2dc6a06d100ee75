// From the spawn to the open port and to the first answer, with the files in the system's cache.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { accepted, expectEcho } from '../client.mjs';
import { folder } from '../planes.mjs';
import { fileOf, memory, settings, stop } from '../process.mjs';
import { interleave, say } from '../run.mjs';
import { taking, targets } from '../targets.mjs';

const BODY = Buffer.alloc(1024, 'x');
const MIB = 1024 * 1024;
/** Where the matrix keeps its binaries. */
const NODES = '.cache/node';

/** Starts each once a round: ms from its spawn to the open port and to the first reply, and MiB after that. */
export async function starts(rounds, names) {
  const launches = Object.fromEntries(names.map(name => [name, targets[name].launch('@echo')]));
  return interleave(rounds, names, async name => {
    const { child, port } = await launches[name]();
    const socket = await accepted(port);
    const accept = performance.now() - child.begun;
    await expectEcho(port, BODY, socket);
    const reply = performance.now() - child.begun;
    const rss = memory(child).now / MIB;
    await stop(child);
    return { accept, reply, rss };
  });
}

/** CommonJS modules that a target has loaded by its first reply, and their bytes. */
async function loaded(name) {
  const probe = join(folder, `${name}.probe`);
  settings.options = ['-r', './bench/probe.cjs'];
  settings.env = { PROBE: probe };
  try {
    const { child, port } = await targets[name].launch('@echo')();
    await expectEcho(port, BODY, await accepted(port));
    child.kill('SIGUSR2');
    const text = await fileOf(probe);
    await stop(child);
    return JSON.parse(text);
  } finally {
    settings.options = [];
    settings.env = {};
  }
}

export async function cold({ rounds }) {
  const names = taking('cold');
  say(`cold: spawn → port accepts → first reply of 1 KiB, ${rounds} rounds`);
  const { accept, reply, rss } = await starts(rounds, names);
  const tables = [
    { id: 'cold-accept', title: 'spawn → port accepts', unit: 'ms', digits: 1, samples: accept },
    { id: 'cold-reply', title: 'spawn → first reply', unit: 'ms', digits: 1, samples: reply },
    { id: 'cold-rss', title: 'RSS after one request', unit: 'MiB', digits: 1, samples: rss },
  ];

  say('cold: modules, and bytes of JavaScript');
  const counts = { modules: {}, bytes: {} };
  for (const name of names) {
    const { modules, bytes } = await loaded(name);
    counts.modules[name] = [modules];
    counts.bytes[name] = [bytes / 1024];
  }
  tables.push(
    { id: 'cold-modules', title: 'modules loaded', unit: '', digits: 0, isAbsolute: true, samples: counts.modules },
    { id: 'cold-bytes', title: 'JavaScript loaded', unit: 'KiB', digits: 0, isAbsolute: true, samples: counts.bytes },
  );

  const versions = existsSync(NODES) ? readdirSync(NODES).filter(name => /^\d/.test(name)) : [];
  for (const version of versions) {
    say(`cold: Node.js ${version}`);
    settings.node = join(NODES, version, 'bin/node');
    const found = await starts(Math.ceil(rounds / 2), ['floor', 'native', 'express']);
    tables.push(
      {
        id: `cold-accept-${version}`,
        title: `spawn → port accepts, Node.js ${version}`,
        unit: 'ms',
        digits: 1,
        samples: found.accept,
      },
      {
        id: `cold-reply-${version}`,
        title: `spawn → first reply, Node.js ${version}`,
        unit: 'ms',
        digits: 1,
        samples: found.reply,
      },
    );
  }
  settings.node = process.execPath;
  return { tables, curves: [] };
}
