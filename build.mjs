// Builds dist/server.js, dist/desk.js and the editors' noslate.schema.json. With --test the tests too: bundled like the
// product, since a Node without TypeScript support must run them.
// With --coverage all of it is left readable, for test/coverage.mjs.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http2';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from 'esbuild';

const { version } = JSON.parse(readFileSync('package.json', 'utf8'));

/** Longest run of the server for its code cache, ms. */
const START_MS = 20_000;

const common = {
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node16.18',
  charset: 'utf8',
  metafile: true,
  logLevel: 'warning',
};

/** Packages whose code is in a file, by file. */
const inside = {};

/** Notes what a build has put into its files, or into a file that holds them. */
function note({ outputs }, holder) {
  for (const [output, { inputs }] of Object.entries(outputs)) {
    if (output.endsWith('.map')) continue;
    const names = Object.keys(inputs).flatMap(path => /.*\bnode_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []);
    const file = holder ?? output;
    inside[file] = [...new Set([...(inside[file] ?? []), ...names])].sort();
  }
}

const isCoverage = process.argv.includes('--coverage');

/**
 * Builds. For coverage in whole lines, with names that copies keep, and with maps that lie apart: Node.js would read them
 * for each process.
 */
async function make(options) {
  const changed = isCoverage && { minify: false, sourcemap: 'external', write: false };
  const { outputFiles = [], metafile } = await build({ ...common, ...options, ...changed });
  note(metafile);
  for (const { path, text } of outputFiles) {
    const isMap = path.endsWith('.map');
    const file = isMap ? join('coverage/maps', relative('', path)) : path;
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, isMap ? text : `${text}\n//# sourceURL=${path}\n`);
  }
}

// the server's code, to be run by src/boot.ts
const codeFile = isCoverage ? 'dist/server.code.js' : 'dist/server.js';
await make({
  entryPoints: ['src/main.ts'],
  outfile: codeFile,
  // one byte a character: half the memory, and faster to look through
  charset: 'ascii',
  // strict once for all, not once in each module
  banner: { js: '(function(require,__filename){"use strict";' },
  footer: { js: '})' },
  tsconfigRaw: { compilerOptions: { alwaysStrict: false, verbatimModuleSyntax: true } },
  define: { VERSION: JSON.stringify(version) },
  minify: true,
  sourcemap: 'linked',
});
const code = readFileSync(codeFile, 'utf8');
await make({
  entryPoints: ['src/boot.ts'],
  outfile: 'dist/server.js',
  banner: { js: '#!/usr/bin/env node' },
  define: {
    CODE: JSON.stringify(code),
    CODE_HASH: JSON.stringify(createHash('sha256').update(code).digest('hex').slice(0, 16)),
  },
  minify: true,
});
rmSync('dist/server.js.cache', { force: true });
// what comes from a cache is not counted line by line
if (!isCoverage) await makeCache();
// what warms Noslate's own programs in the image, on its Node
const warm = ['src/warm/preload.ts', 'src/warm/planes.ts', 'src/warm/make.ts'];
await make({ entryPoints: warm, outdir: 'dist/warm', minify: true });
console.error(`dist/server.js ${(statSync('dist/server.js').size / 1000).toFixed(1)} KB`);

// the commands, and what they have beside them
await make({
  entryPoints: ['src/desk/commands.ts'],
  outfile: 'dist/desk.js',
  define: { CONSOLE_PAGE: JSON.stringify(await makePage()), VERSION: JSON.stringify(version) },
  minify: true,
});
// for the release, which has no other way to know
writeFileSync('dist/inside.json', `${JSON.stringify(inside, null, 2)}\n`);
// their licences ask for it where they are copied
const licences = inside['dist/desk.js'].map(
  name => `${name}\n\n${readFileSync(`node_modules/${name}/LICENSE`, 'utf8')}`,
);
writeFileSync('dist/desk.LICENSES.txt', licences.join('\n'));
rmSync('dist/conformance', { recursive: true, force: true });
for (const name of ['function', 'express.cjs'])
  cpSync(`src/desk/conformance/${name}`, `dist/conformance/${name}`, { recursive: true });

// the table that checks noslate.json is also what editors get
await build({ ...common, entryPoints: ['src/profile-schema.ts'], outfile: 'dist/schema.cjs' });
const { profileSchema } = createRequire(import.meta.url)('./dist/schema.cjs');
const schema = { $schema: 'https://json-schema.org/draft/2020-12/schema', title: 'noslate.json', ...profileSchema() };
writeFileSync('noslate.schema.json', `${JSON.stringify(schema, null, 2)}\n`);
rmSync('dist/schema.cjs');

