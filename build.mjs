// Builds dist/server.js and the editors' noslate.schema.json. With --test the tests too: bundled like the
// product, since a Node without TypeScript support must run them. With --fc only the FC platform's commands of those.
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { build } from 'esbuild';

const { version } = JSON.parse(readFileSync('package.json', 'utf8'));

const common = {
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node16.18',
  charset: 'utf8',
  logLevel: 'warning',
};

await build({
  ...common,
  entryPoints: ['src/main.ts'],
  outfile: 'dist/server.js',
  // strict once for all, not once in each module
  banner: { js: '#!/usr/bin/env node\n"use strict";' },
  tsconfigRaw: { compilerOptions: { alwaysStrict: false, verbatimModuleSyntax: true } },
  define: { VERSION: JSON.stringify(version) },
  minify: true,
  sourcemap: 'linked',
});
// what warms Noslate's own programs in the image, on its Node
const warm = ['src/warm/preload.ts', 'src/warm/make.ts'];
await build({ ...common, entryPoints: warm, outdir: 'dist/warm', minify: true });
console.log(`dist/server.js ${(statSync('dist/server.js').size / 1000).toFixed(1)} KB`);

// the table that checks noslate.json is also what editors get
await build({ ...common, entryPoints: ['src/profile-schema.ts'], outfile: 'dist/schema.cjs' });
const { profileSchema } = createRequire(import.meta.url)('./dist/schema.cjs');
const schema = { $schema: 'https://json-schema.org/draft/2020-12/schema', title: 'noslate.json', ...profileSchema() };
writeFileSync('noslate.schema.json', `${JSON.stringify(schema, null, 2)}\n`);
rmSync('dist/schema.cjs');

// beside the tests, what they start: the process of the test planes, a container with both, and a stand-in for
// Noslate's SDK (NOSLATE_PATH=dist-test/sdk/noslate)
const platform = ['platform/main.ts', 'platform/conformance/main.ts'];
const programs = [
  'planes/main.ts',
  'planes/container.ts',
  'container/image.ts',
  'container/noslate/index.ts',
  'sdk/noslate/index.ts',
  ...platform,
];
const isTest = process.argv.includes('--test');
if (isTest || process.argv.includes('--fc')) {
  const tests = readdirSync('test', { recursive: true }).filter(file => file.endsWith('.test.ts'));
  if (isTest) rmSync('dist-test', { recursive: true, force: true });
  await build({
    ...common,
    entryPoints: (isTest ? [...tests, ...programs] : platform).map(file => `test/${file}`),
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
