// Makes dist/release, from a build: the package as npm publishes it; what is in it, as CycloneDX; and the checksums of
// both. The same bytes wherever it runs, on one version of npm. `npm run release`.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = 'dist/release';
const BOM = 'sbom.cdx.json';

const { name, version, description, license, files } = JSON.parse(readFileSync('package.json', 'utf8'));
const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'));

rmSync(FOLDER, { recursive: true, force: true });
mkdirSync(FOLDER, { recursive: true });
execFileSync(process.execPath, ['build.mjs'], { stdio: 'inherit' });
for (const file of [...files, 'package.json', 'README.md', 'LICENSE']) level(file);
execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', FOLDER], {
  stdio: ['ignore', 'ignore', 'inherit'],
});
writeFileSync(join(FOLDER, BOM), `${JSON.stringify(describe(), null, 2)}\n`);
const sums = readdirSync(FOLDER)
  .sort()
  .map(file => `${hashOf(join(FOLDER, file))}  ${file}\n`);
writeFileSync(join(FOLDER, 'SHA256SUMS'), sums.join(''));
process.stdout.write(sums.join(''));

/** Gives everybody what its owner may do, but for writing: npm packs modes, and they are those of a user's umask. */
function level(path) {
  const status = statSync(path);
  const bits = status.mode & 0o700;
  chmodSync(path, bits | ((bits & 0o500) >> 3) | ((bits & 0o500) >> 6));
  if (status.isDirectory()) for (const entry of readdirSync(path)) level(join(path, entry));
}

function hashOf(file) {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

/**
 * The bill of materials: the files that run, and the packages whose code each of them holds, as the build has noted them.
 * `npm sbom` cannot tell those from tools, since all are devDependencies, and names the folder, the time and a random
 * number. What has only built them is apart, by the scope that says so.
 *
 * @see CycloneDX 1.5, `components[].scope`, `dependencies`
 */
function describe() {
  const inside = JSON.parse(readFileSync('dist/inside.json', 'utf8'));
  const programs = files.filter(file => file.endsWith('.js'));
  const bundled = [...new Set(programs.flatMap(file => inside[file]))].sort();
  const own = { ref: `${name}@${version}`, dependsOn: programs };
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.5.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      lifecycles: [{ phase: 'build' }],
      component: {
        'bom-ref': own.ref,
        type: 'application',
        name,
        version,
        description,
        hashes: [{ alg: 'SHA-256', content: hashOf(join(FOLDER, `${name}-${version}.tgz`)) }],
        licenses: [{ expression: license }],
        purl: purlOf(name, version),
      },
    },
    components: [
      ...programs.map(file => ({
        'bom-ref': file,
        type: 'file',
        name: file,
        hashes: [{ alg: 'SHA-256', content: hashOf(file) }],
      })),
      ...bundled.map(item => library(item, 'required')),
      library('esbuild', 'excluded'),
    ],
    dependencies: [
      own,
      ...programs.map(file => ({ ref: file, dependsOn: inside[file].map(refOf) })),
      ...[...bundled, 'esbuild'].map(item => ({ ref: refOf(item), dependsOn: [] })),
    ],
  };
}

/** A package of the lock file. */
function library(item, scope) {
  const { version: release, integrity, license: expression } = packages[`node_modules/${item}`];
  const [, content] = /^sha512-(\S+)$/.exec(integrity);
  return {
    'bom-ref': refOf(item),
    type: 'library',
    name: item,
    version: release,
    scope,
    hashes: [{ alg: 'SHA-512', content: Buffer.from(content, 'base64').toString('hex') }],
    licenses: [{ expression }],
    purl: purlOf(item, release),
  };
}

function refOf(item) {
  return `${item}@${packages[`node_modules/${item}`].version}`;
}

function purlOf(item, release) {
  return `pkg:npm/${item.replace('@', '%40')}@${release}`;
}