// beside the tests, what they start: the process of the test planes, a container with both, and a stand-in for
// Noslate's SDK (NOSLATE_PATH=dist-test/sdk/noslate)
const programs = [
  'planes/main.ts',
  'planes/container.ts',
  'container/image.ts',
  'container/noslate/index.ts',
  'desk/conformance/main.ts',
  'sdk/noslate/index.ts',
];
const isTest = process.argv.includes('--test');
if (isTest) {
  const tests = readdirSync('test', { recursive: true }).filter(file => file.endsWith('.test.ts'));
  rmSync('dist-test', { recursive: true, force: true });
  await make({
    entryPoints: [...tests, ...programs].map(file => `test/${file}`),
    outdir: 'dist-test',
    outbase: 'test',
    packages: 'external',
    sourcemap: 'inline',
  });
}
if (isTest) {
  // Noslate's stand-ins are installed where there is no node_modules
  const standIns = ['turf.ts', 'planes.ts'].map(file => `test/container/noslate/${file}`);
  await build({ ...common, entryPoints: standIns, outdir: 'dist-test', outbase: 'test' });
  // or where there is one, of Noslate's dependencies
  await build({ ...common, entryPoints: standIns.slice(1), outdir: 'dist-test/container/tree', packages: 'external' });
}

/** The console's page: one text that loads nothing else. */
async function makePage() {
  const { outputFiles, metafile } = await build({
    entryPoints: ['src/desk/view/console/page/main.tsx'],
    outdir: 'dist',
    bundle: true,
    format: 'iife',
    target: ['chrome109', 'firefox115', 'safari16'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    minify: true,
    write: false,
    metafile: true,
    logLevel: 'warning',
  });
  note(metafile, 'dist/desk.js');
  const text = ending => outputFiles.find(({ path }) => path.endsWith(ending))?.text ?? '';
  const head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">';
  const icon = '<link rel="icon" href="data:,">';
  return `<!doctype html><html lang="en"><head>${head}${icon}<title>noslate-fc</title><style>${text('.css')}</style></head><body><script>${text('.js')}</script></body></html>\n`;
}

/**
 * Starts the server as in a container and as on a desk, so that it keeps V8's code of what a start runs. Without that,
 * starts take longer.
 */
async function makeCache() {
  const folder = mkdtempSync(join(tmpdir(), 'noslate-fc-build-'));
  const planes = ['dp-0', 'cp-0'].map(name => startPlane(join(folder, 'socks', `${name}.sock`)));
  try {
    const code = 'exports.handler = async (ctx, req, res) => { res.writeHead(200); req.pipe(res); };\n';
    const functions = [{ name: 'f', runtime: 'nodejs', url: '.', handler: 'index.handler', signature: '1' }];
    writeFileSync(join(folder, 'index.js'), code);
    writeFileSync(join(folder, 'noslate.json'), JSON.stringify({ functions, routes: [{ path: '/*', function: 'f' }] }));
    for (const agent of ['native', 'local']) await serveOnce(folder, agent);
  } catch (error) {
    console.warn(`dist/server.js.cache is left out: ${error.message}`);
  } finally {
    for (const plane of planes) plane.close();
    rmSync(folder, { recursive: true });
  }
}

async function serveOnce(folder, agent) {
  const env = { SERVER_AGENT: agent, SERVER_PORT: '0', SERVER_HOST: '127.0.0.1', NOSLATED_WORKDIR: folder };
  const server = spawn(process.execPath, [resolve('dist/server.js'), '--log', 'json'], {
    cwd: folder,
    env: { ...env, NOSLATE_FC_CACHE: 'make' },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: START_MS,
  });
  const ended = new Promise(done => server.on('close', done));
  try {
    const [line] = await Promise.race([once(createInterface(server.stdout), 'line'), ended.then(() => ['{}'])]);
    const { url = '' } = JSON.parse(line);
    for (const path of ['/', '/invoke']) {
      const response = await fetch(url + path, { method: 'POST', body: 'body' });
      if (!response.ok || (await response.text()) !== 'body') throw new Error(`${agent}: status ${response.status}`);
    }
    server.kill();
    if ((await ended) !== 0) throw new Error(`${agent}: it did not end well`);
  } finally {
    // one that failed would hold up the build
    server.kill('SIGKILL');
  }
}

/** A plane that says yes to everything, and answers invocations with the text `body`. */
function startPlane(file) {
  const message = hex => Buffer.from(`00${(hex.length / 2).toString(16).padStart(8, '0')}${hex}`, 'hex');
  const answers = {
    // result { status: 200 }, then result { body: "body" }
    invoke: Buffer.concat([message('120308c801'), message('12061a04626f6479')]),
    // set: true
    setFunctionProfile: message('0801'),
  };
  mkdirSync(dirname(file), { recursive: true });
  return createServer()
    .on('stream', (stream, { ':path': path }) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.resume();
      stream.end(answers[path.split('/').at(-1)] ?? message(''));
    })
    .listen(file);
}
