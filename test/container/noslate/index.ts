import { chmodSync, copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { write } from '../../helpers.ts';

/** A plane's file in `bin`, which does what Noslate's does. */
const source = (file: string, plane: string, name: string): string => `#!/usr/bin/env node

'use strict';

const { Loggers, loggers } = require('#self/lib/loggers');
const { ${name} } = require('#self/${file}/index');

(async () => {
  loggers.setSink(Loggers.getPrettySink('${file}.log'));
  const ${plane} = new ${name}();
  await ${plane}.ready();
  const end = async () => {
    await ${plane}.close();
    process.exit(0);
  };
  process.on('SIGINT', end);
  process.on('SIGTERM', end);
})().catch(error => {
  console.error(error);
  process.exit(1);
});
`;

/** A module in `build`: what is in the one file that has all of it. The test planes read their .proto files where they are. */
const part = (up: string, modules: readonly string[]): string => `'use strict';
process.chdir(require('path').join(__dirname, '${up}'));
${load(modules)}module.exports = require('${up}/dist-test/container/noslate/planes.js');
`;

/** The starter of nodejs workers: without work, for functions run in the data plane's double. */
const starter = (modules: readonly string[]): string => `'use strict';
${load(modules)}require('./util').start();
`;

const STARTER_UTIL = `'use strict';
const { name } = require('#self/package.json');
exports.start = () => {
  process.on('disconnect', () => process.exit());
  console.log(name, process.execArgv, require('v8').getHeapStatistics().heap_size_limit);
  process.send('ready');
};
`;

const load = (modules: readonly string[]): string => modules.map(name => `require('${name}');\n`).join('');

const TURF = `#!/bin/sh
exec "\${0%/*}/node" "\${0%/*}/../dist-test/container/noslate/turf.js" "$@"
`;

const PACKAGE = {
  name: 'noslated',
  imports: { '#self/package.json': './package.json', '#self/*': './build/*.js' },
};

/** What a nodejs worker's starter loads of Noslate's dependencies. */
const WORKER_MODULES = ['protobufjs/minimal', 'cloneable-readable'];

/**
 * Lays out stand-ins for Noslate in a folder, to be its NOSLATE_PATH: `bin/{node,turf,data_plane,control_plane}`
 * as in Noslate's image, and beside it the files they are made of, in the places they have here. It can be copied
 * and moved as a whole; `bin/node` is a link to our own binary. What they do is told by the variable STAND_INS.
 *
 * @param tree - a package whose dependencies the planes load, all of them, one by one as they are: Noslate's own, for
 *   stand-ins of its weight. Without it they are one file each.
 * @see Noslate contract §1, §9
 */
export function installNoslate(folder: string, tree?: string): void {
  const planes = 'dist-test/container/noslate/planes.js';
  const files = [
    'dist-test/container/noslate/turf.js',
    // the script of the threads in which a data plane's double runs functions
    'dist/server.js',
    ...readdirSync('test/planes')
      .filter(file => file.endsWith('.proto'))
      .map(file => join('test/planes', file)),
  ];
  const put = (from: string, to: string): void => {
    mkdirSync(dirname(join(folder, to)), { recursive: true });
    copyFileSync(from, join(folder, to));
  };
  for (const file of files) put(file, file);
  put(tree === undefined ? planes : 'dist-test/container/tree/planes.js', planes);
  let modules: string[] = [];
  if (tree !== undefined) {
    cpSync(join(tree, 'node_modules'), join(folder, 'node_modules'), { recursive: true });
    const { dependencies } = JSON.parse(readFileSync(join(tree, 'package.json'), 'utf8')) as { dependencies: object };
    modules = Object.keys(dependencies);
  }
  write(join(folder, 'package.json'), JSON.stringify(PACKAGE));
  write(join(folder, 'build/starter/noslated_node.js'), starter(tree === undefined ? [] : WORKER_MODULES));
  write(join(folder, 'build/starter/util.js'), STARTER_UTIL);
  const bin = join(folder, 'bin');
  for (const [file, name] of [
    ['data_plane', 'DataPlane'],
    ['control_plane', 'ControlPlane'],
  ] as const) {
    write(join(bin, file), source(file, name === 'DataPlane' ? 'dataPlane' : 'controlPlane', name));
    write(join(folder, 'build', file, 'index.js'), part('../..', modules));
  }
  write(join(folder, 'build/lib/loggers.js'), part('../..', []));
  write(join(bin, 'turf'), TURF);
  chmodSync(join(bin, 'turf'), 0o755);
  symlinkSync(process.execPath, join(bin, 'node'));
}
