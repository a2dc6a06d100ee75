import { chmodSync, copyFileSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { write } from '../../helpers.ts';

/** A plane's file in `bin`. The test planes read their .proto files in the current folder. */
const source = (plane: string): string => `process.chdir(require('path').join(__dirname, '..'));
require('../dist-test/container/noslate/planes.js').run('${plane}');
`;

const TURF = `#!/bin/sh
exec "\${0%/*}/node" "\${0%/*}/../dist-test/container/noslate/turf.js" "$@"
`;

/**
 * Lays out stand-ins for Noslate in a folder, to be its NOSLATE_PATH: `bin/{node,turf,data_plane,control_plane}`
 * as in Noslate's image, and beside it the files they are made of, in the places they have here. It can be copied
 * and moved as a whole; `bin/node` is a link to our own binary. What they do is told by the variable STAND_INS.
 *
 * @see Noslate contract §1, §9
 */
export function installNoslate(folder: string): void {
  const files = [
    'dist-test/container/noslate/turf.js',
    'dist-test/container/noslate/planes.js',
    // the script of the threads in which a data plane's double runs functions
    'dist/server.js',
    ...readdirSync('test/planes')
      .filter(file => file.endsWith('.proto'))
      .map(file => join('test/planes', file)),
  ];
  for (const file of files) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    copyFileSync(file, join(folder, file));
  }
  const bin = join(folder, 'bin');
  for (const plane of ['data_plane', 'control_plane']) write(join(bin, plane), source(plane));
  write(join(bin, 'turf'), TURF);
  chmodSync(join(bin, 'turf'), 0o755);
  symlinkSync(process.execPath, join(bin, 'node'));
}
